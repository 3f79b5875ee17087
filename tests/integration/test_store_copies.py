"""Objects that a store holds twice, catalogues that are wrong, and numbers that come again: what
files that come and go, or a lack of descriptors, may lead to."""

import contextlib
import os
import pathlib
import random
import shutil
import sqlite3

import helpers

T0 = 1768487445


def lines(rng, n=40_000):
    return [f"{i} {rng.random()} {rng.random()}\n" for i in range(n)]


def touch(rng, rows, share=0.01):
    """Some of the rows, changed in place."""
    rows = list(rows)
    for i in rng.sample(range(len(rows)), int(len(rows) * share)):
        rows[i] = f"{i} {rng.random()} {rng.random()}\n"
    return rows


class Versions:
    """Backups of one file, and what it held each time."""

    def __init__(self, store, path):
        self.store, self.path, self.expected, self.n = store, path, [], 0

    def dump(self, rows, **kwargs):
        self.path.write_text("".join(rows))
        os.utime(self.path, (T0, T0))  # or the same content a second later is another directory
        self.n += 1
        done = self.store.dump(f"file:{self.path}", env={"BAKFS_TEST_TIME": T0 + self.n}, **kwargs)
        if done.returncode == 0:
            self.expected.append(self.path.read_bytes())
        return done

    def check(self, tmp_path):
        """Every backup restores to what it was made of."""
        backups = sorted(self.store.list(), key=lambda b: b["ordinal"])
        assert len(backups) == len(self.expected)
        for backup, data in zip(backups, self.expected):
            out = tmp_path / "out"
            helpers.run(self.store.build.restore, "--store", self.store, backup["backup_id"],
                        "--to", f"file:{out}")
            assert (out / "files" / self.path.name).read_bytes() == data
            shutil.rmtree(out)


def away(store, packs, to):
    to.mkdir()
    for pack in packs:
        shutil.move(pack, to / pack.name)


def back(store, where):
    for pack in where.iterdir():
        shutil.move(pack, store.path / "packs" / pack.name[:2] / pack.name)


def test_packs_that_come_back(store, tmp_path, mount):
    """While they are away the same is stored again, and deltas of it; then either copy may be found
    first, with or without the catalogue, and one may be damaged."""
    rng = random.Random(1)
    versions = Versions(store, tmp_path / "rows.txt")
    rows = lines(rng)
    versions.dump(rows)
    first = set(store.packs())
    rows = touch(rng, rows)
    versions.dump(rows)
    second = set(store.packs()) - first
    away(store, second, tmp_path / "away")
    versions.dump(rows)
    rows = touch(rng, rows)
    versions.dump(rows)
    back(store, tmp_path / "away")
    for catalogue in (True, False, True):
        if not catalogue:
            (store.path / "metadata.db").unlink()
        versions.check(tmp_path)
        store.verify()
    with mount(store) as mnt:
        for name in ("latest", "archive"):
            for backup in (mnt / name).iterdir():
                assert (backup / "files" / "rows.txt").read_bytes() in versions.expected
    rows = touch(rng, rows)
    versions.dump(rows)  # brings the catalogue up to date: some objects have two places in it
    versions.check(tmp_path)
    # of all that is there twice the copy that stands on others is damaged: the other will do
    twice = helpers.query(store.path / "metadata.db",
                          "SELECT DISTINCT hex(id) || '|' || lower(hex(p.sha256)) || '|' || offset"
                          " FROM (SELECT * FROM chunks UNION ALL SELECT * FROM copies)"
                          " JOIN packs p USING (pack) WHERE id IN (SELECT id FROM copies)")
    copies = {}
    for id, pack, offset in (row.split("|") for row in twice):
        path = store.path / "packs" / pack[:2] / f"{pack}.pack"
        with open(path, "rb") as f:
            f.seek(int(offset) + 6)
            copies.setdefault(id, []).append((f.read(1)[0], path, int(offset)))
    assert copies and all(len(found) == 2 for found in copies.values())
    for _, path, offset in (max(found) for found in copies.values()):
        path.chmod(0o600)
        with open(path, "r+b") as f:
            f.seek(offset + 90)
            byte = f.read(1)[0]
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte ^ 1]))
    versions.check(tmp_path)
    with mount(store) as mnt:
        for backup in (mnt / "archive").iterdir():
            assert (backup / "files" / "rows.txt").read_bytes() in versions.expected


def test_few_descriptors(store, tmp_path):
    """A dump that can't open what it must look into fails, rather than store things again on top
    of themselves."""
    rng = random.Random(2)
    versions = Versions(store, tmp_path / "rows.txt")
    rows = lines(rng)
    for _ in range(3):
        versions.dump(rows)
        rows = touch(rng, rows)
    path = tmp_path / "rows.txt"
    done = 0
    for limit in range(8, 30):
        path.write_text("".join(rows))
        versions.n += 1
        result = helpers.run("prlimit", f"--nofile={limit}:{limit}", store.build.dump, "--store",
                             store, f"file:{path}", exit=None,
                             env={"BAKFS_TEST_TIME": T0 + versions.n})
        assert result.returncode in (helpers.OK, helpers.FAILED), result.stderr
        if result.returncode == helpers.OK:
            versions.expected.append(path.read_bytes())
            done += 1
            if done == 3:
                break
    assert done == 3
    (store.path / "metadata.db").unlink()
    versions.check(tmp_path)
    store.verify()


def test_a_dump_heals_what_verify_found(store, tmp_path):
    """What is damaged and at hand again is stored again: the new backup is sound, and so are the
    older ones that shared it. What is at hand no more stays lost."""
    rng = random.Random(4)
    versions = Versions(store, tmp_path / "rows.txt")
    rows = lines(rng)
    versions.dump(rows)
    versions.dump(touch(rng, rows))
    versions.dump(rows)
    packs = sorted(store.packs(), key=lambda p: p.stat().st_size)
    data = bytearray(packs[-1].read_bytes())
    for at in range(len(data) // 4, len(data) // 2, 10_000):
        data[at] ^= 1
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(data)
    assert "rows.txt" in store.verify(exit=helpers.FAILED).stdout
    noted = "SELECT count(*) > 0, (SELECT count(*) FROM copies) FROM damaged"
    assert helpers.query(store.path / "metadata.db", noted) == ["1|0"]
    versions.dump(rows)
    versions.check(tmp_path)
    done = store.verify(exit=helpers.FAILED)  # the damaged records are still there
    assert "touches" not in done.stdout
    # and once more the same: nothing is stored a third time
    before = len(store.packs())
    versions.dump(rows)
    assert len(store.packs()) == before
    # the pack comes back as it was: all is forgotten
    data = bytearray(packs[-1].read_bytes())
    for at in range(len(data) // 4, len(data) // 2, 10_000):
        data[at] ^= 1
    packs[-1].write_bytes(data)
    store.verify()
    assert helpers.query(store.path / "metadata.db", "SELECT count(*) FROM damaged") == ["0"]


def sql(store, *statements):
    with contextlib.closing(sqlite3.connect(store.path / "metadata.db")) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_rows_of_the_catalogue_that_are_wrong(store, tmp_path, mount):
    """It is never synced: what it says of a backup counts only with the checksum it was written
    with."""
    versions = Versions(store, tmp_path / "rows.txt")
    versions.dump(["one\n"] * 1000)
    versions.dump(["two\n"] * 1000)
    sql(store, "UPDATE manifests SET root = (SELECT root FROM manifests WHERE ordinal = 1) "
               "WHERE ordinal = 2")
    versions.check(tmp_path)
    with mount(store) as mnt:
        assert (mnt.latest() / "files" / "rows.txt").read_bytes() == versions.expected[1]
    versions.dump(["three\n"] * 1000)
    versions.check(tmp_path)
    assert helpers.query(store.path / "metadata.db",
                         "SELECT count(DISTINCT root) FROM manifests") == ["3"]


def test_ordinals_are_not_given_twice(store, tmp_path):
    """A manifest may be gone (not copied yet, or reclaimed) while the event of its deletion is
    there: the next backup must not be taken for the deleted one."""
    versions = Versions(store, tmp_path / "rows.txt")
    versions.dump(["one\n"])
    versions.dump(["two\n"])
    (_, second) = sorted(store.manifests())
    store.admin("delete", "--yes", "latest")
    versions.expected.pop()
    second.unlink()
    versions.dump(["three\n"])
    assert [b["ordinal"] for b in store.list()] == [3, 1]
    versions.check(tmp_path)
    store.verify()


def test_events_with_the_last_number(store, shop):
    """A file that only looks like an event does not use up the numbers."""
    store.dump(f"sqlite:{shop}")
    (store.path / "events" / f"0268435455-{'a' * 64}.json").write_text("{}")
    store.admin("delete", "--yes", "latest")
    assert store.list() == []


def test_an_empty_pack(store, tmp_path):
    """What a crash may leave of one: nothing in it is used, and nothing else harmed."""
    rng = random.Random(3)
    versions = Versions(store, tmp_path / "rows.txt")
    rows = lines(rng, 5000)
    for _ in range(6):
        versions.dump(rows)
        rows = touch(rng, rows)
    for pack in sorted(store.packs(), key=lambda p: -p.stat().st_size)[:3]:
        data = pack.read_bytes()
        pack.chmod(0o600)
        pack.write_bytes(b"")
        versions.dump(touch(rng, rows))
        pathlib.Path(pack).write_bytes(data)
    versions.check(tmp_path)
