"""A reader of bakfs stores written from docs/format.md alone: what the document says is checked
against what the programs write. Slow and strict: anything unexpected is an error."""

import hashlib
import json
import pathlib
import re
import struct
import subprocess
import tempfile

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def xxh64(data, seed=0):
    def rotl(x, r):
        return ((x << r) | (x >> (64 - r))) & MASK

    def mix(acc, lane):
        return rotl((acc + lane * P2) & MASK, 31) * P1 & MASK

    at, n = 0, len(data)
    if n >= 32:
        acc = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK]
        while at + 32 <= n:
            for i, lane in enumerate(struct.unpack_from("<4Q", data, at)):
                acc[i] = mix(acc[i], lane)
            at += 32
        h = sum(rotl(a, r) for a, r in zip(acc, (1, 7, 12, 18))) & MASK
        for a in acc:
            h = ((h ^ mix(0, a)) * P1 + P4) & MASK
    else:
        h = (seed + P5) & MASK
    h = (h + n) & MASK
    while at + 8 <= n:
        h = (rotl(h ^ mix(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & MASK
        at += 8
    if at + 4 <= n:
        h = (rotl(h ^ struct.unpack_from("<I", data, at)[0] * P1 & MASK, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        h = rotl(h ^ byte * P5 & MASK, 11) * P1 & MASK
    for shift, prime in ((33, P2), (29, P3), (32, 1)):
        h = (h ^ (h >> shift)) * prime & MASK
    return h


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert self.at + n <= len(self.data), "ends too early"
        self.at += n
        return self.data[self.at - n:self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * i)
            if not byte & 0x80:
                assert i == 0 or byte, "longer than needed"
                assert value <= MASK
                return value
        raise AssertionError("varint of more than 10 bytes")

    def done(self):
        return self.at == len(self.data)


class Record:
    def __init__(self, data, offset):
        head = data[offset:offset + 88]
        (magic, self.type, self.encoding, self.depth, self.age, self.stored_len, self.plain_len,
         self.id, self.base, checksum) = struct.unpack("<4sBBBBII32s32sQ", head)
        assert magic == b"BREC" and self.type in (1, 2, 3) and self.encoding in (0, 1, 2)
        if self.encoding == 2:
            assert 1 <= self.depth <= 8
        else:
            assert self.depth == 0 and self.base == bytes(32)
        assert 1 <= self.stored_len <= 1 << 20 and 1 <= self.plain_len <= 1 << 20
        self.offset, self.end = offset, offset + 88 + self.stored_len
        self.bytes = data[offset:self.end]
        self.stored = data[offset + 88:self.end]
        assert len(self.stored) == self.stored_len
        assert xxh64(head[:80] + self.stored) == checksum

    def plain(self, base=None):
        """The object's bytes; `base` is the plain bytes of what a delta refers to."""
        data = self.stored
        if self.encoding == 1:
            data = unzstd(data)
        elif self.encoding == 2:
            with tempfile.NamedTemporaryFile() as prefix:
                prefix.write(base)
                prefix.flush()
                data = unzstd(data, f"--patch-from={prefix.name}")
        assert len(data) == self.plain_len
        assert hashlib.sha256(data).digest() == self.id
        return data


def unzstd(data, *options):
    return subprocess.run(["zstd", "-dcq", *options], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


def read_pack(path):
    """Records of a pack, checked against its name, index and trailer."""
    data = path.read_bytes()
    assert re.fullmatch(r"[0-9a-f]{64}\.pack", path.name)
    assert hashlib.sha256(data).hexdigest() == path.stem and path.parent.name == path.stem[:2]
    assert len(data) <= 128 << 20
    magic, kind, zero = struct.unpack("<8sI20s", data[:32])
    assert magic == b"BAKFSPK1" and kind in (1, 2) and zero == bytes(20)
    trailer = data[-48:]
    at, n, n_deltas, index_sum, plain_sum, own_sum, end = struct.unpack("<QIIQQQ8s", trailer)
    assert end == b"BAKFSEND" and xxh64(trailer[:32]) == own_sum
    index = data[at:-48]
    assert len(index) == 68 * n + 32 * n_deltas and xxh64(index) == index_sum
    records, offset = [], 32
    for i in range(n):
        record = Record(data, offset)
        assert (record.type == 1) == (kind == 1)
        entry = struct.unpack_from("<32sIIIBBBB12sQ", index, 68 * i)
        assert entry[:8] == (record.id, offset, record.stored_len, record.plain_len, record.type,
                             record.encoding, record.depth, record.age)
        records.append(record)
        offset = record.end
    assert offset == at and sum(r.plain_len for r in records) == plain_sum
    bases = b"".join(r.base for r in records if r.encoding == 2)
    assert bases == index[68 * n:]
    return records


class Entry:
    """A directory entry: name, kind (1 file, 2 directory, 3 link), mode and what belongs to it."""

    def __init__(self, c):
        self.name = c.take(c.varint())
        assert 1 <= len(self.name) <= 255 and b"/" not in self.name and b"\0" not in self.name
        assert self.name not in (b".", b"..")
        self.kind, self.mode = c.u8(), c.varint()
        assert self.mode <= 0o7777
        self.below = 0
        if self.kind == 1:
            self.size = c.varint()
            where = c.u8()
            assert where in (0, 1)
            self.node = c.take(c.varint()) if where == 0 else None
            self.rope_id = c.take(32) if where == 1 else None
            assert where == 1 or len(self.node) <= 4096
        elif self.kind == 2:
            self.id, self.below = c.take(32), c.varint()
        else:
            assert self.kind == 3
            self.target = c.take(c.varint())
            assert 1 <= len(self.target) <= 4095
        self.attributes, last = {}, 0
        for _ in range(c.u8()):
            tag = c.u8()
            assert tag > last
            last = tag
            self.attributes[tag] = c.take(c.varint())


class StoreReader:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config = json.loads((self.path / "config.json").read_text())
        assert self.config["format"] == 1
        assert self.config["features"] == {"read": [], "write": []}
        assert re.fullmatch("[0-9a-f]{32}", self.config["store_id"])
        assert re.fullmatch("[0-9a-f]{64}", self.config["restrict_secret"])
        assert re.fullmatch("[0-9a-f]{32}\n", (self.path / "generation").read_text())
        self.records = {}
        for pack in (self.path / "packs").glob("*/*.pack"):
            for record in read_pack(pack):
                self.records[record.id] = record
        self.plain = {}

    def _documents(self, directory):
        for path in sorted((self.path / directory).glob("*.json")):
            number, digest = re.fullmatch(r"(\d{10})-([0-9a-f]{64})\.json", path.name).groups()
            data = path.read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest
            doc = json.loads(data)
            assert doc["format"] == 1
            yield int(number), doc

    def events(self):
        found = []
        for number, doc in self._documents("events"):
            assert doc["number"] == number
            found.append(doc)
        return found

    def backups(self):
        """Manifests of the backups that are not deleted, by ordinal."""
        gone = {e["ordinal"] for e in self.events() if e["type"] == "deleted"}
        found = []
        for number, doc in self._documents("manifests"):
            assert doc["ordinal"] == number
            if number not in gone:
                found.append(doc)
        return found

    def object(self, id_):
        if id_ not in self.plain:
            record, base = self.records[id_], None
            if record.encoding == 2:
                assert self.records[record.base].depth < record.depth
                base = self.object(record.base)
            self.plain[id_] = record.plain(base)
        return self.plain[id_]

    def rope(self, node, below=33):
        """A rope's bytes from its encoded node."""
        c = Cursor(node)
        assert len(node) <= 1 << 20 and c.u8() == 1
        height, n, length = c.u8(), c.varint(), c.varint()
        assert height < below and n <= 65536
        out = []
        for _ in range(n):
            kind, size = c.u8(), c.varint()
            assert size >= 1
            if kind == 1:
                part = self.object(c.take(32))
            elif kind == 2:
                part = c.take(size)
                assert size <= 65536
            elif kind == 4:
                assert size <= 65536 and size % 2 == 0
                data, start = self.object(c.take(32)), c.varint()
                part = data[start:start + size // 2].hex().encode()
            else:
                assert kind == 3 and height > 0
                part = self.rope(self.object(c.take(32)), height)
            assert len(part) == size
            out.append(part)
        assert c.done()
        data = b"".join(out)
        assert len(data) == length
        return data

    def directory(self, id_, below=17):
        """Entries of a directory in order."""
        c = Cursor(self.object(id_))
        assert c.u8() == 1
        height, n = c.u8(), c.varint()
        assert height < below
        if height == 0:
            entries = [Entry(c) for _ in range(n)]
        else:
            entries = []
            for _ in range(n):
                first, child = c.take(c.varint()), c.take(32)
                count, deep = c.varint(), c.varint()
                part = self.directory(child, height)
                assert part[0].name == first and len(part) == count
                assert sum(1 + e.below for e in part) == deep
                entries += part
        assert c.done()
        names = [e.name for e in entries]
        assert names == sorted(set(names))
        return entries

    def content(self, entry):
        node = entry.node if entry.node is not None else self.object(entry.rope_id)
        data = self.rope(node)
        assert len(data) == entry.size
        if 1 in entry.attributes:
            assert hashlib.sha256(data).digest() == entry.attributes[1]
        return data

    def tree(self, id_, prefix=b"", depth=0):
        """Path to (kind, mode, content, attributes) of everything below a directory; and how many
        entries that is."""
        found = {}
        assert depth <= 64
        for entry in self.directory(id_):
            path = prefix + entry.name
            if entry.kind == 2:
                below = self.tree(entry.id, path + b"/", depth + 1)
                assert len(below) == entry.below
                found[path] = (2, entry.mode, None, entry.attributes)
                found.update(below)
            else:
                content = self.content(entry) if entry.kind == 1 else entry.target
                found[path] = (entry.kind, entry.mode, content, entry.attributes)
        return found

    def backup_tree(self, manifest):
        found = self.tree(bytes.fromhex(manifest["root"]["id"]))
        assert len(found) == manifest["root"]["entries"]
        return found
