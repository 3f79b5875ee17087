"""What all programs share: help, versions, wrong usage, the clock, names, the lock."""

import calendar
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

import helpers

PROGRAMS = ["bakfs", "dump", "verify", "store", "restore"]


def at(text):
    """Seconds since 1970 of 2026-01-15T14-30-45Z."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H-%M-%SZ"))


def dump_at(store, source, when, *args, exit=helpers.OK, **env):
    return store.dump(*args, f"sqlite:{source}", exit=exit,
                      env={"BAKFS_TEST_TIME": at(when), **env})


def shell(command, cwd):
    """Lines that a shell prints for a command, like the look-ups people type."""
    return helpers.run("bash", "-c", command, cwd=cwd).stdout.splitlines()


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_version(build, program):
    path = getattr(build, program)
    out = helpers.run(path, "--help").stdout
    assert path.name in out and "--help" in out and "--version" in out
    version = helpers.run(path, "--version").stdout
    assert re.fullmatch(rf"{path.name} .*\d+\.\d+\.\d+\n(.*\n)*", version)


@pytest.mark.parametrize("program", PROGRAMS)
def test_unknown_option_is_wrong_usage(build, program):
    done = helpers.run(getattr(build, program), "--no-such-option", exit=helpers.USAGE)
    assert done.stdout == ""
    assert "no-such-option" in done.stderr
    assert "--help" in done.stderr


def test_missing_arguments_are_wrong_usage(build, tmp_path):
    helpers.run(build.bakfs, exit=helpers.USAGE)
    helpers.run(build.bakfs, tmp_path, exit=helpers.USAGE)
    helpers.run(build.store, exit=helpers.USAGE)
    assert "no-such-verb" in helpers.run(build.store, "no-such-verb", exit=helpers.USAGE).stderr
    # Nobody said which store.
    for argv in ([build.dump, "sqlite:x.db"], [build.verify], [build.store, "list"]):
        done = helpers.run(*argv, exit=helpers.USAGE)
        assert "--store" in done.stderr, argv


def test_no_store(build, tmp_path, shop):
    empty = tmp_path / "empty"
    empty.mkdir()
    point = tmp_path / "point"
    point.mkdir()
    for where in (empty, tmp_path / "absent"):
        for argv in ([build.dump, "--store", where, f"sqlite:{shop}"],
                     [build.verify, "--store", where],
                     [build.store, "list", "--store", where],
                     [build.store, "reindex", "--store", where],
                     [build.bakfs, where, point]):
            done = helpers.run(*argv, exit=helpers.NO_STORE)
            assert str(where) in done.stderr, argv
            assert "hint:" in done.stderr, argv
    assert list(empty.iterdir()) == []
    assert not (tmp_path / "absent").exists()


def test_init_refuses_what_is_not_empty(build, store, tmp_path):
    before = helpers.tree_digest(store)
    helpers.run(build.store, "init", "--store", store, exit=helpers.FAILED)
    assert helpers.tree_digest(store) == before
    full = tmp_path / "full"
    full.mkdir()
    (full / "precious").write_text("mine")
    helpers.run(build.store, "init", "--store", full, exit=helpers.FAILED)
    assert [p.name for p in full.iterdir()] == ["precious"]


def test_store_from_the_environment(build, store, shop):
    helpers.run(build.dump, f"sqlite:{shop}", env={"BAKFS_STORE": store})
    helpers.run(build.verify, env={"BAKFS_STORE": store})
    assert len(store.list()) == 1


def test_an_empty_variable_is_no_source(store):
    """A job whose secret is missing must not back up whatever libpq finds."""
    for env in ({"SUPABASE_DB_URL": ""}, {"DATABASE_URL": ""},
                {"SUPABASE_DB_URL": "", "DATABASE_URL": ""}):
        done = store.dump(exit=helpers.USAGE, env=env)
        assert f"${next(iter(env))} is set but empty" in done.stderr
    done = store.dump(exit=helpers.FAILED, env={"SUPABASE_DB_URL": "", "PGCONNECT_TIMEOUT": "2",
                                                "DATABASE_URL": "postgres://127.0.0.1:1/x"})
    assert "$DATABASE_URL was used" in done.stderr
    assert store.list() == []


def test_backups_switched_off(build, store, shop, tmp_path):
    before = helpers.tree_digest(store)
    env = {"BACKUP_ENABLED": "false"}
    done = store.dump(f"sqlite:{shop}", env=env)
    assert "off" in (done.stdout + done.stderr).lower()
    assert helpers.tree_digest(store) == before
    # Not even a store or a source that can be reached is asked for.
    helpers.run(build.dump, "--store", tmp_path / "absent", "sqlite:/no/such.db", env=env)
    assert not (tmp_path / "absent").exists()
    assert store.dump(f"sqlite:{shop}", env={"BACKUP_ENABLED": "true"}).stderr.count("ENABLED") == 0
    assert "neither true nor false" in store.dump(f"sqlite:{shop}", "-c", "default/no",
                                                  env={"BACKUP_ENABLED": "no"}).stderr
    assert len(store.list()) == 2


def test_newer_format_is_refused(build, store, shop, tmp_path):
    store.dump(f"sqlite:{shop}")
    config = store.path / "config.json"
    text = config.read_text()
    newer, n = re.subn(r'("format"\s*:\s*)\d+', r"\g<1>99", text)
    assert n == 1
    mode = config.stat().st_mode
    config.chmod(0o644)
    config.write_text(newer)
    before = helpers.tree_digest(store)
    point = tmp_path / "point"
    point.mkdir()
    for argv in ([build.dump, "--store", store, f"sqlite:{shop}"],
                 [build.verify, "--store", store],
                 [build.store, "list", "--store", store],
                 [build.bakfs, store, point]):
        done = helpers.run(*argv, exit=helpers.FAILED)
        assert "99" in done.stderr and "hint:" in done.stderr, argv
    assert helpers.tree_digest(store) == before
    config.write_text(text)
    config.chmod(mode)
    store.verify()


def test_the_seeds_look_ups(store, shop, mount):
    """The newest is in latest/, all others in archive/, found as people find files."""
    github = {"GITHUB_REPOSITORY": "myorg/myapp", "GITHUB_SHA": "abc1234def5678900"}
    dump_at(store, shop, "2026-01-15T14-30-45Z", GITHUB_EVENT_NAME="push", **github)
    dump_at(store, shop, "2026-01-15T18-20-10Z", GITHUB_EVENT_NAME="schedule", **github)
    dump_at(store, shop, "2026-01-16T00-00-00Z", GITHUB_EVENT_NAME="workflow_dispatch", **github)
    dump_at(store, shop, "2026-01-17T00-00-00Z", GITHUB_EVENT_NAME="pull_request", **github)
    dump_at(store, shop, "2026-01-18T00-00-00Z")
    push = "archive/2026-01-15T14-30-45Z--myorg-myapp--push--abc1234"
    schedule = "archive/2026-01-15T18-20-10Z--myorg-myapp--schedule--abc1234"
    manual = "archive/2026-01-16T00-00-00Z--myorg-myapp--manual--abc1234"
    pr = "archive/2026-01-17T00-00-00Z--myorg-myapp--pr--abc1234"
    with mount(store) as mnt:
        assert shell("ls -d archive/*", mnt) == [push, schedule, manual, pr]
        assert shell("ls -d archive/2026-01-15T*--*", mnt) == [push, schedule]
        assert shell("ls -d archive/2026-01-15T14-30-45Z--*", mnt) == [push]
        assert shell("ls -d archive/*--*--schedule--*", mnt) == [schedule]
        assert shell("ls -d archive/*--*--*--abc1234*", mnt) == [push, schedule, manual, pr]
        assert shell("ls -d archive/*--abc1234*", mnt) == [push, schedule, manual, pr]
        assert shell("ls -d archive/*--myorg-myapp--*", mnt) == [push, schedule, manual, pr]
        assert shell("ls -d archive/2026-01-{16..17}T*--*", mnt) == [manual, pr]
        assert shell("ls latest", mnt) == ["latest_2026-01-18T00-00-00Z"]


def test_find_by_age(store, shop, mount):
    now = int(time.time())
    day = 86400
    for age in (30 * day, 8 * day, 6 * day, day, 0):
        store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": now - age})
    with mount(store) as mnt:
        stamp = "%Y-%m-%dT%H-%M-%SZ--standalone--standalone--standalone"
        young = [time.strftime(f"archive/{stamp}", time.gmtime(now - age)) for age in (6 * day, day)]
        found = shell("find archive -maxdepth 1 -type d -mtime -7 -name '*--*' | sort", mnt)
        assert found == young
        old = shell("find archive -maxdepth 1 -type d -mtime +7 -name '*--*'", mnt)
        assert len(old) == 2
        newest = mnt.latest()
        assert int(newest.stat().st_mtime) == now


def test_options_beat_github_variables(store, shop):
    env = {"GITHUB_REPOSITORY": "a/b", "GITHUB_EVENT_NAME": "push", "GITHUB_SHA": "1" * 40}
    dump_at(store, shop, "2026-02-01T00-00-00Z", "--source-repo", "c/d", "--trigger-event",
            "schedule", "--commit-sha", "fedcba9876543", **env)
    dump_at(store, shop, "2026-02-02T00-00-00Z", **env)
    names = [b["archive_name"] for b in store.list()]
    assert sorted(names) == ["2026-02-01T00-00-00Z--c-d--schedule--fedcba9",
                             "2026-02-02T00-00-00Z--a-b--push--1111111"]


@pytest.mark.parametrize("hostile", ["../../etc", "a--b", "x\ny", ".", "a" * 300, "-rf", "é/ü"])
def test_hostile_names_stay_names(store, shop, mount, hostile):
    """A repository or event that misleads can't leave archive/ or break its names."""
    for _ in range(2):
        done = dump_at(store, shop, "2026-02-01T00-00-00Z", exit=(helpers.OK, helpers.USAGE),
                       GITHUB_REPOSITORY=hostile, GITHUB_SHA=hostile)
    if done.returncode == helpers.USAGE:
        assert store.list() == []
        return
    with mount(store) as mnt:
        (name,) = os.listdir(mnt / "archive")
        assert name.startswith("2026-02-01T00-00-00Z--")
        assert len(name.encode()) <= 255 and "\n" not in name
        assert (mnt / "archive" / name / "shop.db").is_file()


def test_duplicate_names_are_numbered(store, shop, mount):
    for _ in range(4):
        dump_at(store, shop, "2026-03-01T12-00-00Z")
    base = "2026-03-01T12-00-00Z--standalone--standalone--standalone"
    with mount(store) as mnt:
        assert sorted(os.listdir(mnt / "archive")) == [base, f"{base}--2", f"{base}--3"]
        assert os.listdir(mnt / "latest") == ["latest_2026-03-01T12-00-00Z"]
    ids = [b["backup_id"] for b in store.list()]
    assert len(set(ids)) == 4


def test_a_clock_that_ran_backwards_does_not_reorder(store, shop, mount):
    dump_at(store, shop, "2026-03-02T00-00-00Z")
    dump_at(store, shop, "2026-03-01T00-00-00Z")
    with mount(store) as mnt:
        assert os.listdir(mnt / "latest") == ["latest_2026-03-01T00-00-00Z"]
        assert [n[:20] for n in os.listdir(mnt / "archive")] == ["2026-03-02T00-00-00Z"]


def test_backups_are_found_by_many_names(store, shop):
    dump_at(store, shop, "2026-03-01T12-00-00Z")
    dump_at(store, shop, "2026-03-02T12-00-00Z")
    first, second = sorted(store.list(), key=lambda b: b["archive_name"])
    for spec, expected in ((first["backup_id"], first), (first["backup_id"][:14], first),
                           (first["archive_name"], first), ("2026-03-01T12-00-00Z", first),
                           ("2026-03-02", second), ("latest", second)):
        shown = store.admin("show", spec, "--json").stdout
        assert expected["backup_id"] in shown, spec
    assert "no-such" in store.admin("show", "no-such", exit=helpers.FAILED).stderr
    both = store.admin("show", "2026-03", exit=helpers.FAILED).stderr
    assert first["backup_id"] in both and second["backup_id"] in both


def test_delete_disappears_at_once(store, shop, mount):
    dump_at(store, shop, "2026-03-01T12-00-00Z")
    dump_at(store, shop, "2026-03-02T12-00-00Z")
    with mount(store) as mnt:
        assert len(os.listdir(mnt / "by-id")) == 2
        store.admin("delete", "--yes", "2026-03-02")
        helpers.wait_until(lambda: os.listdir(mnt / "latest") == ["latest_2026-03-01T12-00-00Z"],
                           timeout=5, what="the older one in latest/")
        assert os.listdir(mnt / "archive") == []
        assert len(os.listdir(mnt / "by-id")) == 1
    assert len(store.list()) == 1
    store.verify()


def test_new_backup_appears_within_a_second(store, shop, mount):
    dump_at(store, shop, "2026-03-01T12-00-00Z")
    with mount(store) as mnt:
        assert os.listdir(mnt / "archive") == []
        old = mnt.latest() / "shop.db"
        with open(old, "rb") as held:
            dump_at(store, shop, "2026-03-02T12-00-00Z")
            helpers.wait_until(lambda: os.listdir(mnt / "latest") == ["latest_2026-03-02T12-00-00Z"],
                               timeout=1.5, what="the new backup in latest/")
            assert [n[:20] for n in os.listdir(mnt / "archive")] == ["2026-03-01T12-00-00Z"]
            assert held.read(16) == b"SQLite format 3\0"
        # Its old path still resolves, so that a running cp is not cut off.
        assert old.stat().st_size > 0


class Held:
    """A dump that holds the store's lock until told otherwise: its source is a FIFO-slow one."""

    def __init__(self, store, big):
        self.proc = subprocess.Popen(
            [str(store.build.dump), "--store", str(store), "--quiet", f"sqlite:{big}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=helpers.clean_env())
        # Packs are written to tmp/ under the lock.
        helpers.wait_until(lambda: self.proc.poll() is not None or any((store.path / "tmp").iterdir()),
                           what="the first dump at work")
        self.proc.send_signal(signal.SIGSTOP)

    def __enter__(self):
        assert self.proc.poll() is None, "the dump was over before it could be stopped"
        return self.proc

    def __exit__(self, *args):
        self.proc.send_signal(signal.SIGCONT)
        self.proc.communicate(timeout=120)


def test_second_writer_is_turned_away_or_waits(store, shop, big_sqlite):
    with Held(store, big_sqlite) as first:
        done = store.dump("--lock-wait", "0", f"sqlite:{shop}", exit=helpers.LOCKED)
        assert str(first.pid) in done.stderr
        assert os.uname().nodename in done.stderr
        assert "hint:" in done.stderr
        began = time.monotonic()
        store.dump("--lock-wait", "1", f"sqlite:{shop}", exit=helpers.LOCKED)
        assert 0.9 <= time.monotonic() - began < 10

        # Readers are not held up.
        store.verify(timeout=20)
        assert store.list() == []

        second = subprocess.Popen(
            [str(store.build.dump), "--store", str(store), "--lock-wait", "60", f"sqlite:{shop}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=helpers.clean_env())
        time.sleep(1)
        assert second.poll() is None
    out, err = second.communicate(timeout=60)
    assert second.returncode == helpers.OK, err
    assert str(first.pid) in err, "it should say for whom it waits"
    assert first.returncode == helpers.OK
    assert len(store.list()) == 2
    # One behind the other: the timestamp is taken after the lock.
    store.verify()


def test_interrupted_dump_changes_nothing(store, shop, big_sqlite):
    store.dump(f"sqlite:{shop}")
    before = store.list()
    for sig in (signal.SIGINT, signal.SIGTERM):
        with Held(store, big_sqlite) as proc:
            proc.send_signal(sig)
        assert proc.returncode == helpers.INTERRUPTED
        assert store.list() == before
    store.verify()


def test_secrets_are_masked(build, store, pg_tcp):
    """The password shows up nowhere: not in output, not in the store."""
    db = pg_tcp.createdb()
    pg_tcp.psql(db, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    ok = store.dump(pg_tcp.dsn(db))
    bad = store.dump(pg_tcp.dsn(db, password="wr0ng-pa55"), exit=helpers.FAILED)
    for text in (ok.stdout, ok.stderr, bad.stdout, bad.stderr):
        assert pg_tcp.password not in text and "wr0ng-pa55" not in text
    assert "hint:" in bad.stderr
    assert len(store.list()) == 1
    for path in pathlib.Path(store).rglob("*"):
        if path.is_file():
            assert pg_tcp.password.encode() not in path.read_bytes(), path


def test_installed_programs_do_not_drag_others_in(build):
    """The driver has no libpq, the writer no libfuse, the verifier neither."""
    for program, banned in ((build.bakfs, ["libpq"]), (build.dump, ["libfuse"]),
                            (build.verify, ["libpq", "libfuse"]),
                            (build.store, ["libpq", "libfuse"])):
        needed = helpers.run("objdump", "-p", program).stdout
        for library in banned:
            assert library not in needed, f"{program.name} links {library}"


def test_copy_of_the_directory_is_a_second_store(build, store, shop, tmp_path, mount):
    store.dump(f"sqlite:{shop}")
    store.verify()
    copy = helpers.Store(build, tmp_path / "copy")
    shutil.copytree(store, copy.path)
    copy.verify()
    assert copy.list() == store.list()
    with mount(copy) as mnt:
        assert helpers.query(mnt.latest() / "shop.db", "SELECT count(*) FROM customers") == ["200"]
