"""bakfs-restore where something goes wrong or is in the way: what is lost, stays, and is said."""

import contextlib
import json
import sqlite3
import subprocess

import pytest

import helpers
from restoring import (JOBS, Restorer, absent, backed_up, backup, databases, role,  # noqa: F401
                       server, shop, target)


class TestCreateOverwrite:
    """The old database goes only when the new one is complete."""

    def fails(self, server, restore, say, jobs="1"):
        with server.scratch() as db:
            server.psql(db, "CREATE TABLE mine AS SELECT 1 AS a")
            before = databases(server)
            done = restore.to(db, "--create", "--overwrite", "--yes", "--jobs", jobs, exit=1)
            assert say in done.stderr and "as it was" in done.stderr, done.stderr
            assert restore.count(db, "mine") == 1
            assert databases(server) == before

    @JOBS
    def test_restore_fails(self, server, backup, jobs):
        with role(server, "gone"):
            restore = backup("CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t OWNER TO gone")
            server.dropdb(restore.source)
        self.fails(server, restore, "gone", jobs)

    def test_restore_fails_after_a_subscription(self, server, backup):
        """Which keeps a database from being dropped."""
        with role(server, "gone"):
            restore = backup("CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p "
                             "WITH (connect = false, slot_name = NONE); "
                             "CREATE TABLE t (); GRANT SELECT ON t TO gone")
            server.drop(restore.source)
        self.fails(server, restore, "gone", "2")

    def test_owner_is_missing(self, server, backup):
        with role(server, "gone"):
            restore = backup("ALTER DATABASE {db} OWNER TO gone")
            server.dropdb(restore.source)
        self.fails(server, restore, "gone")

    def test_without_being_superuser(self, shop, target):
        with role(shop.server, "plain"):
            shop.server.psql(target, "CREATE TABLE mine ()")
            shop.server.psql("postgres", f"ALTER ROLE plain CREATEDB; "
                             f"ALTER DATABASE {target} OWNER TO plain")
            shop.to(target, "--create", "--overwrite", "--yes", "--no-owner", "--no-acl",
                    user="plain", exit=(0, 3))
            assert shop.count(target, "shop.orders") == 3000
            assert shop.server.psql(target, "SELECT to_regclass('mine')") == ""
            shop.server.dropdb(target)

    @pytest.mark.parametrize("force", [[], ["--force"]])
    def test_belongs_to_another(self, shop, target, force):
        with role(shop.server, "plain"):
            shop.server.psql("postgres", "ALTER ROLE plain CREATEDB")
            before = databases(shop.server)
            done = shop.to(target, "--create", "--overwrite", "--yes", "--no-owner", *force,
                           user="plain", exit=1)
            assert "belongs to postgres" in done.stderr and "as it was" in done.stderr
            assert "connect as postgres" in done.stderr and "--no-owner" not in done.stderr
            assert databases(shop.server) == before

    def test_can_not_be_dropped(self, shop, target):
        """Known before anything is restored."""
        before = databases(shop.server)
        shop.server.psql("postgres", f"ALTER DATABASE {target} IS_TEMPLATE true")
        done = shop.to(target, "--create", "--overwrite", "--yes", "--force", exit=1)
        shop.server.psql("postgres", f"ALTER DATABASE {target} IS_TEMPLATE false")
        assert "template" in done.stderr and "as it was" in done.stderr
        assert databases(shop.server) == before

    @pytest.mark.parametrize("force", [[], ["--force"]])
    def test_used_again_meanwhile(self, server, build, tmp_path, target, force):
        """A session that comes while rows are loaded: the restored database is not thrown away."""
        def make(server):
            db = server.createdb()
            server.psql(db, "CREATE TABLE t AS SELECT i, md5(i::text) FROM "
                        "generate_series(1, 600000) i; COMMENT ON DATABASE " + db + " IS 'ours'")
            return db
        restore = backed_up(make, server, build, tmp_path)
        server.psql(target, "CREATE TABLE mine AS SELECT 1 AS a")
        before = databases(server)
        argv = (restore.program, "--store", restore.store, "latest", "--to",
                server.socket_dsn(target), "--create", "--overwrite", "--yes", *force)
        proc = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, env=helpers.clean_env())
        loading = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%'"
        helpers.wait_until(lambda: proc.poll() is not None or
                           server.psql("postgres", loading) == "1", 30, "rows", 0.005)
        with server.session(target, "SELECT 1"):
            err = proc.communicate(timeout=60)[1]
        if force:
            assert proc.returncode == 0, err
            assert databases(server) == before
            restore.same(target)
        else:
            (new,) = databases(server) - before
            assert proc.returncode == 1 and new in err and "complete" in err
            assert restore.count(target, "mine") == 1
            server.dropdb(target)
            assert "RENAME TO" in err
            server.psql("postgres", f'ALTER DATABASE "{new}" RENAME TO {target}')
            restore.same(target)
        server.dropdb(restore.source)


SETTINGS = """
CREATE TABLE t AS SELECT 1 AS a;
ALTER ROLE bob IN DATABASE {db} SET work_mem = '7MB';
ALTER ROLE ann IN DATABASE {db} SET work_mem = '8MB';
ALTER DATABASE {db} SET lock_timeout = '9s';
ALTER DATABASE {db} SET search_path = 'a''; DROP DATABASE x', '"b;"';
GRANT CREATE ON DATABASE {db} TO bob, ann;
COMMENT ON DATABASE {db} IS 'a; comment';
"""


class TestSettings:
    @pytest.mark.parametrize("exists", [False, True])
    def test_role_is_missing(self, server, backup, exists):
        """A database whose settings can't all be made is kept, with the others."""
        with role(server, "ann"), absent(server) as db:
            with role(server, "bob"):
                restore = backup(SETTINGS)
                server.dropdb(restore.source)
            if exists:
                server.createdb(db)
            done = restore.to(db, "--create", "--overwrite", "--yes", "--json", exit=3)
            left_out = json.loads(done.stdout)["left_out"]
            assert all("bob" in item["why"] for item in left_out)
            # Named by what they will be called, without the value.
            assert {item["what"] for item in left_out} == {
                f'GRANT CREATE ON DATABASE "{db}" TO bob',
                f'ALTER ROLE bob IN DATABASE "{db}" SET work_mem'}
            assert restore.count(db, "public.t") == 1
            assert server.psql(db, "SHOW lock_timeout") == "9s"
            assert server.psql(db, "SHOW search_path") == "\"a'; DROP DATABASE x\", \"\"\"b;\"\"\""
            assert server.psql(db, "SELECT shobj_description(oid, 'pg_database'), "
                               "has_database_privilege('ann', oid, 'CREATE') FROM pg_database "
                               "WHERE datname = current_database()") == "a; comment|t"
            assert server.psql(db, "SELECT setconfig FROM pg_db_role_setting WHERE setrole = "
                               "'ann'::regrole") == "{work_mem=8MB}"

    def test_of_a_part(self, shop):
        with absent(shop.server) as db:
            shop.to(db, "--create", "--table", "parted")
            assert shop.server.psql(db, "SHOW work_mem") == "5MB"
            assert "it's" in shop.server.psql(
                db, "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
                "WHERE datname = current_database()")


SAMPLE = """
CREATE EXTENSION bakfs_sample;
INSERT INTO bakfs_sample.setting VALUES ('mine', 'x', false);
CREATE TABLE t AS SELECT 1 AS a;
"""


class TestDataOnly:
    @JOBS
    def test_tables_of_extensions(self, server, backup, target, jobs):
        """What an extension put into its tables is in no backup, so it is not emptied."""
        restore = backup(SAMPLE)
        keys = "SELECT string_agg(key, ' ' ORDER BY key) FROM bakfs_sample.setting"
        restore.to(target)
        args = ("--data-only", "--overwrite", "--yes", "--jobs", jobs, "--json")
        (left_out,) = json.loads(restore.to(target, *args, exit=3).stdout)["left_out"]
        assert "bakfs_sample.setting" in left_out["what"]
        assert server.psql(target, keys) == "mine theirs"
        server.psql(target, "DELETE FROM bakfs_sample.setting WHERE key = 'mine'")
        restore.to(target, *args)
        assert server.psql(target, keys) == "mine theirs"
        assert restore.count(target, "t") == 1

    def test_a_failure_after_rows_were_added(self, shop, target):
        """The advice is none that would empty tables."""
        shop.to(target)
        shop.server.psql(target, "TRUNCATE shop.customers, parted CASCADE; "
                         "INSERT INTO other.refs VALUES (7, NULL, NULL)")
        done = shop.to(target, "--data-only", "--yes", "--jobs", "2", "--schema", "shop",
                       "--schema", "other", exit=1)
        assert "refs" in done.stderr.splitlines()[0]
        assert "shop.customers" in done.stderr and "twice" in done.stderr
        assert "run it again with --overwrite" not in done.stderr
        assert "give --overwrite" not in done.stderr

    @JOBS
    def test_keys_and_triggers_that_stay_on(self, server, backup, target, jobs):
        """A role that may not switch them off: tables after those they refer to, and said so."""
        restore = backup("""
            CREATE TABLE z (id int PRIMARY KEY);
            CREATE TABLE b (id int PRIMARY KEY, z int REFERENCES z);
            CREATE TABLE a (id int REFERENCES b);
            CREATE TABLE p (id int PRIMARY KEY, a int REFERENCES z) PARTITION BY RANGE (id);
            CREATE TABLE a_1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
            CREATE TABLE "A" (p int REFERENCES p);
            INSERT INTO z SELECT generate_series(1, 500);
            INSERT INTO b SELECT id, id FROM z; INSERT INTO a SELECT id FROM b;
            INSERT INTO p SELECT id, id FROM z; INSERT INTO "A" SELECT id FROM p""")
        with role(server, "plain"):
            restore.to(target, "--schema-only")
            server.psql(target, "GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
            done = restore.to(target, "--data-only", "--yes", "--jobs", jobs, user="plain")
            assert "trigger" in done.stderr and "session_replication_role" in done.stderr
            assert restore.count(target, "a") == restore.count(target, '"A"') == 500

    def test_keys_in_a_circle(self, server, backup, target):
        restore = backup("""
            CREATE TABLE a (id int PRIMARY KEY, b int);
            CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a, b int REFERENCES b);
            ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;
            INSERT INTO a SELECT i FROM generate_series(1, 9) i;
            INSERT INTO b SELECT i, i, 10 - i FROM generate_series(1, 9) i""")
        with role(server, "plain"):
            restore.to(target, "--schema-only")
            server.psql(target, "GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
            restore.to(target, "--data-only", "--yes", user="plain")
            assert restore.count(target, "b") == 9


class TestNeeded:
    """What --table brings along, it brings whole."""

    SQL = """
        CREATE SCHEMA s; COMMENT ON SCHEMA s IS 'a schema'; GRANT USAGE ON SCHEMA s TO ks_reader;
        CREATE SEQUENCE s.counter; SELECT setval('s.counter', 4711) \\g /dev/null
        COMMENT ON SEQUENCE s.counter IS 'counts'; GRANT USAGE ON SEQUENCE s.counter TO ks_reader;
        CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
        COMMENT ON FUNCTION s.f() IS 'one'; REVOKE ALL ON FUNCTION s.f() FROM PUBLIC;
        CREATE TYPE s.mood AS ENUM ('sad'); COMMENT ON TYPE s.mood IS 'a mood';
        GRANT USAGE ON TYPE s.mood TO ks_reader;
        CREATE DOMAIN s.positive AS int; COMMENT ON DOMAIN s.positive IS 'above';
        ALTER DOMAIN s.positive ADD CONSTRAINT above CHECK (VALUE > 0) NOT VALID;
        COMMENT ON CONSTRAINT above ON DOMAIN s.positive IS 'really';
        CREATE TABLE s.t (id int DEFAULT nextval('s.counter'), f int DEFAULT s.f(), m s.mood,
                          p s.positive);
        INSERT INTO s.t VALUES (1, 2, 'sad', 3)"""

    @pytest.mark.parametrize("args", [[], ["--no-acl"], ["--schema-only"]])
    def test_whole(self, backup, target, args):
        restore = backup(self.SQL)
        restore.to(target, "--table", "s.t", *args)
        restore.same(target, "--schema=s", *args)

    @pytest.mark.parametrize("part", [["--table", "t"], ["--schema", "public"]])
    @JOBS
    def test_extensions(self, backup, target, part, jobs):
        """Such as what is needed needs, with their schemas."""
        restore = backup("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; "
                         "CREATE DOMAIN name AS ext.citext; CREATE TABLE t (name public.name); "
                         "INSERT INTO t VALUES ('Ann')")
        restore.to(target, "--jobs", jobs, *part)
        restore.same(target)

    def test_extension_that_the_backup_does_not_tell_of(self, server, build, store, target):
        with server.scratch() as db:
            server.psql(db, "CREATE EXTENSION citext; CREATE TABLE t (name citext)")
            store.dump("--quiet", "--pg-bindir", server.tools, "--table", "t",
                       server.socket_dsn(db))
        (backup,) = store.list()
        done = Restorer(build, store, server).to(target, backup=backup["backup_id"], exit=1)
        assert "citext" in done.stderr and "CREATE EXTENSION" in done.stderr

    def test_in_another_encoding(self, server, backup):
        """The target's catalogue is asked in the backup's encoding."""
        restore = backup("SET client_encoding = utf8; CREATE TYPE \"müde\" AS ENUM ('ja');"
                         "CREATE TABLE t (a \"müde\")", encoding="'LATIN1'", locale="'C'")
        with server.scratch() as db:
            done = restore.to(db, "--table", "t", text=False)
            assert b"missing in the target" in done.stderr
            server.psql(db, "DROP TABLE t")
            done = restore.to(db, "--table", "t", "--yes", text=False)
            assert b"missing" not in done.stderr


class TestSqlite:
    @pytest.fixture
    def lite(self, build, store, tmp_path):
        path = helpers.make_shop(tmp_path / "shop.db")
        store.dump("--quiet", f"sqlite:{path}")
        restore = Restorer(build, store)
        restore.source = path
        return restore

    def test_another_program_idles(self, lite):
        """A program that has the file open without a lock would go on with the old one."""
        before = lite.source.read_bytes()
        with contextlib.closing(sqlite3.connect(lite.source)) as db:
            assert db.execute("SELECT count(*) FROM orders").fetchone() == (600,)
            done = lite("--to", f"sqlite:{lite.source}", "--overwrite", "--yes", exit=1)
            assert "open in another program" in done.stderr and "stop" in done.stderr
        assert lite.source.read_bytes() == before
        lite("--to", f"sqlite:{lite.source}", "--overwrite", "--yes")

    def test_asks_before_it_touches(self, lite):
        """Opening a database rolls a transaction back that a crash left half done."""
        script = ("import os, sqlite3, sys;"
                  "db = sqlite3.connect(sys.argv[1], isolation_level=None);"
                  "db.executescript('PRAGMA cache_size = 5; PRAGMA cache_spill = 5; BEGIN;"
                  "UPDATE orders SET id = id + 100000');"
                  "os._exit(0)")
        helpers.run("/usr/bin/python3", "-c", script, lite.source)
        journal = lite.source.with_name("shop.db-journal")
        before = lite.source.read_bytes(), journal.read_bytes()
        assert before[1]
        done = lite("--to", f"sqlite:{lite.source}", "--overwrite", exit=1)
        assert "--yes" in done.stderr
        assert (lite.source.read_bytes(), journal.read_bytes()) == before
        lite("--to", f"sqlite:{lite.source}", "--overwrite", "--yes")
        assert not journal.exists()
