"""What every backup shows besides its own files, and what the driver tells about them."""

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import sqlite3
import stat

import pytest

import helpers
import storewriter

NAMES = {"SHA256SUMS", "backup.json", "summary.txt"}


@pytest.fixture
def filled(store, shop):
    store.dump(f"sqlite:{shop}")
    return store


def sums(path):
    """(names with a sum, names without) in a SHA256SUMS."""
    lines = path.read_text().splitlines()
    with_sum = {line[66:]: line[:64] for line in lines if not line.startswith("#")}
    return with_sum, {line[2:] for line in lines if line.startswith("# ")}


def test_rendered_files(filled, mount):
    with mount(filled) as mnt:
        inside = mnt.latest()
        assert NAMES <= set(os.listdir(inside))
        for name in NAMES:
            st = os.stat(inside / name)
            assert stat.S_IMODE(st.st_mode) == 0o444
            assert st.st_mtime == os.stat(inside).st_mtime
            data = (inside / name).read_bytes()
            assert len(data) == st.st_size > 0
            assert os.stat(mnt / "by-id" / os.listdir(mnt / "by-id")[0] / name).st_ino == st.st_ino
            with open(inside / name, "rb") as f:
                for at, n in ((0, 10), (st.st_size - 5, 100), (st.st_size, 1), (7, 4096)):
                    assert os.pread(f.fileno(), n, at) == data[at:at + n]
        (manifest,) = filled.manifests()
        assert json.loads((inside / "backup.json").read_text()) == json.loads(manifest.read_text())
        text = (inside / "summary.txt").read_text()
        (backup,) = filled.list()
        assert backup["backup_id"] in text and backup["archive_name"] in text
        assert not (inside / "main" / "backup.json").exists()
        assert not (mnt / "backup.json").exists()


def test_status(filled, mount, shop):
    """Hidden from every listing, new with every open, and gone nowhere else."""
    with mount(filled) as mnt:
        path = mnt / ".bakfs-status"
        assert ".bakfs-status" not in os.listdir(mnt)
        assert not (mnt / "latest" / ".bakfs-status").exists()
        assert stat.S_ISREG(os.stat(path).st_mode) and os.stat(path).st_size == 0
        first = json.loads(path.read_text())
        assert first["store_id"] in (filled.path / "config.json").read_text()
        assert first["backups"] == 1 and first["generation"] == 1
        assert first["errors"] == {"count": 0, "last": None}
        (mnt.latest() / "shop.db").read_bytes()
        with open(path) as opened:
            after = json.load(opened)
            opened.seek(0)
            assert json.load(opened) == after
        assert after["cache"]["loads"] > first["cache"]["loads"]
        assert after["cache"]["limit"] >= after["cache"]["bytes"] > 0
        filled.dump(f"sqlite:{shop}")
        helpers.wait_until(lambda: json.loads(path.read_text())["backups"] == 2)
        assert json.loads(path.read_text())["generation"] > 1
        for refused in (lambda: os.listdir(path), lambda: os.stat(path / "x")):
            with pytest.raises(NotADirectoryError):
                refused()
        with pytest.raises(OSError) as error:
            open(path, "r+b")
        assert error.value.errno == errno.EROFS


def test_sums(filled, mount):
    """sha256sum -c agrees, and no file is forgotten."""
    with mount(filled) as mnt:
        inside = mnt.latest()
        done = helpers.run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=inside)
        assert done.stderr == "" and "shop.db: OK" in done.stdout
        with_sum, without = sums(inside / "SHA256SUMS")
        files = {str(p.relative_to(inside)) for p in inside.rglob("*") if p.is_file()} - NAMES
        assert files == set(with_sum) | (files & without)
        for name, digest in with_sum.items():
            assert hashlib.sha256((inside / name).read_bytes()).hexdigest() == digest


def test_sums_of_postgres(store, pg, pg_db, mount):
    pg.psql(pg_db, 'CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 50000); '
                   'CREATE SCHEMA "odd \\ name"; CREATE TABLE "odd \\ name"."b\nc" (a int);')
    store.dump(pg.dsn(pg_db))
    with mount(store) as mnt:
        done = helpers.run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=mnt.latest())
        assert done.stderr == ""
        assert "public/tables/t/data.sql: OK" in done.stdout and "roles.sql: OK" in done.stdout
        assert "restore.sql" in sums(mnt.latest() / "SHA256SUMS")[1]


def test_sizes_are_had_cheaply(wide_store, mount):
    """10,000 tables: the size comes without the text, and what is known is not asked for again."""
    with mount(wide_store, "-d") as mnt:
        inside = mnt.latest()
        helpers.run("ls", "-l", inside)
        lookups = mnt.requests()["LOOKUP"]
        for _ in range(5):
            helpers.run("ls", "-l", inside)
        assert mnt.requests()["LOOKUP"] - lookups < 5
        data = (inside / "SHA256SUMS").read_bytes()
        assert len(data) == os.stat(inside / "SHA256SUMS").st_size
        assert data.count(b"\n") > 10000


def test_rendered_of_a_deleted_backup(filled, mount):
    """Who works inside is not disturbed, as long as what is needed was not reclaimed."""
    (backup,) = filled.list()
    (manifest,) = filled.manifests()
    with mount(filled) as mnt:
        fd = os.open(mnt.latest(), os.O_RDONLY)
        before = (mnt.latest() / "summary.txt").read_bytes()
        f = open(mnt.latest() / "summary.txt", "rb")
        filled.admin("delete", "--yes", backup["backup_id"])
        helpers.wait_until(lambda: not os.listdir(mnt / "by-id"))
        assert f.read() == before
        f.close()
        sums = os.open("SHA256SUMS", os.O_RDONLY, dir_fd=fd)
        assert b"restore.sql" in os.read(sums, 1 << 20)
        os.close(sums)
        manifest.unlink()
        with pytest.raises(OSError) as e:
            os.open("backup.json", os.O_RDONLY, dir_fd=fd)
        assert e.value.errno in (errno.ESTALE, errno.ENOENT)
        os.close(fd)


def test_xattr(filled, mount):
    (backup,) = filled.list()
    with mount(filled) as mnt:
        with pytest.raises(OSError) as e:
            os.listxattr(mnt.latest() / "shop.db")
        assert e.value.errno == errno.ENOTSUP
    with mount(filled, "-o", "xattr") as mnt:
        inside = mnt.latest()
        path = inside / "shop.db"

        def get(name, path=path):
            return os.getxattr(path, f"user.bakfs.{name}").decode()

        for p in (path, inside, inside / "main", inside / "summary.txt"):
            assert get("backup_id", p) == backup["backup_id"]
            assert get("collection", p) == "default/shop"
        assert get("sha256") == hashlib.sha256(path.read_bytes()).hexdigest()
        assert 0 < int(get("stored_size")) < path.stat().st_size
        assert int(get("chunks")) >= 1 and int(get("deltas")) == 0
        assert {f"user.bakfs.{n}" for n in ("backup_id", "collection", "sha256", "stored_size",
                                            "chunks", "deltas")} == set(os.listxattr(path))
        assert os.listxattr(mnt) == []
        for p, name in ((inside, "user.bakfs.sha256"), (path, "user.other"), (mnt, "user.bakfs.x")):
            with pytest.raises(OSError) as e:
                os.getxattr(p, name)
            assert e.value.errno == errno.ENODATA
        db = sqlite3.connect(filled.path.parent / "shop.db")
        db.execute("UPDATE customers SET credit = 1 WHERE id = 7")
        db.commit()
        db.close()
        filled.dump(f"sqlite:{filled.path.parent / 'shop.db'}")
        helpers.wait_until(lambda: len(os.listdir(mnt / "by-id")) == 2)
        new = max(filled.list(), key=lambda b: b["ordinal"])
        changed = mnt / "by-id" / new["backup_id"] / "shop.db"
        records = [r for p in filled.packs() for r in storewriter.split_pack(p.read_bytes())[1]]
        deltas = sum(entry[44] == 1 and entry[45] == 2 for _, entry, _ in records)
        assert 0 <= int(get("deltas", changed)) <= min(deltas, int(get("chunks", changed)))
        assert deltas == 0 or int(get("deltas", changed)) > 0


def test_xattr_counts_deltas(store, big_sqlite, mount, tmp_path):
    path = tmp_path / "big.db"
    shutil.copy(big_sqlite, path)
    store.dump("--no-text", f"sqlite:{path}")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE blobs SET data = randomblob(10) || data WHERE id % 2000 = 5")
    store.dump("--no-text", f"sqlite:{path}")
    with mount(store, "-o", "xattr") as mnt:
        def get(backup, name):
            return int(os.getxattr(backup / "big.db", f"user.bakfs.{name}"))

        (first,) = (mnt / "archive").iterdir()
        assert get(first, "deltas") == 0 and get(first, "chunks") > 100
        assert 0 < get(mnt.latest(), "deltas") < 20
        assert get(mnt.latest(), "chunks") >= get(first, "chunks")


@pytest.mark.parametrize("options", ["threads=0", "threads=1", "threads=8,cache_size=8M",
                                     "readahead_kb=4096", "cache_size=1M"])
def test_sequential_reads(store, big_sqlite, mount, options):
    """Read ahead or not, from front to back, from the middle, and by several at once."""
    store.dump(f"sqlite:{big_sqlite}")
    original = big_sqlite.read_bytes()
    with mount(store, "-o", options) as mnt:
        path = mnt.latest() / "big.db"
        files = [open(path, "rb", buffering=0) for _ in range(3)]
        at = [0, 5 << 20, 11 << 20]
        rng = random.Random(4)
        for i, f in enumerate(files):
            f.seek(at[i])
        while any(n < len(original) for n in at):
            for i, f in enumerate(files):
                data = f.read(rng.randrange(1, 400000))
                assert data == original[at[i]:at[i] + len(data)]
                at[i] += len(data) if data else len(original)
        for f in files:
            f.close()


def test_kernel_read_ahead(filled, mount):
    if os.getuid() != 0:
        pytest.skip("only root may set it")
    with mount(filled, "-o", "readahead_kb=512") as mnt:
        (mnt.latest() / "shop.db").read_bytes()
        device = os.stat(mnt).st_dev
        setting = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
        if not os.access(setting, os.W_OK):
            pytest.skip("/sys can't be written here")
        assert int(open(setting).read()) == 512


@pytest.mark.parametrize("option", ["threads=many", "threads=1000", "threads=-1", "readahead_kb=x",
                                    "readahead_kb=", "threads=1K"])
def test_bad_options(build, filled, tmp_path, option):
    (tmp_path / "point").mkdir()
    done = helpers.run(build.bakfs, filled, tmp_path / "point", "-o", option, exit=helpers.USAGE)
    assert option.split("=")[0] in done.stderr and "\nhint: " in done.stderr
