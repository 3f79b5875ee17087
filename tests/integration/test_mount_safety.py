"""Stores that change under a mount, crafted stores, and what the driver gives up."""

import hashlib
import json
import os
import random
import shutil
import signal
import types

import pytest

import helpers
import storereader
import storewriter

T0 = 1768487445
TYPE_ROPE, TYPE_DIR = 2, 3


def read_tree(top):
    """Walk, stat and read everything below: {path: bytes} of the files that could be read."""
    good = {}
    for root, _, files in os.walk(top):
        for name in files:
            path = os.path.join(root, name)
            try:
                os.lstat(path)
                if os.path.islink(path):
                    os.readlink(path)
                with open(path, "rb") as f:
                    data = b""  # a crafted size may be huge: not to its end
                    while len(data) < 8 << 20 and (part := f.read(1 << 20)):
                        data += part
                good[os.path.relpath(path, top)] = data
            except OSError:
                pass
    return good


def read_all(top):
    """How many files below could be read."""
    return len(read_tree(top))


def test_objects_move_to_other_packs(store, big_sqlite, mount):
    """Open files, entered directories and new look-ups go on, however often the packs change."""
    store.dump(f"sqlite:{big_sqlite}", env={"BAKFS_TEST_TIME": T0})
    original = big_sqlite.read_bytes()
    with mount(store, "-o", "cache_size=1M,threads=0") as mnt:
        inside = mnt.latest()
        f = open(inside / "big.db", "rb", buffering=0)
        cwd = os.open(inside / "main", os.O_RDONLY)
        assert f.read(1000) == original[:1000]
        for _ in range(3):
            for pack in store.packs():
                storewriter.move_objects(store, pack)
            (store.path / "generation").write_text(f"{random.getrandbits(128):032x}\n")
            f.seek(0)
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            got = b""
            while part := f.read(1 << 20):
                got += part
            assert got == original
            assert os.listdir(cwd) == ["tables"]
            assert read_all(inside) > 5
        f.close()
        os.close(cwd)
        assert "cannot read" not in mnt.log()
    helpers.run(store.build.verify, "--store", store.path)


def test_packs_move_during_reads_without_notice(store, big_sqlite, mount):
    """The packs are gone before the driver was told: it looks for the objects itself."""
    store.dump(f"sqlite:{big_sqlite}", env={"BAKFS_TEST_TIME": T0})
    with mount(store, "-o", "cache_size=1M,threads=0") as mnt:
        assert os.listdir(mnt / "latest")
        for pack in store.packs():
            storewriter.move_objects(store, pack)
        assert (mnt.latest() / "big.db").read_bytes() == big_sqlite.read_bytes()
        for pack in store.packs():
            storewriter.move_objects(store, pack)
        with open(mnt.latest() / "big.db", "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert f.read() == big_sqlite.read_bytes()


def mutate(rng, data):
    """A few changed bytes, or a cut, or bytes put in."""
    out = bytearray(data)
    kind = rng.randrange(6)
    if kind == 0:
        del out[rng.randrange(1, len(out)):]
    elif kind == 1:
        at = rng.randrange(len(out))
        out[at:at] = rng.randbytes(rng.randrange(1, 20))
    else:
        for _ in range(rng.randrange(1, 5)):
            out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def alive(mnt):
    assert mnt.proc.poll() is None, mnt.log()
    assert set(os.listdir(mnt)) == {"archive", "by-id", "collections", "latest"}


def plain_objects(store):
    """{id: (type, bytes)} of the ropes and directories that stand alone."""
    objects = {}
    for pack in store.packs():
        for record in storewriter.split_pack(pack.read_bytes())[1]:
            got = storereader.Record(record[0], 0)
            if got.type in (TYPE_ROPE, TYPE_DIR) and got.encoding < 2:
                objects[got.id] = (got.type, got.plain())
    return objects


class Crafted:
    """Backups like the one of manifest `doc` with other root directories."""

    def __init__(self, store, doc, objects):
        self.store, self.doc = store, doc
        self.known = set(objects)
        self.records = []
        self.n = 1

    def add_object(self, plain, type):
        """Its id."""
        id = hashlib.sha256(plain).digest()
        if id not in self.known:
            self.records.append(storewriter.raw_record(plain, type))
            self.known.add(id)
        return id

    def add_backup(self, root):
        """Its id."""
        self.n += 1
        id = f"backup-{self.n:016x}"
        storewriter.add_manifest(self.store, dict(
            self.doc, ordinal=self.n, timestamp=T0 + self.n, backup_id=id,
            archive_name=f"archive-{self.n}",
            root={"id": root.hex(), "entries": self.doc["root"]["entries"]}))
        return id

    def write(self):
        pack = storewriter.join_pack(storewriter.KIND_NODES, self.records)
        storewriter.add_pack(self.store, pack)
        (self.store.path / "metadata.db").unlink()


def test_crafted_rope_nodes(store, big_sqlite, mount):
    """The same with the ropes that are objects of their own: a file's root, and nodes below one."""
    store.dump(f"sqlite:{big_sqlite}", env={"BAKFS_TEST_TIME": T0})
    (manifest,) = store.manifests()
    doc = json.loads(manifest.read_text())
    objects = plain_objects(store)
    root = objects[bytes.fromhex(doc["root"]["id"])][1]
    ropes = {id: plain for id, (type, plain) in objects.items() if type == TYPE_ROPE}
    files = storereader.StoreReader(store.path).directory(bytes.fromhex(doc["root"]["id"]))
    nodes = [(e.name.decode(), id) for e in files if e.kind == 1
             for id in ropes if id in (e.node or e.rope_id)]
    names = {name for name, _ in nodes}
    assert names == {"big.db", "restore.sql"}
    rng = random.Random(6)
    crafted = Crafted(store, doc, objects)
    changed = {}
    for _ in range(100):
        name, node = rng.choice(nodes)
        new = crafted.add_object(mutate(rng, ropes[node]), TYPE_ROPE)
        id = crafted.add_backup(crafted.add_object(root.replace(node, new), TYPE_DIR))
        changed[id] = name
    crafted.write()
    with mount(store, "-o", "xattr") as mnt:
        good = mnt / "by-id" / doc["backup_id"]
        original = {name: hashlib.sha256((good / name).read_bytes()).digest() for name in names}
        assert len(os.listdir(mnt / "by-id")) == 101
        failed = 0
        for id, name in changed.items():
            path = mnt / "by-id" / id / name
            try:
                failed += hashlib.sha256(path.read_bytes()).digest() != original[name]
                os.getxattr(path, "user.bakfs.chunks")
            except OSError:
                failed += 1
        assert failed > 80, failed
        alive(mnt)
        for name, digest in original.items():
            assert hashlib.sha256((good / name).read_bytes()).digest() == digest


def test_crafted_directories_and_ropes(store, shop, mount):
    """Root directories with changed bytes under their right names: the parsers behind every
    checksum get them, and the ropes that stand in them."""
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": T0})
    (manifest,) = store.manifests()
    doc = json.loads(manifest.read_text())
    objects = plain_objects(store)
    rng = random.Random(5)
    crafted = Crafted(store, doc, objects)
    root = objects[bytes.fromhex(doc["root"]["id"])][1]
    for _ in range(200):
        crafted.add_backup(crafted.add_object(mutate(rng, root), TYPE_DIR))
    crafted.write()
    with mount(store, "-o", "xattr") as mnt:
        names = os.listdir(mnt / "by-id")
        assert len(names) == 201
        good = 0
        for name in names:
            try:
                good += read_all(mnt / "by-id" / name)
            except OSError:
                pass
        assert good > 100
        alive(mnt)
        assert read_all(mnt / "by-id" / doc["backup_id"]) > 5


@pytest.mark.parametrize("seed", range(6))
def test_crafted_packs(store, shop, mount, seed, tmp_path):
    """Packs with changed bytes, under the names that these have: what can be read is right."""
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": T0})
    with mount(store) as mnt:
        originals = read_tree(mnt)
    rng = random.Random(seed)
    for pack in store.packs():
        data = mutate(rng, pack.read_bytes())
        pack.unlink()
        storewriter.add_pack(store, data)
    (store.path / "metadata.db").unlink()
    with mount(store) as mnt:
        got = read_tree(mnt)
        assert {path: originals.get(path) for path in got} == got
        alive(mnt)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def dir_node(name, kind, rest):
    """Of one entry without attributes."""
    return bytes([1, 0, 1, len(name)]) + name + bytes([kind]) + varint(0o444) + rest + bytes(1)


def test_crafted_ropes_that_share_nodes(store, tmp_path, mount):
    """A file of 2^30 stretches in thirty nodes, each of which holds the next one twice: who looks at
    all of it does not look at it all so often."""
    path = tmp_path / "rows.txt"
    path.write_text("".join(f"{i} row\n" for i in range(100_000)))
    store.dump(f"file:{path}", env={"BAKFS_TEST_TIME": T0})
    (manifest,) = store.manifests()
    crafted = Crafted(store, json.loads(manifest.read_text()), {})
    id, size = crafted.add_object(bytes(1000), 1), 1000
    for height in range(30):
        entry = bytes([3 if height else 1]) + varint(size) + id
        size *= 2
        id = crafted.add_object(bytes([1, height, 2]) + varint(size) + 2 * entry, TYPE_ROPE)
    files = crafted.add_object(dir_node(b"rows.txt", 1, varint(size) + b"\1" + id), TYPE_DIR)
    root = crafted.add_object(dir_node(b"files", 2, files + varint(1)), TYPE_DIR)
    backup = crafted.add_backup(root)
    crafted.write()
    store.verify(timeout=30)
    with mount(store, "-o", "xattr") as mnt:
        crafted_file = mnt / "by-id" / backup / "files" / "rows.txt"
        with open(crafted_file, "rb") as f:
            for at in (0, size // 2 - 500, size - 100_000):
                f.seek(at)
                assert f.read(100_000) == bytes(100_000)
        assert os.getxattr(crafted_file, "user.bakfs.chunks") == b"1"
        alive(mnt)
    limited = ("prlimit", "--fsize=20000000", store.build.restore, "--store", store)
    helpers.run(*limited, backup, "--to", f"file:{tmp_path / 'out'}", exit=None, timeout=60)
    # The next backup of the file has it as its previous version.
    store.dump(f"file:{path}", env={"BAKFS_TEST_TIME": T0 + 100}, timeout=60)
    with mount(store) as mnt:
        assert (mnt.latest() / "files" / "rows.txt").read_bytes() == path.read_bytes()


def test_crafted_manifests(store, shop, mount):
    """A manifest with changed bytes is left out or shown; the sound one stays."""
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": T0})
    (manifest,) = store.manifests()
    data, rng = manifest.read_bytes(), random.Random(6)
    for ordinal in range(2, 60):
        changed = mutate(rng, data)
        name = f"{ordinal:010}-{hashlib.sha256(changed).hexdigest()}.json"
        (store.path / "manifests" / name).write_bytes(changed)
    (store.path / "metadata.db").unlink()
    try:
        with mount(store) as mnt:
            read_all(mnt)
            alive(mnt)
    except AssertionError as e:  # refusing such a store is an answer; dying of it is not
        assert "driver exited with 1" in str(e)


def test_names_do_not_leave_the_backup(store, shop, mount):
    store.dump(f"sqlite:{shop}")
    (store.path / "secret").write_text("outside")
    with mount(store) as mnt:
        inside = mnt.latest()
        for way in ("../../../secret", "main/../../../../secret", "..%2fsecret"):
            assert not (inside / way).exists()


def status(pid):
    lines = (line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return {name: value.strip() for name, value in lines}


def test_what_the_driver_gives_up(store, shop, mount):
    store.dump(f"sqlite:{shop}")
    with mount(store) as mnt:
        read_all(mnt)
        for task in os.listdir(f"/proc/{mnt.proc.pid}/task"):
            found = status(f"{mnt.proc.pid}/task/{task}")
            if os.getuid() == 0:
                kept = int(found["CapEff"], 16) | int(found["CapPrm"], 16)
                assert kept & ~(1 << 2 | 1 << 21) == 0  # CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN
            if b"seccomp_init" in store.build.bakfs.read_bytes():  # built with libseccomp
                assert found["Seccomp"] == "2" and found["NoNewPrivs"] == "1"


@pytest.mark.parametrize("taken, kept", [("-sys_boot", 1 << 2 | 1 << 21),
                                         ("-dac_read_search", 1 << 1 | 1 << 21)])
def test_somebody_elses_store(store, shop, mount, tmp_path, taken, kept):
    """The driver keeps what it needs to read a store that only its owner may. Containers give root
    CAP_DAC_OVERRIDE, not CAP_DAC_READ_SEARCH."""
    if os.getuid() != 0:
        pytest.skip("only root can give up a capability and have others")
    store.dump(f"sqlite:{shop}")
    for path in (store.path, *store.path.rglob("*")):
        os.chown(path, 65534, 65534)
        path.chmod(0o700 if path.is_dir() else 0o400)
    script = tmp_path / "container"
    script.write_text(
        f'#!/bin/sh\nexec setpriv --bounding-set={taken} {store.build.bakfs} "$@"\n')
    script.chmod(0o755)
    with helpers.mounted(types.SimpleNamespace(bakfs=script), store, tmp_path) as mnt:
        assert (mnt.latest() / "shop.db").read_bytes() == shop.read_bytes()
        assert read_all(mnt.latest()) > 5
        assert int(status(mnt.proc.pid)["CapEff"], 16) == kept
        assert "cannot read" not in mnt.log()


@pytest.mark.slow
def test_killed_under_load(store, big_sqlite, mount, tmp_path, build):
    """SIGKILL while many read: they get errors, nothing hangs, and a new mount works."""
    store.dump(f"sqlite:{big_sqlite}")
    point = tmp_path / "point"
    point.mkdir()
    helpers.run(build.bakfs, store, point)
    try:
        pid = int(helpers.run("pgrep", "-f", f"bakfs {store.path} {point}").stdout.split()[0])
        path = next(iter((point / "latest").iterdir())) / "big.db"
        readers = [helpers.subprocess.Popen(["sh", "-c", f"while cat {path}; do :; done"],
                                            stdout=helpers.subprocess.DEVNULL,
                                            stderr=helpers.subprocess.DEVNULL) for _ in range(4)]
        helpers.time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        for reader in readers:
            reader.wait(timeout=20)
        helpers.run("fusermount3", "-u", point)
        helpers.run(build.bakfs, store, point)
        assert next(iter((point / "latest").iterdir())).joinpath("big.db").stat().st_size
    finally:
        helpers.unmount(point)
        shutil.rmtree(point, ignore_errors=True)
