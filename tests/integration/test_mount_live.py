"""A mounted tree follows its store, and nobody inside is cut off."""

import json
import os
import shutil
import signal
import sqlite3
import threading
import time

import pytest

import helpers

T0 = 1768487445  # 2026-01-15T14:30:45Z
SECOND = 1.0  # within which a change shows


def dump_at(store, source, when, *args):
    store.dump(f"sqlite:{source}", *args, env={"BAKFS_TEST_TIME": when})
    return max(store.list(), key=lambda b: b["ordinal"])


def within_a_second(condition, what):
    helpers.wait_until(condition, timeout=SECOND, what=what)


def test_new_backup_moves_its_predecessor_in_one_step(store, shop, mount):
    first = dump_at(store, shop, T0)
    with mount(store) as mnt:
        assert os.listdir(mnt / "latest") == [first["latest_name"]]
        assert os.listdir(mnt / "archive") == []
        assert not (mnt / "archive" / first["archive_name"]).exists()  # a negative name is cached
        second = dump_at(store, shop, T0 + 60)
        within_a_second(lambda: os.listdir(mnt / "latest") == [second["latest_name"]], "latest")
        assert os.listdir(mnt / "archive") == [first["archive_name"]]
        assert (mnt / "archive" / first["archive_name"] / "shop.db").exists()
        assert set(os.listdir(mnt / "by-id")) == {first["backup_id"], second["backup_id"]}
        below = mnt / "collections" / "default" / "shop"
        assert os.listdir(below / "latest") == [second["latest_name"]]
        assert os.listdir(below / "archive") == [first["archive_name"]]


def test_never_a_moment_without_a_latest(store, shop, mount):
    dump_at(store, shop, T0)
    wrong, rounds, stop = [], [], threading.Event()

    def look(path):
        while not stop.is_set():
            names = os.listdir(path / "latest")
            if len(names) != 1 or not (path / "latest" / names[0] / "shop.db").exists():
                wrong.append(names)
            rounds.append(1)

    with mount(store) as mnt:
        threads = [threading.Thread(target=look, args=(mnt,)) for _ in range(2)]
        for t in threads:
            t.start()
        for i in range(1, 6):
            dump_at(store, shop, T0 + 60 * i)
            time.sleep(0.3)
        stop.set()
        for t in threads:
            t.join()
    assert wrong == []
    assert len(rounds) > 100


def test_those_inside_read_on(store, big_sqlite, mount):
    """Open files, working directories and old paths survive new backups and deletion."""
    first = dump_at(store, big_sqlite, T0)
    original = big_sqlite.read_bytes()
    with mount(store, "-o", "cache_size=1M") as mnt:
        inside = mnt / "latest" / first["latest_name"]
        f = open(inside / "big.db", "rb")
        cwd = os.open(inside / "main", os.O_RDONLY)
        assert f.read(1000) == original[:1000]
        dump_at(store, big_sqlite, T0 + 60)
        within_a_second(lambda: first["latest_name"] not in os.listdir(mnt / "latest"), "listing")
        assert (inside / "restore.sql").exists()
        assert os.readlink(f"/proc/self/fd/{cwd}") == str(inside / "main")

        store.admin("delete", "--yes", first["backup_id"])
        within_a_second(lambda: not (mnt / "archive" / first["archive_name"]).exists(), "delete")
        within_a_second(lambda: not inside.exists(), "delete, under the old name")
        assert os.listdir(mnt / "archive") == []
        assert os.listdir(cwd) == ["tables"]
        assert f.read() == original[1000:]
        f.close()
        os.close(cwd)


def test_deleting_the_latest_brings_its_predecessor_back(store, shop, mount):
    first, second = dump_at(store, shop, T0), dump_at(store, shop, T0 + 60)
    with mount(store) as mnt:
        assert os.listdir(mnt / "archive") == [first["archive_name"]]
        store.admin("delete", "--yes", second["backup_id"])
        within_a_second(lambda: os.listdir(mnt / "latest") == [first["latest_name"]], "latest")
        within_a_second(lambda: os.listdir(mnt / "archive") == [], "archive")
        within_a_second(lambda: os.listdir(mnt / "by-id") == [first["backup_id"]], "by-id")
        store.admin("delete", "--yes", first["backup_id"])
        within_a_second(lambda: os.listdir(mnt / "latest") == [], "latest")
        within_a_second(lambda: os.listdir(mnt / "collections") == [], "collections")


def test_first_backup_of_an_empty_store(store, shop, mount):
    with mount(store) as mnt:
        assert sorted(os.listdir(mnt)) == ["archive", "by-id", "collections", "latest"]
        assert os.listdir(mnt / "latest") == os.listdir(mnt / "collections") == []
        assert not (mnt / "collections" / "default").exists()
        b = dump_at(store, shop, T0)
        within_a_second(lambda: os.listdir(mnt / "latest") == [b["latest_name"]], "latest")
        assert (mnt / "collections" / "default" / "shop" / "by-id" / b["backup_id"]).exists()


def test_collections(store, shop, mount):
    """The root shows the first, or the one that -o names; a new one appears among the others."""
    first = dump_at(store, shop, T0, "--collection", "a/one")
    second = dump_at(store, shop, T0 + 60, "--collection", "b/two")
    with mount(store) as mnt, mount(store, "-o", "collection=b/two") as other:
        assert os.listdir(mnt / "by-id") == [first["backup_id"]]
        assert os.listdir(other / "by-id") == [second["backup_id"]]
        for m in (mnt, other):
            assert set(os.listdir(m / "collections")) == {"a", "b"}
            assert os.listdir(m / "collections" / "b" / "two" / "by-id") == [second["backup_id"]]
        third = dump_at(store, shop, T0 + 120, "--collection", "b/three")
        for m in (mnt, other):
            within_a_second(lambda: set(os.listdir(m / "collections" / "b")) == {"two", "three"},
                            "new collection")
            assert (m / "collections" / "b" / "three" / "by-id" / third["backup_id"]).exists()
        assert os.listdir(other / "latest") == [second["latest_name"]]


def test_hup_looks_at_once(store, shop, mount):
    dump_at(store, shop, T0)
    with mount(store) as mnt:
        for i in range(1, 4):
            b = dump_at(store, shop, T0 + 60 * i)
            mnt.proc.send_signal(signal.SIGHUP)
            helpers.wait_until(lambda: os.listdir(mnt / "latest") == [b["latest_name"]], 0.5)
        assert mnt.proc.poll() is None


def test_catalogue_lost_while_mounted(store, shop, mount):
    first = dump_at(store, shop, T0)
    with mount(store) as mnt:
        (store.path / "metadata.db").unlink()
        db = sqlite3.connect(shop)
        db.execute("INSERT INTO orders VALUES (100001, 1, 1, 'now')")
        db.commit()
        db.close()
        second = dump_at(store, shop, T0 + 60)
        within_a_second(lambda: os.listdir(mnt / "latest") == [second["latest_name"]], "latest")
        count = "SELECT count(*) FROM orders"
        assert helpers.query(mnt.latest() / "shop.db", count) == ["601"]
        assert helpers.query(mnt / "by-id" / first["backup_id"] / "shop.db", count) == ["600"]


def test_store_is_set_back(store, shop, mount):
    """An older copy laid over a mounted store, and a new backup in it: it gets the number of one
    that the kernel knows. It is not shown half as that one; a new mount shows it."""
    first = dump_at(store, shop, T0)
    old = store.path.parent / "old"
    helpers.run("cp", "-a", store.path, old)
    helpers.run("sqlite3", shop, "DELETE FROM orders WHERE id < 100")
    lost = dump_at(store, shop, T0 + 60)
    rendered = ("SHA256SUMS", "backup.json", "summary.txt")
    with mount(store) as mnt:
        before = {name: (mnt.latest() / name).read_bytes() for name in rendered}
        for name in ("manifests", "packs", "events"):
            shutil.rmtree(store.path / name)
        helpers.run("cp", "-a", f"{old}/.", store.path)
        within_a_second(lambda: os.listdir(mnt / "by-id") == [first["backup_id"]], "rollback")
        helpers.run("sqlite3", shop, "DELETE FROM orders WHERE id < 200")
        new = dump_at(store, shop, T0 + 120)
        assert new["ordinal"] == lost["ordinal"] and new["backup_id"] != lost["backup_id"]
        helpers.wait_until(lambda: "set back" in mnt.log(), 2)
        assert os.listdir(mnt / "by-id") == [first["backup_id"]]
        assert mnt.latest().name == first["latest_name"]
        third = dump_at(store, shop, T0 + 180)
        within_a_second(lambda: mnt.latest().name == third["latest_name"], "latest")
        assert (mnt.latest() / "shop.db").read_bytes() == shop.read_bytes()
        assert mnt.log().count("set back") == 1
    with mount(store) as mnt:
        inside = mnt / "by-id" / new["backup_id"]
        assert json.loads((inside / "backup.json").read_text())["backup_id"] == new["backup_id"]
        assert all((inside / name).read_bytes() != before[name] for name in rendered)


@pytest.mark.slow
def test_many_new_backups_under_load(store, shop, mount):
    """Trees are walked while backups come and go; every walk sees whole backups."""
    dump_at(store, shop, T0)
    failures, stop = [], threading.Event()

    def walk(mnt):
        while not stop.is_set():
            for name in os.listdir(mnt / "by-id"):
                try:
                    files = sum(len(f) for _, _, f in os.walk(mnt / "by-id" / name))
                    (mnt / "by-id" / name / "shop.db").read_bytes()
                except FileNotFoundError:
                    continue  # deleted meanwhile
                if files < 4 and (mnt / "by-id" / name).exists():
                    failures.append((name, files))

    with mount(store) as mnt:
        threads = [threading.Thread(target=walk, args=(mnt,)) for _ in range(4)]
        for t in threads:
            t.start()
        for i in range(1, 15):
            b = dump_at(store, shop, T0 + 60 * i)
            if i % 3 == 0:
                store.admin("delete", "--yes", b["backup_id"])
        stop.set()
        for t in threads:
            t.join()
        expected = {b["backup_id"] for b in store.list()}
        within_a_second(lambda: set(os.listdir(mnt / "by-id")) == expected, "the last state")
    assert failures == []
