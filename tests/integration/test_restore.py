"""bakfs-restore: what comes back is what was there, and nothing else is touched."""

import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess

import pytest

import helpers
import pgcompare
import pgfidelity
from restoring import (ALL, JOBS, Restorer, absent, backed_up, make_shop, server, shop,  # noqa: F401
                       target)


class TestWhole:
    @JOBS
    def test_into_an_empty_database(self, shop, target, jobs):
        result = shop.result(target, "--jobs", jobs)
        shop.same(target)
        assert result["tables"] == len(ALL) and result["rows"] == 500 + 3000 + 99 + 200
        assert result["one_transaction"] == (jobs == "1") and result["left_out"] == []
        assert shop.server.psql(target, "SELECT md5(lo_get(4711))") == shop.server.psql(
            shop.source, "SELECT md5(lo_get(4711))")

    @pytest.mark.parametrize("make", [pgfidelity.kitchen_sink, pgfidelity.hostile_names,
                                      pgfidelity.latin1, pgfidelity.empty])
    @JOBS
    def test_every_kind_of_object(self, server, build, tmp_path, make, jobs):
        restore = backed_up(make, server, build, tmp_path)
        try:
            with absent(server) as db:
                restore.to(db, "--create", "--jobs", jobs)
                restore.same(db)
        finally:
            server.drop(restore.source)

    def test_more_than_one_transaction_can_lock(self, server, build, tmp_path):
        restore = backed_up(pgfidelity.thousand_tables, server, build, tmp_path)
        with absent(server) as db:
            done = restore.to(db, "--create", "--json")
            assert "max_locks_per_transaction" in done.stderr
            assert json.loads(done.stdout)["one_transaction"] is False
            restore.same(db)
        server.dropdb(restore.source)

    @JOBS
    def test_create_makes_the_database_like_the_original(self, shop, jobs):
        with absent(shop.server) as db:
            shop.to(db, "--create", "--jobs", jobs)
            shop.same(db)
            assert shop.server.psql(db, "SHOW work_mem") == "5MB"
            # Only the name itself has changed, nothing in the comment's text.
            assert shop.server.psql(db, "SELECT shobj_description(oid, 'pg_database') FROM "
                                    "pg_database WHERE datname = current_database()") == \
                f"of {shop.source}; DATABASE {shop.source} it's"

    def test_create_where_it_exists(self, shop, target):
        shop.server.psql(target, "CREATE TABLE mine ()")
        done = shop.to(target, "--create", exit=1)
        assert "exists" in done.stderr and "--overwrite" in done.stderr
        done = shop.to(target, "--create", "--overwrite", exit=1)
        assert "--yes" in done.stderr
        assert shop.count(target, "mine") == 0
        with shop.server.session(target, "SELECT 1"):
            done = shop.to(target, "--create", "--overwrite", "--yes", exit=1)
            assert "--force" in done.stderr
            assert shop.count(target, "mine") == 0
            shop.to(target, "--create", "--overwrite", "--yes", "--force")
        shop.same(target)

    @JOBS
    def test_overwrite(self, shop, target, jobs):
        shop.to(target)
        shop.server.psql(target, "DELETE FROM other.refs; DROP INDEX shop.orders_customer_idx; "
                         "ALTER TABLE empty ADD a int; CREATE TABLE mine AS SELECT 1 AS a")
        shop.to(target, "--overwrite", "--yes", "--jobs", jobs)
        assert shop.count(target, "mine") == 1
        shop.server.psql(target, "DROP TABLE mine")
        shop.same(target)

    def test_overwrite_stops_at_what_depends_on_it(self, shop, target):
        shop.to(target)
        shop.server.psql(target, "CREATE VIEW mine AS SELECT * FROM shop.customers; "
                         "DELETE FROM other.refs")
        before = shop.dump(target)
        done = shop.to(target, "--overwrite", "--yes", exit=1)
        assert "depend" in done.stderr and "mine" in done.stderr
        pgcompare.same(shop.dump(target), before, "the target after a failed restore")

    def test_refuses_without_yes(self, shop, target):
        shop.server.psql(target, "CREATE TABLE mine ()")
        before = shop.dump(target)
        for args in ((), ("--overwrite",), ("--table", "orders"), ("--jobs", "2")):
            done = shop.to(target, *args, exit=1)
            assert "not empty" in done.stderr and "--yes" in done.stderr
            pgcompare.same(shop.dump(target), before, "the target")
        done = shop.to(target, "--overwrite", "--schema-only", exit=1)
        assert "rows will be gone and not come back" in done.stderr

    def test_what_is_there_already_is_kept(self, shop, target):
        shop.server.psql(target, "CREATE SCHEMA shop; CREATE TABLE shop.customers (mine int)")
        before = shop.dump(target)
        done = shop.to(target, "--yes", exit=1)
        assert "already exists" in done.stderr and "--overwrite" in done.stderr
        pgcompare.same(shop.dump(target), before, "the target")


class TestParts:
    @JOBS
    def test_schema_only_then_data_only(self, shop, target, jobs):
        shop.to(target, "--schema-only", "--jobs", jobs)
        shop.same(target, "--schema-only")
        assert shop.count(target, "shop.orders") == 0
        shop.to(target, "--data-only", "--yes", "--jobs", jobs)
        shop.same(target)

    @JOBS
    def test_data_only_adds_or_replaces(self, shop, target, jobs):
        shop.to(target)
        shop.server.psql(target, "DELETE FROM other.refs WHERE id > 50; "
                         "UPDATE shop.customers SET name = name || '?'")
        done = shop.to(target, "--data-only", "--yes", exit=1)
        assert "--overwrite" in done.stderr
        assert shop.count(target, "other.refs") == 50
        shop.to(target, "--data-only", "--overwrite", "--yes", "--jobs", jobs)
        shop.same(target)

    def test_data_only_into_a_table_with_rows(self, shop, target):
        shop.server.psql(target, "CREATE TABLE parted_1 (id int, v text); "
                         "INSERT INTO parted_1 VALUES (-1, 'mine')")
        shop.to(target, "--data-only", "--table", "parted_1", "--yes")
        assert shop.count(target, "parted_1") == 101

    @JOBS
    def test_schema(self, shop, target, jobs):
        shop.to(target, "--schema", "shop", "--jobs", jobs)
        shop.same(target, "--schema=shop")
        assert shop.server.psql(target, "SELECT to_regclass('other.refs'), "
                                "to_regclass('public.empty')") == "|"
        # With its foreign key to the first, now that this is there.
        shop.to(target, "--schema", "other", "--yes", "--jobs", jobs)
        shop.same(target, "--schema=other")

    @JOBS
    def test_schema_without_what_it_refers_to(self, shop, target, jobs):
        done = shop.to(target, "--schema", "other", "--jobs", jobs, "--json", exit=3)
        (left_out,) = json.loads(done.stdout)["left_out"]
        assert "refs_o_fkey" in left_out["what"] and "shop.orders" in left_out["why"]
        assert "refs_o_fkey" in done.stderr
        assert shop.count(target, "other.refs") == 99

    @JOBS
    def test_tables(self, shop, target, jobs):
        shop.to(target, "--table", "shop.customers", "--table", "orders", "--jobs", jobs)
        # All that belongs to them, the type and function they need, and nothing else.
        pgcompare.same(shop.dump(target, "--schema=shop"),
                       shop.dump(shop.source, "--schema=shop", "--exclude-table=shop.sums"),
                       "the tables restored")
        assert shop.server.psql(target, "SELECT to_regclass('other.refs')") == ""
        assert shop.server.psql(target, "SELECT nextval('shop.customers_id_seq')") == "501"

    def test_table_replaced(self, shop, target):
        shop.to(target)
        shop.server.psql(target, "DELETE FROM other.refs WHERE id % 2 = 0; "
                         "UPDATE shop.customers SET name = 'mine ' || id")
        shop.to(target, "--table", "other.refs", "--overwrite", "--yes")
        assert shop.count(target, "other.refs") == 99
        assert shop.count(target, "shop.customers WHERE name LIKE 'mine %'") == 500
        pgcompare.same(shop.dump(target, "--schema=other"),
                       shop.dump(shop.source, "--schema=other"), "the table restored")

    def test_partitions(self, shop, target):
        shop.to(target, "--table", "parted")
        pgcompare.same(shop.dump(target, "--table=parted*"),
                       shop.dump(shop.source, "--table=parted*"), "the partitioned table")
        shop.server.psql(target, "DROP TABLE parted")
        done = shop.to(target, "--table", "parted_1", exit=3)
        assert "TABLE ATTACH" in done.stderr
        assert shop.count(target, "parted_1") == 100

    def test_no_owner_no_acl(self, server, build, tmp_path):
        """Where the roles are missing."""
        def make(server):
            db = server.createdb()
            server.psql(db, "CREATE ROLE gone; CREATE TABLE t AS SELECT 1 AS a; "
                        "ALTER TABLE t OWNER TO gone; GRANT SELECT ON t TO gone WITH GRANT OPTION; "
                        "CREATE TABLE u (); GRANT SELECT ON u TO gone")
            return db
        restore = backed_up(make, server, build, tmp_path)
        server.dropdb(restore.source)
        server.psql("postgres", "DROP ROLE gone")
        with server.scratch() as db:
            done = restore.to(db, exit=1)
            assert "gone" in done.stderr and "roles.sql" in done.stderr
            assert server.psql(db, "SELECT to_regclass('t')") == ""
            restore.to(db, "--no-owner", exit=1)
            restore.to(db, "--no-owner", "--no-acl")
            assert restore.count(db, "t") == 1

    def test_names_that_are_not_there(self, shop, target):
        assert "no table nope" in shop.to(target, "--table", "nope", exit=1).stderr
        assert "no schema nope" in shop.to(target, "--schema", "nope", exit=1).stderr
        assert "no table" in shop.to(target, "--table", "shop.empty", exit=1).stderr
        shop.to(target, "--table", "a.b.c", exit=2)


class TestCounts:
    @pytest.mark.parametrize("jobs", ["1", "2"])
    def test_rows_that_get_lost(self, shop, target, jobs):
        """A trigger that fires in any case swallows a row: noticed, and taken back where all is
        one transaction."""
        shop.to(target)
        shop.server.psql(target, """
            CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql
                AS $$BEGIN RETURN CASE NEW.id WHEN 7 THEN NULL ELSE NEW END; END$$;
            CREATE TRIGGER swallow BEFORE INSERT ON other.refs FOR EACH ROW
                EXECUTE FUNCTION swallow();
            ALTER TABLE other.refs ENABLE ALWAYS TRIGGER swallow;
            UPDATE other.refs SET self = NULL WHERE id = 9""")
        done = shop.to(target, "--data-only", "--overwrite", "--yes", "--table", "refs", "--jobs",
                       jobs, exit=1)
        assert "other.refs took 98 rows, but the backup has 99" in done.stderr
        if jobs == "1":
            assert shop.count(target, "other.refs WHERE self IS NULL") == 1
        else:
            assert "left half restored" in done.stderr

    def test_rows_that_are_added(self, shop, target):
        """Rows that came from elsewhere are found by the count at the end."""
        shop.to(target)
        shop.server.psql(target, """
            CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql
                AS $$BEGIN IF NEW.id = 7 THEN INSERT INTO public.parted_2 VALUES (150, 'again'); END IF;
                     RETURN NEW; END$$;
            CREATE TRIGGER again BEFORE INSERT ON parted_1 FOR EACH ROW EXECUTE FUNCTION again();
            ALTER TABLE parted_1 ENABLE ALWAYS TRIGGER again""")
        done = shop.to(target, "--data-only", "--overwrite", "--yes", "--table", "parted", exit=1)
        assert "parted_2 has 101 rows, but the backup has 100" in done.stderr
        assert shop.count(target, "parted") == 200


class TestFailures:
    def test_unreachable_and_missing(self, shop, tmp_path):
        done = shop("--to", f"postgresql://x:s3cret@/db?host={tmp_path}", "--retries", "0", exit=1)
        assert "can't reach" in done.stderr and "s3cret" not in done.stderr
        with absent(shop.server) as db:
            assert "--create" in shop.to(db, exit=1).stderr

    def test_usage(self, shop, tmp_path):
        for args in ((), ("--to", "nonsense"), ("--to", "sqlite:"),
                     ("--to", "dbname=x", "--data-only", "--schema-only"),
                     ("--to", "dbname=x", "--schema", "a", "--table", "b"),
                     ("--to", "dbname=x", "--force"), ("--to", f"file:{tmp_path}/x", "--create")):
            assert "hint:" in shop(*args, exit=2).stderr
        assert "holds no sqlite database" in shop("--to", f"sqlite:{tmp_path}/x", exit=1).stderr
        assert not list(tmp_path.iterdir())
        shop("--to", "dbname=x", backup="nope", exit=1)
        helpers.run(shop.program, "--store", tmp_path, "latest", "--to", "dbname=x", exit=10)

    def test_interrupted(self, server, build, tmp_path):
        """What was made goes, what was there stays."""
        def make(server):
            db = server.createdb()
            server.psql(db, "CREATE TABLE t AS SELECT i, md5(i::text) FROM "
                        "generate_series(1, 400000) i")
            return db
        restore = backed_up(make, server, build, tmp_path)
        with absent(server) as fresh, server.scratch() as there:
            replace = ["--create", "--overwrite", "--yes"]
            for db, args in ((fresh, ["--create"]), (there, []), (there, replace)):
                self.interrupt(restore, db, args)
            assert server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = "
                               f"'{fresh}'") == "0"
            assert server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE "
                               "'bakfs%'") == "0"
            assert server.psql(there, "SELECT to_regclass('t')") == ""
        server.dropdb(restore.source)

    def interrupt(self, restore, db, args):
        """Start a restore and press Ctrl-C while it loads rows."""
        argv = (restore.program, "--store", restore.store, "latest", "--to",
                restore.server.socket_dsn(db), *args)
        proc = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, env=helpers.clean_env())
        loading = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' "
                   "AND state = 'active'")
        helpers.wait_until(lambda: proc.poll() is not None or
                           restore.server.psql("postgres", loading) == "1", 30, "rows", 0.005)
        proc.send_signal(signal.SIGINT)
        err = proc.communicate(timeout=60)[1]
        assert proc.returncode == helpers.INTERRUPTED, err
        assert "interrupted" in err

    def test_damage_is_never_restored(self, server, build, tmp_path):
        restore = backed_up(make_shop, server, build, tmp_path)
        packs = restore.store.packs()
        with absent(server) as db:
            for pack in packs:
                size = pack.stat().st_size
                with helpers.flipped(pack, size // 2):
                    done = restore.to(db, "--create", exit=None)
                if done.returncode == 0:  # not a byte that this needs
                    restore.same(db)
                    server.dropdb(db)
                    continue
                assert done.returncode == 1 and "hint:" in done.stderr or "damage" in done.stderr
                assert server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = "
                                   f"'{db}'") == "0"
        server.dropdb(restore.source)

    def test_password_stays_secret(self, pg_tcp, build, store):
        db, other = pg_tcp.createdb(), pg_tcp.createdb()
        pg_tcp.psql(db, "CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i; "
                    "CREATE INDEX ON t (i)")
        store.dump("--quiet", pg_tcp.dsn(db))
        restore = Restorer(build, store, pg_tcp, db)
        done = restore("--to", pg_tcp.dsn(other), "--jobs", "2", "--json")
        assert pg_tcp.password not in done.stdout + done.stderr
        assert restore.count(other, "t") == 1000
        done = restore("--to", pg_tcp.dsn(other, password="wr0ng"), exit=1)
        assert "password" in done.stderr and "wr0ng" not in done.stderr


@pytest.fixture
def lite(build, store, tmp_path):
    source = helpers.make_shop(tmp_path / "shop.db", wal=True)
    store.dump("--quiet", f"sqlite:{source}")
    restore = Restorer(build, store)
    restore.source = source
    return restore


def text_of(path):
    return helpers.run("sqlite3", path, ".dump").stdout


def mode_of(path):
    return helpers.run("sqlite3", path, "PRAGMA journal_mode").stdout.strip()


class TestSqlite:
    def test_whole(self, lite, tmp_path):
        new = tmp_path / "new.db"
        result = json.loads(lite("--to", f"sqlite:{new}", "--json").stdout)
        assert result["tables"] == 2 and result["rows"] == 800
        assert text_of(new) == text_of(lite.source)
        assert mode_of(new) == "wal"
        assert new.stat().st_mode == lite.source.stat().st_mode
        assert sorted(p.name for p in tmp_path.glob("new*")) == ["new.db"]

    def test_rollback_mode_stays(self, build, store, tmp_path):
        store.dump("--quiet", f"sqlite:{helpers.make_shop(tmp_path / 'a.db')}")
        Restorer(build, store)("--to", f"sqlite:{tmp_path}/b.db")
        assert mode_of(tmp_path / "b.db") == "delete"
        assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()

    def test_existing_file(self, lite, tmp_path):
        old = tmp_path / "old.db"
        old.write_text("mine")
        old.chmod(0o640)
        assert "--overwrite" in lite("--to", f"sqlite:{old}", exit=1).stderr
        assert "--yes" in lite("--to", f"sqlite:{old}", "--overwrite", exit=1).stderr
        assert old.read_text() == "mine"
        lite("--to", f"sqlite:{old}", "--overwrite", "--yes")
        assert text_of(old) == text_of(lite.source)
        assert stat.S_IMODE(old.stat().st_mode) == 0o640

    def test_existing_file_in_use(self, lite, tmp_path):
        old = helpers.make_shop(tmp_path / "old.db", customers=3, wal=True)
        with contextlib.closing(sqlite3.connect(old)) as user:
            user.execute("UPDATE customers SET name = 'mine'")
            user.commit()
            done = lite("--to", f"sqlite:{old}", "--overwrite", "--yes", exit=1)
            assert "open in another program" in done.stderr
            assert user.execute("SELECT count(*) FROM customers").fetchone() == (3,)

    def test_a_leftover_wal_is_not_adopted(self, lite, tmp_path):
        """A -wal beside a file that is gone would be replayed into the new one."""
        stray = tmp_path / "new.db-wal"
        stray.write_bytes(b"x" * 100)
        assert "-wal" in lite("--to", f"sqlite:{tmp_path}/new.db", exit=1).stderr
        lite("--to", f"sqlite:{tmp_path}/new.db", "--overwrite", "--yes")
        assert text_of(tmp_path / "new.db") == text_of(lite.source)

    def test_tables(self, lite, tmp_path):
        new = tmp_path / "new.db"
        lite("--to", f"sqlite:{new}", "--table", "orders")
        assert helpers.query(new, "SELECT name FROM sqlite_master ORDER BY 1") == [
            "orders", "orders_customer"]
        lite("--to", f"sqlite:{new}", "--table", "customers", exit=1)
        lite("--to", f"sqlite:{new}", "--table", "customers", "--yes")
        for table in ("orders", "customers"):
            rows = [line for line in text_of(lite.source).splitlines()
                    if line.startswith(f"INSERT INTO {table} ")]
            assert rows and set(rows) <= set(text_of(new).splitlines())

    def test_table_into_the_original(self, lite):
        with contextlib.closing(sqlite3.connect(lite.source)) as db:
            db.execute("DELETE FROM orders WHERE id % 2")
            db.execute("UPDATE customers SET name = 'mine'")
            db.commit()
        to = ("--to", f"sqlite:{lite.source}", "--yes", "--table", "orders")
        assert "already" in lite(*to, exit=1).stderr
        assert helpers.query(lite.source, "SELECT count(*) FROM orders") == ["300"]
        assert "UNIQUE" in lite(*to, "--data-only", exit=1).stderr
        lite(*to, "--data-only", "--overwrite")
        assert helpers.query(lite.source, "SELECT count(*) FROM orders") == ["600"]
        lite(*to, "--overwrite")
        assert helpers.query(lite.source, "SELECT count(*) FROM orders") == ["600"]
        assert helpers.query(lite.source, "SELECT DISTINCT name FROM customers") == ["mine"]

    def test_autoincrement(self, lite, tmp_path):
        """The highest key so far comes with the table, also when its row is gone, and never sinks."""
        path = tmp_path / "auto.db"
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript("""
                CREATE TABLE "it's" (id INTEGER PRIMARY KEY AUTOINCREMENT, x);
                CREATE TABLE gone (id INTEGER PRIMARY KEY AUTOINCREMENT, x);
                INSERT INTO "it's" (x) VALUES (1), (2), (3); DELETE FROM "it's" WHERE id = 3;
                INSERT INTO gone (x) VALUES (1), (2); DELETE FROM gone;
            """)
        lite.store.dump(f"sqlite:{path}", "-c", "default/auto")
        new = tmp_path / "new.db"
        to = ("-c", "default/auto", "--to", f"sqlite:{new}", "--yes", "--table", "it's", "--table",
              "gone")
        lite(*to)
        keys = "SELECT name, seq FROM sqlite_sequence ORDER BY 1"
        assert helpers.query(new, keys) == ["gone|2", "it's|3"]
        with contextlib.closing(sqlite3.connect(new)) as db:
            db.execute("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'gone'")
            db.commit()
        lite(*to, "--data-only", "--overwrite")
        assert helpers.query(new, keys) == ["gone|9", "it's|3"]

    def test_count_of_rows(self, lite, tmp_path):
        """A trigger of the target's own that would swallow rows is kept from firing."""
        new = helpers.make_shop(tmp_path / "new.db", customers=1)
        with contextlib.closing(sqlite3.connect(new)) as db:
            db.executescript("DELETE FROM orders; CREATE TRIGGER t BEFORE INSERT ON orders BEGIN "
                             "SELECT raise(IGNORE); END;")
        lite("--to", f"sqlite:{new}", "--yes", "--table", "orders", "--data-only")
        assert helpers.query(new, "SELECT count(*) FROM orders") == ["600"]

    def test_damage_leaves_nothing(self, lite, tmp_path):
        for pack in lite.store.packs():
            with helpers.flipped(pack, pack.stat().st_size // 3):
                done = lite("--to", f"sqlite:{tmp_path}/new.db", exit=(0, 1))
            if done.returncode == 1:
                assert not list(tmp_path.glob("new*"))
            else:
                (tmp_path / "new.db").unlink()


def listing(path):
    """Names, modes, times and contents below a directory."""
    found = {}
    for directory, dirs, files in os.walk(path):
        for name in dirs + files:
            p = os.path.join(directory, name)
            s = os.lstat(p)
            content = open(p, "rb").read() if stat.S_ISREG(s.st_mode) else None
            found[os.path.relpath(p, path)] = (stat.S_IMODE(s.st_mode), s.st_mtime, content)
    return found


class TestFiles:
    def test_as_mounted(self, lite, mount, tmp_path):
        lite("--to", f"file:{tmp_path}/out")
        with mount(lite.store) as point:
            assert listing(tmp_path / "out") == listing(point.latest())
            assert (tmp_path / "out").stat().st_mtime == point.latest().stat().st_mtime

    def test_postgres_as_mounted(self, shop, mount, tmp_path):
        result = json.loads(shop("--to", f"file:{tmp_path}/out", "--json").stdout)
        with mount(shop.store) as point:
            expected = listing(point.latest())
            assert listing(tmp_path / "out") == expected
            assert stat.S_IMODE((tmp_path / "out/roles.sql").stat().st_mode) == 0o400
        assert result["tables"] == len(ALL)

    def test_not_into_the_store(self, lite, tmp_path, monkeypatch):
        before = helpers.tree_digest(lite.store.path)
        (tmp_path / "link").symlink_to(lite.store.path)
        for target in (lite.store.path, lite.store.path / "new", tmp_path / "link" / "a" / "b",
                       lite.store.path / "packs"):
            assert "in the store" in lite("--to", f"file:{target}", "--overwrite", "--yes",
                                          exit=1).stderr
        monkeypatch.chdir(lite.store.path)
        assert "in the store" in lite("--to", "file:new", exit=1).stderr
        assert helpers.tree_digest(lite.store.path) == before
        lite("--to", f"file:{lite.store.path}2")

    def test_existing_directory(self, lite, tmp_path):
        out = tmp_path / "out"
        out.mkdir()
        lite("--to", f"file:{out}")  # empty
        whole = listing(out)
        assert "--overwrite" in lite("--to", f"file:{out}", exit=1).stderr
        (out / "mine").write_text("mine")
        (out / "restore.sql").chmod(0o644)
        (out / "restore.sql").write_text("changed")
        assert "--yes" in lite("--to", f"file:{out}", "--overwrite", exit=1).stderr
        assert (out / "restore.sql").read_text() == "changed"
        lite("--to", f"file:{out}", "--overwrite", "--yes")
        assert (out / "mine").read_text() == "mine"
        (out / "mine").unlink()
        assert listing(out) == whole

    def test_no_directory(self, lite, tmp_path):
        (tmp_path / "plain").write_text("mine")
        lite("--to", f"file:{tmp_path}/plain", exit=1)
        lite("--to", f"file:{tmp_path}/no/such", exit=1)
        assert (tmp_path / "plain").read_text() == "mine"

    def test_parts(self, shop, tmp_path):
        shop("--to", f"file:{tmp_path}/t", "--table", "orders")
        assert {p for p in listing(tmp_path / "t") if p.endswith(".sql")} == {
            "shop/tables/orders/schema.sql", "shop/tables/orders/data.sql"}
        shop("--to", f"file:{tmp_path}/s", "--schema", "other")
        assert os.listdir(tmp_path / "s") == ["other"]
        assert "other/schema.sql" in listing(tmp_path / "s")

    def test_damage_leaves_nothing(self, lite, tmp_path):
        failed = 0
        for pack in lite.store.packs():
            with helpers.flipped(pack, pack.stat().st_size // 3):
                done = lite("--to", f"file:{tmp_path}/out", exit=(0, 1))
            failed += done.returncode
            if done.returncode:
                assert not list(tmp_path.glob("out*"))
            else:
                helpers.run("rm", "-rf", tmp_path / "out")
        assert failed


def test_one_of_several_databases(server, build, store, tmp_path):
    db = make_shop(server)
    source = helpers.make_shop(tmp_path / "lite.db")
    store.dump("--quiet", server.socket_dsn(db), f"sqlite:{source}")
    restore = Restorer(build, store, server, db)
    restore("--to", f"sqlite:{tmp_path}/new.db")  # the only one of its kind
    assert text_of(tmp_path / "new.db") == text_of(source)
    restore("--to", f"file:{tmp_path}/all")
    assert {db, "lite", "backup.json"} <= set(os.listdir(tmp_path / "all"))
    restore("--to", f"file:{tmp_path}/one", "--database", "lite")
    assert sorted(os.listdir(tmp_path / "one")) == ["lite.db", "main", "restore.sql"]
    done = restore("--to", f"file:{tmp_path}/two", "--table", "orders", exit=2)
    assert "--database" in done.stderr and db in done.stderr
    done = restore("--to", f"sqlite:{tmp_path}/x", "--database", db, exit=1)
    assert "no sqlite database" in done.stderr
    server.dropdb(db)
