"""What a store survives: flipped bytes, a lost catalogue, killed writers, full and read-only disks.
Whatever happens, a file in the mount gives its own bytes or an error, never others."""

import errno
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import time

import pytest

import helpers
from helpers import flipped


def contents(root):
    """Every file below a mounted backup: path to bytes, or None where reading fails."""
    found = {}
    for path in sorted(pathlib.Path(root).rglob("*")):
        if not stat.S_ISREG(path.lstat().st_mode):
            continue
        try:
            found[str(path.relative_to(root))] = path.read_bytes()
        except OSError:
            found[str(path.relative_to(root))] = None
    return found


# Rendered from the manifest and what is known of the backup, so they may change by design.
RENDERED = {"backup.json", "summary.txt", "SHA256SUMS"}


def assert_own_bytes_or_error(root, expected):
    """Reads every file; returns the paths that could not be read. One at a time through a process
    with a limit, so that a driver that hangs fails the test rather than the run."""
    unreadable = []
    for name, data in expected.items():
        if pathlib.PurePath(name).name in RENDERED:
            continue
        done = helpers.run("cat", root / name, exit=None, text=False, timeout=30)
        if done.returncode == 0:
            assert done.stdout == data, f"{name} gives other bytes"
        else:
            assert b"Input/output error" in done.stderr, done.stderr
            assert data.startswith(done.stdout), f"{name} gives other bytes before its error"
            unreadable.append(name)
    return unreadable


def listable(root):
    done = helpers.run("find", root, "-type", "f", exit=None, timeout=30)
    return done.returncode == 0


@pytest.fixture
def filled(store, tmp_path):
    """A store with two backups of a shop, the second changed; and the expected files of each."""
    source = tmp_path / "source"
    source.mkdir()
    shop = helpers.make_shop(source / "shop.db", customers=3000)
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": 1768487445})
    db = sqlite3.connect(shop)
    db.execute("UPDATE customers SET credit = credit + 1 WHERE id % 50 = 0")
    db.execute("INSERT INTO orders VALUES (100001, 1, 1, 'now')")
    db.commit()
    db.close()
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": 1768573845})
    return store


@pytest.fixture
def expected(filled, mount):
    """The newest backup's files as they were before any harm."""
    with mount(filled) as mnt:
        files = contents(mnt.latest())
    assert files and None not in files.values()
    assert any(name.endswith("shop.db") for name in files)
    return files


def offsets(size, count, seed):
    """Both ends, where header, index and trailer lie, and places all over."""
    edges = [0, 1, 8, 15, 31, 32, 40, 60, 100, size - 1, size - 9, size - 33, size - 48, size - 49,
             size - 80]
    spread = random.Random(seed).sample(range(size), min(count, size))
    return sorted({o for o in edges + spread if 0 <= o < size})


def test_flipped_byte_anywhere_in_a_pack_is_found(filled):
    """verify exits 1 and names the pack; the quick one may miss it, but never crashes."""
    assert filled.packs()
    for pack in filled.packs():
        for offset in offsets(pack.stat().st_size, 10, seed=1):
            with flipped(pack, offset, bit=offset % 8):
                done = filled.verify(exit=helpers.FAILED)
                assert pack.stem in done.stdout + done.stderr, f"{pack.name} at {offset}"
                filled.verify("--quick", exit=(helpers.OK, helpers.FAILED))
    filled.verify()


@pytest.mark.slow
def test_every_stretch_of_a_small_store(store, tmp_path):
    """The same at some 300 evenly spread places of each pack of a store of a few kilobytes."""
    store.dump(f"sqlite:{helpers.make_shop(tmp_path / 'tiny.db', customers=5)}")
    for pack in store.packs():
        size = pack.stat().st_size
        for offset in range(0, size, max(1, size // 300)):
            with flipped(pack, offset, bit=offset % 8):
                done = store.verify(exit=helpers.FAILED)
                assert pack.stem in done.stdout + done.stderr, f"{pack.name} at {offset}"
    store.verify()


def test_damage_names_backups_and_tables(filled):
    """A damaged data pack of the first backup touches backups, and they are named."""
    pack = max(filled.packs(), key=lambda p: p.stat().st_size)
    with flipped(pack, pack.stat().st_size // 2):
        done = filled.verify(exit=helpers.FAILED)
    text = done.stdout + done.stderr
    assert any(b["backup_id"] in text or b["archive_name"] in text for b in filled.list())


def test_mount_never_gives_other_bytes(filled, expected, mount):
    errors = 0
    for pack in filled.packs():
        for offset in offsets(pack.stat().st_size, 6, seed=2)[::2]:
            with flipped(pack, offset, bit=3):
                try:
                    with mount(filled) as mnt:
                        root = mnt / "latest" / "latest_2026-01-16T14-30-45Z"
                        errors += len(assert_own_bytes_or_error(root, expected))
                except AssertionError as why:
                    # A driver may refuse to start on damage, but must say so and not crash.
                    if "driver exited with 1:" not in str(why):
                        raise
                    errors += 1
    assert errors > 0, "no flip was ever noticed"


def test_damage_in_the_mount_is_logged_with_its_pack(filled, expected, mount):
    """One line with chunk, pack and file; the other files stay readable."""
    pack = max(filled.packs(), key=lambda p: p.stat().st_size)
    with flipped(pack, pack.stat().st_size // 2):
        with mount(filled) as mnt:
            bad = assert_own_bytes_or_error(mnt.latest(), expected)
            if bad:
                assert pack.stem[:16] in mnt.log()
            assert len(bad) < len(expected)


def test_truncated_and_missing_packs(filled, expected, mount):
    for pack in filled.packs():
        data = pack.read_bytes()
        mode = pack.stat().st_mode
        for keep in (0, 10, 32, len(data) // 2, len(data) - 1, None):
            if keep is None:
                pack.unlink()
            else:
                pack.chmod(0o644)
                pack.write_bytes(data[:keep])
            done = filled.verify(exit=helpers.FAILED)
            assert pack.stem in done.stdout + done.stderr
            quick = filled.verify("--quick", exit=helpers.FAILED)
            assert pack.stem in quick.stdout + quick.stderr
            if pack.exists():
                pack.chmod(0o644)
            pack.write_bytes(data)
            pack.chmod(mode)
    filled.verify()
    with mount(filled) as mnt:
        assert assert_own_bytes_or_error(mnt.latest(), expected) == []


def test_garbage_among_packs_and_manifests(filled):
    """Files that are not what their names say never crash anything."""
    rng = random.Random(3)
    for directory, suffix in (("packs/ab", ".pack"), ("manifests", ".json"), ("events", ".json")):
        (filled.path / directory).mkdir(exist_ok=True, parents=True)
        (filled.path / directory / ("ab" * 32 + suffix)).write_bytes(rng.randbytes(1000))
        (filled.path / directory / "notes.txt").write_text("not ours")
    filled.verify(exit=(helpers.OK, helpers.FAILED))
    filled.admin("reindex", exit=(helpers.OK, helpers.FAILED))
    assert len(filled.list()) == 2


def test_pipes_are_not_waited_for(filled, expected, mount):
    """Named pipes where manifests, events and packs are looked for."""
    name = "a" * 64
    for path in (f"manifests/0000000009-{name}.json", f"events/0000000009-{name}.json",
                 f"packs/aa/{name}.pack"):
        (filled.path / path).parent.mkdir(exist_ok=True)
        os.mkfifo(filled.path / path)
    assert len(filled.list()) == 2
    with mount(filled) as mnt:
        assert assert_own_bytes_or_error(mnt.latest(), expected) == []


def test_damaged_manifest(filled, mount):
    """It is reported, and the other backup is there, with the catalogue and without."""
    manifest = filled.manifests()[-1]
    first = min(filled.list(), key=lambda b: b["ordinal"])["backup_id"]
    size = manifest.stat().st_size
    for offset in (0, size // 3, size // 2, size - 2):
        with flipped(manifest, offset, bit=2):
            done = filled.verify(exit=helpers.FAILED)
            assert manifest.stem in done.stdout + done.stderr
            (filled.path / "metadata.db").unlink(missing_ok=True)
            with mount(filled) as mnt:
                assert first in os.listdir(mnt / "by-id")
                db = mnt / "by-id" / first / "shop.db"
                assert helpers.query(db, "PRAGMA integrity_check") == ["ok"]
    filled.verify()
    assert len(filled.list()) == 2


def test_lost_catalogue(filled, expected, shop, mount):
    """Everything goes on without metadata.db, and the writer brings it back."""
    filled.verify()  # marks both backups, which the list shows
    backups = filled.list()
    catalogue = filled.path / "metadata.db"
    for name in ("metadata.db", "metadata.db-wal", "metadata.db-shm", "metadata.db-journal"):
        (filled.path / name).unlink(missing_ok=True)
    filled.verify()
    assert filled.list() == backups
    with mount(filled) as mnt:
        assert assert_own_bytes_or_error(mnt.latest(), expected) == []
    catalogue.unlink(missing_ok=True)
    done = filled.dump(f"sqlite:{shop}")
    assert len(filled.list()) == 3
    assert catalogue.exists()
    filled.verify()
    catalogue.unlink()
    filled.admin("reindex")
    rows = helpers.query(catalogue, "SELECT count(*) FROM backups")
    assert rows == ["3"], done.stderr


def test_known_chunks_stay_known_without_the_catalogue(filled, tmp_path):
    """An unchanged database costs next to nothing, catalogue or not."""
    shop = tmp_path / "source" / "shop.db"
    (filled.path / "metadata.db").unlink()
    before = sum(p.stat().st_size for p in filled.packs())
    filled.dump(f"sqlite:{shop}")
    grown = sum(p.stat().st_size for p in filled.packs()) - before
    assert grown < 64 * 1024


def test_garbage_catalogue(filled, expected, shop, mount):
    catalogue = filled.path / "metadata.db"
    for garbage in (b"", b"not a database", random.Random(4).randbytes(100000)):
        catalogue.unlink(missing_ok=True)
        catalogue.write_bytes(garbage)
        filled.verify()
        with mount(filled) as mnt:
            assert assert_own_bytes_or_error(mnt.latest(), expected) == []
        assert len(filled.list()) == 2
    filled.dump(f"sqlite:{shop}")
    assert len(filled.list()) == 3
    filled.verify()


def test_stale_catalogue_is_never_trusted(filled, shop, mount):
    """A catalogue from before the last backup, put back by some copying tool."""
    old = (filled.path / "metadata.db").read_bytes()
    filled.dump(f"sqlite:{shop}")
    for name in ("metadata.db-wal", "metadata.db-shm"):
        (filled.path / name).unlink(missing_ok=True)
    (filled.path / "metadata.db").write_bytes(old)
    assert len(filled.list()) == 3
    filled.verify()
    with mount(filled) as mnt:
        assert len(os.listdir(mnt / "by-id")) == 3
        assert helpers.query(mnt.latest() / "shop.db", "PRAGMA integrity_check") == ["ok"]


@pytest.fixture
def read_only(filled, tmp_path):
    """The store on a medium that refuses writes, root's included."""
    if os.getuid() != 0:
        pytest.skip("only root can make a read-only bind mount")
    point = tmp_path / "ro"
    point.mkdir()
    helpers.run("mount", "--bind", filled.path, point)
    try:
        helpers.run("mount", "-o", "remount,ro,bind", point)
        yield helpers.Store(filled.build, point)
    finally:
        helpers.unmount(point)


@pytest.mark.parametrize("catalogue", ["kept", "lost"])
def test_read_only_store_is_readable(read_only, filled, expected, shop, mount, catalogue):
    if catalogue == "lost":
        (filled.path / "metadata.db").unlink()
    before = helpers.tree_digest(filled)
    read_only.verify()
    assert len(read_only.list()) == 2
    with mount(read_only) as mnt:
        assert assert_own_bytes_or_error(mnt.latest(), expected) == []
    for attempt in (read_only.dump(f"sqlite:{shop}", exit=helpers.FAILED),
                    read_only.admin("delete", "--yes", "latest", exit=helpers.FAILED)):
        assert "hint:" in attempt.stderr
    assert helpers.tree_digest(filled) == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a tmpfs")
    point = tmp_path / "small"
    point.mkdir()
    helpers.run("mount", "-t", "tmpfs", "-o", "size=8m", "bakfs-test", point)
    try:
        yield point
    finally:
        helpers.unmount(point)


def test_full_disk(build, small_disk, shop, big_sqlite):
    store = helpers.Store(build, small_disk / "store")
    helpers.run(build.store, "init", "--store", store)
    store.dump(f"sqlite:{shop}")
    before = store.list()
    done = store.dump(f"sqlite:{big_sqlite}", exit=helpers.FAILED)
    assert "No space left" in done.stderr
    assert "hint:" in done.stderr
    assert store.list() == before
    assert list((store.path / "tmp").iterdir()) == []
    store.verify()
    # What was there is still there, and there is room again for the next small one.
    store.dump(f"sqlite:{shop}")
    assert len(store.list()) == 2
    store.verify()


def test_killed_at_any_moment(store, shop, big_sqlite, mount):
    """SIGKILL at many points: afterwards the store is as before or has one complete backup more,
    nothing is locked, and the next dump sweeps what was half-written."""
    store.dump(f"sqlite:{shop}")
    began = time.monotonic()
    store.dump(f"sqlite:{big_sqlite}")
    whole = time.monotonic() - began
    shutil.rmtree(store.path)
    helpers.run(store.build.store, "init", "--store", store)
    store.dump(f"sqlite:{shop}")
    count = 1
    for i in range(12):
        proc = subprocess.Popen([str(store.build.dump), "--store", str(store), "--quiet",
                                 f"sqlite:{big_sqlite}"], start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, env=helpers.clean_env())
        time.sleep(whole * (i + 0.5) / 12)
        helpers.kill_group(proc)
        store.verify()
        now = len(store.list())
        assert now in (count, count + 1)
        assert now == len(store.manifests())
        count = now
    store.dump("--lock-wait", "0", f"sqlite:{shop}")
    assert list((store.path / "tmp").iterdir()) == []
    assert len(store.list()) == count + 1
    with mount(store) as mnt:
        assert helpers.query(mnt.latest() / "shop.db", "PRAGMA integrity_check") == ["ok"]
    store.verify()


def test_half_written_files_are_swept(filled, shop):
    """A writer's own leftovers go at once, what else lies in tmp/ only when it is old."""
    tmp = filled.path / "tmp"
    (tmp / "w123-leftover").write_bytes(b"x" * 1000)
    (tmp / "old").write_bytes(b"")
    (tmp / "young").write_bytes(b"")
    os.utime(tmp / "old", (time.time() - 2 * 86400,) * 2)
    filled.verify()
    filled.dump(f"sqlite:{shop}")
    assert [p.name for p in tmp.iterdir()] == ["young"]
    filled.verify()


def test_published_files_never_change(filled, shop):
    """Packs, manifests and events are written once under their own names."""
    def immutable():
        return {name: data for name, data in helpers.tree_digest(filled).items()
                if data is not None and name.split("/")[0] in ("packs", "manifests", "events")}

    before = immutable()
    filled.dump(f"sqlite:{shop}")
    filled.admin("delete", "--yes", "2026-01-15")
    filled.admin("reindex")
    after = immutable()
    assert {name: after.get(name) for name in before} == before


def test_packs_are_named_by_their_sha256(filled):
    for pack in filled.packs():
        digest = helpers.run("sha256sum", pack).stdout.split()[0]
        assert digest == pack.stem


def test_stopped_driver_leaves_no_mount(filled, mount):
    for sig in (signal.SIGTERM, signal.SIGINT):
        with mount(filled) as mnt:
            mnt.proc.send_signal(sig)
            mnt.proc.wait(timeout=10)
            assert not helpers.is_mounted(mnt)


def test_store_removed_under_a_mount(filled, mount):
    """The driver says so once and goes on with what it knows; what it can't read is an error."""
    with mount(filled) as mnt:
        names = os.listdir(mnt / "archive")
        shutil.rmtree(filled.path)
        helpers.wait_until(lambda: "is no store any more" in mnt.log())
        time.sleep(1)
        assert mnt.log().count("is no store any more") == 1
        assert os.listdir(mnt / "archive") == names
        assert mnt.proc.poll() is None


def test_deleted_backups_whose_space_was_given_back(store, big_sqlite, mount):
    """Who still has a file of one open gets "stale", and nothing is called damaged."""
    store.dump(f"sqlite:{big_sqlite}")
    with mount(store, "-o", "cache_size=1M,threads=0") as mnt:
        with open(mnt.latest() / "big.db", "rb", buffering=0) as opened:
            (backup,) = store.list()
            store.admin("delete", "--yes", backup["backup_id"])
            helpers.wait_until(lambda: not os.listdir(mnt / "latest"))
            for pack in store.packs():
                pack.unlink()
            (store.path / "generation").write_text("f" * 32 + "\n")
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with pytest.raises(OSError) as error:
                while opened.read(1 << 20):
                    pass
            assert error.value.errno == errno.ESTALE
        assert "cannot read" not in mnt.log()
