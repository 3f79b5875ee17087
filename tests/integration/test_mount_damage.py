"""Damage under a mount: an error for the reader, one line in the log, never other bytes."""

import errno
import os
import re
import signal

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
    with mount(store, "-o", "cache_size=1M") as mnt:
        path = mnt.latest() / "big.db"
        with helpers.flipped(pack, pack.stat().st_size // 2):
            for _ in range(3):
                results = {p.name: read(p) for p in (path, mnt.latest() / "restore.sql")}
                assert errno.EIO in results.values()
            bad = next(name for name, got in results.items() if got == errno.EIO)
            lines = [line for line in mnt.log().splitlines() if "cannot read" in line]
            assert len(lines) == 1, lines
            assert f"{backup['archive_name']}/{bad}" in lines[0]
            assert pack.stem in lines[0]
            assert len(re.findall(r"\b[0-9a-f]{64}\b", lines[0])) == 2  # the chunk, too
            # What is not touched is served.
            assert helpers.run("find", mnt).stdout
        # Nothing bad is remembered: once the medium reads well again, so does the file.
        assert read(path) == big_sqlite.read_bytes()


def test_missing_pack(store, shop, mount):
    """Each kind of pack gone: what needs it fails, the driver lives."""
    store.dump(f"sqlite:{shop}")
    for pack in store.packs():
        aside = pack.with_suffix(".aside")
        pack.rename(aside)
        with mount(store) as mnt:
            (name,) = os.listdir(mnt / "latest")
            done = helpers.run("cp", "-r", mnt / "latest" / name, "/dev/null/x", exit=None)
            assert done.returncode != 0
            helpers.run("grep", "-r", "x", mnt / "latest" / name, exit=2)
            assert "cannot read" in mnt.log() and pack.stem[:8] in mnt.log() or "no pack" in mnt.log()
            aside.rename(pack)
            mnt.proc.send_signal(signal.SIGHUP)
            helpers.wait_until((mnt / "latest" / name / "shop.db").exists)
            assert helpers.query(mnt / "latest" / name / "shop.db", "PRAGMA quick_check") == ["ok"]
            assert mnt.proc.poll() is None


def test_packs_that_move_are_found_again(store, big_sqlite, mount, tmp_path):
    """As a merge of small packs would move them, seen by a reader with the file open: the same
    chunks under other packs' names."""
    store.dump(f"sqlite:{big_sqlite}")
    original = big_sqlite.read_bytes()
    with mount(store, "-o", "cache_size=1M") as mnt:
        with open(mnt.latest() / "big.db", "rb", buffering=0) as f:
            assert f.read(4096) == original[:4096]
            # A second backup of other content gives the store packs that the mount has yet to see.
            shop = helpers.make_shop(tmp_path / "shop.db")
            store.dump(f"sqlite:{shop}")
            got = b""
            while part := f.read(1 << 20):
                got += part
            assert original[:4096] + got == original


@pytest.mark.parametrize("what", ["manifests", "packs", "events"])
def test_store_directory_vanishes(store, shop, mount, what):
    """The store's disk goes away for a while: the driver keeps what it knows and recovers."""
    store.dump(f"sqlite:{shop}")
    with mount(store) as mnt:
        before = os.listdir(mnt / "by-id")
        (store.path / what).rename(store.path / "elsewhere")
        helpers.wait_until(lambda: os.listdir(mnt / "by-id") in (before, []))
        mnt.proc.send_signal(signal.SIGHUP)
        os.listdir(mnt / "latest")
        (store.path / "elsewhere").rename(store.path / what)
        helpers.wait_until(lambda: os.listdir(mnt / "latest") and
                           os.listdir(mnt / "by-id") == before, 3)
        helpers.wait_until((mnt.latest() / "shop.db").exists)
        assert helpers.query(mnt.latest() / "shop.db", "PRAGMA quick_check") == ["ok"]
