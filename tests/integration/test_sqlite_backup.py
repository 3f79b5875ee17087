"""SQLite databases there and back: dumped while in use, read from the mount with stock tools."""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import textwrap

import pytest

import helpers


def sqlite(path, *sql):
    """Run statements in a connection that is closed at once."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in sql:
            db.executescript(statement)


def shell(path, command):
    """What the sqlite3 program prints, in a process of its own."""
    return helpers.run("sqlite3", "-batch", "-bail", path, command).stdout


def load(script, path):
    with open(script, "rb") as text:
        subprocess.run(["sqlite3", "-batch", "-bail", str(path)], stdin=text, check=True)


def copy_pages(path):
    data = bytearray(pathlib.Path(path).read_bytes())
    data[18:20] = b"\1\1"
    return bytes(data)


ODD = """
    PRAGMA user_version = 7;
    PRAGMA application_id = 99;
    CREATE TABLE p (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, price REAL, b BLOB);
    INSERT INTO p (name, price, b) VALUES ('it''s', 1.5, x'00ff'),
        ('two' || char(10) || 'lines', 0.1, NULL),
        ('cr' || char(13, 10) || '\\n', 1e300, zeroblob(5)), (NULL, -1e999, x'');
    CREATE TABLE w (a TEXT, b INT, c AS (a || b) STORED, PRIMARY KEY (a COLLATE NOCASE DESC, b))
        WITHOUT ROWID;
    INSERT INTO w VALUES ('x', 1), ('b', 2);
    CREATE INDEX wi ON w (c, a, b);
    CREATE VIRTUAL TABLE ft USING fts5 (x);
    INSERT INTO ft VALUES ('hello world'), ('foo');
    CREATE VIEW v AS SELECT * FROM p;
    CREATE TRIGGER tr AFTER INSERT ON p BEGIN INSERT INTO w VALUES (new.name, 1); END;
    CREATE TABLE "we""ird 'na/me" ("select", "a""b");
    INSERT INTO "we""ird 'na/me" VALUES (1, 2);
    CREATE TABLE empty (a);
    ANALYZE;
"""


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_there_and_back(store, mount, tmp_path, mode):
    db = tmp_path / "odd.db"
    sqlite(db, f"PRAGMA journal_mode = {mode}", ODD)
    before = helpers.tree_digest(tmp_path)
    done = store.dump(f"sqlite:{db}")
    after = {k: v for k, v in helpers.tree_digest(tmp_path).items() if not k.startswith("store")}
    assert after == {k: v for k, v in before.items() if not k.startswith("store")}
    assert ("writers wait" in done.stderr) == (mode == "DELETE")
    with mount(store) as mnt:
        top = mnt.latest()
        assert {"odd.db", "restore.sql", "main"} <= set(os.listdir(top))
        assert (top / "odd.db").read_bytes() == copy_pages(db)
        assert helpers.query(top / "odd.db", "PRAGMA integrity_check") == ["ok"]
        load(top / "restore.sql", tmp_path / "new.db")
        tables = set(os.listdir(top / "main" / "tables"))
        assert {"p", "w", "ft", "ft_data", "we\"ird 'na%2Fme", "empty"} <= tables
        # A table's own text loads on its own.
        for name in ("p", "w", "we\"ird 'na%2Fme"):
            one = tmp_path / "one.db"
            one.unlink(missing_ok=True)
            text = (top / "main/tables" / name / "schema.sql").read_text()
            helpers.run("sqlite3", "-bail", one, input=text.split("CREATE TRIGGER")[0])
            load(top / "main/tables" / name / "data.sql", one)
    new = tmp_path / "new.db"
    assert shell(new, ".dump") == shell(db, ".dump")
    assert shell(new, "PRAGMA integrity_check; PRAGMA user_version; PRAGMA application_id") == \
        "ok\n7\n99\n"
    assert shell(new, "SELECT x FROM ft WHERE ft MATCH 'hello'") == "hello world\n"


def test_text_with_zero_bytes(store, mount, tmp_path):
    """The sqlite3 program's own .dump loses what follows the zero."""
    db = tmp_path / "nul.db"
    sqlite(db, "CREATE TABLE t (a);"
               "INSERT INTO t VALUES ('a' || char(0) || 'b' || char(10)), ('x')")
    store.dump(f"sqlite:{db}")
    with mount(store) as mnt:
        load(mnt.latest() / "restore.sql", tmp_path / "new.db")
    values = shell(tmp_path / "new.db", "SELECT typeof(a), hex(a) FROM t")
    assert values == "text|6100620A\ntext|78\n"


def test_unchanged_database_costs_next_to_nothing(store, tmp_path, mount):
    db = helpers.make_shop(tmp_path / "shop.db", customers=5000, wal=True)
    store.dump(f"sqlite:{db}")
    first = {p: p.stat().st_size for p in store.packs()}
    store.dump(f"sqlite:{db}")
    new = [p for p in store.packs() if p not in first]
    assert sum(p.stat().st_size for p in new) <= 32 * 1024
    with mount(store) as mnt:
        (old,) = (mnt / "archive").iterdir()
        assert (old / "shop.db").read_bytes() == (mnt.latest() / "shop.db").read_bytes()


def test_changes_in_the_wal_are_in_the_backup(store, mount, tmp_path):
    """Another process has the database open and its last commits only in the WAL."""
    db = helpers.make_shop(tmp_path / "shop.db", wal=True)
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as app:
        app.execute("PRAGMA wal_autocheckpoint = 0")
        app.execute("UPDATE customers SET name = 'changed' WHERE id = 7")
        wal = (tmp_path / "shop.db-wal").stat().st_size
        main = db.read_bytes()
        assert wal > 0
        store.dump(f"sqlite:{db}")
        assert db.read_bytes() == main
        assert (tmp_path / "shop.db-wal").stat().st_size == wal
        app.execute("UPDATE customers SET name = 'later' WHERE id = 7")
        with mount(store) as mnt:
            copy = mnt.latest() / "shop.db"
            assert helpers.query(copy, "SELECT name FROM customers WHERE id = 7") == ["changed"]
            text = (mnt.latest() / "main/tables/customers/data.sql").read_text()
            assert "(7,'changed'," in text
            assert not list(mnt.latest().glob("shop.db-*"))


WRITER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
n = slowest = 0
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    began = time.monotonic()
    # Both tables change together: a copy in which they differ was torn.
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE a SET v = v + 1 WHERE id = ?", (n % 1000,))
    db.execute("UPDATE b SET v = v + 1 WHERE id = ?", (n * 7 % 1000,))
    db.execute("INSERT INTO log VALUES (NULL, randomblob(200))")
    db.execute("COMMIT")
    n += 1
    slowest = max(slowest, time.monotonic() - began)
    if n % 50 == 0:
        print(n, slowest, flush=True)
"""


@contextlib.contextmanager
def writer(db, code=WRITER):
    proc = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(db)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert proc.stdout.readline() == "ready\n"
        yield proc
    finally:
        proc.kill()
        proc.communicate()


def test_wal_writer_is_never_blocked(store, mount, tmp_path):
    db = tmp_path / "busy.db"
    sqlite(db, "PRAGMA journal_mode = WAL; CREATE TABLE a (id INTEGER PRIMARY KEY, v INT);"
               "CREATE TABLE b (id INTEGER PRIMARY KEY, v INT);"
               "CREATE TABLE log (id INTEGER PRIMARY KEY, x);"
               "WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 999)"
               " INSERT INTO a SELECT i, 0 FROM s; INSERT INTO b SELECT * FROM a;"
               "WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 20000)"
               " INSERT INTO log SELECT NULL, randomblob(500) FROM s;")
    with writer(db) as proc:
        for _ in range(4):
            store.dump(f"sqlite:{db}")
            # With a timeout of 0, any SQLITE_BUSY would have ended it.
            assert proc.poll() is None, proc.stderr.read()
        done = subprocess.run(["sqlite3", str(db), "SELECT sum(v) FROM a"], capture_output=True,
                              text=True)
        assert int(done.stdout) > 0, done.stderr
    with mount(store) as mnt:
        copies = [mnt.latest(), *(mnt / "archive").iterdir()]
        assert len(copies) == 4
        for top in copies:
            copy = top / "busy.db"
            assert helpers.query(copy, "PRAGMA integrity_check") == ["ok"]
            sums = helpers.query(copy, "SELECT (SELECT sum(v) FROM a) - (SELECT sum(v) FROM b)")
            assert sums == ["0"]
        # Text and pages are of the same moment.
        load(mnt.latest() / "restore.sql", tmp_path / "new.db")
        for table in ("a", "b", "log"):
            query = f"SELECT count(*), max(id) FROM {table}"
            assert shell(tmp_path / "new.db", query).split() == \
                helpers.query(mnt.latest() / "busy.db", query)
        query = "SELECT group_concat(v) FROM a"
        assert shell(tmp_path / "new.db", query).split() == \
            helpers.query(mnt.latest() / "busy.db", query)


def test_application_that_comes_and_goes(store, tmp_path):
    """Connections opened for one statement each, as scripts do, with a database at rest between."""
    db = tmp_path / "visits.db"
    sqlite(db, "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    code = """
        import sqlite3, sys
        print("ready", flush=True)
        while True:
            db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
            db.execute("INSERT INTO t VALUES (2)")
            db.close()
    """
    with writer(db, code) as proc:
        for _ in range(8):
            store.dump(f"sqlite:{db}")
            assert proc.poll() is None, proc.stderr.read()
    store.verify()
    assert shell(db, "PRAGMA integrity_check") == "ok\n"


def test_rollback_mode_writer_waits_and_goes_on(store, mount, tmp_path):
    db = helpers.make_shop(tmp_path / "shop.db", customers=20000)
    code = """
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
        print("ready", flush=True)
        while True:
            db.execute("UPDATE customers SET name = 'n' || random() WHERE id = 1")
    """
    with writer(db, code) as proc:
        for _ in range(3):
            assert "writers wait" in store.dump(f"sqlite:{db}").stderr
            assert proc.poll() is None, proc.stderr.read()
    with mount(store) as mnt:
        assert helpers.query(mnt.latest() / "shop.db", "PRAGMA integrity_check") == ["ok"]


def test_crashed_application(store, mount, tmp_path):
    """A WAL without a -shm, and a hot journal: what any reader would see, and nothing lost."""
    wal = tmp_path / "wal.db"
    with contextlib.closing(sqlite3.connect(tmp_path / "w.db", isolation_level=None)) as app:
        app.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a); PRAGMA wal_checkpoint;"
                          "INSERT INTO t VALUES (5)")
        shutil.copy(tmp_path / "w.db", wal)
        shutil.copy(tmp_path / "w.db-wal", tmp_path / "wal.db-wal")
    hot = tmp_path / "hot.db"
    with contextlib.closing(sqlite3.connect(tmp_path / "h.db", isolation_level=None)) as app:
        app.executescript("CREATE TABLE t (a, b); PRAGMA cache_size = 2;"
                          "WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s"
                          " WHERE i < 99) INSERT INTO t SELECT i, zeroblob(2000) FROM s;"
                          "BEGIN; UPDATE t SET a = a + 1000, b = zeroblob(1999)")
        shutil.copy(tmp_path / "h.db", hot)
        shutil.copy(tmp_path / "h.db-journal", tmp_path / "hot.db-journal")
    before = wal.read_bytes(), (tmp_path / "wal.db-wal").read_bytes()
    store.dump(f"sqlite:{wal}", f"sqlite:{hot}")
    assert (wal.read_bytes(), (tmp_path / "wal.db-wal").read_bytes()) == before
    with mount(store) as mnt:
        assert helpers.query(mnt.latest() / "wal/wal.db", "SELECT a FROM t") == ["5"]
        rows = helpers.query(mnt.latest() / "hot/hot.db", "SELECT count(*), max(a) FROM t")
        assert rows == ["100|99"]


def test_no_text(store, mount, shop):
    store.dump("--no-text", f"sqlite:{shop}")
    with mount(store) as mnt:
        names = set(os.listdir(mnt.latest()))
        assert "shop.db" in names and not {"restore.sql", "main"} & names
    assert store.list()[0]["record_count"] == 800


def test_read_only_medium_and_symlink(store, mount, tmp_path):
    """A backup's own copy in the mount can be dumped again, through a symlink too."""
    db = helpers.make_shop(tmp_path / "shop.db", wal=True)
    store.dump(f"sqlite:{db}")
    with mount(store) as mnt:
        first = (mnt.latest() / "shop.db").read_bytes()
        link = tmp_path / "current.sqlite"
        link.symlink_to(mnt.latest() / "shop.db")
        store.dump("--collection", "copy/shop", f"sqlite:{link}")
        helpers.wait_until(lambda: (mnt / "collections/copy").exists(), what="the collection")
        (again,) = (mnt / "collections/copy/shop/latest").iterdir()
        assert (again / "current.db").read_bytes() == first


def peak_memory(argv):
    """Bytes of resident memory that a program used at most."""
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True,"
            " stdout=subprocess.DEVNULL);"
            " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    out = helpers.run(sys.executable, "-c", code, *argv, timeout=300).stdout
    return int(out.split()[-1]) * 1024


@pytest.mark.slow
def test_a_value_of_200_megabytes(build, store, mount, tmp_path):
    db = tmp_path / "large.db"
    size = 200_000_000
    sqlite(db, f"PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
               f"INSERT INTO t VALUES (1, randomblob({size})); INSERT INTO t VALUES (2, 'after')")
    peak = peak_memory([build.dump, "--store", store, "--quiet", f"sqlite:{db}"])
    if "asan" not in str(build.dir):
        assert peak <= (256 << 20) + 4 * size
    with mount(store) as mnt:
        load(mnt.latest() / "restore.sql", tmp_path / "new.db")
    attach = f"ATTACH '{db}' AS old; SELECT count(*) FROM old.t JOIN t USING (id, v)"
    assert shell(tmp_path / "new.db", attach) == "2\n"


@pytest.mark.slow
def test_lock_byte_page(store, mount, tmp_path):
    """Beyond 1 GiB one page is never used, and SQLite's backup interface passes it over."""
    db = tmp_path / "giant.db"
    sqlite(db, "PRAGMA page_size = 65536; CREATE TABLE t (a);"
               "INSERT INTO t VALUES (zeroblob(900000000));"
               "INSERT INTO t VALUES (zeroblob(200000000)); INSERT INTO t VALUES ('end')")
    assert db.stat().st_size > 1 << 30
    store.dump("--no-text", f"sqlite:{db}")
    with mount(store) as mnt:
        helpers.run("cmp", mnt.latest() / "giant.db", db)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_database(build, store, tmp_path):
    peaks = []
    for megabytes in (8, 160):
        db = tmp_path / f"{megabytes}.db"
        sqlite(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b);"
                   "WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
                   f" WHERE i < {megabytes} * 250)"
                   " INSERT INTO t SELECT i, randomblob(4000) FROM s")
        peaks.append(peak_memory([build.dump, "--store", store, "--quiet", f"sqlite:{db}"]))
    if "asan" not in str(build.dir):
        assert peaks[1] <= peaks[0] + (64 << 20)


@pytest.mark.parametrize("options", [[], ["--no-text"]], ids=["text", "no text"])
def test_progress_has_an_estimate(store, big_sqlite, options):
    done = store.dump("--json", "--progress", *options, f"sqlite:{big_sqlite}")
    *events, result = map(json.loads, done.stdout.splitlines())
    assert result["backup_id"] and events
    for event in events:
        assert event["event"] == "progress" and 0 <= event["done"] <= event["total"]
        assert event["total"] == big_sqlite.stat().st_size * (1 if options else 2)
    assert [event["done"] for event in events] == sorted(event["done"] for event in events)
