"""SQLite sources that can't be read: a message with a hint, exit 1, nothing written."""

import contextlib
import os
import pathlib
import shutil
import signal
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


def crash(path):
    """A database with half a transaction in it, and its journal."""
    helpers.make_shop(path, customers=4000)
    script = ("import os, sqlite3, sys;"
              "db = sqlite3.connect(sys.argv[1], isolation_level=None);"
              "db.executescript('PRAGMA cache_size = 5; PRAGMA cache_spill = 5; BEGIN;');"
              "db.execute('UPDATE customers SET name = ?', ('torn',));"
              "os._exit(0)")
    before = path.read_bytes()
    helpers.run("/usr/bin/python3", "-c", script, path)
    journal = path.with_name(path.name + "-journal")
    assert path.read_bytes() != before and journal.stat().st_size > 0
    return path, journal


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


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_hot_journal_without_the_right_to_roll_back(public, mount, tmp_path):
    store, place = public
    data = place / "data"
    data.mkdir()
    db, journal = crash(data / "shop.db")

    def refused():
        done = helpers.run("runuser", "-u", "nobody", "--", store.build.dump, "--store", store,
                           f"sqlite:{db}", exit=helpers.FAILED)
        for text in ("middle of a transaction", f"{journal}", "hint: make them writable"):
            assert text in done.stderr, done.stderr

    refused()
    journal.chmod(0o600)
    refused()
    db.chmod(0o666)
    refused()
    journal.chmod(0o666)  # now it can be rolled back, but never removed
    refused()
    assert store.list() == []


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
    """A function that makes a file system read-only which holds what a directory holds; with `bind`
    it is the directory, seen read-only."""
    point = tmp_path / "medium"
    point.mkdir()
    mounted = []

    def make(directory, bind=False):
        what = ("--bind", directory) if bind else ("-t", "tmpfs", "bakfs-test")
        done = helpers.run("mount", *what, point, exit=None)
        if done.returncode != 0:
            pytest.skip("file systems can't be mounted here: " + done.stderr.strip())
        mounted.append(point)
        for path in () if bind else directory.iterdir():
            shutil.copy(path, point)
        helpers.run("mount", "-o", "remount,ro,bind" if bind else "remount,ro", point)
        return point

    yield make
    for path in mounted:
        helpers.run("umount", "-l", path)


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "files"
    path.mkdir()
    return path


def test_hot_journal_on_a_read_only_medium(refused, store, mount, files, read_only):
    """A snapshot that was taken in the middle of a transaction; also where the header asks for
    WAL, as when the journal mode was being changed."""
    db, journal = crash(files / "shop.db")
    helpers.make_shop(files / "wal.db", wal=True)
    shutil.copy(journal, files / "wal.db-journal")
    helpers.make_shop(files / "persist.db")
    (files / "persist.db-journal").write_bytes(bytes(512) + b"what PRAGMA journal_mode=PERSIST left")
    medium = read_only(files)
    for name in ("shop.db", "wal.db"):
        refused(medium / name, "middle of a transaction", f"{medium / name}-journal", "writable")
    store.dump(f"sqlite:{db}")  # where it can be rolled back it is, as by any reader
    with mount(store) as mnt:
        copy = mnt.latest() / "shop.db"
        assert helpers.query(copy, "SELECT count(*) FROM customers WHERE name = 'torn'") == ["0"]
    store.dump(f"sqlite:{medium / 'persist.db'}")


def test_read_only_mount_of_what_is_written_to(store, mount, files, read_only):
    """As a container's volume may be. The writer's locks count."""
    db = helpers.make_shop(files / "shop.db", customers=4000)
    medium = read_only(files, bind=True)
    app = sqlite3.connect(db, isolation_level=None)
    app.executescript("PRAGMA cache_size = 5; PRAGMA cache_spill = 5; BEGIN;"
                      "UPDATE customers SET name = 'new'")
    proc = store.start_dump(f"sqlite:{medium / 'shop.db'}")
    with pytest.raises(subprocess.TimeoutExpired):
        proc.wait(timeout=1)
    app.execute("COMMIT")
    app.close()
    _, err = proc.communicate(timeout=30)
    assert proc.returncode == 0, err
    with mount(store) as mnt:
        assert helpers.query(mnt.latest() / "shop.db", "SELECT DISTINCT name FROM customers") == [
            "new"]


def test_database_at_rest_that_wakes_up(store, files, read_only, big_sqlite):
    """In WAL mode without -shm there are no locks to take: a change has to be noticed."""
    db = files / "big.db"
    shutil.copy(big_sqlite, db)
    with contextlib.closing(sqlite3.connect(db)) as app:
        app.execute("PRAGMA journal_mode = WAL")
    medium = read_only(files, bind=True)
    store.dump("--no-text", f"sqlite:{medium / 'big.db'}")
    before = store.list()
    proc = store.start_dump("--no-text", f"sqlite:{medium / 'big.db'}")

    def is_reading():
        with open(f"/proc/{proc.pid}/io") as io:
            return int(io.readline().split()[1]) > 4 << 20

    helpers.wait_until(is_reading, interval=0.0005)
    proc.send_signal(signal.SIGSTOP)
    with contextlib.closing(sqlite3.connect(db)) as app:
        app.execute("UPDATE blobs SET data = zeroblob(3000)")
        app.commit()
    proc.send_signal(signal.SIGCONT)
    _, err = proc.communicate(timeout=60)
    assert proc.returncode == helpers.FAILED
    assert "changed while it was read" in err and "hint:" in err
    assert store.list() == before


def test_wal_on_a_read_only_medium(refused, store, mount, tmp_path, files, read_only):
    """Snapshots of file systems are mounted like this. At rest the file is all there is; with
    commits in the WAL and no -shm it can't be read, and must not be read without them."""
    place = tmp_path / "live"
    place.mkdir()
    helpers.make_shop(place / "rest.db", wal=True)
    app = sqlite3.connect(place / "torn.db", isolation_level=None)
    app.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    for name in ("rest.db", "torn.db", "torn.db-wal"):
        shutil.copy(place / name, files)
    app.close()
    medium = read_only(files)
    refused(medium / "torn.db", "WAL", "-shm")
    store.dump(f"sqlite:{medium / 'rest.db'}")
    with mount(store) as mnt:
        copy = mnt.latest() / "rest.db"
        assert helpers.query(copy, "SELECT count(*) FROM customers") == ["200"]
