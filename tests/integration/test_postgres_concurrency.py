"""PostgreSQL: other sessions at work while a dump runs. Programs that stand in for pg_dump and
pg_restore let the tests act at exact moments."""

import contextlib
import os
import signal
import time

import pytest

import helpers

TABLES = ["t1", "t2", "t3"]


@pytest.fixture
def db(pg, pg_db):
    for t in TABLES:
        pg.psql(pg_db, f"CREATE TABLE {t} (id int, v text); "
                       f"INSERT INTO {t} SELECT i, repeat('x', 50) FROM generate_series(1,20000) i")
    return pg_db


@pytest.fixture
def tools(pg, tmp_path):
    """tools({"pg_dump": script}): a --pg-bindir with stand-ins. In a script, $REAL is the real
    program and `sql` runs SQL on the database."""

    def make(db, scripts):
        bindir = tmp_path / "bin"
        bindir.mkdir()
        for name in ("pg_dump", "pg_restore", "pg_dumpall"):
            script = scripts.get(name, 'exec "$REAL" "$@"')
            path = bindir / name
            path.write_text(
                f"#!/bin/bash\nREAL={pg.bindir / name}\n"
                '[ "$1" = --version ] && exec "$REAL" "$@"\n'
                f'sql() {{ env -u PGOPTIONS {pg.bindir}/psql -XqAt -d "{pg.socket_dsn(db)}" '
                '-c "$1" </dev/null; }\n'
                'until_sql() { for i in $(seq 200); do [ "$(sql "$1")" = t ] && return; '
                "sleep 0.05; done; exit 99; }\n"
                f"{script}\n")
            path.chmod(0o755)
        return bindir

    return make


def text(pg, db):
    return pg.pg_dump(db)


def restored_text(mnt):
    return helpers.strip_restrict((mnt.latest() / "restore.sql").read_text())


WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"


def queue_alter(table, log):
    """Bash: another session's ALTER TABLE, waiting behind the dump's locks."""
    return (f"sql 'ALTER TABLE {table} DROP COLUMN v' >{log} 2>&1 &\n"
            f'until_sql "{WAITING}"\n')


def test_alter_queued_before_our_locks(pg, db, tools, store, mount, tmp_path):
    """pg_dump has its locks, an ALTER TABLE waits for them, then come ours."""
    before = text(pg, db)
    script = ('"$REAL" "$@" | {\n'
              "until_sql \"SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 't2'::regclass)\"\n"
              + queue_alter("t2", tmp_path / "alter.log") + "exec cat; }")
    done = store.dump("--pg-bindir", tools(db, {"pg_dump": script}), pg.socket_dsn(db), timeout=60)
    assert "through one connection" in done.stderr
    helpers.wait_until(lambda: pg.psql(db, WAITING) == "f", what="the ALTER TABLE")
    assert "v" not in pg.psql(db, "SELECT attname FROM pg_attribute WHERE attnum > 0 AND NOT "
                                  "attisdropped AND attrelid = 't2'::regclass").split()
    with mount(store) as mnt:
        assert restored_text(mnt) == before


def test_alter_queued_before_the_workers(pg, db, tools, store, mount, tmp_path):
    """Our coordinator has the locks already; a worker must not wait behind the ALTER TABLE."""
    before = text(pg, db)
    script = queue_alter("t2", tmp_path / "alter.log") + 'exec "$REAL" "$@"'
    store.dump("--pg-bindir", tools(db, {"pg_restore": script}), pg.socket_dsn(db), timeout=60)
    with mount(store) as mnt:
        assert restored_text(mnt) == before


@pytest.mark.parametrize("rewrite", ["TRUNCATE t1", "VACUUM FULL t1",
                                     "ALTER TABLE t1 ALTER id TYPE bigint"])
def test_rewrite_between_snapshot_and_lock(pg, db, tools, store, mount, tmp_path, rewrite):
    """It is noticed, and the dump begins again with what is there then."""
    script = (f"if mkdir {tmp_path}/once 2>/dev/null; then sql '{rewrite}'; fi\n"
              'exec "$REAL" "$@"')
    done = store.dump("--pg-bindir", tools(db, {"pg_dump": script}), pg.socket_dsn(db))
    assert "t1 was truncated or rewritten" in done.stderr
    with mount(store) as mnt:
        assert restored_text(mnt) == text(pg, db)


def test_table_that_is_always_rewritten(pg, db, tools, store):
    before = helpers.tree_digest(store.path)
    script = "sql 'TRUNCATE t1'\n" 'exec "$REAL" "$@"'
    done = store.dump("--pg-bindir", tools(db, {"pg_dump": script}), "--table-lock-wait",
                      "5", pg.socket_dsn(db), exit=1)
    assert "t1 was truncated or rewritten" in done.stderr
    assert not store.manifests()
    assert {k for k in helpers.tree_digest(store.path) if k.endswith(".pack")} == \
        {k for k in before if k.endswith(".pack")}


@pytest.mark.parametrize("change", ["DROP TABLE t1", "ALTER TABLE t1 DROP COLUMN v",
                                    "ALTER TABLE t1 RENAME TO t9"])
def test_table_changed_before_the_lock(pg, db, tools, store, mount, tmp_path, change):
    script = (f"if mkdir {tmp_path}/once 2>/dev/null; then sql '{change}'; fi\n"
              'exec "$REAL" "$@"')
    store.dump("--pg-bindir", tools(db, {"pg_dump": script}), pg.socket_dsn(db))
    with mount(store) as mnt:
        assert restored_text(mnt) == text(pg, db)


SWAP = {"tables": "ALTER TABLE t1 RENAME TO tmp; ALTER TABLE t2 RENAME TO t1; "
                  "ALTER TABLE tmp RENAME TO t2",
        "schemas": "ALTER SCHEMA live RENAME TO tmp; ALTER SCHEMA fresh RENAME TO live; "
                   "ALTER SCHEMA tmp RENAME TO fresh"}


@pytest.fixture
def swapped(pg, db):
    pg.psql(db, "UPDATE t2 SET v = 'second'; CREATE SCHEMA live; CREATE SCHEMA fresh; "
                "CREATE TABLE live.s AS SELECT 1 AS a; CREATE TABLE fresh.s AS SELECT 2 AS a")
    return db


@pytest.mark.parametrize("what", SWAP)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_names_swapped_between_snapshot_and_lock(pg, swapped, tools, store, mount, tmp_path, what,
                                                 jobs):
    """Rows are asked for by name, and another table has it now: noticed, and begun again."""
    script = (f"if mkdir {tmp_path}/once 2>/dev/null; then sql '{SWAP[what]}'; fi\n"
              'exec "$REAL" "$@"')
    done = store.dump("--jobs", jobs, "--pg-bindir", tools(swapped, {"pg_dump": script}),
                      pg.socket_dsn(swapped))
    assert "renamed" in done.stderr
    with mount(store) as mnt:
        assert restored_text(mnt) == text(pg, swapped)


def test_schemas_swapped_before_the_workers(pg, swapped, tools, store, mount, tmp_path):
    """Locks on tables don't keep a schema from being renamed: looked at again in the end."""
    script = (f"if mkdir {tmp_path}/once 2>/dev/null; then sql '{SWAP['schemas']}'; fi\n"
              'exec "$REAL" "$@"')
    done = store.dump("--pg-bindir", tools(swapped, {"pg_restore": script}),
                      pg.socket_dsn(swapped))
    assert "renamed" in done.stderr
    with mount(store) as mnt:
        assert restored_text(mnt) == text(pg, swapped)


def test_lock_held_elsewhere(pg, db, store):
    """A table that stays locked: a clear end after --table-lock-wait, and no hanging session."""
    with pg.session(db, "BEGIN; LOCK TABLE t3 IN ACCESS EXCLUSIVE MODE"):
        began = time.monotonic()
        done = store.dump("--table-lock-wait", "1", pg.socket_dsn(db), exit=1)
        assert time.monotonic() - began < 20
    assert "lock" in done.stderr and "hint:" in done.stderr and "--table-lock-wait" in done.stderr
    assert not store.manifests()
    assert pg.psql(db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                       "AND pid <> pg_backend_pid()") == "0"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_no_waiting_for_locks(pg, db, store, jobs):
    """0 seconds are none, not an endless time."""
    with pg.session(db, "BEGIN; LOCK TABLE t3 IN ACCESS EXCLUSIVE MODE"):
        began = time.monotonic()
        done = store.dump("--table-lock-wait", "0", "--jobs", jobs, pg.socket_dsn(db), exit=1,
                          timeout=20)
        assert time.monotonic() - began < 10
    assert "--table-lock-wait" in done.stderr
    assert not store.manifests()
    store.dump("--table-lock-wait", "0", pg.socket_dsn(db))


def test_no_memory_for_locks(pg, db, tools, store, mount, tmp_path):
    """pg_dump has its locks, but there is no room for ours: it reads for us."""
    pg.psql(db, "SELECT format('CREATE TABLE many%s ()', i) FROM generate_series(1, 900) i \\gexec")
    script = (f"if mkdir {tmp_path}/once 2>/dev/null; then\n"
              f'"$REAL" "$@" | {{ head -c 5 >{tmp_path}/head; touch {tmp_path}/ready\n'
              f"while [ -e {tmp_path}/ready ]; do sleep 0.02; done; cat {tmp_path}/head -; }}\n"
              'else exec "$REAL" "$@"; fi')
    proc = store.start_dump("--pg-bindir", tools(db, {"pg_dump": script}), pg.socket_dsn(db))
    helpers.wait_until((tmp_path / "ready").exists, what="pg_dump's table of contents")
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(pg.session("postgres", "SELECT 1")) for _ in range(4)]
        for send in sessions:  # the first takes the locks' entries, the next their holders'
            send("SELECT count(pg_advisory_lock_shared(i)) FROM generate_series(1, 20000) i")
        for send in sessions:  # enough for all but the tables
            send("SELECT count(pg_advisory_unlock_shared(i)) FROM generate_series(1, 150) i")
        (tmp_path / "ready").unlink()
        _, err = proc.communicate(timeout=60)
    assert proc.returncode == 0, err
    assert "max_locks_per_transaction" in err and "through one connection" in err
    with mount(store) as mnt:
        assert restored_text(mnt) == text(pg, db)


def test_deadlock(pg, pg_db, store):
    """pg_dump takes its locks in an order of its own. The server ends one of two that wait for each
    other; the dump begins again when the other is done."""
    pg.psql(pg_db, "CREATE TABLE aa (i int); CREATE TABLE bb (i int)")
    with pg.session(pg_db, "SET deadlock_timeout = '30s'; BEGIN; LOCK TABLE bb") as send:
        proc = store.start_dump(pg.socket_dsn(pg_db))
        helpers.wait_until(lambda: pg.psql(pg_db, WAITING) == "t", what="pg_dump's waiting")
        send("LOCK TABLE aa")
        send("COMMIT")
        _, err = proc.communicate(timeout=60)
    assert proc.returncode == 0, err
    assert "deadlock detected" in err and "beginning again" in err


def test_table_named_like_a_reason(pg, db, tools, store):
    """Its name in a message is not taken for what went wrong."""
    pg.psql(db, 'CREATE TABLE "due to lock timeout" ()')
    script = "sql 'DROP TABLE IF EXISTS \"due to lock timeout\"'\n" 'exec "$REAL" "$@"'
    done = store.dump("--pg-bindir", tools(db, {"pg_dump": script}), pg.socket_dsn(db))
    assert "beginning again" in done.stderr


def test_changes_during_the_dump_are_not_seen(pg, db, tools, store, mount):
    """Money moved between tables sums up: all tables are of one moment."""
    pg.psql(db, "CREATE TABLE a (m int); CREATE TABLE b (m int); INSERT INTO a VALUES (70); "
                "INSERT INTO b VALUES (30)")
    script = "sql 'BEGIN; UPDATE a SET m = m - 50; UPDATE b SET m = m + 50; COMMIT'\n" \
             'exec "$REAL" "$@"'
    store.dump("--pg-bindir", tools(db, {"pg_restore": script}), pg.socket_dsn(db))
    with mount(store) as mnt:
        tables = mnt.latest() / "public" / "tables"
        assert "\n70\n" in (tables / "a" / "data.sql").read_text()
        assert "\n30\n" in (tables / "b" / "data.sql").read_text()


def sessions(pg, db):
    return pg.psql(db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                       "AND backend_type = 'client backend' AND pid <> pg_backend_pid()")


@pytest.fixture
def slow(pg, db):
    """A table whose COPY takes a few seconds."""
    pg.psql(db, "CREATE TABLE big (a int, t text); "
                "INSERT INTO big SELECT i, repeat(md5(i::text), 16) FROM generate_series(1, 300000) i")
    return db


def test_connection_lost_in_the_middle_of_a_table(pg, slow, store):
    proc = store.start_dump(pg.socket_dsn(slow))
    kill = ("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE '%COPY \"public\".\"big\"%' "
            "AND pid <> pg_backend_pid() AND state = 'active'")
    helpers.wait_until(lambda: pg.psql(slow, kill) != "0", what="COPY")
    _, err = proc.communicate(timeout=60)
    assert proc.returncode == 1
    assert "public.big" in err and "lost the connection" in err and "hint:" in err
    assert not store.manifests()
    helpers.wait_until(lambda: sessions(pg, slow) == "0", what="end of the sessions")


def test_coordinator_lost(pg, slow, store):
    """Without the coordinator nothing proves that the snapshot still stood."""
    proc = store.start_dump(pg.socket_dsn(slow))
    kill = ("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction' AND EXISTS "
            "(SELECT FROM pg_stat_activity WHERE query LIKE '%COPY \"public\".\"big\"%' "
            "AND pid <> pg_backend_pid() AND state = 'active')")
    helpers.wait_until(lambda: pg.psql(slow, kill) != "0", what="COPY")
    _, err = proc.communicate(timeout=120)
    assert proc.returncode == 1
    assert "lost the connection" in err
    assert not store.manifests()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(pg, slow, store, signum):
    proc = store.start_dump(pg.socket_dsn(slow))
    copying = ("SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' AND "
               "query LIKE '%COPY \"public\".\"big\"%' AND pid <> pg_backend_pid()")
    helpers.wait_until(lambda: pg.psql(slow, copying) == "t", what="COPY")
    os.kill(proc.pid, signum)
    began = time.monotonic()
    proc.communicate(timeout=60)
    assert proc.returncode == helpers.INTERRUPTED
    assert time.monotonic() - began < 10
    assert not store.manifests()
    helpers.wait_until(lambda: sessions(pg, slow) == "0", what="end of the sessions")


def test_no_connections_left_for_workers(pg, db, store, mount):
    """The coordinator alone reads everything."""
    role = "few"
    pg.psql(db, f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT 2")
    pg.psql(db, f"ALTER ROLE {role} NOSUPERUSER; GRANT pg_read_all_data TO {role}")
    done = store.dump("--jobs", "4", pg.socket_dsn(db, user=role))
    assert "fewer" in done.stderr
    with mount(store) as mnt:
        assert restored_text(mnt) == text(pg, db)
    pg.psql(db, f"DROP ROLE {role}")
