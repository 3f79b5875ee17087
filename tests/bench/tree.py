"""Part about many backups of many tables: walking the mount, starting it, and what a backup costs
when there are many before it."""

import contextlib
import shutil
import sqlite3

import helpers
from bench import MIB, need, shell
from mounts import peak_memory, squashed
from shop import FIRST_DAY


def _make_database(path, tables):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for t in range(tables):
            db.execute(f"CREATE TABLE t{t:03} (id INTEGER PRIMARY KEY, n INTEGER, note TEXT)")
            db.executemany(f"INSERT INTO t{t:03} VALUES (?, ?, ?)",
                           ((i, i * t % 97, f"note {i * t % 89}") for i in range(20)))
        db.commit()


def _make_backups(bench, store, path, backups, tables):
    """One changed row in one table before each. Returns the Timed of each dump."""
    runs = []
    command = bench.dump_command(store, f"sqlite:{path}", "--collection", "default/many")
    for number in range(backups):
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(f"UPDATE t{number % tables:03} SET n = n + 1 WHERE id = {number % 20}")
            db.commit()
        when = int(FIRST_DAY.timestamp()) + 3600 * number
        runs.append(bench.time(command, env={"BAKFS_TEST_TIME": when}))
        if number % 100 == 99:
            bench.log(f"{number + 1} backups of {tables} tables")
    return runs


def _walks(bench, path):
    """find and ls -lR, first and second time."""
    found = {}
    for what, command in (("find", shell("find", path)), ("ls -lR", shell("ls", "-lR", path))):
        for time in ("first", "again"):
            found[what, time] = bench.time(f"{command} | wc -l", keep=True)
            bench.log(f"{what} {path}, {time}: {found[what, time].wall:.2f} s")
    return found


def _start(bench, store):
    """From the command to the mount being there, in the background as users do it."""
    point = bench.path("start")
    point.mkdir()
    try:
        return bench.time(shell(bench.programs.bakfs, store, point))
    finally:
        helpers.unmount(point)
        point.rmdir()


def _listing(bench, store):
    return bench.time(shell(bench.programs.store, "list", "--json", "-s", store))


def mount_tree(bench):
    backups, tables = bench.options.tree
    repeat = bench.options.repeat
    path = bench.path("many.db")
    _make_database(path, tables)
    store = bench.new_store("many-store")
    dumps = _make_backups(bench, store, path, 1, tables)
    small = shutil.copytree(store, bench.path("one-store"))
    dumps += _make_backups(bench, store, path, backups - 1, tables)

    count = min(10, backups // 2)
    early = sorted(r.wall for r in dumps[1:1 + count])[count // 2]
    late = sorted(r.wall for r in dumps[-count:])[count // 2]
    bench.add("mount-tree", f"dump after {backups:,} backups", late * 1e3, "ms", 1.2, early * 1e3,
              f"the first {count}", n=count)

    starts = bench.compare(repeat, {"one": lambda: _start(bench, small),
                                    "many": lambda: _start(bench, store)})
    bench.add("mount-tree", f"mount start, {backups:,} backups", starts["many"].median() * 1e3,
              "ms", 50, starts["one"].median() * 1e3, "one backup", ratio_goal=False, n=repeat)
    lists = bench.compare(repeat, {"one": lambda: _listing(bench, small),
                                   "many": lambda: _listing(bench, store)})
    bench.add("mount-tree", f"bakfs-store list, {backups:,} backups",
              lists["many"].median() * 1e3, "ms", limit=lists["one"].median() * 1e3,
              peer="one backup", n=repeat)

    with bench.mounted(store) as point:
        own = _walks(bench, point / "by-id")
        bench.add("mount-tree", "driver's memory after the walks",
                  peak_memory(point.proc.pid) / MIB, "MiB", 128 + 256, ratio_goal=False)
    if "squashfuse_ll" not in bench.options.peers:
        return
    need("squashfuse_ll", "mksquashfs")
    with bench.mounted(store) as point, squashed(bench, point / "by-id") as image:
        peer = _walks(bench, image)
    for (what, time), run in own.items():
        bench.add("mount-tree", f"{what}, {own['find', 'first'].out.strip()} entries, {time}",
                  run.wall, "s", 0.5, peer[what, time].wall, "squashfuse_ll")
