"""bakfs-restore --to sqlite: databases that only their application fully understands, odd names."""

import contextlib
import os
import re
import shutil
import sqlite3

import pytest

import helpers
from restoring import Restorer


def application(path):
    """A connection of a program that brings a collation and a function along."""
    db = sqlite3.connect(path, isolation_level=None)
    db.create_collation("backwards", lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))
    db.create_function("turned", 1, lambda text: str(text)[::-1], deterministic=True)
    return contextlib.closing(db)


APPLICATION = {
    "collation": "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE backwards UNIQUE)",
    "collation-of-key": "CREATE TABLE t (a TEXT COLLATE backwards PRIMARY KEY) WITHOUT ROWID",
    "collation-of-index": "CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a COLLATE backwards)",
    "check": "CREATE TABLE t (a TEXT CHECK (turned(a) > '0'))",
    "expression": "CREATE TABLE t (a TEXT); CREATE INDEX i ON t (turned(a))",
    "partial": "CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a) WHERE turned(a) > '2'",
    "generated": "CREATE TABLE t (a TEXT, b TEXT NOT NULL AS (turned(a)))",
    "strict": "CREATE TABLE t (a TEXT, b BLOB NOT NULL AS (CAST(turned(a) AS BLOB))) STRICT",
    "indexed": "CREATE TABLE t (a TEXT, b TEXT AS (turned(a))); CREATE INDEX i ON t (b)",
}


def make(path, schema):
    with application(path) as db:
        db.executescript(schema + "; CREATE TABLE plain (a INTEGER PRIMARY KEY, b TEXT NOT NULL);"
                         "CREATE INDEX plain_b ON plain (b);")
        db.execute("BEGIN")
        db.executemany("INSERT INTO t (a) VALUES (?)", ((f"v{i}",) for i in range(1000)))
        db.executemany("INSERT INTO plain (b) VALUES (?)", ((f"p{i:09}",) for i in range(1000)))
        db.execute("COMMIT")
    return path


@pytest.fixture
def restore(build, store):
    return Restorer(build, store)


@pytest.mark.parametrize("kind", APPLICATION)
class TestApplication:
    def test_comes_back(self, store, restore, tmp_path, kind):
        path, new = make(tmp_path / "app.db", APPLICATION[kind]), tmp_path / "new.db"
        store.dump(f"sqlite:{path}")
        done = restore("--to", f"sqlite:{new}")
        assert "2 tables, 2000 rows" in done.stdout
        (note,) = (line for line in done.stderr.splitlines() if "with the application" in line)
        assert "t (" in note and "plain" not in note
        assert "backwards" in note or "turned" in note
        assert new.read_bytes() == path.read_bytes()
        with application(new) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    @pytest.mark.parametrize("where", ["t", "plain_b"])
    def test_damage_is_still_found(self, store, restore, tmp_path, kind, where):
        path = make(tmp_path / "app.db", APPLICATION[kind])
        with contextlib.closing(sqlite3.connect(path)) as db:
            (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?",
                                 (where,)).fetchone()
        with open(path, "r+b") as f:
            f.seek((page - 1) * 4096 + 12)  # the pointers to its cells
            f.write(b"\xff" * 16)
        store.dump("--no-text", f"sqlite:{path}")
        done = restore("--to", f"sqlite:{tmp_path}/new.db", exit=1)
        assert "damaged" in done.stderr
        assert not list(tmp_path.glob("new*"))

    def test_an_index_that_lacks_a_row(self, store, restore, tmp_path, kind):
        path = make(tmp_path / "app.db", APPLICATION[kind])
        data = path.read_bytes()
        at = data.rindex(b"p000000500")  # the index comes after the table
        path.write_bytes(data[:at] + b"p000000499" + data[at + 10:])
        store.dump(f"sqlite:{path}")
        assert "plain_b" in restore("--to", f"sqlite:{tmp_path}/new.db", exit=1).stderr

    def test_one_table(self, store, restore, tmp_path, kind):
        store.dump(f"sqlite:{make(tmp_path / 'app.db', APPLICATION[kind])}")
        to = ("--to", f"sqlite:{tmp_path}/new.db", "--yes", "--table")
        restore(*to, "plain")
        done = restore(*to, "t", exit=1)
        assert "hint: only the application knows it" in done.stderr
        assert helpers.query(tmp_path / "new.db", "SELECT name FROM sqlite_master") == [
            "plain", "plain_b"]


@pytest.fixture
def shop_restore(restore, store, shop):
    store.dump("--quiet", f"sqlite:{shop}")
    return restore


class TestLink:
    """A symbolic link stays, and what it points to is what is restored."""

    @pytest.fixture
    def real(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "via").mkdir()
        (tmp_path / "via" / "second.db").symlink_to("../real/live.db")
        (tmp_path / "link.db").symlink_to(tmp_path / "via" / "second.db")
        return tmp_path / "real" / "live.db"

    def test_replaced(self, shop_restore, shop, tmp_path, real):
        link = tmp_path / "link.db"
        helpers.make_shop(real, customers=3, wal=True)
        real.chmod(0o600)
        with contextlib.closing(sqlite3.connect(real)) as app:
            app.execute("UPDATE customers SET name = 'mine'")
            app.commit()
            done = shop_restore("--to", f"sqlite:{link}", "--overwrite", "--yes", exit=1)
            assert "open in another program" in done.stderr and str(real) in done.stderr
        assert str(real) in shop_restore("--to", f"sqlite:{link}", exit=1).stderr
        shop_restore("--to", f"sqlite:{link}", "--overwrite", "--yes")
        assert link.is_symlink() and (tmp_path / "via" / "second.db").is_symlink()
        assert real.read_bytes() == shop.read_bytes()
        assert real.stat().st_mode & 0o777 == 0o600
        assert [p.name for p in real.parent.iterdir()] == ["live.db"]

    def test_leftovers_are_beside_the_file(self, shop_restore, shop, tmp_path, real):
        real.with_name("live.db-wal").write_bytes(b"x" * 100)
        done = shop_restore("--to", f"sqlite:{tmp_path}/link.db", exit=1)
        assert f"{real.parent}/" in done.stderr.replace("via/../", "") and "-wal" in done.stderr

    @pytest.mark.parametrize("part", [(), ("--table", "customers")])
    def test_points_to_nothing_yet(self, shop_restore, tmp_path, real, part):
        shop_restore("--to", f"sqlite:{tmp_path}/link.db", *part)
        assert (tmp_path / "link.db").is_symlink()
        assert helpers.query(real, "SELECT count(*) FROM customers") == ["200"]

    def test_in_a_circle(self, shop_restore, tmp_path):
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        assert "hint:" in shop_restore("--to", f"sqlite:{tmp_path}/a", exit=1).stderr


def test_no_file(shop_restore, tmp_path):
    """What can be no database is not replaced."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "place").mkdir()
    for name, what in (("pipe", "regular file"), ("place", "a directory")):
        for args in (("--overwrite",), ("--table", "customers")):
            done = shop_restore("--to", f"sqlite:{tmp_path / name}", "--yes", *args, exit=1)
            assert what in done.stderr and "hint:" in done.stderr


LONG = {
    "fits": "n" * 252,
    "fits-with-its-ending": "n" * 249 + "ü.db",
    "fits-in-wide": "\N{PILE OF POO}" * 63,
    "plain": "n" * 253,
    "cut-before-a-character": "n" * 233 + "ü" + "n" * 19,
    "cut-before-an-escape": "n" * 233 + "%" + "n" * 20,
    "cut-before-an-escape-2": "n" * 232 + "%" + "n" * 20,
    "cut-behind-an-escape": "n" * 231 + "%" + "n" * 20,
    "escapes": "%" * 250,
    "wide": "nn" + "\N{PILE OF POO}" * 63,
    "lines": "new\nline" * 31,
}


@pytest.mark.parametrize("kind", LONG)
def test_long_names(store, restore, mount, tmp_path, kind):
    name = LONG[kind]
    path = helpers.make_shop(tmp_path / "shop.db", customers=20).rename(tmp_path / name)
    store.dump("-c", "a/b", f"sqlite:{path}")
    with mount(store) as mnt:
        (copy,) = (p for p in mnt.latest().iterdir() if p.name.endswith(".db"))
        assert copy.read_bytes() == path.read_bytes()
        length = len(os.fsencode(copy.name))
    assert 250 < length <= 255 and re.fullmatch(
        "[^%]+[.]db" if kind.startswith("fits") else
        "(?:[^%]|%[0-9A-F]{2})+%~[0-9a-f]{16}[.]db", copy.name)
    target = tmp_path / "target"
    target.mkdir()
    restore("--to", f"sqlite:{target / name}")
    assert (target / name).read_bytes() == path.read_bytes()
    restore("--to", f"sqlite:{target / name}", "--overwrite", "--yes")
    assert [p.name for p in target.iterdir()] == [name]


@pytest.mark.parametrize("name", ["new\nline", "\n", 'a"\nCOMMIT;\nb', "it's; --\n /* x", "c\r\nd",
                                  "\nPRAGMA x;\n"])
def test_table_with_line_breaks_in_its_name(store, restore, tmp_path, name):
    path, new = tmp_path / "app.db", tmp_path / "new.db"
    quoted = '"' + name.replace('"', '""') + '"'
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"CREATE TABLE {quoted} (id INTEGER PRIMARY KEY AUTOINCREMENT, {quoted} TEXT)")
        db.executemany(f"INSERT INTO {quoted} VALUES (?, ?)", [
            (1, "x\nCOMMIT;\ny"), (2, name), (3, "';"), (9, "gone")])
        db.execute(f"DELETE FROM {quoted} WHERE id = 9")
        db.commit()
    store.dump(f"sqlite:{path}")
    to = ("--to", f"sqlite:{new}", "--yes", "--table", name)
    restore(*to)
    restore(*to, "--data-only", "--overwrite")
    for query in (f"SELECT * FROM {quoted}", "SELECT * FROM sqlite_sequence",
                  "SELECT name, sql FROM sqlite_master"):
        rows = []
        for file in (path, new):
            with contextlib.closing(sqlite3.connect(file)) as db:
                rows.append(db.execute(query).fetchall())
        assert rows[0] == rows[1] and rows[0]


def test_rows_for_a_table_without_a_counter(store, restore, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as db:
        db.executescript("CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT);"
                         "INSERT INTO t VALUES (5)")
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db")) as db:
        db.executescript("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    store.dump(f"sqlite:{tmp_path}/app.db")
    restore("--to", f"sqlite:{tmp_path}/new.db", "--yes", "--table", "t", "--data-only")
    assert helpers.query(tmp_path / "new.db", "SELECT a FROM t") == ["5"]


@pytest.mark.parametrize("name", [":memory:", "file:x.db?mode=ro", "-x.db", "a b%20'\\"])
def test_names_that_mean_something_to_sqlite(shop_restore, tmp_path, name):
    helpers.make_shop(tmp_path / "old.db", customers=3).rename(tmp_path / name)
    to = ("--to", f"sqlite:{name}", "--yes", "--overwrite")
    shop_restore(*to, "--table", "customers", cwd=tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / name)) as db:
        assert db.execute("SELECT count(*) FROM customers").fetchone() == (200,)
        assert db.execute("SELECT count(*) FROM orders").fetchone() == (9,)
    shop_restore(*to, cwd=tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / name)) as db:
        assert db.execute("SELECT count(*) FROM orders").fetchone() == (600,)


def test_path_too_long_for_sqlite(shop_restore, tmp_path):
    deep = tmp_path / ("d" * 200) / ("e" * 200) / ("f" * 100)
    deep.mkdir(parents=True)
    done = shop_restore("--to", f"sqlite:{deep}/new.db", exit=1)
    assert "too long" in done.stderr and "hint:" in done.stderr
    assert list(deep.iterdir()) == []


def test_not_into_the_store(shop_restore, store):
    before = helpers.tree_digest(store)
    for name in ("metadata.db", "packs/new.db"):
        for part in ((), ("--table", "orders")):
            done = shop_restore("--to", f"sqlite:{store}/{name}", "--yes", "--overwrite", *part,
                                exit=1)
            assert "lies in the store" in done.stderr and "hint:" in done.stderr
    after = helpers.tree_digest(store)
    assert before.keys() == after.keys()


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.parametrize("part", [(), ("--table", "orders")])
def test_where_renaming_can_not_refuse(shop_restore, tmp_path, part):
    """As on NFS. No leak check runs under a tracer."""
    new = tmp_path / "new.db"
    trace = ("strace", "-f", "-o", "/dev/null", "-e", "trace=renameat2", "-e",
             "inject=renameat2:error=EINVAL")
    helpers.run(*trace, shop_restore.program, "--store", shop_restore.store, "latest", "--to",
                f"sqlite:{new}", *part, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert helpers.query(new, "SELECT count(*) FROM orders") == ["600"]
    assert [p.name for p in tmp_path.glob("new*")] == ["new.db"]
