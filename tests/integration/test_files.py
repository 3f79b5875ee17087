"""file: sources: files and directories there and back, alone and beside databases."""

import json
import os
import pathlib
import random
import socket
import sqlite3
import stat
import subprocess

import pytest

import helpers

T0 = 1768487445


@pytest.fixture
def app(tmp_path):
    """A directory with what file systems hold."""
    top = tmp_path / "app"
    (top / "config" / "empty").mkdir(parents=True)
    (top / ".env").write_text("SECRET=1\n")
    (top / ".env").chmod(0o600)
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "nothing").touch()
    (top / "512").write_bytes(b"x" * 512)
    (top / "large").write_bytes(random.Random(3).randbytes(3_000_000))
    (top / "zeros").write_bytes(bytes(2_000_000))
    (top / "line").write_text("no end" * 300_000)
    (top / "config" / "app.config").write_text("<configuration/>\n" * 1000)
    (top / "config" / "odd \\ name\nwith 'line").write_text("odd")
    (top / "config" / "\udcff%2F").write_text("no UTF-8")
    (top / "config" / ("n" * 255)).write_text("long")
    (top / "config" / "relative").symlink_to("../run.sh")
    (top / "absolute").symlink_to("/etc/hostname")
    (top / "dangling").symlink_to("nowhere")
    os.utime(top / "run.sh", (1, 1_000_000_000))
    os.utime(top / "config" / "empty", (1, 1_100_000_000))
    os.utime(top / "dangling", (1, 1_200_000_000), follow_symlinks=False)
    return top


def describe(top):
    """{path: (kind and mode, mtime in seconds, content)} of all below a directory."""
    found = {}
    for root, dirs, files in os.walk(os.fsencode(top)):
        for name in dirs + files:
            path = os.path.join(root, name)
            st = os.lstat(path)
            content = (os.readlink(path) if stat.S_ISLNK(st.st_mode) else
                       pathlib.Path(os.fsdecode(path)).read_bytes() if stat.S_ISREG(st.st_mode)
                       else None)
            found[os.path.relpath(path, os.fsencode(top))] = (st.st_mode, int(st.st_mtime), content)
    return found


def read_only(tree):
    return {path: (mode & ~0o222 if not stat.S_ISLNK(mode) else mode, mtime, content)
            for path, (mode, mtime, content) in tree.items()}


def test_there_and_back(store, app, mount, tmp_path):
    """Names, bytes, modes, times and links: in the mount without the right to write, restored as
    they were."""
    doc = json.loads(store.dump("--json", f"file:{app}").stdout)
    assert doc["includes_files"] and doc["databases"] == [] and not doc["partial"]
    assert doc["files"] == [{"path": "files/app", "connection": f"file:{app}",
                             "size_bytes": doc["size_bytes"], "file_count": doc["file_count"]}]
    assert doc["collection"] == {"namespace": "default", "name": "app"}
    original = describe(app)
    assert doc["size_bytes"] == sum(len(c) for mode, _, c in original.values()
                                    if stat.S_ISREG(mode))
    assert doc["file_count"] == sum(not stat.S_ISDIR(mode) for mode, _, _ in original.values())
    with mount(store) as mnt:
        assert set(os.listdir(mnt.latest())) == {"files", "backup.json", "summary.txt",
                                                 "SHA256SUMS"}
        assert describe(mnt.latest() / "files" / "app") == read_only(original)
        helpers.run("sha256sum", "-c", "--quiet", "SHA256SUMS", cwd=mnt.latest())
        assert f"file:{app}: {doc['file_count']} files" in (mnt.latest() / "summary.txt").read_text()
    store.verify()
    helpers.run(store.build.restore, "--store", store, "latest", "--to", f"file:{tmp_path / 'out'}")
    assert describe(tmp_path / "out" / "files" / "app") == original
    (listed,) = store.list()
    assert listed["includes_files"]


def test_unchanged_files_cost_nothing_and_changed_ones_little(store, app):
    store.dump(f"file:{app}", env={"BAKFS_TEST_TIME": T0})
    again = json.loads(store.dump("--json", f"file:{app}",
                                  env={"BAKFS_TEST_TIME": T0 + 1}).stdout)
    assert again["bytes_new"] == 0
    for name, at in ("large", 1_500_000), ("line", 900_000):
        data = (app / name).read_bytes()
        (app / name).write_bytes(data[:at] + b"some bytes more" + data[at:])
    changed = json.loads(store.dump("--json", f"file:{app}",
                                    env={"BAKFS_TEST_TIME": T0 + 2}).stdout)
    assert 0 < changed["bytes_new"] < 20_000
    store.verify()


def test_pages_of_a_database_file(store, tmp_path):
    """A SQLite file that nobody writes may be backed up as a file; a changed page costs a page."""
    path = tmp_path / "idle.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
    rng = random.Random(1)
    db.executemany("INSERT INTO t VALUES (?, ?)", ((i, rng.randbytes(3000)) for i in range(2000)))
    db.commit()
    store.dump(f"file:{path}", env={"BAKFS_TEST_TIME": T0})
    db.execute("UPDATE t SET x = zeroblob(3000) WHERE id = 1000")
    db.commit()
    db.close()
    doc = json.loads(store.dump("--json", f"file:{path}", env={"BAKFS_TEST_TIME": T0 + 1}).stdout)
    assert doc["bytes_new"] < 30_000


def test_beside_databases(store, shop, app, mount, tmp_path):
    """One database keeps the root; several get directories. Names that repeat get --2."""
    other = helpers.make_shop(tmp_path / "other.db")
    (tmp_path / "deep" / "app" / "tables" / "no table").mkdir(parents=True)
    (tmp_path / "deep" / "app" / "second").write_text("2")
    paths = [f"file:{app}", f"file:{tmp_path}/deep/app/"]
    one = json.loads(store.dump("--json", f"sqlite:{shop}", *paths).stdout)
    assert one["collection"]["name"] == "shop"
    with mount(store) as mnt:
        assert {"shop.db", "main", "restore.sql", "files"} < set(os.listdir(mnt.latest()))
        assert os.listdir(mnt.latest() / "files") == ["app", "app--2"]
        assert (mnt.latest() / "files" / "app--2" / "second").read_text() == "2"
    two = json.loads(store.dump("--json", paths[0], f"sqlite:{shop}", f"sqlite:{other}",
                                "-c", "default/two").stdout)
    assert [d["path"] for d in two["databases"]] == ["shop", "other"]
    with mount(store, "-o", "collection=default/two") as mnt:
        assert {"shop", "other", "files"} < set(os.listdir(mnt.latest()))
    # the database can be restored without the files
    helpers.run(store.build.restore, "--store", store, one["backup_id"], "--to",
                f"sqlite:{tmp_path / 'restored.db'}")
    assert helpers.query(tmp_path / "restored.db", "PRAGMA integrity_check") == ["ok"]
    store.verify()


def test_a_schema_called_files(store, pg, pg_db, app, mount):
    pg.psql(pg_db, "CREATE SCHEMA files; CREATE TABLE files.t (a int);"
                   "INSERT INTO files.t VALUES (7)")
    (app.parent / "tables" / "none").mkdir(parents=True)
    store.dump(pg.dsn(pg_db), f"file:{app}", f"file:{app.parent}/tables")
    with mount(store) as mnt:
        assert {"%66iles", "files"} < set(os.listdir(mnt.latest()))
        assert "7" in (mnt.latest() / "%66iles" / "tables" / "t" / "data.sql").read_text()
        assert (mnt.latest() / "files" / "app" / "run.sh").exists()
    pg.psql(pg_db, "DROP SCHEMA files CASCADE")
    helpers.run(store.build.restore, "--store", store, "latest", "--to", pg.dsn(pg_db), "--table",
                "files.t")
    helpers.run(store.build.restore, "--store", store, "latest", "--to", pg.dsn(pg_db), "--table",
                "files.none", "--yes", exit=helpers.FAILED)
    assert pg.psql(pg_db, "SELECT a FROM files.t").strip() == "7"


def test_what_is_left_out(build, app, mount):
    """The store itself, databases backed up beside it, what is no file, and mounted stores: noted,
    and nothing lacks."""
    helpers.run(build.store, "init", "--store", app / "store")
    store = helpers.Store(build, app / "store")
    shop = helpers.make_shop(app / "shop.db", wal=True)
    writer = sqlite3.connect(shop)
    writer.execute("UPDATE customers SET name = 'x' WHERE id = 1")
    writer.commit()
    assert (app / "shop.db-wal").exists()
    os.mkfifo(app / "pipe")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(app / "socket"))
    done = store.dump(f"sqlite:{shop}", f"file:{app}")
    writer.close()
    for name, why in (("store", "the store itself"), ("shop.db", "belongs to a database"),
                      ("shop.db-wal", "belongs to a database"), ("pipe", "no file"),
                      ("socket", "no file")):
        assert any(f"files/app/{name} " in line and why in line
                   for line in done.stderr.splitlines()), done.stderr
    with mount(store) as mnt:
        names = set(os.listdir(mnt.latest() / "files" / "app"))
        assert not names & {"store", "shop.db", "shop.db-wal", "shop.db-shm", "pipe", "socket"}
        assert not json.loads((mnt.latest() / "backup.json").read_text())["partial"]
        assert stat.S_ISDIR(os.lstat(mnt).st_mode)
        done = store.dump(f"file:{pathlib.Path(mnt).parent}", "-c", "default/around")
        assert "is a mounted bakfs store: left out" in done.stderr


def as_nobody(*argv, **kwargs):
    return helpers.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv,
                       **kwargs)


def test_unreadable_files(build, app, mount, tmp_path_factory):
    """A dump without them fails before anything is written, and names them; on request they are
    left out."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    base = tmp_path_factory.mktemp("nobody")
    for path in (base, *base.parents, *app.parents):
        if path.stat().st_uid == os.getuid() and len(path.parts) > 2:
            path.chmod(path.stat().st_mode | 0o111)
    os.chown(base, 65534, 65534)
    as_nobody(build.store, "init", "--store", base / "store")
    store = helpers.Store(build, base / "store")
    (app / "config").chmod(0o700)
    before = helpers.tree_digest(store.path)
    done = as_nobody(build.dump, "--store", store, f"file:{app}", exit=helpers.FAILED)
    assert "2 files or directories can't be read" in done.stderr
    assert "files/app/.env (Permission denied)" in done.stderr
    assert "files/app/config (Permission denied)" in done.stderr
    assert "hint:" in done.stderr and "--skip-unreadable" in done.stderr
    assert helpers.tree_digest(store.path) == before
    done = as_nobody(build.dump, "--store", store, "--json", "--skip-unreadable", f"file:{app}",
                     exit=helpers.PARTIAL)
    doc = json.loads(done.stdout)
    assert doc["partial"]
    assert doc["left_out"] == [{"what": "files/app/.env", "why": "Permission denied"},
                               {"what": "files/app/config", "why": "Permission denied"}]
    with mount(store) as mnt:
        (name,) = os.listdir(mnt / "archive")
        names = os.listdir(mnt / "archive" / name / "files" / "app")
        assert "run.sh" in names and ".env" not in names and "config" not in names


def test_a_file_that_changes_meanwhile(store, tmp_path):
    """Read again once, then stored as it was read, which is said."""
    path = tmp_path / "log"
    path.write_bytes(random.Random(1).randbytes(60_000_000))
    with subprocess.Popen(["sh", "-c", f"while :; do echo more >>'{path}'; done"]) as writer:
        try:
            result = store.dump(f"file:{path}")
        finally:
            writer.kill()
    assert "files/log changed while it was read" in result.stderr
    store.verify()


def test_bad_input(store, tmp_path):
    before = helpers.tree_digest(store.path)
    os.mkfifo(tmp_path / "pipe")
    deep = tmp_path / "deep"
    deep.joinpath(*["d"] * 70).mkdir(parents=True)
    for source, code, text in (
            ("file:", helpers.USAGE, "not followed by a path"),
            (f"file:{tmp_path}/none", helpers.FAILED, "No such file"),
            (f"file:{tmp_path}/pipe", helpers.FAILED, "no file and no directory"),
            (f"file:{deep}", helpers.FAILED, "nested too deep")):
        done = store.dump(source, exit=code)
        assert text in done.stderr and done.stderr.count("bakfs-dump:") == 1
    assert helpers.tree_digest(store.path) == before


def test_interrupted(store, tmp_path):
    """Nothing is committed."""
    (tmp_path / "big").mkdir()
    for i in range(20):
        (tmp_path / "big" / str(i)).write_bytes(random.Random(i).randbytes(20_000_000))
    dump = store.start_dump(f"file:{tmp_path / 'big'}")
    helpers.wait_until(lambda: list((store.path / "tmp").iterdir()), what="a pack being written")
    dump.terminate()
    _, text = dump.communicate(timeout=60)
    assert dump.returncode == helpers.INTERRUPTED, text
    assert store.list() == []
