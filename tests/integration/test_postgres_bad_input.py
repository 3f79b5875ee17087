"""PostgreSQL: what can't work ends with a clear message, a hint, exit code 1 or 2, and nothing
written."""

import json
import socket
import threading
import time

import pytest

import helpers

SECRET = "s3cret-pa55"


@pytest.fixture
def fails(store):
    """fails(source, *options, exit=1): run a dump that must fail; what it says."""
    before = helpers.tree_digest(store.path)

    def run(source, *options, exit=1, **kwargs):
        done = store.dump(*options, source, exit=exit, timeout=60, **kwargs)
        assert "hint:" in done.stderr, done.stderr
        assert SECRET not in done.stderr + done.stdout
        assert not store.manifests() and not store.packs()
        left = {k: v for k, v in helpers.tree_digest(store.path).items() if "metadata.db" not in k}
        assert left == {k: v for k, v in before.items() if "metadata.db" not in k}
        return done.stderr

    return run


def test_unreachable_server(fails):
    said = fails(f"postgresql://u:{SECRET}@127.0.0.1:{helpers.free_port()}/x", "--retries", "0")
    assert "can't reach postgresql://u:***@127.0.0.1" in said and "refused" in said


def test_no_such_socket(fails, tmp_path):
    assert "can't reach" in fails(f"postgresql:///x?host={tmp_path}", "--retries", "0")


def test_retries(pg, pg_db, store):
    """A server that comes up late is reached by a later attempt."""
    port = helpers.free_port()
    server = pg.dir / f".s.PGSQL.{pg.port}"

    def forward():
        time.sleep(1.2)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(20)
            try:
                while True:
                    client, _ = listener.accept()
                    upstream = socket.socket(socket.AF_UNIX)
                    upstream.connect(str(server))
                    for a, b in ((client, upstream), (upstream, client)):
                        threading.Thread(target=pump, args=(a, b), daemon=True).start()
            except OSError:
                pass

    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        finally:
            for s in (a, b):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    threading.Thread(target=forward, daemon=True).start()
    done = store.dump("--retries", "5", f"postgresql://postgres@127.0.0.1:{port}/{pg_db}")
    assert "trying again (1 of 5)" in done.stderr
    assert len(store.manifests()) == 1


def test_wrong_password(pg_tcp, fails):
    db = pg_tcp.createdb()
    said = fails(pg_tcp.dsn(db, password="wrong-" + SECRET))
    assert "wrong password" in said
    said = fails(f"postgresql://postgres@127.0.0.1:{pg_tcp.port}/{db}")
    assert "wants a password" in said and "PGPASSWORD" in said
    pg_tcp.dropdb(db)


def test_password_by_every_way(pg_tcp, store, tmp_path):
    """In the URL, by variable and by password file; the children get it as well."""
    db = pg_tcp.createdb()
    bare = f"postgresql://postgres@127.0.0.1:{pg_tcp.port}/{db}"
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{pg_tcp.port}:*:postgres:{pg_tcp.password}\n")
    passfile.chmod(0o600)
    outputs = [store.dump(pg_tcp.dsn(db)),
               store.dump(bare, env={"PGPASSWORD": pg_tcp.password}),
               store.dump(bare, env={"PGPASSFILE": passfile}),
               store.dump(f"host=127.0.0.1 port={pg_tcp.port} user=postgres dbname={db} "
                          f"password={pg_tcp.password}"),
               store.dump(env={"DATABASE_URL": pg_tcp.dsn(db)})]
    for done in outputs:
        assert pg_tcp.password not in done.stdout + done.stderr
    for manifest in store.manifests():
        assert pg_tcp.password not in manifest.read_text()
    pg_tcp.dropdb(db)


def test_no_such_database(pg, fails):
    assert "no such database" in fails(pg.socket_dsn("nowhere"))


def test_no_such_role(pg, pg_db, fails):
    assert 'role "nobody"' in fails(pg.socket_dsn(pg_db, user="nobody"))


@pytest.fixture
def weak(pg, pg_db):
    """A database and a role that may read only some of it."""
    pg.psql(pg_db, """
        DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN;
        CREATE SCHEMA closed; CREATE TABLE closed.t (a int); CREATE TABLE open (a int);
        INSERT INTO open VALUES (1); CREATE TABLE shut (a int); CREATE SEQUENCE seq;
        CREATE TABLE hidden (a int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
        GRANT SELECT ON open, hidden TO weak
    """)
    yield pg_db
    pg.psql(pg_db, "DROP OWNED BY weak; DROP ROLE weak")


def test_no_permission(pg, weak, fails):
    said = fails(pg.socket_dsn(weak, user="weak"))
    for part in ("user weak can't read 4", "closed.t (no USAGE on the schema)",
                 "public.shut (no SELECT)", "public.seq (no SELECT)",
                 "public.hidden (row security hides rows)", "GRANT pg_read_all_data"):
        assert part in said
    assert "public.open" not in said


def test_roles_without_passwords(pg, weak, store, mount):
    """A role that may read every table, but not pg_authid."""
    pg.psql(weak, "DROP TABLE hidden, shut; DROP SCHEMA closed CASCADE; "
                  "GRANT SELECT ON SEQUENCE seq TO weak; CREATE ROLE somebody PASSWORD 'x'")
    done = store.dump(pg.socket_dsn(weak, user="weak"))
    assert "passwords" in done.stderr
    manifest = json.loads(store.manifests()[0].read_text())
    assert manifest["left_out"][0]["what"] == "role passwords"
    with mount(store) as mnt:
        roles = (mnt.latest() / "roles.sql").read_text()
        assert "WITHOUT their passwords" in roles and "CREATE ROLE somebody" in roles
        assert "SCRAM" not in roles
        assert "\n1\n" in (mnt.latest() / "public/tables/open/data.sql").read_text()
    pg.psql(weak, "DROP ROLE somebody")


def test_large_object_without_permission(pg, weak, fails):
    pg.psql(weak, "DROP TABLE hidden, shut; DROP SCHEMA closed CASCADE; DROP SEQUENCE seq; "
                  "SELECT lo_from_bytea(4711, 'x')")
    assert "large object 4711 (no SELECT)" in fails(pg.socket_dsn(weak, user="weak"))
    pg.psql(weak, "SELECT lo_unlink(4711)")


def stand_in(directory, version):
    directory.mkdir()
    for name in ("pg_dump", "pg_restore", "pg_dumpall"):
        path = directory / name
        path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        path.chmod(0o755)
    return directory


def test_server_newer_than_the_tools(pg, pg_db, fails, tmp_path):
    major = pg.bindir.parent.name
    said = fails(pg.socket_dsn(pg_db), "--pg-bindir", stand_in(tmp_path / "old", "11.5"))
    assert f"the server is PostgreSQL {major}" in said and "version 11" in said
    assert f"postgresql-client-{major}" in said


def test_no_tools(pg, pg_db, fails, tmp_path):
    assert "no pg_dump in" in fails(pg.socket_dsn(pg_db), "--pg-bindir", tmp_path)


@pytest.mark.parametrize("script", ["echo this is no archive at all", "exit 0", "exit 7",
                                    "kill -9 $$", "printf 'PGDMP\\001\\015\\000\\004\\010\\001'"])
def test_broken_tool(pg, pg_db, store, tmp_path, script):
    """A pg_dump that gives something else, or nothing, or archive version 1.13."""
    version = f"pg_dump (PostgreSQL) {pg.bindir.parent.name}.0"
    bindir = stand_in(tmp_path / "odd", f"{pg.bindir.parent.name}.0")
    (bindir / "pg_dump").write_text(
        f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}' && exit\n{script}\n")
    done = store.dump("--pg-bindir", bindir, pg.socket_dsn(pg_db), exit=1)
    assert "pg_dump" in done.stderr or "archive" in done.stderr
    assert not store.manifests()


def test_malformed_connection_strings(fails):
    for source in (f"postgresql://u:{SECRET}@x@h/db", f"postgresql://u:x/{SECRET}@h/db",
                   f"host=h passwrd={SECRET}", f"postgresql://u:{SECRET}%zz@h/db"):
        assert "malformed" in fails(source, exit=2)
    assert '"mysql:"' in fails(f"mysql://u:{SECRET}@h/db", exit=2)


def test_transaction_poolers(fails):
    said = fails(f"postgresql://u:{SECRET}@aws-0-eu.pooler.supabase.com:6543/postgres")
    assert "transaction pooler" in said and "port 5432" in said
    said = fails(f"postgresql://u:{SECRET}@ep-cool-1-pooler.eu.aws.neon.tech/db")
    assert "ep-cool-1.eu.aws.neon.tech" in said


def test_statement_timeout_of_the_server(pg, pg_db, store, mount):
    """Set for role or database, it must not end a dump."""
    pg.psql(pg_db, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 300000) i")
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        pg.psql("postgres", f"ALTER DATABASE {pg_db} SET {name} = '20ms'")
    store.dump(pg.socket_dsn(pg_db))
    with mount(store) as mnt:
        with open(mnt.latest() / "restore.sql") as f:
            assert sum(1 for line in f if "\t" in line) == 300000


def test_password_never_in_argv(pg_tcp, store, tmp_path):
    """Stand-ins write down how they were called."""
    db = pg_tcp.createdb()
    bindir = tmp_path / "bin"
    bindir.mkdir()
    for name in ("pg_dump", "pg_restore", "pg_dumpall"):
        path = bindir / name
        path.write_text(f"#!/bin/sh\necho \"$0 $@\" >>{tmp_path}/argv\n"
                        f"exec {pg_tcp.bindir / name} \"$@\"\n")
        path.chmod(0o755)
    store.dump("--pg-bindir", bindir, pg_tcp.dsn(db))
    argv = (tmp_path / "argv").read_text()
    for name in ("pg_dump", "pg_restore", "pg_dumpall"):
        assert f"/{name} " in argv
    assert pg_tcp.password not in argv
    pg_tcp.dropdb(db)


def recording_tools(real, directory):
    """Stand-ins that write down how they were called, and with which environment."""
    directory.mkdir()
    for name in ("pg_dump", "pg_restore", "pg_dumpall"):
        path = directory / name
        path.write_text(f"#!/bin/sh\n{{ echo \"=== $0 $@\"; env; }} >>{directory}/calls\n"
                        f"exec {real / name} \"$@\"\n")
        path.chmod(0o755)
    return directory


def check_environments(bindir, password):
    """The variables that hold a SOURCE reach no program, passwords only those that connect."""
    calls = (bindir / "calls").read_text().split("=== ")[1:]
    for call in calls:
        what = call.splitlines()[0]
        assert "DATABASE_URL=" not in call and "SUPABASE_DB_URL=" not in call, what
        connects = "--version" not in what and ("/pg_restore" not in what or "--dbname" in what)
        assert (f"PGPASSWORD={password}\n" in call) == connects, what
    (bindir / "calls").unlink()
    return [call.splitlines()[0] for call in calls]


@pytest.mark.parametrize("variable", ["DATABASE_URL", "SUPABASE_DB_URL"])
def test_secrets_in_environments(pg_tcp, store, tmp_path, variable):
    db = pg_tcp.createdb()
    pg_tcp.psql(db, "CREATE TABLE t (a int PRIMARY KEY)")
    bindir = recording_tools(pg_tcp.bindir, tmp_path / "bin")
    env = {variable: pg_tcp.dsn(db), "PGPASSWORD": pg_tcp.password}
    store.dump("--pg-bindir", bindir, env=env)
    calls = check_environments(bindir, pg_tcp.password)
    assert any("/pg_restore" in call for call in calls)
    helpers.run(store.build.restore, "--store", store, "latest", "--to", pg_tcp.dsn(db),
                "--overwrite", "--yes", "--jobs", "2", "--pg-bindir", bindir, env=env)
    calls = check_environments(bindir, pg_tcp.password)
    assert any("--clean" in call for call in calls) and any("--dbname" in call for call in calls)
    pg_tcp.dropdb(db)


def dump_argv(bindir):
    calls = (bindir / "calls").read_text()
    return next(line for line in calls.splitlines()
                if line.startswith("=== ") and "/pg_dump " in line and "--version" not in line)


def test_keepalives(pg, pg_db, store, tmp_path):
    """Sessions that idle while others read are kept; what the user says counts."""
    bindir = recording_tools(pg.bindir, tmp_path / "bin")
    store.dump("--pg-bindir", bindir, pg.socket_dsn(pg_db))
    for part in ("keepalives_idle='60'", "keepalives_interval='10'", "keepalives_count='6'"):
        assert part in dump_argv(bindir)
    (bindir / "calls").unlink()
    store.dump("--pg-bindir", bindir, pg.socket_dsn(pg_db) + "&keepalives_idle=99")
    assert "keepalives_idle='99'" in dump_argv(bindir)
    assert "keepalives_count" not in dump_argv(bindir)


def test_key_password_is_refused(pg, pg_db, store):
    """Programs could have it by argv only."""
    source = pg.socket_dsn(pg_db) + f"&sslpassword={SECRET}"
    store.dump(pg.socket_dsn(pg_db))
    for done in (store.dump(source, exit=helpers.FAILED),
                 helpers.run(store.build.restore, "--store", store, "latest", "--to", source,
                             "--yes", exit=helpers.FAILED)):
        assert "sslpassword" in done.stderr and "hint:" in done.stderr
        assert SECRET not in done.stderr
    assert len(store.manifests()) == 1


@pytest.mark.parametrize("name", ["a=b", "with space", "post'gres", "back\\slash",
                                  "postgresql://x", "ünïcode", "host=/x"])
def test_odd_database_names(pg, store, name):
    db = pg.createdb(name)
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    store.dump(f"host={pg.dir} port={pg.port} user=postgres dbname='{quoted}'",
               "--collection", "default/odd")
    manifest = json.loads(store.manifests()[0].read_text())
    assert manifest["databases"][0]["name"] == name
    pg.dropdb(db)
