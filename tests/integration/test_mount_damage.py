"""Damage under a mount: an error for the reader, one line in the log, never other bytes."""

import contextlib
import errno
import os
import re
import signal
import time

import pytest

import helpers


def read(path):
    """The file's bytes as the driver gives them, past the page cache; or the errno."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    except OSError as e:
        return e.errno
    finally:
        os.close(fd)


def test_damaged_chunk(store, big_sqlite, mount):
    store.dump(f"sqlite:{big_sqlite}")
    (backup,) = store.list()
    pack = max(store.packs(), key=lambda p: p.stat().st_size)
    with mount(store) as mnt:
        originals = {name: read(mnt.latest() / name) for name in ("big.db", "restore.sql")}
    assert originals["big.db"] == big_sqlite.read_bytes()
    with mount(store, "-o", "cache_size=1M") as mnt:
        with helpers.flipped(pack, pack.stat().st_size // 2):
            for _ in range(3):
                results = {name: read(mnt.latest() / name) for name in originals}
                assert errno.EIO in results.values()
                for name, got in results.items():
                    assert got in (errno.EIO, originals[name]), name
            bad = next(name for name, got in results.items() if got == errno.EIO)
            lines = [line for line in mnt.log().splitlines() if "cannot read" in line]
            assert len(lines) == 1, lines
            assert f"{backup['archive_name']}/{bad}" in lines[0]
            assert pack.stem in lines[0]
            assert len(re.findall(r"\b[0-9a-f]{64}\b", lines[0])) == 2  # the chunk, too
            # What is not touched is served.
            assert helpers.run("find", mnt).stdout
        # Nothing bad is remembered: once the medium reads well again, so does the file.
        assert {name: read(mnt.latest() / name) for name in originals} == originals


def size(path):
    """The file's size, or None while it can't be had."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def test_missing_pack(store, shop, mount):
    """Each kind of pack gone: what needs it fails, the driver lives, and notices its return."""
    store.dump(f"sqlite:{shop}")
    for pack in store.packs():
        aside = pack.with_suffix(".aside")
        pack.rename(aside)
        with mount(store) as mnt:
            (name,) = os.listdir(mnt / "latest")
            database = mnt / "latest" / name / "shop.db"
            helpers.run("grep", "-r", "x", mnt / "latest" / name, exit=2)
            assert "cannot read" in mnt.log()
            aside.rename(pack)
            mnt.proc.send_signal(signal.SIGHUP)
            helpers.wait_until(lambda: size(database))
            assert helpers.query(database, "PRAGMA quick_check") == ["ok"]
            assert mnt.proc.poll() is None


@contextlib.contextmanager
def entered(path):
    """A descriptor of the directory."""
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("what", ["manifests", "packs", "events", "manifests packs events"])
def test_store_directory_vanishes(store, shop, mount, what):
    """The store's disk goes away for a while: the driver recovers without being told."""
    store.dump(f"sqlite:{shop}")
    rendered = ("SHA256SUMS", "backup.json", "summary.txt")
    aside = store.path / "aside"
    aside.mkdir()
    with mount(store) as mnt, entered(mnt.latest()) as cwd:
        inside = mnt.latest()
        names = set(os.listdir(inside))
        for name in what.split():
            (store.path / name).rename(aside / name)
        mnt.proc.send_signal(signal.SIGHUP)
        # Packs without a backup are damage. With nothing at all the store is an empty one.
        gone = " " in what
        helpers.wait_until(lambda: gone == (not os.listdir(mnt / "latest")))
        time.sleep(0.5)
        assert os.listdir(mnt / "latest") == ([] if gone else [inside.name])
        for name in rendered:
            with contextlib.suppress(OSError):
                os.stat(name, dir_fd=cwd)
        for name in what.split():
            (aside / name).rename(store.path / name)
        helpers.wait_until(lambda: size(inside / "shop.db") and os.listdir(mnt / "latest"), 15)
        assert mnt.latest() == inside
        assert set(os.listdir(inside)) == names
        assert (inside / "shop.db").read_bytes() == shop.read_bytes()
        helpers.wait_until(lambda: all(size(inside / name) for name in rendered), 3)
        for name in rendered:
            assert len((inside / name).read_bytes()) == size(inside / name)


def test_store_is_renamed(store, shop, mount):
    """What is open stays: the files, and the space that `df` tells."""
    store.dump(f"sqlite:{shop}")
    with mount(store) as mnt:
        store.path.rename(store.path.parent / "elsewhere")
        total, under = os.statvfs(mnt), os.statvfs(store.path.parent)
        assert (total.f_blocks, total.f_frsize) == (under.f_blocks, under.f_frsize)
        assert (mnt.latest() / "shop.db").read_bytes() == shop.read_bytes()
