"""Writes packs and manifests as docs/format.md has them: for tests that move objects to other
packs, as a garbage collection would, or craft what no bakfs program writes."""

import hashlib
import json
import struct

from storereader import xxh64

KIND_DATA, KIND_NODES = 1, 2


def split_pack(data):
    """(kind, [(record bytes, index entry, base id or None), …])."""
    start, n, n_deltas = struct.unpack_from("<QII", data, len(data) - 48)
    bases = [data[start + 68 * n + 32 * i:][:32] for i in range(n_deltas)]
    records = []
    for i in range(n):
        entry = data[start + 68 * i:][:68]
        offset, stored = struct.unpack_from("<II", entry, 32)
        base = bases.pop(0) if entry[45] == 2 else None
        records.append((data[offset:offset + 88 + stored], entry, base))
    return struct.unpack_from("<I", data, 8)[0], records


def join_pack(kind, records):
    """The bytes of a pack with these records."""
    out = bytearray(b"BAKFSPK1" + struct.pack("<I", kind) + bytes(20))
    index, plain = b"", 0
    for record, entry, _ in records:
        index += entry[:32] + struct.pack("<I", len(out)) + entry[36:]
        plain += struct.unpack_from("<I", entry, 40)[0]
        out += record
    bases = [base for _, _, base in records if base is not None]
    index += b"".join(bases)
    trailer = struct.pack("<QIIQQ", len(out), len(records), len(bases), xxh64(index), plain)
    return bytes(out) + index + trailer + struct.pack("<Q", xxh64(trailer)) + b"BAKFSEND"


def raw_record(plain, type):
    """What join_pack takes, for an object that stands in its pack as it is."""
    id = hashlib.sha256(plain).digest()
    head = struct.pack("<4sBBBBII32s32s", b"BREC", type, 0, 0, 0, len(plain), len(plain), id,
                       bytes(32))
    record = head + struct.pack("<Q", xxh64(head + plain)) + plain
    return record, struct.pack("<32sIIIBBBB20x", id, 0, len(plain), len(plain), type, 0, 0, 0), None


def add_pack(store, data):
    """Put a pack's bytes into a store under their name; the path."""
    name = hashlib.sha256(data).hexdigest()
    path = store.path / "packs" / name[:2] / f"{name}.pack"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def add_manifest(store, doc):
    data = json.dumps(doc).encode()
    name = f"{doc['ordinal']:010}-{hashlib.sha256(data).hexdigest()}.json"
    path = store.path / "manifests" / name
    path.write_bytes(data)
    return path


def move_objects(store, pack):
    """Move what a pack holds to two new packs, the last first, and remove it."""
    kind, records = split_pack(pack.read_bytes())
    records.reverse()
    half = (len(records) + 1) // 2
    for part in (records[:half], records[half:]):
        if part:
            add_pack(store, join_pack(kind, part))
    pack.unlink()
