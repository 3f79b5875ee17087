"""Parts about reading: the mount beside other tools' mounts and plain files, and verification."""

import contextlib
import os
import random
import shutil
import sqlite3
import time

import peers
from bench import MB, MIB, Timed, need, shell
from speed import make_records

TABLE = "public/tables/customers/data.sql"


def read_all(bench, path):
    return bench.time(shell("cat", path) + " >/dev/null")


@contextlib.contextmanager
def squash_image(bench, source):
    """`source` as a squashfs image (zstd, 128 KiB blocks), for the block."""
    image = bench.path(f"{source.name}.squashfs")
    bench.time(shell("mksquashfs", source, image, "-quiet", "-no-progress", "-comp", "zstd",
                     "-Xcompression-level", 3, "-b", "128K"))
    try:
        yield image
    finally:
        image.unlink()


def squash_mounted(bench, image):
    """`image` mounted by squashfuse_ll, for the block; yields the mount point."""
    point = bench.path("squashfs")
    return peers.mounted(bench, ("squashfuse_ll", "-f", image, point), point)


def fresh_mount_reads(bench, store, name, again):
    """Read the file `name` of the latest backup through a fresh mount; a Timed of the first
    read, or of the second when `again`."""
    with bench.mounted(store) as point:
        path = point.latest() / name
        first = read_all(bench, path)
        return read_all(bench, path) if again else first


@contextlib.contextmanager
def plain_rows(bench, store):
    """The shop's rows as a plain file, for the block."""
    plain = bench.path("data.sql")
    with bench.mounted(store) as point:
        bench.time(shell("cp", point.latest() / TABLE, plain))
    yield plain
    plain.unlink()


def sequential(bench, part, store, goal, plain, more):
    """Reads of the shop's rows: the first ones through a fresh mount, second ones, and peers'.
    `plain`: the rows as a file; `more`: names of more sides to functions."""
    need("zstd")
    repeat = bench.options.repeat
    packed = bench.path("data.sql.zst")
    bench.time(shell("zstd", "-3", "-q", plain, "-o", packed))
    size = plain.stat().st_size / MB
    sides = {"zstd -dc": lambda: bench.time(shell("zstd", "-dcq", packed) + " >/dev/null"),
             "bakfs, first": lambda: fresh_mount_reads(bench, store, TABLE, False),
             "bakfs, second": lambda: fresh_mount_reads(bench, store, TABLE, True),
             "cat": lambda: read_all(bench, plain), **more}
    runs = bench.compare(repeat, sides)
    speed = {name: size / r.median() for name, r in runs.items()}
    bench.add(part, f"first read, {size:.0f} MB", speed["bakfs, first"], "MB/s", goal,
              speed["zstd -dc"], "zstd -dc", higher=True, n=repeat,
              detail={name: r.summary() for name, r in runs.items()})
    bench.add(part, "second read", speed["bakfs, second"], "MB/s", 0.8, speed["cat"],
              "cat of a plain file", higher=True, n=repeat)
    for name in more:
        which = "second" if name.endswith(", second") else "first"
        bench.add(part, f"{which} read against {name}", speed[f"bakfs, {which}"], "MB/s", 1.0,
                  speed[name], name, higher=True, n=repeat)
    packed.unlink()


def mount_read(bench):
    """Sequential reads of a store without deltas, beside other tools' mounts."""
    chain = bench.chain
    chain.play_to(0)

    def peer_read(peer):
        point = bench.path(f"{peer.name}-mount")
        with peers.mounted(bench, peer.mount_words(point), point):
            return read_all(bench, peer.file_in(point))

    def squash_read(image, name, again):
        with squash_mounted(bench, image) as point:
            first = read_all(bench, point / name)
            return read_all(bench, point / name) if again else first

    more = {}
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(plain_rows(bench, chain.store))
        if "squashfuse_ll" in bench.peer_names(["squashfuse_ll"]):
            image = stack.enter_context(squash_image(bench, plain))
            more["squashfuse_ll"] = lambda: squash_read(image, plain.name, False)
            more["squashfuse_ll, second"] = lambda: squash_read(image, plain.name, True)
        for name in ("restic", "borg"):
            if name in chain.peers:
                more[f"{name} mount"] = lambda name=name: peer_read(chain.peers[name])
        sequential(bench, "mount-read", chain.store, 0.8, plain, more)


def mount_chain(bench):
    """The same at the end of the days: every chunk is a delta of a delta."""
    chain = bench.chain
    chain.play_to(bench.options.days)
    with plain_rows(bench, chain.store) as plain:
        sequential(bench, "mount-chain", chain.store, 0.5, plain, {})
    with bench.mounted(chain.store) as point:
        read_all(bench, point.latest() / TABLE)
        bench.add("mount-chain", "driver's memory, its cache of 256 MiB included",
                  peak_memory(point.proc.pid) / MIB, "MiB", 128 + 256, ratio_goal=False)


def peak_memory(pid):
    """Bytes, the most the process ever had."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def restore(bench):
    """psql -f restore.sql from the mount, and from a copy on the disk."""
    chain = bench.chain
    chain.play_to(0)
    server = chain.shop.server
    plain = bench.path("restore.sql")
    repeat = min(bench.options.repeat, 5)

    def load(path):
        return bench.time(shell(server.bindir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                                server.socket_dsn("restored"), "-f", path))

    def fresh(name):
        server.dropdb("restored")
        server.createdb("restored")
        server.psql("restored", "CHECKPOINT")

    def from_mount():
        with bench.mounted(chain.store) as point:
            return load(point.latest() / "restore.sql")

    with bench.mounted(chain.store) as point:
        bench.time(shell("cp", point.latest() / "restore.sql", plain))
    runs = bench.compare(repeat, {"disk": lambda: load(plain), "mount": from_mount}, fresh)
    server.dropdb("restored")
    plain.unlink()
    bench.add("restore", "psql -f restore.sql from the mount", runs["mount"].median(), "s", 1.05,
              runs["disk"].median(), "the same file on disk", n=repeat,
              detail={name: r.summary() for name, r in runs.items()})


def random_reads(path, count, seed):
    """Read 8 KiB at random places; a Timed."""
    rng = random.Random(seed)
    fd = os.open(path, os.O_RDONLY)
    try:
        pages = os.fstat(fd).st_size // 8192
        start = time.monotonic()
        for _ in range(count):
            os.pread(fd, 8192, rng.randrange(pages) * 8192)
        return Timed(time.monotonic() - start, 0, 0)
    finally:
        os.close(fd)


def random_queries(path, count, records, seed):
    """Look records of a SQLite database up by key; a Timed."""
    rng = random.Random(seed)
    start = time.monotonic()
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for _ in range(count):
            db.execute("SELECT data FROM records WHERE id = ?",
                       (f"record-{rng.randrange(records):08}",)).fetchone()
    return Timed(time.monotonic() - start, 0, 0)


def mount_sqlite(bench):
    """Random reads and queries in a mounted SQLite database, beside squashfuse_ll."""
    need("squashfuse_ll", "mksquashfs")
    records, count = bench.options.records, 20000
    path = bench.path("records.db")
    db, _ = make_records(path, records, bench.options.seed)
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    store = bench.new_store("records-store")
    bench.time(bench.dump_command(store, f"sqlite:{path}"))

    def ours(read):
        with bench.mounted(store) as point:
            return read(point.latest() / path.name)

    def theirs(image, read):
        with squash_mounted(bench, image) as point:
            return read(point / path.name)

    reads = {"random reads of 8 KiB": lambda p: random_reads(p, count, bench.options.seed),
             "random look-ups by key": lambda p: random_queries(p, count, records,
                                                                bench.options.seed)}
    with squash_image(bench, path) as image:
        for what, read in reads.items():
            runs = bench.compare(bench.options.repeat,
                                 {"squashfuse_ll": lambda read=read: theirs(image, read),
                                  "bakfs": lambda read=read: ours(read)})
            bench.add("mount-sqlite", f"{count:,} {what}, cold", runs["bakfs"].median(), "s", 1.0,
                      runs["squashfuse_ll"].median(), "squashfuse_ll", n=bench.options.repeat,
                      detail={name: r.summary() for name, r in runs.items()})


def verify(bench):
    """A full check after a week of the shop."""
    chain = bench.chain
    day = min(7, bench.options.days)
    chain.play_to(day)
    store = shutil.copytree(chain.store, bench.path("verify-store"))  # a check leaves its mark
    sides = {"bakfs": lambda: bench.time(shell(bench.programs.verify, "-q", "-s", store))}
    for name in ("restic", "borg"):
        if name in chain.peers:
            sides[name] = lambda name=name: bench.time(chain.peers[name].verify_command())
    repeat = min(bench.options.repeat, 5)
    runs = bench.compare(repeat, sides)
    shutil.rmtree(store)
    for name, goal in (("restic", 0.5), ("borg", 1.0)):
        if name in runs:
            bench.add("verify", f"full verify of {day + 1} backups against {name}",
                      runs["bakfs"].median(), "s", goal, runs[name].median(), name, n=repeat,
                      detail={k: r.summary() for k, r in runs.items()})
    if len(runs) == 1:
        bench.add("verify", f"full verify of {day + 1} backups", runs["bakfs"].median(), "s",
                  n=repeat, detail={"bakfs": runs["bakfs"].summary()})
    bench.add("verify", "memory", runs["bakfs"].largest("rss") / MIB, "MiB", n=repeat)
