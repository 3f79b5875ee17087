"""Where a store's bytes are: its disk use, and what its packs hold (docs/format.md, "Packs")."""

import collections
import os
import pathlib
import struct

INDEX_ENTRY = 68  # bytes a record, and
INDEX_BASE = 32   # bytes a delta record more

Pack = collections.namedtuple(
    "Pack", "kind size whole whole_bytes deltas delta_bytes plain_bytes depths overhead")


def du(path):
    """Bytes on disk of everything below a directory, as `du -s` counts them."""
    total, seen = 0, set()
    for directory, _, files in os.walk(path):
        for name in [directory] + [os.path.join(directory, f) for f in files]:
            st = os.lstat(name)
            if st.st_ino not in seen:
                seen.add(st.st_ino)
                total += st.st_blocks * 512
    return total


def read_pack(path):
    """What one pack holds, from its index. Lengths include the record's 88-byte header."""
    with open(path, "rb") as f:
        header = f.read(32)
        f.seek(-48, os.SEEK_END)
        at, n, n_deltas = struct.unpack_from("<QII", f.read(48))
        size = os.fstat(f.fileno()).st_size
        if size != at + INDEX_ENTRY * n + INDEX_BASE * n_deltas + 48:
            raise ValueError(f"{path}: not the pack format that this reads")
        f.seek(at)
        index = f.read(INDEX_ENTRY * n)
    (kind,) = struct.unpack_from("<I", header, 8)
    whole = whole_bytes = delta_bytes = plain = 0
    depths = collections.Counter()
    for i in range(n):
        stored, plain_len, _type, encoding, depth = struct.unpack_from("<IIBBB", index,
                                                                    INDEX_ENTRY * i + 36)
        plain += plain_len
        if encoding == 2:
            delta_bytes += 88 + stored
            depths[depth] += 1
        else:
            whole += 1
            whole_bytes += 88 + stored
    return Pack(kind, size, whole, whole_bytes, n_deltas, delta_bytes, plain, depths,
                size - whole_bytes - delta_bytes)


class StoreSizes:
    """Follows a store from backup to backup: what each one added."""

    def __init__(self, store):
        self.store = pathlib.Path(store)
        self.packs = {}
        self.before = self._now()

    def _now(self):
        catalogue = self.store / "metadata.db"
        manifests = sum(p.stat().st_size for p in (self.store / "manifests").glob("*.json"))
        return {"disk": du(self.store), "manifests": manifests,
                "catalogue": catalogue.stat().st_size if catalogue.exists() else 0}

    def step(self):
        """Growth since the last call: a dict of bytes and counts."""
        now = self._now()
        grown = {key: now[key] - self.before[key] for key in now}
        self.before = now
        new = []
        for path in (self.store / "packs").glob("*/*.pack"):
            if path.name not in self.packs:
                self.packs[path.name] = read_pack(path)
                new.append(self.packs[path.name])
        data = [p for p in new if p.kind == 1]
        depths = sum((p.depths for p in data), collections.Counter())
        grown.update(
            whole_chunks=sum(p.whole for p in data), whole_bytes=sum(p.whole_bytes for p in data),
            delta_chunks=sum(p.deltas for p in data), delta_bytes=sum(p.delta_bytes for p in data),
            changed_plain_bytes=sum(p.plain_bytes for p in data),
            data_index_bytes=sum(p.overhead for p in data),
            node_bytes=sum(p.size for p in new if p.kind != 1),
            depths={str(d): depths[d] for d in sorted(depths)})
        accounted = sum(grown[k] for k in ("manifests", "catalogue", "whole_bytes", "delta_bytes",
                                           "data_index_bytes", "node_bytes"))
        grown["rounding"] = grown["disk"] - accounted
        return grown
