"""SQLite sources that can't be read: a message with a hint, exit 1, nothing written."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile

import pytest

import helpers


@pytest.fixture
def refused(store):
    """refused(path, text…): dumping fails, saying these things, and the store stays as it is."""
    def contents():
        # Damage shows when the store is locked already; its lock file and catalogue hold no data.
        return {k: v for k, v in helpers.tree_digest(store).items()
                if k not in ("lock", "metadata.db")}

    def check(path, *texts):
        before = contents()
        done = store.dump(f"sqlite:{path}", exit=helpers.FAILED)
        for text in (*texts, "hint:"):
            assert text in done.stderr, done.stderr
        assert contents() == before
        assert store.list() == []

    return check


def test_no_database(refused, tmp_path):
    noise = tmp_path / "noise.db"
    noise.write_bytes(os.urandom(8192))
    refused(noise, str(noise), "not a SQLite database", "encrypted")
    text = tmp_path / "text.db"
    text.write_text("hello\n")
    refused(text, str(text), "not a SQLite database")
    refused(tmp_path, str(tmp_path), "directory")
    refused(tmp_path / "absent.db", "absent.db", "No such file")
    os.mkfifo(tmp_path / "fifo.db")
    refused(tmp_path / "fifo.db", "not a regular file")


def test_no_path(build, store):
    done = helpers.run(build.dump, "--store", store, "sqlite:", exit=helpers.USAGE)
    assert "hint:" in done.stderr


@pytest.mark.slow
def test_locked(refused, store, shop):
    db = sqlite3.connect(shop, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    refused(shop, str(shop), "locked")
    db.execute("ROLLBACK")
    db.close()
    store.dump(f"sqlite:{shop}")


def test_lock_that_is_soon_given_up(store, shop):
    """A short exclusive lock is waited for."""
    db = sqlite3.connect(shop, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    proc = subprocess.Popen([store.build.dump, "--store", str(store), f"sqlite:{shop}"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env=helpers.clean_env())
    with pytest.raises(subprocess.TimeoutExpired):
        proc.wait(timeout=1)
    db.execute("ROLLBACK")
    _, err = proc.communicate(timeout=30)
    assert proc.returncode == 0, err
    db.close()


def test_damaged(refused, store, mount, shop):
    pages = shop.stat().st_size // 4096
    with open(shop, "r+b") as f:
        f.seek(4096)
        f.write(b"\xff" * 4096 * (pages - 1))
    refused(shop, str(shop), "damaged", "integrity_check", "--no-text")
    # Whoever wants the pages as they are gets them.
    store.dump("--no-text", f"sqlite:{shop}")
    with mount(store) as mnt:
        assert (mnt.latest() / "shop.db").read_bytes()[100:] == shop.read_bytes()[100:]


def test_cut_short(refused, shop):
    os.truncate(shop, 3 * 4096)
    refused(shop, str(shop), "damaged", "integrity_check")


def test_empty_file_is_an_empty_database(store, mount, tmp_path):
    (tmp_path / "empty.db").touch()
    store.dump(f"sqlite:{tmp_path / 'empty.db'}")
    with mount(store) as mnt:
        assert (mnt.latest() / "empty.db").stat().st_size == 0
        assert list((mnt.latest() / "main/tables").iterdir()) == []
        helpers.run("sqlite3", "-bail", tmp_path / "new.db",
                    f".read {mnt.latest() / 'restore.sql'}")


@pytest.fixture
def public(build):
    """A directory that every user reaches (pytest's own are private), with a program and a store
    in it that every user may use."""
    with tempfile.TemporaryDirectory(prefix="bakfs-test-", dir="/tmp") as name:
        place = pathlib.Path(name)
        place.chmod(0o755)
        shutil.copy(build.dump, place / "bakfs-dump")
        programs = helpers.Programs(build.dir)
        programs.dump = place / "bakfs-dump"
        helpers.run(build.store, "init", "--store", place / "store")
        helpers.run("chmod", "-R", "a+rwX", place / "store")
        yield helpers.Store(programs, place / "store"), place


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_permissions(public, mount):
    store, place = public
    nobody = ["runuser", "-u", "nobody", "--"]

    def refused(path, *texts):
        done = helpers.run(*nobody, store.build.dump, "--store", store, f"sqlite:{path}",
                           exit=helpers.FAILED)
        for text in (str(path), "hint:", *texts):
            assert text in done.stderr, done.stderr
        assert store.list() == []

    data = place / "data"
    data.mkdir()
    db = helpers.make_shop(data / "shop.db")
    db.chmod(0o600)
    refused(db, "Permission denied")
    data.chmod(0o700)
    refused(db, "Permission denied")
    data.chmod(0o755)
    db.chmod(0o644)
    # WAL needs a -shm beside the file, which nobody can't make; a live application's will do.
    wal = helpers.make_shop(data / "wal.db", wal=True)
    refused(wal, "WAL", "-shm")
    assert sorted(os.listdir(data)) == ["shop.db", "wal.db"]
    app = sqlite3.connect(wal, isolation_level=None)
    app.execute("UPDATE customers SET name = 'live' WHERE id = 1")
    helpers.run(*nobody, store.build.dump, "--store", store, f"sqlite:{wal}")
    app.execute("UPDATE customers SET name = 'later' WHERE id = 1")
    app.close()
    with mount(store) as mnt:
        assert helpers.query(mnt.latest() / "wal.db",
                             "SELECT name FROM customers WHERE id = 1") == ["live"]


@pytest.mark.parametrize("name", ["sp ace.db", "a?b&c=d#e.db", "100%41.db", "q'uo\"te.db",
                                  "new\nline.db", ".db", "-x.db", "größe.sqlite"])
def test_odd_paths(store, mount, tmp_path, name):
    db = helpers.make_shop(tmp_path / name, wal=True)
    store.dump("--collection", "a/b", f"sqlite:{db}")
    with mount(store) as mnt:
        (copy,) = mnt.latest().glob("*.db")
        assert helpers.query(copy, "SELECT count(*) FROM customers") == ["200"]


@pytest.fixture
def read_only(tmp_path):
    """A function that makes a file system read-only which holds what a directory holds."""
    point = tmp_path / "medium"
    point.mkdir()
    mounted = []

    def make(directory):
        done = helpers.run("mount", "-t", "tmpfs", "bakfs-test", point, exit=None)
        if done.returncode != 0:
            pytest.skip("file systems can't be mounted here: " + done.stderr.strip())
        mounted.append(point)
        for path in directory.iterdir():
            shutil.copy(path, point)
        helpers.run("mount", "-o", "remount,ro", point)
        return point

    yield make
    for path in mounted:
        helpers.run("umount", "-l", path)


def test_wal_on_a_read_only_medium(refused, store, mount, tmp_path, read_only):
    """Snapshots of file systems are mounted like this. At rest the file is all there is; with
    commits in the WAL and no -shm it can't be read, and must not be read without them."""
    place = tmp_path / "live"
    place.mkdir()
    helpers.make_shop(place / "rest.db", wal=True)
    app = sqlite3.connect(place / "torn.db", isolation_level=None)
    app.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    medium_files = tmp_path / "files"
    medium_files.mkdir()
    for name in ("rest.db", "torn.db", "torn.db-wal"):
        shutil.copy(place / name, medium_files)
    app.close()
    medium = read_only(medium_files)
    refused(medium / "torn.db", "WAL", "-shm")
    store.dump(f"sqlite:{medium / 'rest.db'}")
    with mount(store) as mnt:
        copy = mnt.latest() / "rest.db"
        assert helpers.query(copy, "SELECT count(*) FROM customers") == ["200"]
