"""Part about many backups of many tables: walking the mount, starting it, and what a backup costs
when there are many before it."""

import contextlib
import shutil
import sqlite3

import helpers
from bench import MIB, need, shell
from mounts import peak_memory, squash_image, squash_mounted
from shop import FIRST_DAY


def _make_database(path, tables):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for t in range(tables):
            db.execute(f"CREATE TABLE t{t:03} (id INTEGER PRIMARY KEY, n INTEGER, note TEXT)")
            db.executemany(f"INSERT INTO t{t:03} VALUES (?, ?, ?)",
                           ((i, i * t % 97, f"note {i * t % 89}") for i in range(20)))
        db.commit()


class Backups:
    """Backups of a SQLite database of many tables: before each, one row of one table changes."""

    def __init__(self, bench, path, tables):
        self.bench, self.path, self.tables = bench, path, tables
        self.made = 0
        _make_database(path, tables)

    def change(self):
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            db.execute(f"UPDATE t{self.made % self.tables:03} SET n = n + 1 "
                       f"WHERE id = {self.made % 20}")
            db.commit()
        self.made += 1

    def dump(self, store):
        when = int(FIRST_DAY.timestamp()) + 3600 * self.made
        command = self.bench.dump_command(store, f"sqlite:{self.path}", "--collection",
                                          "default/many")
        return self.bench.time(command, env={"BAKFS_TEST_TIME": when})

    def make(self, store, count):
        for _ in range(count):
            self.change()
            self.dump(store)
            if self.made % 100 == 0:
                self.bench.log(f"{self.made} backups of {self.tables} tables")


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
    many = Backups(bench, path, tables)
    store = bench.new_store("many-store")
    many.make(store, 1)
    small = shutil.copytree(store, bench.path("one-store"))
    many.make(store, backups - 1)

    dumps = bench.compare(repeat, {"one": lambda: many.dump(small),
                                   "many": lambda: many.dump(store)},
                          lambda name: many.change())
    bench.add("mount-tree", f"dump after {backups:,} backups", dumps["many"].median() * 1e3, "ms",
              1.2, dumps["one"].median() * 1e3, "after one", n=repeat,
              detail={name: r.summary() for name, r in dumps.items()})

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
    with contextlib.ExitStack() as stack:
        with bench.mounted(store) as point:
            image = stack.enter_context(squash_image(bench, point / "by-id"))
        peer = _walks(bench, stack.enter_context(squash_mounted(bench, image)))
    for (what, time), run in own.items():
        bench.add("mount-tree", f"{what}, {own['find', 'first'].out.strip()} entries, {time}",
                  run.wall, "s", 0.5, peer[what, time].wall, "squashfuse_ll")
