"""Parts about time and memory of dumps: full and daily dumps, SQLite, the catalogue, memory."""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time

import peers
from bench import MIB, BenchError, Timed, shell
from shop import Shop

PEERS = ("restic", "borg")  # casync can't read a pipe


def dump_speed(bench):
    """A first dump into an empty store beside reading the table and nothing else, and beside
    whole pipelines of other tools."""
    chain = bench.chain
    chain.play_to(0)
    server, dsn = chain.shop.server, chain.shop.dsn
    target = bench.path("target")
    pg_dump = server.bindir / "pg_dump"

    def peer_dump(name):
        return peers.ALL[name](bench, target).store(chain.pg_dump(), "one")

    def fresh(name):
        bench.time(shell("rm", "-rf", target))
        if name == "bakfs":
            bench.new_store("target")

    sides = {"COPY": lambda: bench.time(chain.copy()),
             "bakfs": lambda: bench.time(bench.dump_command(target, dsn)),
             "pg_dump": lambda: bench.time(chain.pg_dump()),
             "pg_dump -Fc": lambda: bench.time(shell(pg_dump, "-d", dsn, "-Fc", "-f", target)),
             "pg_dump -Fd -j2": lambda: bench.time(shell(pg_dump, "-d", dsn, "-Fd", "-j2", "-f",
                                                         target))}
    for name in bench.peer_names(PEERS):
        sides[f"pg_dump | {name}"] = lambda name=name: peer_dump(name)
    runs = bench.compare(bench.options.repeat, sides, fresh)
    fresh("")
    own = runs["bakfs"]
    n = bench.options.repeat
    detail = {name: r.summary() for name, r in runs.items()}
    bench.add("dump-speed", "full dump", own.median(), "s", 1.5, runs["COPY"].median(),
              "COPY to /dev/null", n=n, detail=detail)
    for name in sides:
        if name not in ("COPY", "bakfs", "pg_dump"):
            bench.add("dump-speed", f"full dump against {name}", own.median(), "s", 1.0,
                      runs[name].median(), name, n=n)
    bench.add("dump-speed", "full dump, processor time", own.median("cpu"), "s",
              limit=runs["COPY"].median("cpu"), peer="COPY", n=n)
    bench.add("dump-speed", "full dump, memory", own.largest("rss") / MIB, "MiB", 256,
              ratio_goal=False, n=n)


def delta_cost(bench):
    """What looking for bases costs where there are none: a database first seen, and one of which
    every row was replaced, with deltas and with --no-deltas."""
    server, rows = bench.server, bench.options.rows
    dsn = server.socket_dsn(server.createdb("rewritten"))
    target, base = bench.path("target"), bench.path("rewritten-store")

    def fill():
        server.psql("rewritten", f"""
            DROP TABLE IF EXISTS t;
            CREATE TABLE t AS SELECT gen_random_uuid() AS id, md5(random()::text) AS a,
                   repeat(md5(random()::text), 2) AS b, random() AS c, now() AS d
            FROM generate_series(1, {rows}); VACUUM ANALYZE t""", timeout=600)

    def fresh(name):
        shutil.rmtree(target, ignore_errors=True)
        if base.exists():
            shutil.copytree(base, target)
        else:
            bench.new_store("target")

    sides = {"with": lambda: bench.time(bench.dump_command(target, dsn)),
             "without": lambda: bench.time(bench.dump_command(target, dsn, "--no-deltas"))}
    for what in ("first seen", "wholly rewritten"):
        fill()
        runs = bench.compare(bench.options.repeat, sides, fresh)
        for how, key in (("", "wall"), (", processor time", "cpu")):
            bench.add("delta-cost", f"dump of a database {what}{how}", runs["with"].median(key),
                      "s", 1.03, runs["without"].median(key), "with --no-deltas",
                      n=bench.options.repeat,
                      detail={name: r.summary() for name, r in runs.items()})
        if what == "first seen":
            fresh("")
            sides["with"]()
            shutil.move(target, base)
    server.dropdb("rewritten")
    for store in (target, base):
        shutil.rmtree(store)


def daily_speed(bench):
    """A day's dump of a table of 2.5 GB beside reading it and nothing else."""
    rows, days = bench.options.big
    shop = Shop(bench.server, rows, bench.options.seed, "big")
    bench.log(f"{rows} rows are there")
    store = bench.new_store("big-store")
    dump = bench.dump_command(store, shop.dsn, "--collection", "default/big")
    copy = shell(shop.server.bindir / "psql", "-X", "-q", "-d", shop.dsn, "-c",
                 "COPY customers TO STDOUT")
    first = bench.compare(1, {"COPY": lambda: bench.time(copy), "bakfs": lambda: bench.time(dump)})

    def new_day(name):
        if name == "COPY":
            shop.next_day()

    runs = bench.compare(days, {"COPY": lambda: bench.time(copy),
                                "bakfs": lambda: bench.time(dump)}, new_day)
    bench.server.dropdb("big")
    shutil.rmtree(store)
    bench.add("daily-speed", f"first dump, {rows:,} rows", first["bakfs"].median(), "s", 1.5,
              first["COPY"].median(), "COPY to /dev/null")
    bench.add("daily-speed", f"daily dump, {rows:,} rows", runs["bakfs"].median(), "s", 1.15,
              runs["COPY"].median(), "COPY to /dev/null", n=days,
              detail={name: r.summary() for name, r in runs.items()})
    bench.add("daily-speed", "daily dump, memory", runs["bakfs"].largest("rss") / MIB, "MiB", 256,
              ratio_goal=False, n=days)


def memory(bench):
    """Peak memory of the writer against the amount of data and the largest row. The data is
    generated by the server: values that it keeps compressed."""
    server = bench.server
    db = server.createdb("stream")
    server.psql(db, "CREATE TABLE stream (id bigint, value text)")
    value = 4096 * 32  # bytes of a value as COPY prints it
    found, rows = [], 0
    for size in bench.options.memory:
        wanted = max(1, round(size * 1e9 / value))
        server.psql(db, f"""SET jit = off; INSERT INTO stream
                            SELECT i, repeat(md5(i::text), 4096)
                            FROM generate_series({rows + 1}, {wanted}) AS i;""", timeout=3600)
        rows = wanted
        store = bench.new_store("stream-store")
        run = bench.time(bench.dump_command(store, server.socket_dsn(db)))
        shutil.rmtree(store)
        bench.log(f"{size} GB: {run.rss / MIB:.0f} MiB, {run.wall:.1f} s")
        found.append(run.rss)
        bench.add("memory", f"dump of {size:g} GB", run.rss / MIB, "MiB", 256, ratio_goal=False)
    bench.add("memory", "largest amount against smallest", found[-1] / MIB, "MiB", 1.25,
              found[0] / MIB, "smallest amount")

    row = bench.options.large_row
    server.psql(db, "DROP TABLE stream")
    server.psql(db, f"CREATE TABLE large AS SELECT repeat(md5('x'), {row // 32}) AS value",
                timeout=600)
    store = bench.new_store("stream-store")
    run = bench.time(bench.dump_command(store, server.socket_dsn(db)))
    shutil.rmtree(store)
    server.dropdb(db)
    bench.add("memory", f"dump of one row of {row / 1e6:g} MB", run.rss / MIB, "MiB",
              256 + 4 * row / MIB, ratio_goal=False)


class LibraryBackups:
    """A process that makes a backup through the library at every call."""

    def __init__(self, bench, store, source):
        self.proc = subprocess.Popen([str(bench.helper("bench-backup")), str(store), source],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     env=bench.env(), start_new_session=True)
        bench.children.add(self.proc)
        self.bench = bench

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.stdin.close()
        self.proc.wait(timeout=60)
        self.proc.stdout.close()
        self.bench.children.discard(self.proc)

    def __call__(self):
        self.proc.stdin.write("\n")
        self.proc.stdin.flush()
        line = self.proc.stdout.readline()
        if not line:
            raise BenchError("a backup through the library failed")
        return Timed(float(line), 0, 0)


def copy_and_sync(source, target):
    start = time.monotonic()
    shutil.copyfile(source, target)
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return Timed(time.monotonic() - start, 0, 0)


def make_records(path, count, seed):
    """A collection as the tools that keep records in SQLite have it, about 300 bytes a record; the
    open connection, in WAL mode."""
    rng = random.Random(seed)
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE records (id TEXT PRIMARY KEY, data TEXT NOT NULL, updated INTEGER)")
    db.executemany("INSERT INTO records VALUES (?, ?, ?)", (
        (f"record-{i:08}", json.dumps({"n": i, "key": rng.randbytes(16).hex(),
                                       "text": " ".join(f"word{rng.randrange(2000)}"
                                                        for _ in range(24))}), i)
        for i in range(count)))
    db.commit()
    return db, rng


def sqlite(bench):
    """Backups of small SQLite databases by library call, each after some records changed, beside
    a copy and fsync of the file."""
    repeat = max(bench.options.repeat, 9)
    for count, goal in ((100, 5), (1000, 10), (10000, 50)):
        path, target = bench.path(f"records-{count}.db"), bench.path(f"copy-{count}.db")
        store = bench.new_store(f"records-{count}-store")
        db, rng = make_records(path, count, bench.options.seed)

        def change(name, db=db, rng=rng, count=count):
            if name == "copy":
                db.executemany("UPDATE records SET updated = updated + 1 WHERE id = ?",
                               [(f"record-{rng.randrange(count):08}",)
                                for _ in range(max(1, count // 100))])
                db.commit()
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

        with contextlib.closing(db), LibraryBackups(bench, store, f"sqlite:{path}") as back_up:
            first = back_up()
            runs = bench.compare(repeat, {"copy": lambda: copy_and_sync(path, target),
                                          "bakfs": back_up}, change)
        copy = runs["copy"].median() * 1e3
        bench.add("sqlite", f"backup of {count:,} records", runs["bakfs"].median() * 1e3, "ms",
                  max(goal, 4 * copy), copy, "copy + fsync", ratio_goal=False, n=repeat,
                  note=f"goal {goal} ms or 4 x copy + fsync",
                  detail={"first": first.wall, **{k: r.summary() for k, r in runs.items()}})


def catalogue(bench):
    """Look-ups as the number of chunks grows."""
    directory = bench.path("catalogue")
    directory.mkdir()
    run = bench.time(shell(bench.helper("bench-catalogue"), directory, *bench.options.chunks),
                     keep=True)
    sizes = [json.loads(line) for line in run.out.splitlines()]
    shutil.rmtree(directory)
    small, large = sizes[0], sizes[-1]
    for key, what, goal in (("hit_us", "look-up of a chunk that is there", 3.0),
                            ("miss_us", "look-up of one that is not", 3.0)):
        bench.add("catalogue", f"{what}, {large['chunks']:,} chunks", large[key], "us", goal,
                  small[key], f"with {small['chunks']:,}", detail={"sizes": sizes}, n=50000)
    bench.add("catalogue", f"opening, {large['chunks']:,} chunks", large["open_ms"], "ms", 5.0,
              ratio_goal=False)
    bench.add("catalogue", "memory", large["rss_bytes"] / MIB, "MiB", 64, ratio_goal=False)
    bench.add("catalogue", "bytes a chunk", large["file_bytes"] / large["chunks"], "B")
    bench.add("catalogue", "adding a backup of 7,500 new chunks", large["adding_ms"], "ms",
              limit=small["adding_ms"], peer=f"with {small['chunks']:,}")
