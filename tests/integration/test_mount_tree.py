"""The mounted tree as programs see it: names, attributes, bytes, listings, and that nothing in it
can be changed."""

import ctypes
import errno
import mmap
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import threading

import pytest

import helpers

DAY = 86400
T0 = 1768487445  # 2026-01-15T14:30:45Z


@pytest.fixture
def two(store, shop):
    """A store with two backups, a day apart."""
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": T0})
    db = sqlite3.connect(shop)
    db.execute("DELETE FROM orders WHERE id % 10 = 0")
    db.commit()
    db.close()
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": T0 + DAY})
    return store


def test_names(two, mount):
    old, new = sorted(two.list(), key=lambda b: b["ordinal"])
    with mount(two) as mnt:
        assert sorted(os.listdir(mnt)) == ["archive", "by-id", "collections", "latest"]
        assert os.listdir(mnt / "latest") == ["latest_2026-01-16T14-30-45Z"]
        assert os.listdir(mnt / "archive") == [old["archive_name"]]
        assert set(os.listdir(mnt / "by-id")) == {old["backup_id"], new["backup_id"]}
        assert os.listdir(mnt / "collections") == ["default"]
        assert os.listdir(mnt / "collections" / "default") == ["shop"]
        below = mnt / "collections" / "default" / "shop"
        assert sorted(os.listdir(below)) == ["archive", "by-id", "latest"]
        for name in os.listdir(below):
            assert os.listdir(below / name) == os.listdir(mnt / name)
        # Every path to a backup shows the same files.
        archived = mnt / "archive" / old["archive_name"]
        for one, other in ((mnt.latest(), mnt / "by-id" / new["backup_id"]),
                           (mnt.latest(), below / "latest" / mnt.latest().name),
                           (archived, mnt / "by-id" / old["backup_id"])):
            helpers.run("diff", "-r", one, other)
        helpers.run("diff", "-r", mnt.latest(), archived, exit=helpers.FAILED)
        # The predecessor's path still resolves, unlisted.
        before = mnt / "latest" / "latest_2026-01-15T14-30-45Z"
        helpers.run("diff", "-r", before, archived)
        for missing in ("latest/nope", "archive/nope", "by-id/nope", "collections/default/nope",
                        "collections/nope", "nope", f"latest/{mnt.latest().name}/nope"):
            assert not os.path.exists(mnt / missing)
        with pytest.raises(OSError) as e:
            os.stat(mnt.latest() / ("x" * 256))
        assert e.value.errno == errno.ENAMETOOLONG


def test_attributes(two, mount):
    with mount(two) as mnt:
        for root, dirs, files in os.walk(mnt):
            for name in files:
                st = os.lstat(os.path.join(root, name))
                assert stat.S_IMODE(st.st_mode) in (0o444, 0o400)
                assert st.st_blocks == (st.st_size + 511) // 512
                assert st.st_blksize == 128 * 1024
                assert st.st_nlink == 1
            st = os.lstat(root)
            assert stat.S_IMODE(st.st_mode) == 0o555
            assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid())
        for path in [mnt.latest(), *mnt.latest().rglob("*")]:
            assert os.lstat(path).st_mtime == T0 + DAY
        (old,) = os.listdir(mnt / "archive")
        for path in [mnt / "archive" / old, *(mnt / "archive" / old).rglob("*")]:
            assert os.lstat(path).st_mtime == T0
        total = os.statvfs(mnt)
        under = os.statvfs(two)  # df shows the space that the store has
        assert (total.f_blocks, total.f_frsize) == (under.f_blocks, under.f_frsize)
        assert 0 < total.f_bavail <= total.f_bfree < total.f_blocks
        assert total.f_namemax == 255
        mounts = [line.split() for line in open("/proc/self/mounts", errors="surrogateescape")]
        (mine,) = [m for m in mounts if m[1] == str(mnt)]
        assert mine[0] == str(two) and mine[2] == "fuse.bakfs"
        assert {"ro", "default_permissions"} <= set(mine[3].split(","))


def test_passwords_are_for_the_owner_only(store, pg, pg_db, mount):
    pg.psql(pg_db, "CREATE TABLE t (a int)")
    store.dump(pg.dsn(pg_db))
    with mount(store) as mnt:
        for path in mnt.latest().rglob("*"):
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o400 if path.name == "roles.sql" else
                            0o555 if path.is_dir() else 0o444), path


def test_no_directory_has_two_paths(two, mount):
    """The kernel would move it to the last one asked for: a shell in latest/ would find itself in
    archive/."""
    with mount(two) as mnt:
        seen = {}
        for root, dirs, files in os.walk(mnt):
            ino = os.lstat(root).st_ino
            assert ino not in seen, f"{root} is {seen[ino]}"
            seen[ino] = root
        inside = [root for root in seen.values() if root.endswith("/main/tables")]
        assert len(inside) == 8
        handles = {root: os.open(root, os.O_RDONLY) for root in inside}
        for root in inside:
            os.listdir(root)
        for root, fd in handles.items():
            assert os.readlink(f"/proc/self/fd/{fd}") == root
            os.close(fd)
        # A file is the same one by every path.
        (old,) = os.listdir(mnt / "archive")
        (name,) = [b["backup_id"] for b in two.list() if b["archive_name"] == old]
        assert os.path.samefile(mnt / "archive" / old / "shop.db", mnt / "by-id" / name / "shop.db")


@pytest.fixture(scope="session")
def original(big_sqlite):
    return big_sqlite.read_bytes()


@pytest.fixture
def big(store, big_sqlite):
    store.dump(f"sqlite:{big_sqlite}")
    return store


def test_random_reads(big, original, mount):
    rng = random.Random(1)
    with mount(big, "-o", "cache_size=8M") as mnt:
        fd = os.open(mnt.latest() / "big.db", os.O_RDONLY)
        size = os.fstat(fd).st_size
        assert size == len(original)
        for _ in range(2000):
            at, length = rng.randrange(size + 1000), rng.choice((1, 13, 4096, 8192, 200000))
            assert os.pread(fd, length, at) == original[at:at + length]
        assert os.pread(fd, 10, size) == b"" and os.pread(fd, 10, size - 3) == original[-3:]
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped:
            for _ in range(500):
                at, length = rng.randrange(size), rng.randrange(1, 9000)
                assert mapped[at:at + length] == original[at:at + length]
        os.close(fd)


def test_direct_reads_of_any_length(big, original, mount):
    """Past the page cache, so that the driver sees the very offsets and lengths."""
    rng = random.Random(2)
    with mount(big) as mnt:
        path = mnt.latest() / "restore.sql"
        whole = path.read_bytes()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        for _ in range(300):
            at, pages = rng.randrange(len(whole)) & ~511, rng.randrange(1, 300)
            buffer = mmap.mmap(-1, pages * 4096)
            n = os.preadv(fd, [buffer], at)
            assert buffer[:n] == whole[at:at + n]
            assert n == min(pages * 4096, len(whole) - at)
        os.close(fd)


def test_many_readers_at_once(big, original, mount):
    wrong = []

    def read(path, seed):
        rng = random.Random(seed)
        with open(path, "rb", buffering=0) as f:
            for _ in range(200):
                at, length = rng.randrange(len(original)), rng.randrange(1, 100000)
                if os.pread(f.fileno(), length, at) != original[at:at + length]:
                    wrong.append((at, length))

    with mount(big, "-o", "cache_size=4M") as mnt:
        threads = [threading.Thread(target=read, args=(mnt.latest() / "big.db", i))
                   for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert wrong == []


def test_sqlite_opens_it_in_place(two, shop, mount):
    with mount(two) as mnt:
        path = mnt.latest() / "shop.db"
        assert helpers.run("sqlite3", path, "PRAGMA integrity_check").stdout == "ok\n"
        assert helpers.query(path, "SELECT count(*) FROM orders") == ["540"]
        helpers.run("sqlite3", path, "DELETE FROM orders", exit=(1, 8))


def test_wide_directories_cost_few_requests(wide_store, mount):
    with mount(wide_store, "-d") as mnt:
        tables = mnt.latest() / "main" / "tables"
        assert len(os.listdir(tables)) == 10000
        first = sum(mnt.requests().values())
        assert first < 100, mnt.requests()
        # `ls -l` after `ls`: the attributes came with the names.
        long = helpers.run("ls", "-l", tables).stdout.splitlines()
        assert len(long) == 10001
        again = mnt.requests()
        assert sum(again.values()) - first < 30, again
        assert again.get("LOOKUP", 0) < 20, again
        assert again.get("GETXATTR", 0) < 3, again
        # Once more: nothing but what the virtual directories on the way cost.
        before = sum(mnt.requests().values())
        helpers.run("ls", "-l", tables)
        assert sum(mnt.requests().values()) - before < 30
        # A name that is missing is asked for once.
        for _ in range(50):
            assert not (tables / "missing").exists()
        assert mnt.requests().get("LOOKUP", 0) < 25


def test_listing_goes_on_at_every_offset(wide_store, two, mount):
    """telldir and seekdir by way of the C library, on directories in backups and virtual ones."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    libc.readdir.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]

    def entry(d):
        p = libc.readdir(d)
        return ctypes.string_at(p + 19) if p else None  # struct dirent: 8 + 8 + 2 + 1 bytes before

    def check(path, step):
        d = libc.opendir(os.fsencode(path))
        assert d
        places, names = [libc.telldir(d)], []
        while (name := entry(d)) is not None:
            names.append(name)
            places.append(libc.telldir(d))
        assert len(set(names)) == len(names)
        assert set(names) == {b".", b"..", *map(os.fsencode, os.listdir(path))}
        order = list(range(0, len(names), step))
        random.Random(3).shuffle(order)
        for i in order:
            libc.seekdir(d, places[i])
            assert entry(d) == names[i]
        libc.closedir(d)

    with mount(two) as mnt:
        for path in ("", "archive", "by-id", "latest", "collections", "collections/default",
                     "collections/default/shop", f"latest/{mnt.latest().name}"):
            check(mnt / path, 1)
    with mount(wide_store) as mnt:
        check(mnt.latest() / "main" / "tables", 37)


@pytest.mark.parametrize("remounted", [False, True])
def test_nothing_can_be_written(two, mount, remounted):
    if remounted and os.getuid() != 0:
        pytest.skip("only root can remount")
    with mount(two) as mnt:
        if remounted:  # past the kernel's own refusal
            helpers.run("mount", "-i", "-o", "remount,rw", mnt)
        before = helpers.tree_digest(mnt.latest())
        file, directory = mnt.latest() / "shop.db", mnt.latest() / "main"
        attempts = [
            lambda: open(file, "r+b"),
            lambda: open(file, "wb"),
            lambda: open(mnt.latest() / "new", "xb"),
            lambda: os.truncate(file, 0),
            lambda: os.unlink(file),
            lambda: os.rmdir(directory),
            lambda: os.mkdir(mnt / "new"),
            lambda: os.mkdir(mnt.latest() / "new"),
            lambda: os.symlink("x", mnt.latest() / "new"),
            lambda: os.link(file, mnt.latest() / "new"),
            lambda: os.mknod(mnt.latest() / "new"),
            lambda: os.rename(file, mnt.latest() / "new"),
            lambda: os.rename(mnt.latest(), mnt / "archive" / "new"),
            lambda: os.chmod(file, 0o644),
            lambda: os.chown(file, 1, 1),
            lambda: os.utime(file),
            lambda: os.setxattr(file, "user.x", b"y"),
            lambda: os.removexattr(file, "user.x"),
        ]
        for i, attempt in enumerate(attempts):
            with pytest.raises(OSError) as e:
                attempt()
            assert e.value.errno == errno.EROFS, f"attempt {i}: {e.value}"
        assert helpers.tree_digest(mnt.latest()) == before


def test_copying_tools(two, mount, tmp_path):
    """tar (with holes looked for), cp and rsync take it for a plain directory."""
    with mount(two) as mnt:
        (tmp_path / "tar").mkdir()
        with subprocess.Popen(["tar", "-C", mnt.latest(), "--sparse", "-cf", "-", "."],
                              stdout=subprocess.PIPE) as tar:
            helpers.run("tar", "-C", tmp_path / "tar", "-xf", "-", stdin=tar.stdout)
        helpers.run("cp", "-r", mnt.latest(), tmp_path / "cp")
        for copy in ("tar", "cp"):
            helpers.run("diff", "-r", mnt.latest(), tmp_path / copy)
        for copy in ("tar", "cp"):
            helpers.run("chmod", "-R", "u+w", tmp_path / copy)
            shutil.rmtree(tmp_path / copy)
