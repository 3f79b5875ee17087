"""PostgreSQL behind what hosted services put in front of it: poolers, several addresses, servers that
are not ready yet."""

import contextlib
import json
import socket
import threading

import pytest

import helpers


class Proxy:
    """A TCP port in front of a server's socket. `change` may rewrite what clients send; `refuse`
    connections are closed at once."""

    def __init__(self, pg, change=None, refuse=0):
        self.upstream = str(pg.dir / f".s.PGSQL.{pg.port}")
        self.change = change or (lambda data: data)
        self.refuse = refuse
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if self.refuse > 0:
                    self.refuse -= 1
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.upstream)
                self.connections.append((client, server))
                for a, b, change in ((client, server, self.change), (server, client, bytes)):
                    threading.Thread(target=self._pump, args=(a, b, change), daemon=True).start()

    def _pump(self, a, b, change):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(change(data))
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """End every connection."""
        for pair in self.connections:
            for s in pair:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def dsn(self, db):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{db}"


@pytest.fixture
def db(pg, pg_db):
    pg.psql(pg_db, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")
    return pg_db


def test_settings_that_do_not_last(pg, db, store):
    """What an unknown pooler does that gives each transaction another session."""
    proxy = Proxy(pg, lambda data: data.replace(b"SET row_security = off",
                                                b"SET row_security = on "))
    done = store.dump(proxy.dsn(db), exit=helpers.FAILED)
    assert "settings of the session are lost" in done.stderr and "session mode" in done.stderr
    assert not store.manifests()


def test_server_that_closes_connections(pg, db, store):
    proxy = Proxy(pg, refuse=2)
    done = store.dump("--retries", "4", proxy.dsn(db), timeout=60)
    assert "trying again" in done.stderr
    assert len(store.manifests()) == 1


def test_retries_end(pg, db, store):
    proxy = Proxy(pg, refuse=100)
    done = store.dump("--retries", "1", proxy.dsn(db), exit=helpers.FAILED)
    assert "trying again (1 of 1)" in done.stderr
    assert not store.manifests()


@pytest.fixture
def stand_in(pg, tmp_path):
    """stand_in(before): a --pg-bindir whose pg_dump runs `before` on its first call."""

    def make(before):
        bindir = tmp_path / "bin"
        bindir.mkdir()
        for tool in ("pg_dump", "pg_restore", "pg_dumpall"):
            path = bindir / tool
            path.write_text(f"#!/bin/bash\nREAL={pg.bindir / tool}\n"
                            '[ "$1" = --version ] && exec "$REAL" "$@"\n'
                            + (f"if mkdir {tmp_path}/once 2>/dev/null; then\n{before}\nfi\n"
                               if tool == "pg_dump" else "") + 'exec "$REAL" "$@"\n')
            path.chmod(0o755)
        return bindir

    return make


def kill_coordinator(pg, db):
    return (f"{pg.bindir}/psql -XqAt -d \"{pg.socket_dsn(db)}\" -c \"SELECT pg_terminate_backend(pid)"
            " FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in "
            "transaction'\" </dev/null >/dev/null")


def test_connection_lost_before_the_data(pg, db, store, stand_in, mount):
    """It is begun again, with a new connection."""
    done = store.dump("--pg-bindir", stand_in(kill_coordinator(pg, db)), pg.socket_dsn(db))
    assert "beginning again" in done.stderr
    assert json.loads(store.manifests()[0].read_text())["record_count"] == 1000


def test_connection_lost_without_retries(pg, db, store, stand_in):
    store.dump("--retries", "0", "--pg-bindir", stand_in(kill_coordinator(pg, db)),
               pg.socket_dsn(db), exit=helpers.FAILED)
    assert not store.manifests()


def test_pg_dump_finds_no_free_connection(pg, db, store, stand_in):
    said = ("echo 'pg_dump: error: connection to server failed: FATAL:  sorry, too many clients "
            "already' >&2; exit 1")
    done = store.dump("--pg-bindir", stand_in(said), pg.socket_dsn(db))
    assert "too many clients" in done.stderr and "beginning again" in done.stderr
    assert len(store.manifests()) == 1


def test_first_address_does_not_answer(pg_tcp, store):
    """IPv6 first, where nobody listens; libpq goes on to IPv4, and all connections follow."""
    db = pg_tcp.createdb()
    pg_tcp.psql(db, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")
    store.dump(f"host=::1,127.0.0.1 port={pg_tcp.port} user=postgres dbname={db} "
               f"password={pg_tcp.password} sslmode=prefer gssencmode=disable", "--jobs", "3")
    assert json.loads(store.manifests()[0].read_text())["record_count"] == 1000
    pg_tcp.dropdb(db)


def test_tls_that_the_server_lacks(pg_tcp, store):
    db = pg_tcp.createdb()
    done = store.dump(pg_tcp.dsn(db) + "?sslmode=require", exit=helpers.FAILED)
    assert "SSL" in done.stderr and "hint:" in done.stderr
    assert not store.manifests()
    pg_tcp.dropdb(db)
