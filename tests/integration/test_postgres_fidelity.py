"""What a backup of the installed PostgreSQL holds, compared with pg_dump's own account."""

import json

import pytest

import pgfidelity
from restoring import server  # noqa: F401 (fixture)


@pgfidelity.parametrized(pgfidelity.Fidelity.databases)
class TestFidelity(pgfidelity.Fidelity):
    pass


@pytest.mark.slow
@pgfidelity.parametrized([pgfidelity.thousand_tables])
class TestThousandTables(pgfidelity.Fidelity):
    # Restored once, in parallel; the other ways take as long again and show nothing new here.
    test_restore_sql_restores = None
    test_schema_and_data_restore = None
    test_archive_restores_from_a_pipe = None

    def test_archive_restores(self, backup):
        backup.check_archive_restores("-j4")


def test_settings_of_the_database_are_kept_out(server, build, tmp_path):
    """Settings that change what a session prints or may do don't reach the backup."""

    def make(server):
        db = server.createdb()
        server.psql(db, f"""
            CREATE TABLE t AS SELECT '\\xdeadbeef'::bytea AS b, 0.1::float8 + 0.2 AS f,
                '2024-07-01 12:00+00'::timestamptz AS z, '1 year 2 days'::interval AS i,
                E'back\\\\slash' AS s, 'x'::text AS d;
            ALTER TABLE t ALTER d SET DEFAULT E'back\\\\slash';
            ALTER DATABASE {db} SET bytea_output = 'escape';
            ALTER DATABASE {db} SET extra_float_digits = -10;
            ALTER DATABASE {db} SET TimeZone = 'Asia/Kathmandu';
            ALTER DATABASE {db} SET DateStyle = 'German';
            ALTER DATABASE {db} SET IntervalStyle = 'iso_8601';
            ALTER DATABASE {db} SET standard_conforming_strings = off;
            ALTER DATABASE {db} SET quote_all_identifiers = on;
            ALTER DATABASE {db} SET client_encoding = 'LATIN1';
            ALTER DATABASE {db} SET default_transaction_isolation = 'serializable';
            ALTER DATABASE {db} SET search_path = 'pg_temp';
            ALTER DATABASE {db} SET statement_timeout = '1ms';
            ALTER DATABASE {db} SET idle_in_transaction_session_timeout = '1ms';
            ALTER DATABASE {db} SET row_security = on;
            ALTER DATABASE {db} SET synchronize_seqscans = on;
            ALTER DATABASE {db} SET default_transaction_read_only = on;
        """)
        return db

    with pgfidelity.backed_up(make, server, build, tmp_path) as backup:
        backup.check_scripts()
        rows = (backup.directory("public", "t") / "data.sql").read_text()
        assert ("\\\\xdeadbeef\t0.30000000000000004\t2024-07-01 12:00:00+00\t1 year 2 days\t"
                "back\\\\slash\tx\n") in rows


def test_rows_that_break_a_constraint_not_yet_valid(server, build, tmp_path):
    def make(server):
        db = server.createdb()
        server.psql(db, """
            CREATE TABLE parent (id integer PRIMARY KEY);
            CREATE TABLE t (id integer, p integer);
            INSERT INTO t VALUES (-1, 5), (1, NULL);
            ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
            ALTER TABLE t ADD CONSTRAINT known FOREIGN KEY (p) REFERENCES parent NOT VALID;
        """)
        return db

    with pgfidelity.backed_up(make, server, build, tmp_path) as backup:
        backup.check_scripts()
        backup.check_script_restores()


def test_data_sql_goes_by_foreign_keys(server, build, tmp_path):
    """Referenced rows come first, against the order of the names, so that data.sql loads into
    tables that have their keys already."""

    def make(server):
        db = server.createdb()
        server.psql(db, """
            CREATE TABLE z (id integer PRIMARY KEY);
            CREATE TABLE m (id integer PRIMARY KEY REFERENCES z, up integer REFERENCES m);
            CREATE TABLE a (id integer REFERENCES m, z integer REFERENCES z);
            INSERT INTO z VALUES (1), (2);
            INSERT INTO m VALUES (1, NULL), (2, 1);
            INSERT INTO a VALUES (1, 2), (2, 1);
        """)
        return db

    with pgfidelity.backed_up(make, server, build, tmp_path) as backup:
        backup.check_scripts()
        with server.scratch() as db:
            server.load(db, backup.path / "schema.sql")
            server.load(db, backup.path / "data.sql")


def test_database_made_anew_by_the_archive(server, build, tmp_path):
    """pg_restore -C brings the database back with its settings, comment and privileges."""
    with pgfidelity.backed_up(pgfidelity.kitchen_sink, server, build, tmp_path) as backup:
        backup.check_archive_creates()


def test_large_object_of_many_pieces(server, build, tmp_path):
    def make(server):
        db = server.createdb()
        server.psql(db, """
            SELECT lo_from_bytea(5000, decode(repeat('00ff5c270a', 1000003), 'hex'));
            SELECT lo_from_bytea(5001, '');
            SELECT lo_from_bytea(5002, decode(repeat('61', 16383), 'hex'));
            SELECT lo_from_bytea(5003, decode(repeat('61', 16385), 'hex'));
        """)
        return db

    with pgfidelity.backed_up(make, server, build, tmp_path) as backup:
        backup.check_scripts()
        backup.check_script_restores()
        backup.check_archive(tmp_path)


@pytest.mark.parametrize("make", [pgfidelity.kitchen_sink, pgfidelity.hostile_names, pgfidelity.latin1],
                         ids=lambda make: make.__name__)
def test_rows_are_pg_dumps(server, build, store, make):
    """What several connections read is what one pg_dump writes: not a byte of any file differs."""
    db = make(server)
    server.psql(db, """
        SELECT lo_from_bytea(7000, decode(repeat('00ff5c270a', 700001), 'hex'));
        SELECT lo_from_bytea(7001 + i, convert_to(repeat('x', i * i), 'LATIN1')) FROM generate_series(0, 80) i;
    """, "-o", "/dev/null")
    for jobs in (4, 1):
        store.dump("--pg-bindir", server.tools, "-q", "--jobs", jobs, server.socket_dsn(db),
                   env={"BAKFS_TEST_TIME": "1790000000"})
    parallel, sequential = (json.loads(path.read_text())
                            for path in sorted(store.manifests(), key=lambda p: p.stat().st_mtime_ns))
    server.drop(db)
    assert parallel["root"] == sequential["root"]
    assert parallel["databases"][0]["schemas"] == sequential["databases"][0]["schemas"]
    assert sequential["bytes_new"] == 0
