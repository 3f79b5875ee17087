"""docs/format.md against the bytes on disk: storereader.py reads the store without any of our code,
and must find what the mount shows."""

import hashlib
import os
import re
import shutil
import stat

import pytest

import helpers
from storereader import StoreReader, xxh64

RENDERED = {b"backup.json", b"summary.txt", b"SHA256SUMS"}


@pytest.fixture(autouse=True)
def has_zstd():
    if not shutil.which("zstd"):
        pytest.skip("the zstd program is not installed")


def mounted_tree(root):
    found = {}
    root = os.fsencode(root)
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            content = None
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    content = f.read()
                assert st.st_size == len(content)
            found[os.path.relpath(path, root)] = (stat.S_ISDIR(st.st_mode), stat.S_IMODE(st.st_mode),
                                                  content)
    return found


def check_against_mount(reader, mnt):
    """Every backup's stored tree is what by-id/ shows, but for the rendered files."""
    for manifest in reader.backups():
        stored = reader.backup_tree(manifest)
        shown = mounted_tree(mnt / "by-id" / manifest["backup_id"])
        extra = set(shown) - set(stored)
        assert {os.path.basename(p) for p in extra} <= RENDERED
        assert set(stored) <= set(shown)
        for path, (kind, mode, content, _) in stored.items():
            is_dir, shown_mode, shown_content = shown[path]
            assert is_dir == (kind == 2), path
            if kind == 1:
                assert shown_mode == mode, path
                assert shown_content == content, path


def test_reference_values():
    assert xxh64(b"") == 0xEF46DB3751D8E999
    assert xxh64(b"a") == 0xD24EC4F1A98C6E5B
    assert xxh64(b"abc") == 0x44BC2CF5AD770999
    assert xxh64(b"Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1


def test_sqlite_store(store, shop, tmp_path, mount):
    big = helpers.make_shop(tmp_path / "big.db", customers=20000)
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": 1768487445})
    store.dump(f"sqlite:{big}", "--collection", "default/shop",
               env={"BAKFS_TEST_TIME": 1768573845})
    store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": 1768573846})
    store.admin("delete", "--yes", "2026-01-16T14-30-46Z")
    store.verify()
    reader = StoreReader(store)
    assert [b["timestamp"] for b in reader.backups()] == [1768487445, 1768573845]
    assert {"deleted", "verified"} >= {e["type"] for e in reader.events()} >= {"deleted"}
    with mount(store) as mnt:
        check_against_mount(reader, mnt)


def test_postgres_store(store, pg, pg_db, mount):
    pg.psql(pg_db, """
        CREATE SCHEMA "odd/schema"; CREATE TABLE plain (a int, b text);
        INSERT INTO plain SELECT i, repeat('x' || i, 20) FROM generate_series(1, 50000) i;
        CREATE TABLE "odd/schema"."it's .a % table" (a int); CREATE TABLE ".hidden" ();
        SELECT lo_from_bytea(0, convert_to(repeat('large object', 30000), 'UTF8'));""")
    store.dump(pg.dsn(pg_db))
    pg.psql(pg_db, "UPDATE plain SET b = 'changed' WHERE a % 100 = 0")
    store.dump(pg.dsn(pg_db))
    reader = StoreReader(store)
    assert any(r.encoding == 2 for r in reader.records.values()), "no delta was read"
    with mount(store) as mnt:
        check_against_mount(reader, mnt)


def test_manifest_members(store, shop):
    env = {"BAKFS_TEST_TIME": 1768487445, "GITHUB_REPOSITORY": "my/app",
           "GITHUB_EVENT_NAME": "push", "GITHUB_SHA": "0123456789abcdef"}
    store.dump("--collection", "prod/shop", "--environment", "live", "--tag", "team=data",
               f"sqlite:{shop}", env=env)
    store.dump("--collection", "prod/shop", f"sqlite:{shop}", env=env)
    reader = StoreReader(store)
    first, second = reader.backups()
    for backup, text in ((first, b"prod/shop@1768487445"), (second, b"prod/shop@1768487445--2")):
        assert backup["backup_id"] == "backup-" + hashlib.sha256(text).hexdigest()[:16]
    assert first["latest_name"] == "latest_2026-01-15T14-30-45Z"
    assert first["archive_name"] == "2026-01-15T14-30-45Z--my-app--push--0123456"
    assert second["archive_name"] == first["archive_name"] + "--2"
    assert first["collection"] == {"namespace": "prod", "name": "shop"}
    assert (first["source_repo"], first["trigger_event"]) == ("my-app", "push")
    assert first["commit_sha"] == "0123456789abcdef"
    assert first["environment"] == "live" and first["tags"] == {"team": "data"}
    assert first["partial"] is False and first["left_out"] == []
    assert first["record_count"] == 800 and first["table_count"] == 2
    assert first["finished"] >= first["timestamp"]
    (database,) = first["databases"]
    assert database["type"] == "sqlite" and database["path"] == ""
    assert first["program"]["name"] == "bakfs-dump"
    assert re.fullmatch(r"\d+\.\d+\.\d+", first["program"]["version"])
    assert reader.config["default_collection"] == "prod/shop"
    # The packs a backup added are there; the second one, of the same content, added no data.
    packs = {p.stem for p in store.packs()}
    assert set(first["packs"]) | set(second["packs"]) == packs


def test_catalogue_tables(store, shop):
    """The API's table, by its own names."""
    store.dump(f"sqlite:{shop}")
    (shown,) = store.list()
    (row,) = helpers.query(store.path / "metadata.db",
                           "SELECT backup_id, collection_namespace, collection_name, timestamp, "
                           "size_bytes, record_count, includes_files, storage_type FROM backups")
    assert row.split("|") == [shown["backup_id"], "default", "shop", str(shown["timestamp"]),
                              str(shown["size_bytes"]), "800", "0", "local"]
    (path,) = helpers.query(store.path / "metadata.db", "SELECT storage_path FROM backups")
    assert (store.path / path).is_file()
    assert helpers.query(store.path / "metadata.db", "PRAGMA application_id") == [str(0x42414B46)]
    assert helpers.query(store.path / "metadata.db", "PRAGMA user_version") == ["2"]


def test_file_modes(store, shop):
    store.dump(f"sqlite:{shop}")
    for path in store.path.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        else:
            top = path.relative_to(store.path).parts[0]
            assert mode == (0o400 if top in ("packs", "manifests", "events") else 0o600), path


def test_unchanged_content_is_stored_once(store, shop):
    store.dump(f"sqlite:{shop}")
    before = {p: p.stat().st_size for p in store.packs()}
    store.dump(f"sqlite:{shop}")
    new = [p.stat().st_size for p in store.packs() if p not in before]
    assert sum(new) < 32 * 1024
