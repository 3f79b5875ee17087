"""bakfs-restore into servers and databases that are unlike the one of the backup: older, set in
another way, with rights of fewer things, with extensions in schemas of their own."""

import contextlib

import pytest

import restoring
from test_postgres_versions import bin17, root17, server17  # noqa: F401 (fixtures)
from restoring import JOBS, absent, backup, role, shop, target  # noqa: F401 (some are fixtures)

# Configuration tables with keys among them. The table that others refer to is the smallest.
LINKED = """
CREATE TABLE base (id int PRIMARY KEY);
CREATE TABLE detail (id int PRIMARY KEY, base int NOT NULL REFERENCES base, note text);
CREATE TABLE part (detail int NOT NULL REFERENCES detail, note text);
SELECT pg_catalog.pg_extension_config_dump('base', '');
SELECT pg_catalog.pg_extension_config_dump('detail', '');
SELECT pg_catalog.pg_extension_config_dump('part', '');
"""


def add_extension(server, name, sql):
    """An extension that the server, which has files of its own, can make."""
    share = server.bindir.parents[3] / "share/postgresql" / server.bindir.parent.name / "extension"
    (share / f"{name}.control").write_text("default_version = '1.0'\n")
    (share / f"{name}--1.0.sql").write_text(sql)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = restoring.installed(tmp_path_factory)
    add_extension(running, "linked", LINKED)
    with restoring.started(running):
        yield running


class TestExtensionTables:
    @JOBS
    def test_keys_among_them(self, backup, target, jobs):
        """They are in force when the rows come: the extension made them with its tables."""
        restore = backup("""
            CREATE EXTENSION linked;
            INSERT INTO base VALUES (1);
            INSERT INTO detail SELECT i, 1, repeat('x', 1000) FROM generate_series(1, 3000) i;
            INSERT INTO part SELECT i, repeat('y', 3000) FROM generate_series(1, 3000) i;
            CREATE TABLE own AS SELECT i, repeat('z', 9000) FROM generate_series(1, 500) i""")
        restore.to(target, "--jobs", jobs)
        restore.same(target)


class TestNewerTools:
    """pg_restore 17 begins its sessions with a setting that is unknown to older servers."""

    @JOBS
    def test_whole(self, shop, target, bin17, jobs):  # noqa: F811
        done = shop("--to", shop.server.socket_dsn(target), "--pg-bindir", bin17, "--jobs", jobs)
        assert ("one after another" in done.stderr) == (jobs != "1"), done.stderr
        shop.same(target)

    def test_locale_provider(self, server, server17, build, tmp_path):  # noqa: F811
        """A database of 17's builtin locale has none like it in an older server."""
        def database(server):
            return server.createdb(locale_provider="builtin", builtin_locale="'C.UTF-8'")
        restore = restoring.backed_up(database, server17, build, tmp_path)
        with absent(server) as db:
            to = ["--to", server.socket_dsn(db), "--pg-bindir", server17.tools]
            said = restore(*to, "--create", exit=1).stderr
            assert "locale provider builtin, which PostgreSQL 15 does not know" in said, said
            assert "hint: make the database yourself" in said
            server.createdb(db)
            restore(*to)


class TestUncountable:
    """Rows that the restoring role may put into a table, but not see there, are counted by COPY."""

    @JOBS
    @pytest.mark.parametrize("sql", [
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY",
        "ALTER TABLE t OWNER TO plain; REVOKE SELECT ON t FROM plain",
    ], ids=["policies", "privileges"])
    def test_whole(self, server, backup, target, jobs, sql):
        with role(server, "plain"):
            restore = backup("CREATE TABLE t AS SELECT i FROM generate_series(1, 9) i; "
                             "CREATE TABLE u AS TABLE t; GRANT INSERT ON u TO plain; " + sql)
            server.psql(target, "GRANT ALL ON SCHEMA public TO plain")
            done = restore.to(target, "--no-owner", "--jobs", jobs, user="plain")
            assert "can't count the rows of public.t" in done.stderr, done.stderr
            assert "public.u" not in done.stderr
            assert restore.count(target, "t") == restore.count(target, "u") == 9
            server.drop(restore.source)

    def test_rows_are_added(self, server, backup, target):
        with role(server, "plain"):
            restore = backup("CREATE TABLE t AS SELECT i FROM generate_series(1, 9) i; "
                             "GRANT INSERT ON t TO plain")
            server.psql(target, "CREATE TABLE t (i int); GRANT INSERT ON t TO plain")
            done = restore.to(target, "--data-only", "--yes", user="plain")
            assert "can't count the rows of public.t" in done.stderr, done.stderr
            assert restore.count(target, "t") == 9


class TestSettings:
    """What the target's database sets for its sessions changes nothing of what is restored."""

    DISTURBING = """array_nulls=off default_transaction_read_only=on
        default_transaction_isolation=serializable default_transaction_deferrable=on
        transform_null_equals=on backslash_quote=off exit_on_error=on xmloption=document
        standard_conforming_strings=off check_function_bodies=on row_security=off
        quote_all_identifiers=on escape_string_warning=on bytea_output=escape
        IntervalStyle=sql_standard DateStyle='German,DMY' TimeZone='Asia/Kolkata'
        extra_float_digits=-5 search_path=nowhere client_encoding=LATIN1 statement_timeout=200
        lock_timeout=200 idle_in_transaction_session_timeout=200 default_table_access_method=heap
        session_replication_role=replica default_toast_compression=pglz
        lo_compat_privileges=on"""
    SQL = r"""
        CREATE TABLE t (id int PRIMARY KEY, a text[], e text DEFAULT E'a\\b', x xml, b bytea,
                        f float8, iv interval DEFAULT '-1 day 2:00', d timestamptz,
                        c int CHECK (c = NULL OR c > 0));
        INSERT INTO t SELECT i, '{NULL,a}', E'\\\\x', 'a<b/>', '\x5c00', 0.1,
                             '-1 year 3 days -2:00', '2020-03-04 1:00', NULL
            FROM generate_series(1, 9) i;
        CREATE INDEX ON t (id) WHERE a = '{NULL,b}' OR iv > '-1 year 3 days -2:00';
        CREATE TABLE u (t int REFERENCES t, d date DEFAULT '2020-03-04');
        INSERT INTO u VALUES (1);
        CREATE MATERIALIZED VIEW m AS SELECT id, '{NULL}'::text[] AS a FROM t"""

    @contextlib.contextmanager
    def disturbed(self, server, db):
        for setting in self.DISTURBING.split():
            server.psql("postgres", f"ALTER DATABASE {db} SET {setting}")
        try:
            yield
        finally:
            server.psql("postgres", f"ALTER DATABASE {db} RESET ALL")

    @JOBS
    @pytest.mark.parametrize("user", ["postgres", "plain"])
    def test_whole(self, server, backup, target, jobs, user):
        restore = backup(self.SQL)
        with role(server, "plain"):
            server.psql(target, "GRANT ALL ON SCHEMA public TO plain")
            with self.disturbed(server, target):
                restore.to(target, "--jobs", jobs, "--no-owner", user=user)
            restore.same(target, "--no-owner", "--no-acl")

    @JOBS
    def test_rows(self, server, backup, target, jobs):
        restore = backup(self.SQL)
        restore.to(target)
        with self.disturbed(server, target):
            restore.to(target, "--data-only", "--overwrite", "--yes", "--jobs", jobs)
        restore.same(target)

    @JOBS
    @pytest.mark.parametrize("args", [[], ["--create"]], ids=["there", "new"])
    def test_materialized_views(self, server, backup, jobs, args):
        """They are computed as the database's own sessions would."""
        set_all = """
            ALTER DATABASE {db} SET TimeZone = 'Asia/Kolkata';
            ALTER DATABASE {db} SET DateStyle = 'German, DMY';
            ALTER DATABASE {db} SET IntervalStyle = 'iso_8601';
            ALTER DATABASE {db} SET extra_float_digits = -5;
            ALTER DATABASE {db} SET default_text_search_config = 'german';"""
        restore = backup(set_all + """ \\c {db}
            CREATE TABLE t AS SELECT '2020-01-01 20:00 UTC'::timestamptz AS d, 0.1::float8 / 3 AS f,
                                     '1 day'::interval AS i;
            CREATE MATERIALIZED VIEW m AS SELECT d::date AS day, d::text, f::text, i::text,
                                                 to_tsvector('die Katzen')::text FROM t""")
        want = server.psql(restore.source, "REFRESH MATERIALIZED VIEW m; SELECT * FROM m")
        assert "02.01.2020" in want and "P1D" in want, want
        with absent(server) as db:
            if not args:
                server.createdb(db)
                server.psql("postgres", set_all.format(db=db))
            restore.to(db, "--jobs", jobs, *args)
            assert server.psql(db, "SELECT * FROM m") == want

    def test_money(self, server, backup):
        """It is written as the database's lc_monetary says, which a new one does not have yet."""
        locales = server.psql("postgres", "SELECT collname FROM pg_collation WHERE collname LIKE "
                              "'de\\_DE.utf8'")
        if not locales:
            pytest.skip("no German locale is installed")
        restore = backup("ALTER DATABASE {db} SET lc_monetary = 'de_DE.utf8'; \\c {db}\n"
                         "CREATE TABLE t (m money DEFAULT '1.234,56'); INSERT INTO t DEFAULT VALUES")
        with absent(server) as db:
            restore.to(db, "--create")
            assert server.psql(db, "INSERT INTO t DEFAULT VALUES; "
                               "SELECT m::numeric FROM t") == "1234.56\n1234.56"


class TestExtensionSchemas:
    """What is restored brings along the extensions it needs and the schemas that those are in."""

    SQL = """
        CREATE SCHEMA extensions; COMMENT ON SCHEMA extensions IS 'for extensions';
        GRANT USAGE ON SCHEMA extensions TO ks_reader;
        CREATE SCHEMA deeper;
        CREATE EXTENSION hstore SCHEMA extensions; CREATE EXTENSION cube SCHEMA deeper;
        CREATE EXTENSION earthdistance SCHEMA extensions;
        CREATE SCHEMA app; CREATE SCHEMA unused;
        CREATE TABLE app.t AS SELECT 'a=>1'::extensions.hstore AS h;
        CREATE DOMAIN app.where AS extensions.earth; CREATE TABLE app.u (w app.where);
        CREATE TABLE unused.mine (a int)"""

    @JOBS
    @pytest.mark.parametrize("args", [["--schema", "app"], ["--table", "app.t"],
                                      ["--table", "app.t", "--table", "app.u"]], ids=str)
    def test_new_database(self, server, backup, jobs, args):
        restore = backup(self.SQL)
        with absent(server) as db:
            restore.to(db, "--create", "--jobs", jobs, *args)
            assert server.psql(db, "SELECT * FROM app.t") == '"a"=>"1"'
            assert server.psql(db, "SELECT to_regnamespace('unused')") == ""
            assert server.psql(db, "SELECT obj_description('extensions'::regnamespace), "
                               "has_schema_privilege('ks_reader', 'extensions', 'USAGE')"
                               ) == "for extensions|t"
            if "app.t" != args[-1]:
                assert server.psql(db, "SELECT count(*) FROM app.u") == "0"

    @pytest.mark.parametrize("args", [["--schema", "app"], ["--table", "app.t"]], ids=str)
    def test_is_not_dropped(self, server, backup, target, args):
        restore = backup(self.SQL)
        restore.to(target)
        server.psql(target, "CREATE TABLE extensions.mine (); COMMENT ON SCHEMA extensions IS 'x'")
        restore.to(target, "--overwrite", "--yes", *args)
        assert server.psql(target, "SELECT count(*) FROM extensions.mine, app.t") == "0"
        assert server.psql(target, "SELECT obj_description('extensions'::regnamespace)") == "x"


class TestManyDrops:
    """More than one transaction's share of the lock table is dropped bit by bit."""

    N = 8000
    SQL = f"""
        CREATE SCHEMA "a;b"; CREATE TABLE "a;b"."t;'" (i int DEFAULT 1, "c;" text UNIQUE);
        CREATE FUNCTION f(a text DEFAULT ';') RETURNS text LANGUAGE sql AS $$SELECT ';'$$;
        CREATE VIEW v AS SELECT ';' AS "x;y";
        SELECT lo_from_bytea(10000 + i, 'x') FROM generate_series(1, {N}) i \\g /dev/null
        """

    @pytest.fixture(scope="class")
    def many(self, server, build, tmp_path_factory):
        def database(server):
            db = server.createdb()
            server.load(db, self.SQL.encode())
            return db
        return restoring.backed_up(database, server, build, tmp_path_factory.mktemp("many"))

    @JOBS
    def test_whole(self, server, many, target, jobs):
        many.to(target)
        server.psql(target, "SELECT lo_put(10001, 0, 'mine')")
        result = many.result(target, "--overwrite", "--yes", "--jobs", jobs)
        assert result["one_transaction"] is False
        many.same(target)


class TestThere:
    """--table sees what the target has."""

    def test_key_with_spaces(self, server, backup, target):
        parents = '''
            CREATE TABLE "par ent" (i int CONSTRAINT "its own key" PRIMARY KEY);
            CREATE TABLE par (i int CONSTRAINT "ent its own" UNIQUE);
            INSERT INTO "par ent" VALUES (1); INSERT INTO par VALUES (1);'''
        restore = backup(parents + """
            CREATE TABLE kid (i int REFERENCES "par ent", k int REFERENCES par (i));
            INSERT INTO kid VALUES (1, 1)""")
        server.psql(target, parents)
        restore.to(target, "--yes", "--table", "kid")
        restore.same(target)

    FUNCTIONS = """
        CREATE SCHEMA a;
        CREATE TYPE a."my type" AS (z int);
        CREATE FUNCTION a.f(int, int[], VARIADIC text[]) RETURNS int LANGUAGE sql IMMUTABLE
            AS 'SELECT 1';
        CREATE FUNCTION a."we(ird""'x"(character varying, a."my type", out int) LANGUAGE sql
            IMMUTABLE AS 'SELECT 1';
        CREATE FUNCTION a.none() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; """

    def test_functions(self, server, backup, target):
        """Those of other arguments are others; those that are there are not made again."""
        restore = backup(self.FUNCTIONS + """
            CREATE FUNCTION a.f(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2';
            CREATE FUNCTION a.none(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2';
            CREATE TABLE a.t (i int DEFAULT a.none(), k int DEFAULT a.none(1), x text
                              CHECK (a.f(x) > 0 AND a.f(1, '{2}', x) > 0)
                              CHECK (a."we(ird""'x"(x, ROW(1)::a."my type") > 0));
            INSERT INTO a.t (x) VALUES ('x')""")
        server.psql(target, self.FUNCTIONS)
        restore.to(target, "--yes", "--table", "a.t")
        restore.same(target)
