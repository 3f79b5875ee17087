"""PostgreSQL that tells its errors in another language than English."""

import pathlib
import shutil

import pytest

import helpers

# glibc's own locale, under a name that is not known to be English
PLAIN = pathlib.Path("/usr/lib/locale/C.utf8")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if helpers.postgres_bindir() is None:
        pytest.skip("no PostgreSQL server programs are installed")
    if not PLAIN.is_dir():
        pytest.skip(f"there is no {PLAIN}")
    running = helpers.PgServer()
    for name in ("C.utf8", "xx_XX.utf8"):
        shutil.copytree(PLAIN, running.dir / "locale" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(running.dir / "locale"))
        try:
            running.start()
            running.psql("postgres", "ALTER SYSTEM SET lc_messages = 'xx_XX.utf8'; "
                                     "SELECT pg_reload_conf()")
            helpers.wait_until(lambda: running.psql("postgres", "SHOW lc_messages") == "xx_XX.utf8",
                               what="the language")
            yield running
        finally:
            running.stop()


@pytest.fixture
def db(server):
    name = server.createdb()
    server.psql(name, "CREATE TABLE t (i int)")
    yield name
    server.dropdb(name)


@pytest.fixture
def bindir(server, tmp_path):
    """bindir(script): a --pg-bindir whose pg_dump is that script; $REAL is the real one."""

    def make(script):
        where = tmp_path / "bin"
        where.mkdir()
        for name in ("pg_restore", "pg_dumpall"):
            (where / name).symlink_to(server.bindir / name)
        (where / "pg_dump").write_text(f"#!/bin/bash\nREAL={server.bindir}/pg_dump\n"
                                       f'[ "$1" = --version ] && exec "$REAL" "$@"\n{script}\n')
        (where / "pg_dump").chmod(0o755)
        return where

    return make


def test_programs_are_made_to_speak_english(server, db, bindir, store, tmp_path):
    """What pg_dump failed for is read from the server's words."""
    where = bindir(f'echo "$PGOPTIONS" >{tmp_path}/options; exec "$REAL" "$@"')
    store.dump("--pg-bindir", where, server.socket_dsn(db))
    assert "lc_messages=C" in (tmp_path / "options").read_text()


@pytest.mark.parametrize("always", [False, True])
def test_role_that_may_not_set_the_language(server, db, bindir, store, tmp_path, always):
    """A query may have failed for a reason that passes, so the dump is begun again a few times."""
    server.psql(db, "CREATE ROLE foreigner LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "
                    "foreigner")
    fail = ("echo 'pg_dump: error: query failed: FEHLER:  Relation existiert nicht' >&2; "
            f"echo >>{tmp_path}/attempts; exit 1")
    once = f'if mkdir {tmp_path}/once 2>/dev/null; then {fail}; fi; exec "$REAL" "$@"'
    try:
        done = store.dump("--pg-bindir", bindir(fail if always else once),
                          server.socket_dsn(db, user="foreigner"), exit=1 if always else None)
    finally:
        server.psql(db, "DROP OWNED BY foreigner; DROP ROLE foreigner")
    assert "existiert nicht; beginning again" in done.stderr
    assert len((tmp_path / "attempts").read_text().splitlines()) == (6 if always else 1)
    assert len(store.manifests()) == (0 if always else 1)
