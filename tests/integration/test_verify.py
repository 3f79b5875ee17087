"""bakfs-verify: what it finds, names, prints, and leaves alone."""

import contextlib
import json
import os
import signal
import sqlite3
import struct
import subprocess
import time

import pytest

import helpers
import storewriter
from helpers import flipped
from storereader import xxh64


@pytest.fixture
def two(store, shop):
    """Two backups in two collections; the second database has bytes of its own."""
    store.dump("--quiet", "--collection", "a/shop", f"sqlite:{shop}",
               env={"BAKFS_TEST_TIME": 1768487445})
    db = sqlite3.connect(shop)
    db.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, data BLOB)")
    db.executemany("INSERT INTO photos VALUES (?, ?)", ((i, os.urandom(3000)) for i in range(300)))
    db.commit()
    db.close()
    store.dump("--quiet", "--collection", "b/shop", f"sqlite:{shop}",
               env={"BAKFS_TEST_TIME": 1768573845})
    return store


def result(store, *args, exit=helpers.OK):
    """The last line of the JSON output."""
    return json.loads(store.verify("--json", *args, exit=exit).stdout.splitlines()[-1])


def biggest_pack(store):
    return max(store.packs(), key=lambda p: p.stat().st_size)


def test_an_empty_store_is_well(store):
    assert "all is well" in store.verify().stdout
    assert result(store)["backups"] == 0


def test_summary(two):
    done = two.verify()
    assert done.stdout.startswith("read: 2 backups, 4 packs") and "all is well" in done.stdout
    assert done.stderr == ""
    assert two.verify("--quick").stdout.startswith("structure: 2 backups, 4 packs")
    done = two.verify("--quiet")
    assert done.stdout == done.stderr == ""


def test_result_as_json(two):
    doc = result(two)
    assert doc["event"] == "result" and doc["is_valid"] is True and doc["damage"] == []
    assert doc["backups"] == 2 and doc["manifests"] == 2 and doc["packs"] == 4
    assert doc["bytes"] == sum(p.stat().st_size for p in two.packs())
    assert doc["plain_bytes"] > 900000
    assert result(two, "--quick")["plain_bytes"] == 0


def test_good_backups_are_marked_once(two):
    assert [b["verified"] for b in two.list()] == [False, False]
    two.verify("--quick")
    assert [b["verified"] for b in two.list()] == [False, False]
    assert result(two, "2026-01-15")["newly_verified"] == 1
    assert [b["verified"] for b in two.list()] == [False, True]
    assert result(two)["newly_verified"] == 1
    events = sorted((two.path / "events").iterdir())
    assert result(two)["newly_verified"] == 0
    assert sorted((two.path / "events").iterdir()) == events


def test_the_ledger_knows_when_packs_were_read(two):
    two.verify(env={"BAKFS_TEST_TIME": 1768600000})
    rows = helpers.query(two.path / "metadata.db", "SELECT lower(hex(sha256)), read_at FROM ledger")
    assert sorted(rows) == sorted(f"{p.stem}|1768600000" for p in two.packs())


def test_one_backup(two):
    assert result(two, "2026-01-15")["packs"] == 2
    doc = result(two, "latest")
    assert doc["backups"] == 1 and doc["packs"] >= 2
    for spec in two.list():
        assert result(two, spec["backup_id"])["backups"] == 1
        assert result(two, spec["archive_name"])["backups"] == 1
    done = two.verify("no-such", exit=helpers.FAILED)
    assert "no-such" in done.stderr and "hint:" in done.stderr
    two.verify("one", "two", exit=helpers.USAGE)


def test_damage_elsewhere_does_not_fail_one_backup(two):
    """The big pack belongs to the second backup alone."""
    pack = biggest_pack(two)
    with flipped(pack, pack.stat().st_size // 2):
        two.verify("2026-01-15")
        two.verify("--collection", "a/shop")
        two.verify("--collection", "b/shop", exit=helpers.FAILED)
        two.verify("2026-01-16", exit=helpers.FAILED)
        two.verify(exit=helpers.FAILED)


def test_damage_of_others_is_not_reported_for_one_backup(two):
    """Neither a damaged index of a pack it does not need, nor another's manifest or event."""
    pack = biggest_pack(two)
    with flipped(pack, pack.stat().st_size - 60):
        assert result(two, "2026-01-15")["is_valid"]
        assert not result(two, "--quick", "2026-01-16", exit=helpers.FAILED)["is_valid"]
    with flipped(two.manifests()[1], 50):
        assert result(two, "2026-01-15")["is_valid"]
        two.verify(exit=helpers.FAILED)


def test_collections(two):
    assert result(two, "--collection", "b/shop")["backups"] == 1
    done = two.verify("--collection", "b/other", exit=helpers.FAILED)
    assert "b/other" in done.stderr


def test_damage_is_named(two):
    pack = biggest_pack(two)
    second = two.list()[0]
    with flipped(pack, pack.stat().st_size // 2):
        done = two.verify(exit=helpers.FAILED)
        assert f"damaged: packs/{pack.parent.name}/{pack.name}" in done.stdout
        assert second["backup_id"] in done.stdout
        assert "touching 1 of 2 backups" in done.stderr and "hint:" in done.stderr
        assert two.list()[1]["backup_id"] not in done.stdout
        doc = result(two, exit=helpers.FAILED)
        assert doc["is_valid"] is False and doc["error_message"]
        assert doc["damaged_files"] == [str(pack.relative_to(two.path))]
        kinds = {d["kind"]: d for d in doc["damage"]}
        assert set(kinds) == {"pack", "object"}
        chunk = kinds["object"]
        assert len(chunk["object"]) == 64 and chunk["file"] == doc["damaged_files"][0]
        assert chunk["backups"][0]["backup_id"] == second["backup_id"]
        paths = chunk["backups"][0]["paths"]
        assert paths and all(p == "shop.db" or "photos" in p or p == "restore.sql" for p in paths)
    two.verify()
    # The second one was not marked while it was damaged, the first was.
    assert [b["verified"] for b in two.list()] == [True, True]


def test_a_damaged_backup_is_not_marked(two):
    pack = biggest_pack(two)
    with flipped(pack, pack.stat().st_size // 2):
        two.verify(exit=helpers.FAILED)
        assert [b["verified"] for b in two.list()] == [False, True]


def test_damage_of_what_is_there_twice(two):
    """It is named, but harms no backup while another copy is sound."""
    pack = biggest_pack(two)
    kind, records = storewriter.split_pack(pack.read_bytes())
    other = storewriter.add_pack(two, storewriter.join_pack(kind, records[::-1]))
    assert other != pack
    at = pack.stat().st_size // 2
    for damaged in (pack, other):
        with flipped(damaged, at):
            done = two.verify(exit=helpers.FAILED)
            assert damaged.name in done.stdout and "touches" not in done.stdout
            assert "touching 0 of 2 backups" in done.stderr
    assert [b["verified"] for b in two.list()] == [True, True]
    with flipped(pack, 32 + 88 + 5), flipped(other, other.stat().st_size - 48 - 68 * len(records) - 5):
        done = two.verify(exit=helpers.FAILED)  # the first of one is the last of the other
        assert "touching 1 of 2 backups" in done.stderr


def test_several_damaged_packs_are_all_named(two):
    packs = two.packs()
    with flipped(packs[0], 100), flipped(packs[1], 100), flipped(packs[2], 100):
        done = two.verify(exit=helpers.FAILED)
        for pack in packs[:3]:
            assert pack.name in done.stdout
        assert packs[3].name not in done.stdout


def test_quick_finds_missing_and_cut_packs(two):
    pack = biggest_pack(two)
    data, mode = pack.read_bytes(), pack.stat().st_mode
    pack.chmod(0o600)
    for keep in (0, 50, len(data) // 2, len(data) - 1):
        pack.write_bytes(data[:keep])
        assert pack.name in two.verify("--quick", exit=helpers.FAILED).stdout
    pack.unlink()
    done = two.verify("--quick", exit=helpers.FAILED)
    assert pack.name in done.stdout and "missing" in done.stdout
    assert "chunks that are in no pack" in done.stdout
    pack.write_bytes(data)
    pack.chmod(mode)
    two.verify()


def test_deleted_backups_do_not_count(two):
    two.admin("delete", "2026-01-16", "--yes")
    biggest_pack(two).unlink()
    doc = result(two)
    assert doc["backups"] == 1 and doc["is_valid"]


def test_a_damaged_event_is_reported(two):
    two.admin("delete", "2026-01-16", "--yes")
    (event,) = (two.path / "events").iterdir()
    with flipped(event, 20):
        done = two.verify(exit=helpers.FAILED)
        assert event.name in done.stdout


def test_a_catalogue_that_disagrees_with_the_files(two):
    """It hides a backup from all that read it: that is reported, and harms no backup."""
    two.verify()
    two.admin("reindex")
    with contextlib.closing(sqlite3.connect(two.path / "metadata.db")) as db:
        db.execute("UPDATE events SET type = 'deleted' WHERE ordinal = 2")
        db.commit()
        assert len(two.list()) == 2  # not believed without its checksum
        (name,) = db.execute("SELECT name FROM events WHERE ordinal = 2").fetchone()
        checksum = xxh64(struct.pack("<Q", 2), xxh64(b"deleted", xxh64(name.encode())))
        db.execute("UPDATE events SET checksum = ? WHERE ordinal = 2",
                   struct.unpack("<q", struct.pack("<Q", checksum)))
        db.commit()
    assert len(two.list()) == 1
    for args in ((), ("--quick",), ("latest", "--collection", "a/shop")):
        done = two.verify(*args, exit=helpers.FAILED)
        assert done.stdout.startswith("damaged: metadata.db\n")
        assert "disagrees with events/" in done.stdout and "touches" not in done.stdout
        assert "no backup is damaged" in done.stderr and "reindex" in done.stderr
    (finding,) = result(two, exit=helpers.FAILED)["damage"]
    assert finding["kind"] == "catalogue" and finding["backups"] == []
    two.admin("reindex")
    assert result(two)["backups"] == 2


def test_thread_counts_give_the_same_answer(two):
    docs = [result(two, "--jobs", n) for n in ("1", "2", "9")]
    for doc in docs:
        del doc["seconds"], doc["newly_verified"], doc["events"]
    assert docs[0] == docs[1] == docs[2]
    two.verify("--jobs", "0", exit=helpers.USAGE)


def test_beside_a_writer(store, big_sqlite, shop):
    """No lock is needed, and a dump under way is no damage."""
    store.dump("--quiet", f"sqlite:{shop}")
    writer = subprocess.Popen([str(store.build.dump), "--store", str(store), "--quiet",
                               f"sqlite:{big_sqlite}"], stdin=subprocess.DEVNULL,
                              env=helpers.clean_env())
    try:
        rounds = 0
        while writer.poll() is None or rounds == 0:
            store.verify()
            rounds += 1
    finally:
        writer.wait(timeout=120)
    assert writer.returncode == helpers.OK
    assert result(store)["backups"] == 2


def test_interruption(store, big_sqlite):
    store.dump("--quiet", f"sqlite:{big_sqlite}")
    codes = set()
    for delay in (0.0, 0.01, 0.03):
        proc = subprocess.Popen([str(store.build.verify), "--store", str(store), "--jobs", "1"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, env=helpers.clean_env())
        time.sleep(delay)
        proc.send_signal(signal.SIGINT)
        _, err = proc.communicate(timeout=20)
        codes.add(proc.returncode)
        if proc.returncode == helpers.INTERRUPTED:
            assert "interrupted" in err
    # Before main() it dies of the signal, after the end it was done.
    assert codes <= {helpers.OK, helpers.INTERRUPTED, -signal.SIGINT}


def test_progress_lines_are_json(store, big_sqlite):
    store.dump("--quiet", f"sqlite:{big_sqlite}")
    lines = [json.loads(line) for line in store.verify("--json").stdout.splitlines()]
    assert lines[-1]["event"] == "result"
    assert all(line["event"] == "progress" for line in lines[:-1])
