"""PostgreSQL: definitions that other sessions change while pg_dump reads them. It takes its lists
from the snapshot, but what functions of the server print for it is as of now."""

import contextlib
import threading

import pytest

import helpers

WAITING = ("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = "
           "(SELECT oid FROM pg_database WHERE datname = current_database()))")


@pytest.fixture
def db(pg, pg_db):
    """pg_dump waits for the lock of `aaa` when it has the lists, but no definitions yet."""
    pg.psql(pg_db, "CREATE TABLE aaa (i int); CREATE TABLE zzz (i int, t text)")
    return pg_db


@contextlib.contextmanager
def window(pg, db, store, *args):
    """A dump whose pg_dump waits in the block for the lock of `aaa`; yields a list that gets the
    dump's output afterwards."""
    done = []
    with pg.session(db, "BEGIN; LOCK TABLE aaa") as send:
        proc = store.start_dump(*args, pg.socket_dsn(db))
        try:
            helpers.wait_until(lambda: pg.psql(db, WAITING) == "t", what="pg_dump's waiting")
            yield done
            send("COMMIT")
            out, err = proc.communicate(timeout=60)
            assert proc.returncode == 0, err
            done.append(err)
        finally:
            if proc.poll() is None:
                proc.kill()
                proc.communicate()


def restored_text(mnt):
    return helpers.strip_restrict((mnt.latest() / "restore.sql").read_text())


CHANGES = {
    "function dropped": ("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
                         "DROP FUNCTION f(int)"),
    "function replaced": (
        "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION f(a int DEFAULT 5) RETURNS int LANGUAGE sql AS 'SELECT 2'"),
    "aggregate dropped": ("CREATE AGGREGATE g(int) (SFUNC = int4larger, STYPE = int)",
                          "DROP AGGREGATE g(int)"),
    "type dropped": ("CREATE TYPE e AS ENUM ('a'); CREATE FUNCTION f(a e) RETURNS int "
                     "LANGUAGE sql AS 'SELECT 1'", "DROP TYPE e CASCADE"),
    "type renamed": ("CREATE TYPE e AS ENUM ('a'); CREATE FUNCTION f(a e) RETURNS int "
                     "LANGUAGE sql AS 'SELECT 1'", "ALTER TYPE e RENAME TO e2"),
    "value of a type renamed": (
        "CREATE TYPE e AS ENUM ('a'); CREATE VIEW v AS SELECT 'a'::e AS a",
        "ALTER TYPE e RENAME VALUE 'a' TO 'b'"),
    "attribute of a type renamed": ("CREATE TYPE c AS (a int); CREATE VIEW v AS "
                                    "SELECT (ROW(1)::c).a AS x",
                                    "ALTER TYPE c RENAME ATTRIBUTE a TO b"),
    "domain changed": ("CREATE DOMAIN d AS int CHECK (VALUE > 1)",
                       "ALTER DOMAIN d DROP CONSTRAINT d_check"),
    "index dropped": ("CREATE INDEX zzz_i ON zzz (i)", "DROP INDEX zzz_i"),
    "index renamed": ("CREATE INDEX zzz_i ON zzz (i)", "ALTER INDEX zzz_i RENAME TO zzz_j"),
    "trigger dropped": ("CREATE TRIGGER tr BEFORE UPDATE ON zzz FOR EACH ROW EXECUTE FUNCTION "
                        "suppress_redundant_updates_trigger()", "DROP TRIGGER tr ON zzz"),
    "statistics dropped": ("CREATE STATISTICS st ON i, t FROM zzz", "DROP STATISTICS st"),
    "view replaced": ("CREATE VIEW v AS SELECT 1 AS a",
                      "CREATE OR REPLACE VIEW v AS SELECT 2 AS a, 3 AS b"),
    "view dropped": ("CREATE VIEW v AS SELECT 1 AS a", "DROP VIEW v"),
    "view renamed": ("CREATE VIEW v AS SELECT 1 AS a; CREATE VIEW w AS SELECT * FROM v",
                     "ALTER VIEW v RENAME TO v2"),
    "rule dropped": ("CREATE RULE r AS ON DELETE TO zzz DO ALSO NOTIFY x", "DROP RULE r ON zzz"),
    "cast dropped": ("CREATE TYPE c AS (a int); CREATE CAST (c AS text) WITH INOUT",
                     "DROP CAST (c AS text)"),
    "operator dropped": (
        "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
        "DROP OPERATOR === (int, int)"),
    "collation renamed": ("CREATE COLLATION co FROM \"C\"; CREATE VIEW v AS "
                          "SELECT 'a'::text COLLATE co AS a", "ALTER COLLATION co RENAME TO co2"),
    "event trigger dropped": (
        "CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER et ON sql_drop EXECUTE FUNCTION ev()",
        "DROP EVENT TRIGGER et; DROP FUNCTION ev()"),
    "schema renamed": ("CREATE SCHEMA s; CREATE FUNCTION s.f(a int) RETURNS int LANGUAGE sql "
                       "AS 'SELECT 1'; CREATE VIEW s.v AS SELECT s.f(1)",
                       "ALTER SCHEMA s RENAME TO s2"),
    "schema dropped": ("CREATE SCHEMA s; CREATE FUNCTION s.f(a int) RETURNS int LANGUAGE sql "
                       "AS 'SELECT 1'", "DROP SCHEMA s CASCADE"),
    "owner renamed": ("DROP ROLE IF EXISTS bakfs_o2; CREATE ROLE bakfs_o; CREATE FUNCTION f() "
                      "RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f OWNER TO bakfs_o; "
                      "GRANT SELECT ON zzz TO bakfs_o",
                      "ALTER ROLE bakfs_o RENAME TO bakfs_o2"),
    "owner dropped": ("CREATE ROLE bakfs_p; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
                      "'SELECT 1'; GRANT SELECT ON zzz TO bakfs_p; "
                      "ALTER FUNCTION f OWNER TO bakfs_p",
                      "DROP OWNED BY bakfs_p; DROP ROLE bakfs_p"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_definition_changed_while_it_is_read(pg, db, store, mount, what):
    before, change = CHANGES[what]
    pg.psql(db, before)
    with window(pg, db, store) as done:
        pg.psql(db, change)
    assert "beginning again" in done[0]
    with mount(store) as mnt:
        assert restored_text(mnt) == pg.pg_dump(db)


HARMLESS = {
    "refresh": "REFRESH MATERIALIZED VIEW m",
    "same definition": "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; "
                       "CREATE OR REPLACE VIEW v AS SELECT 1 AS a",
    "rights": "GRANT ALL ON zzz, v TO PUBLIC; GRANT ALL ON FUNCTION f TO PUBLIC",
    "triggers off": "ALTER TABLE zzz DISABLE TRIGGER USER; ALTER TABLE zzz ENABLE TRIGGER USER",
    "vacuum": "VACUUM zzz; ANALYZE zzz; REINDEX TABLE zzz",
    "temporary table": "CREATE TEMP TABLE tmp (i serial PRIMARY KEY, t text); DROP TABLE tmp; "
                       "DISCARD TEMP",
    "new objects": "CREATE TABLE fresh (i serial PRIMARY KEY, j int DEFAULT 5); "
                   "CREATE INDEX ON zzz (t); CREATE FUNCTION f(a text) RETURNS int LANGUAGE sql AS "
                   "'SELECT 3'; CREATE TABLE child () INHERITS (zzz); DROP TABLE child",
    "given up": "BEGIN; DROP TABLE zzz CASCADE; ROLLBACK; BEGIN; DROP VIEW v; ROLLBACK; BEGIN; DROP FUNCTION f(int); ROLLBACK",
    "sequence": "SELECT nextval('q'); ALTER SEQUENCE q RESTART",
}


@pytest.mark.parametrize("what", HARMLESS)
def test_changes_that_definitions_do_not_show(pg, db, store, mount, what):
    """They happen all the time: a dump that began again for them would never end."""
    pg.psql(db, "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; "
                "CREATE VIEW v AS SELECT 1 AS a; CREATE SEQUENCE q; INSERT INTO zzz VALUES (1, 'a'); "
                "CREATE MATERIALIZED VIEW m AS SELECT * FROM zzz; CREATE INDEX ON zzz (i); "
                "CREATE TRIGGER tr BEFORE UPDATE ON zzz FOR EACH ROW EXECUTE FUNCTION "
                "suppress_redundant_updates_trigger()")
    before = pg.pg_dump(db)
    with window(pg, db, store) as done:
        pg.psql(db, HARMLESS[what])
    assert "beginning again" not in done[0]
    if what != "sequence":  # pg_dump reads its value outside of the snapshot
        with mount(store) as mnt:
            assert restored_text(mnt) == before


def test_change_not_yet_committed(pg, db, store):
    pg.psql(db, "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with window(pg, db, store) as done, pg.session(db, "BEGIN; DROP FUNCTION f(int)"):
        pass
    with pg.session(db, "BEGIN; DROP FUNCTION f(int)"):
        done = store.dump(pg.socket_dsn(db))
    assert "beginning again" not in done.stderr


@pytest.mark.parametrize("scope, again", [(("--schema", "s"), False), (("--table", "s.t"), False),
                                          (("--exclude-schema", "other"), False), ((), True)])
def test_change_outside_of_what_is_dumped(pg, db, store, scope, again):
    pg.psql(db, "CREATE SCHEMA s; CREATE TABLE s.t (i int); CREATE SCHEMA other; "
                "CREATE TABLE other.t (i int PRIMARY KEY); CREATE FUNCTION other.f() RETURNS int "
                "LANGUAGE sql AS 'SELECT 1'; ALTER TABLE aaa SET SCHEMA s")
    if scope[:1] == ("--table",):
        scope = (*scope, "--table", "s.aaa")
    with pg.session(db, "BEGIN; LOCK TABLE s.aaa") as send:
        proc = store.start_dump(*scope, pg.socket_dsn(db))
        helpers.wait_until(lambda: pg.psql(db, WAITING) == "t", what="pg_dump's waiting")
        pg.psql(db, "DROP FUNCTION other.f; ALTER TABLE other.t DROP CONSTRAINT t_pkey; "
                    "ALTER TABLE other.t RENAME i TO j")
        send("COMMIT")
        _, err = proc.communicate(timeout=60)
    assert proc.returncode == 0, err
    assert ("beginning again" in err) == again


def test_database_whose_definitions_change_all_the_time(pg, db, store, mount):
    """Objects come and go many times a second, and some are replaced by the same."""
    pg.psql(db, "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    stop = threading.Event()

    def work():
        while not stop.is_set():
            pg.psql(db, "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; "
                        "CREATE TEMP TABLE tmp AS SELECT 1 AS a; GRANT ALL ON zzz TO PUBLIC; "
                        "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'; "
                        "DROP FUNCTION g()")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        store.dump(pg.socket_dsn(db), timeout=60)
    finally:
        stop.set()
        thread.join()
    with mount(store) as mnt:
        assert "CREATE FUNCTION public.f(a integer)" in restored_text(mnt)
