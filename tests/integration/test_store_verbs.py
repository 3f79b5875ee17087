"""bakfs-store: init, list, show, delete, reindex; what they print, and how they fail."""

import calendar
import hashlib
import json
import os
import pty
import re
import select
import sqlite3
import subprocess
import time

import pytest

import helpers

API = {"backup_id", "collection", "timestamp", "size_bytes", "record_count", "file_count",
       "includes_files", "storage_path", "storage_type", "metadata"}


def dump_at(store, source, text, *args):
    when = calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    store.dump("--quiet", *args, f"sqlite:{source}", env={"BAKFS_TEST_TIME": when})
    return when


def listed(store, *args):
    return json.loads(store.admin("list", "--json", *args).stdout)


@pytest.fixture
def three(store, shop):
    """Three backups in two collections of two namespaces."""
    dump_at(store, shop, "2026-01-15T14:30:45Z", "--collection", "prod/shop")
    dump_at(store, shop, "2026-01-16T14:30:45Z", "--collection", "test/shop")
    dump_at(store, shop, "2026-01-17T00:00:00Z", "--collection", "prod/shop", "--tag", "why=demo",
            "--environment", "staging")
    return store


def test_init(build, tmp_path):
    where = tmp_path / "new"
    done = helpers.run(build.store, "init", "--store", where)
    assert str(where) in done.stdout and done.stderr == ""
    assert {p.name for p in where.iterdir()} >= {"config.json", "packs", "manifests", "events"}
    assert where.stat().st_mode & 0o777 == 0o700
    empty = tmp_path / "empty"
    empty.mkdir()
    helpers.run(build.store, "--store", empty, "init", "-q", "--collection", "prod/users")
    assert json.loads((empty / "config.json").read_text())["default_collection"] == "prod/users"


def test_init_as_json(build, tmp_path):
    doc = json.loads(helpers.run(build.store, "init", "--json", "--store", tmp_path / "s").stdout)
    assert doc["store"] == str(tmp_path / "s") and re.fullmatch("[0-9a-f]{32}", doc["store_id"])


@pytest.mark.parametrize("name", ["plain", "/x", "x/", "a/b/c", ".a/b", "a b/c", "a/" + "x" * 101])
def test_init_refuses_bad_collections(build, tmp_path, name):
    done = helpers.run(build.store, "init", "--store", tmp_path / "s", "--collection", name,
                       exit=helpers.USAGE)
    assert "hint:" in done.stderr
    assert not (tmp_path / "s").exists()


def test_init_where_it_cannot(build, tmp_path):
    (tmp_path / "file").write_text("x")
    for where in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "no" / "parent"):
        done = helpers.run(build.store, "init", "--store", where, exit=helpers.FAILED)
        assert str(where) in done.stderr


def test_list_is_empty_at_first(store):
    done = store.admin("list")
    assert done.stdout == "" and "no backups" in done.stderr
    assert listed(store) == {"backups": [], "total_count": 0}


def test_list_has_the_api_fields(three):
    doc = listed(three)
    assert doc["total_count"] == 3
    newest, other, oldest = doc["backups"]
    for backup in doc["backups"]:
        assert API <= set(backup)
        assert backup["storage_type"] == "local" and backup["includes_files"] is False
        assert (three.path / backup["storage_path"]).is_file()
        assert backup["record_count"] == 800 and backup["size_bytes"] > 0
        assert backup["file_count"] > 0 and backup["table_count"] == 2
        assert all(isinstance(v, str) for v in backup["metadata"].values())
    assert newest["collection"] == {"namespace": "prod", "name": "shop"}
    assert other["collection"] == {"namespace": "test", "name": "shop"}
    assert [b["timestamp"] for b in doc["backups"]] == sorted(
        (b["timestamp"] for b in doc["backups"]), reverse=True)
    assert (newest["latest"], other["latest"], oldest["latest"]) == (True, True, False)
    assert newest["metadata"]["why"] == "demo"
    assert newest["latest_name"] == "latest_2026-01-17T00-00-00Z"


def test_ids_are_made_as_the_api_says(three):
    for b in listed(three)["backups"]:
        name = f"{b['collection']['namespace']}/{b['collection']['name']}@{b['timestamp']}"
        assert b["backup_id"] == "backup-" + hashlib.sha256(name.encode()).hexdigest()[:16]


def test_list_filters(three):
    def names(*args):
        doc = listed(three, *args)
        return [b["archive_name"][:10] for b in doc["backups"]], doc["total_count"]

    assert names("--collection", "prod/shop") == (["2026-01-17", "2026-01-15"], 2)
    assert names("--namespace", "test") == (["2026-01-16"], 1)
    assert names("--namespace", "tes") == ([], 0)
    assert names("--limit", "1") == (["2026-01-17"], 3)
    assert names("-n", "1", "--namespace", "prod") == (["2026-01-17"], 2)
    assert names("--since", "2026-01-16") == (["2026-01-17", "2026-01-16"], 2)
    assert names("--since", "2026-01-16T14:30:45Z") == (["2026-01-17", "2026-01-16"], 2)
    assert names("--since", "2026-01-16T14-30-46Z") == (["2026-01-17"], 1)
    assert names("--since", "@1768487446") == (["2026-01-17", "2026-01-16"], 2)
    assert names("--since", "1000000d")[1] == 3
    assert names("--since", "0s") == ([], 0)


@pytest.mark.parametrize("when", ["", "yesterday", "2026-13-01", "2026-02-30", "2026-1-1", "7", "7y",
                                  "-1d", "@", "@x", "2026-01-16T25:00:00Z", "2026-01-16x",
                                  "99999999999999999999d"])
def test_list_refuses_bad_times(three, when):
    done = three.admin("list", "--since", when, exit=helpers.USAGE)
    assert "--since" in done.stderr and "hint:" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("args", [["list", "extra"], ["list", "--limit", "0"], ["list", "-n", "x"],
                                  ["show"], ["show", "a", "b"], ["delete"], ["init", "x"],
                                  ["reindex", "x"], ["reindex", "--lock-wait", "-1"],
                                  ["list", "--yes"], ["--limit", "3", "list"], ["lis"]])
def test_wrong_usage(build, store, args):
    before = helpers.tree_digest(store)
    done = helpers.run(build.store, *args, env={"BAKFS_STORE": store}, exit=helpers.USAGE)
    assert "hint:" in done.stderr and done.stdout == ""
    assert helpers.tree_digest(store) == before


def test_list_table(three):
    lines = three.admin("list").stdout.splitlines()
    assert len(lines) == 4 and lines[0].split()[0] == "ID"
    assert "prod/shop" in lines[1] and "latest" in lines[1]
    assert "2026-01-17T00:00:00Z" in lines[1]
    assert "latest" not in lines[3]
    three.verify("--quiet")
    assert "latest,verified" in three.admin("list").stdout.splitlines()[1]


def test_option_beats_environment(build, three, tmp_path):
    env = {"BAKFS_STORE": tmp_path / "absent"}
    for args in (["--store", three, "list", "--json"], ["list", "--json", "--store", three]):
        assert json.loads(helpers.run(build.store, *args, env=env).stdout)["total_count"] == 3
    helpers.run(build.store, "list", env=env, exit=helpers.NO_STORE)


def test_show(three):
    newest = listed(three)["backups"][0]
    doc = json.loads(three.admin("show", newest["backup_id"], "--json").stdout)
    manifest = json.loads((three.path / newest["storage_path"]).read_text())
    assert API <= set(doc)
    assert {k: doc[k] for k in manifest} == manifest
    assert {k: doc[k] for k in API} == {k: newest[k] for k in API}
    text = three.admin("show", newest["backup_id"]).stdout
    for part in (newest["backup_id"], newest["archive_name"], "prod/shop", "why=demo", "staging",
                 "latest", "not verified yet", "800 rows"):
        assert part in text


def test_escape_sequences_do_not_reach_the_terminal(store, shop):
    dump_at(store, shop, "2026-01-15T14:30:45Z", "--tag", "a=\x1b[31mred", "--environment", "x\x1b]0;y")
    for args in (["show", "latest"], ["list"]):
        assert "\x1b" not in store.admin(*args).stdout
    assert "\\x1b[31mred" in store.admin("show", "latest").stdout


def test_delete(three):
    first, second, third = listed(three)["backups"]
    done = three.admin("delete", first["backup_id"], "--yes")
    assert first["backup_id"] in done.stdout and "0 bytes freed" in done.stdout
    assert [b["backup_id"] for b in listed(three)["backups"]] == [second["backup_id"],
                                                                 third["backup_id"]]
    assert listed(three)["backups"][1]["latest"] is True
    doc = json.loads(three.admin("delete", third["archive_name"], "--yes", "--json").stdout)
    assert doc["bytes_freed"] == 0 and doc["backup_id"] == third["backup_id"]
    three.admin("show", first["backup_id"], exit=helpers.FAILED)
    three.admin("delete", first["backup_id"], "--yes", exit=helpers.FAILED)
    three.verify()
    rows = helpers.query(three.path / "metadata.db", "SELECT count(*) FROM backups")
    three.admin("reindex")
    assert helpers.query(three.path / "metadata.db", "SELECT count(*) FROM backups") == ["1"], rows


def test_delete_needs_yes_where_nobody_can_be_asked(three):
    done = three.admin("delete", "latest", exit=helpers.USAGE)
    assert "--yes" in done.stderr and "hint:" in done.stderr
    assert len(listed(three)["backups"]) == 3


@pytest.mark.parametrize("answer, deleted", [("y\n", True), ("n\n", False), ("\n", False),
                                             ("\x04", False)])
def test_delete_asks_on_a_terminal(three, answer, deleted):
    ours, theirs = pty.openpty()
    proc = subprocess.Popen([str(three.build.store), "delete", "--store", str(three), "latest"],
                            stdin=theirs, stdout=theirs, stderr=theirs, env=helpers.clean_env())
    os.close(theirs)
    seen = b""
    try:
        while b"[y/N]" not in seen:
            assert select.select([ours], [], [], 10)[0], seen
            seen += os.read(ours, 1000)
        os.write(ours, answer.encode())
        assert proc.wait(timeout=10) == (helpers.OK if deleted else helpers.FAILED)
    finally:
        proc.kill()
        proc.wait()
        os.close(ours)
    assert b"the latest" in seen
    assert len(listed(three)["backups"]) == (2 if deleted else 3)


def test_reindex(three):
    before = listed(three)
    catalogue = three.path / "metadata.db"

    def rows():
        with sqlite3.connect(f"file:{catalogue}?mode=ro", uri=True) as db:
            return (db.execute("SELECT * FROM backups ORDER BY 1").fetchall(),
                    db.execute("SELECT id, offset, length FROM chunks ORDER BY 1").fetchall())

    good = rows()
    assert len(good[0]) == 3 and good[1]
    for garbage in (None, b"", b"garbage" * 1000):
        catalogue.unlink()
        if garbage is not None:
            catalogue.write_bytes(garbage)
        done = three.admin("reindex")
        assert "3 backups" in done.stdout
        assert rows() == good
    assert listed(three) == before
    assert json.loads(three.admin("reindex", "--json").stdout)["backups"] == 3


def test_the_backups_table_is_the_api_s(three):
    row = helpers.query(three.path / "metadata.db",
                        "SELECT collection_namespace, collection_name, timestamp, record_count, "
                        "storage_type, json_extract(metadata, '$.why') FROM backups "
                        "ORDER BY timestamp DESC LIMIT 1")
    assert row == ["prod|shop|1768608000|800|local|demo"]


def test_full_output_device_is_noticed(three):
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(three.build.store), "list", "--store", str(three)], stdout=full,
                              stderr=subprocess.PIPE, text=True, env=helpers.clean_env())
    assert done.returncode == helpers.FAILED
    assert "No space left" in done.stderr


def test_a_dump_is_done_though_its_result_is_lost(store, shop):
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(store.build.dump), "--store", str(store), f"sqlite:{shop}"],
                              stdout=full, stderr=subprocess.PIPE, text=True,
                              env=helpers.clean_env())
    (backup,) = store.list()
    assert done.returncode == helpers.PARTIAL
    assert f"the backup is complete all the same: {backup['backup_id']}" in done.stderr
