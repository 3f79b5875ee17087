"""Reads of many gigabytes through the mount, compared with the files that were backed up."""

import concurrent.futures
import mmap
import os
import random
import shutil
import sqlite3

import pytest

GIB = 1 << 30
FILE_SIZE = 2 * GIB
PER_READER = 2 * GIB  # bytes that each of the readers compares, of each kind of reading
READERS = 4


def make_database(path):
    """Rows that compress to a half, and repeat nowhere."""
    db = sqlite3.connect(path)
    db.executescript("PRAGMA page_size = 8192; PRAGMA synchronous = OFF;"
                     "CREATE TABLE blobs (id INTEGER PRIMARY KEY, changed INT, data BLOB)")
    rng = random.Random(11)
    db.executemany("INSERT INTO blobs VALUES (?, 0, ?)",
                   ((i, rng.randbytes(16000).hex()) for i in range(FILE_SIZE // 33000)))
    db.commit()
    db.close()


def change(path):
    db = sqlite3.connect(path)
    db.execute("UPDATE blobs SET changed = changed + 1 WHERE id % 40 = 7")
    db.commit()
    db.close()


def pread_randomly(mounted, original, seed):
    """Mismatches as (offset, length)."""
    rng, done, wrong = random.Random(seed), 0, []
    a, b = os.open(mounted, os.O_RDONLY), os.open(original, os.O_RDONLY)
    size = os.fstat(b).st_size
    while done < PER_READER:
        at = rng.randrange(size)
        length = rng.choice((1, 511, 4096, 65536, 131072, 1 << 20, 5 << 20))
        if rng.random() < 0.02:  # so that the driver is asked again
            os.posix_fadvise(a, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.pread(a, length, at) != os.pread(b, length, at):
            wrong.append((at, length))
        done += length
    os.close(a)
    os.close(b)
    return wrong


def map_randomly(mounted, original, seed):
    rng, done, wrong = random.Random(seed), 0, []
    with open(mounted, "rb") as a, open(original, "rb") as b, \
            mmap.mmap(a.fileno(), 0, prot=mmap.PROT_READ) as x, \
            mmap.mmap(b.fileno(), 0, prot=mmap.PROT_READ) as y:
        while done < PER_READER:
            at, length = rng.randrange(len(y)), rng.choice((3, 5000, 300000, 4 << 20))
            if x[at:at + length] != y[at:at + length]:
                wrong.append((at, length))
            done += length
    return wrong


@pytest.mark.long
def test_gigabytes(store, mount, tmp_path):
    live = tmp_path / "live.db"
    make_database(live)
    versions = []
    for day in range(3):
        if day > 0:
            change(live)
        store.dump("--no-text", f"sqlite:{live}", env={"BAKFS_TEST_TIME": 1768487445 + 86400 * day},
                   timeout=600)
        versions.append(shutil.copy(live, tmp_path / f"version-{day}.db"))
    with mount(store, "-o", "cache_size=64M") as mnt, \
            concurrent.futures.ProcessPoolExecutor(READERS) as pool:
        mounted = [path / "live.db" for path in sorted((mnt / "archive").iterdir())]
        mounted.append(mnt.latest() / "live.db")
        assert len(mounted) == len(versions)
        jobs = [pool.submit(how, mounted[i % 3], versions[i % 3], i)
                for i in range(READERS) for how in (pread_randomly, map_randomly)]
        assert [job.result() for job in jobs] == [[]] * len(jobs)
        assert mnt.proc.poll() is None and "cannot read" not in mnt.log()
