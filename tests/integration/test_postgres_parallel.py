"""PostgreSQL: large tables read by several connections by ranges of blocks, and dumps under load.
$BAKFS_TEST_PIECE_SIZE makes small tables large ones."""

import json
import os
import signal
import subprocess
import threading

import pytest

import helpers

WHOLE = {"BAKFS_TEST_TIME": "1790000000"}  # stands in archives, the only thing that changes by itself
SMALL_PIECES = {**WHOLE, "BAKFS_TEST_PIECE_SIZE": "16384"}

TABLES = """
    CREATE TABLE plain (id int, note text);
    INSERT INTO plain SELECT i, repeat(md5(i::text), 1 + i % 5) FROM generate_series(1, 20000) i;
    DELETE FROM plain WHERE id BETWEEN 4000 AND 9000;
    CREATE TABLE changed (gone int, a int, "odd "" (name" text, g int GENERATED ALWAYS AS (a * 2) STORED,
                          "user" text);
    INSERT INTO changed (gone, a, "odd "" (name", "user")
        SELECT i, i, E'x\\t\\\\y\\n' || i, NULL FROM generate_series(1, 20000) i;
    ALTER TABLE changed DROP COLUMN gone; ALTER TABLE changed ADD COLUMN later int DEFAULT 7;
    UPDATE changed SET a = -a WHERE a % 7 = 0;
    CREATE TABLE wide (id int PRIMARY KEY, v text);
    ALTER TABLE wide ALTER v SET STORAGE EXTERNAL;
    INSERT INTO wide SELECT i, repeat(md5(i::text), 400) FROM generate_series(1, 400) i;
    CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10000);
    CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10000) TO (30000);
    INSERT INTO part SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
    CREATE TABLE parent (a int, t text);
    CREATE TABLE child (b int) INHERITS (parent);
    INSERT INTO parent SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
    INSERT INTO child SELECT -i, md5(i::text), i FROM generate_series(1, 20000) i;
    CREATE TABLE no_columns ();
    INSERT INTO no_columns SELECT FROM generate_series(1, 20000);
    CREATE UNLOGGED TABLE unlogged AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
"""


def doc_of(store):
    return json.loads(store.manifests()[-1].read_text())


@pytest.fixture
def db(pg, pg_db):
    pg.psql(pg_db, TABLES)
    return pg_db


@pytest.fixture
def statements(pg):
    """statements(db): from now on, what the server is asked by sessions of the database."""

    def begin(db):
        pg.psql("postgres", f"ALTER DATABASE {db} SET log_statement = 'all'")
        start = len(pg.log())
        return lambda: pg.log()[start:]

    return begin


@pytest.mark.parametrize("jobs", [2, 4])
def test_same_as_undivided(pg, db, store, mount, statements, jobs):
    """Down to the chunks: the directory's id is the same."""
    asked = statements(db)
    store.dump("--jobs", str(jobs), pg.socket_dsn(db), env=SMALL_PIECES)
    divided = doc_of(store)
    for table in ("plain", "changed", "wide", "part_1", "part_2", "parent", "child", "unlogged"):
        assert f'FROM ONLY "public"."{table}" WHERE ctid >=' in asked()
    assert '"no_columns" WHERE' not in asked() and '"part" WHERE' not in asked()
    store.dump("--jobs", str(jobs), pg.socket_dsn(db), env=WHOLE)
    whole = doc_of(store)
    assert divided["root"] == whole["root"]
    assert divided["record_count"] == whole["record_count"]
    assert divided["size_bytes"] == whole["size_bytes"]
    with mount(store) as mnt:
        text = helpers.strip_restrict((mnt.latest() / "restore.sql").read_text())
    assert text == pg.pg_dump(db)


def test_unchanged_costs_nothing(pg, db, store):
    store.dump("--jobs", "3", pg.socket_dsn(db), env=SMALL_PIECES)
    before = doc_of(store)
    store.dump("--jobs", "3", pg.socket_dsn(db), env=SMALL_PIECES)
    assert doc_of(store)["root"] == before["root"]
    assert doc_of(store)["bytes_new"] < 32 * 1024


def test_settings_that_would_change_the_plan(pg, db, store):
    """Neither parallel plans nor index scans may change the order of rows."""
    pg.psql(db, "CREATE INDEX ON plain (note); CREATE INDEX ON wide (v) WHERE id < 0; ANALYZE")
    for setting in ("enable_seqscan = off", "enable_tidscan = off", "random_page_cost = 0",
                    "parallel_setup_cost = 0", "parallel_tuple_cost = 0",
                    "min_parallel_table_scan_size = 0", "max_parallel_workers_per_gather = 4"):
        pg.psql("postgres", f"ALTER DATABASE {db} SET {setting}")
    store.dump("--jobs", "4", pg.socket_dsn(db), env=SMALL_PIECES)
    divided = doc_of(store)
    store.dump("--jobs", "4", pg.socket_dsn(db), env=WHOLE)
    assert divided["root"] == doc_of(store)["root"]


def test_connection_lost_inside_of_a_range(pg, pg_db, store):
    pg.psql(pg_db, "CREATE TABLE big AS SELECT i, repeat(md5(i::text), 16) AS t "
                   "FROM generate_series(1, 300000) i")
    proc = store.start_dump("--jobs", "3", pg.socket_dsn(pg_db), BAKFS_TEST_PIECE_SIZE=1 << 20)
    kill = ("SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "
            "WHERE query LIKE '%WHERE ctid >=%' AND pid <> pg_backend_pid() "
            "AND state = 'active' LIMIT 1) x")
    helpers.wait_until(lambda: pg.psql(pg_db, kill) != "0", what="COPY")
    _, err = proc.communicate(timeout=60)
    assert proc.returncode == 1
    assert "public.big" in err and "lost the connection" in err and "hint:" in err
    assert not store.manifests()


def test_interrupted_inside_of_a_range(pg, pg_db, store):
    pg.psql(pg_db, "CREATE TABLE big AS SELECT i, repeat(md5(i::text), 16) AS t "
                   "FROM generate_series(1, 300000) i")
    proc = store.start_dump("--jobs", "3", pg.socket_dsn(pg_db), BAKFS_TEST_PIECE_SIZE=1 << 20)
    active = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%WHERE ctid >=%' "
              "AND pid <> pg_backend_pid() AND state = 'active'")
    helpers.wait_until(lambda: pg.psql(pg_db, active) != "0", what="COPY")
    os.kill(proc.pid, signal.SIGINT)
    proc.communicate(timeout=20)
    assert proc.returncode == helpers.INTERRUPTED
    assert not store.manifests()


def stand_ins(pg, db, directory, name, script):
    """A --pg-bindir whose program `name` runs `script` first; see `sql` and `until_sql` in it."""
    directory.mkdir()
    for tool in ("pg_dump", "pg_restore", "pg_dumpall"):
        path = directory / tool
        path.write_text(
            f"#!/bin/bash\nREAL={pg.bindir / tool}\n[ \"$1\" = --version ] && exec \"$REAL\" \"$@\"\n"
            f'sql() {{ env -u PGOPTIONS {pg.bindir}/psql -XqAt -d "{pg.socket_dsn(db)}" -c "$1" '
            '</dev/null; }\n'
            'until_sql() { for i in $(seq 200); do [ "$(sql "$1")" = t ] && return; sleep 0.05; '
            "done; exit 99; }\n" + (script if tool == name else "") + 'exec "$REAL" "$@"\n')
        path.chmod(0o755)
    return directory


def test_alter_waits_before_the_ranges(pg, db, store, mount, tmp_path):
    """No connection gets the lock of the divided table: the coordinator reads it as a whole."""
    before = pg.pg_dump(db)
    script = (f"sql 'ALTER TABLE plain DROP COLUMN note' >{tmp_path}/alter.log 2>&1 &\n"
              'until_sql "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"\n')
    store.dump("--jobs", "3", "--pg-bindir",
               stand_ins(pg, db, tmp_path / "bin", "pg_restore", script), pg.socket_dsn(db),
               env=SMALL_PIECES, timeout=60)
    with mount(store) as mnt:
        assert helpers.strip_restrict((mnt.latest() / "restore.sql").read_text()) == before


@pytest.mark.parametrize("env", [{}, {"BAKFS_TEST_PIECE_SIZE": "16384"}], ids=["whole", "divided"])
def test_money_under_load(pg, pg_db, store, mount, env):
    """pgbench moves money all the while; every backup's balances sum up, in all tables."""
    pgbench = pg.bindir / "pgbench"
    helpers.run(pgbench, "-i", "-q", "-s", "2", "-h", pg.dir, "-p", pg.port, "-U", "postgres", pg_db)
    pg.psql(pg_db, "CREATE TABLE log (what text)")
    load = subprocess.Popen([str(pgbench), "-n", "-c", "4", "-T", "60", "-h", str(pg.dir), "-p",
                             str(pg.port), "-U", "postgres", pg_db], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env=helpers.clean_env())
    try:
        helpers.wait_until(lambda: pg.psql(pg_db, "SELECT count(*) > 200 FROM pgbench_history")
                           == "t", timeout=30, what="load")
        for _ in range(2):
            store.dump("--jobs", "4", pg.socket_dsn(pg_db), env=env)
        assert load.poll() is None
    finally:
        load.terminate()
        load.wait()
    with mount(store) as mnt:
        backups = [mnt.latest(), *(mnt / "archive").iterdir()]
        assert len(backups) == 2
        for backup in backups:
            other = pg.createdb()
            pg.psql(other, None, "-f", backup / "restore.sql")
            sums = pg.psql(other, """
                SELECT (SELECT sum(abalance) FROM pgbench_accounts),
                       (SELECT sum(tbalance) FROM pgbench_tellers),
                       (SELECT sum(bbalance) FROM pgbench_branches),
                       (SELECT sum(delta) FROM pgbench_history)""").split("|")
            assert len(set(sums)) == 1, sums
            assert pg.psql(other, "SELECT count(*) FROM pgbench_accounts") == "200000"
            pg.dropdb(other)


def test_definitions_change_all_the_while(pg, pg_db, store, mount):
    """Another session creates, alters and drops. Each dump ends, in a backup that restores or with a
    clear failure; nothing hangs."""
    pg.psql(pg_db, "".join(f"CREATE TABLE t{i} (a int); INSERT INTO t{i} SELECT "
                           "generate_series(1, 1000);" for i in range(8)))
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            i = n % 8
            pg.psql(pg_db, f"ALTER TABLE t{i} ADD COLUMN c{n} int DEFAULT {n}; "
                           f"CREATE TABLE new{n} AS SELECT {n} AS n; DROP TABLE IF EXISTS new{max(n - 5, 0)}; "
                           f"ALTER TABLE t{i} DROP COLUMN c{n}; CREATE INDEX i{n} ON t{i} (a); "
                           f"DROP INDEX i{n}")
            stop.wait(0.1)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        done = [store.dump("--jobs", "3", pg.socket_dsn(pg_db), exit=(0, 1), timeout=90)
                for _ in range(6)]
    finally:
        stop.set()
        changer.join()
    for run in done:
        assert run.returncode == 0 or "bakfs-dump: " in run.stderr
    assert len(store.manifests()) == sum(run.returncode == 0 for run in done)
    assert store.manifests()
    with mount(store) as mnt:
        other = pg.createdb()
        pg.psql(other, None, "-f", mnt.latest() / "restore.sql")
        assert pg.psql(other, "SELECT count(*) FROM t3") == "1000"
        pg.dropdb(other)


def progress_lines(text):
    lines = [json.loads(line) for line in text.splitlines()]
    return lines[:-1], lines[-1]


def test_progress_as_json(pg, db, store):
    """Rising, with an estimate, what is read, and the result last."""
    done = store.dump("--json", "--progress", pg.socket_dsn(db))
    events, result = progress_lines(done.stdout)
    assert result["backup_id"]
    assert events
    for event in events:
        assert event["event"] == "progress" and event["bytes"] >= 0 and event["what"]
        assert 0 <= event["done"] <= event["total"]
        assert 0 <= event["percent"] <= 100
    for key in ("bytes", "done"):
        values = [event[key] for event in events]
        assert values == sorted(values)


def test_progress_reaches_the_whole(pg, pg_db, store):
    """The last line that can be seen of a dump of some seconds is near the end."""
    pg.psql(pg_db, "CREATE TABLE big AS SELECT i, repeat(md5(i::text), 16) AS t "
                   "FROM generate_series(1, 600000) i")
    done = store.dump("--json", "--progress", "--jobs", "2", pg.socket_dsn(pg_db))
    events, _ = progress_lines(done.stdout)
    assert all(event["what"] == "public.big" for event in events)
    size = int(pg.psql(pg_db, "SELECT pg_table_size('big')"))
    assert abs(events[-1]["total"] - size) < size / 10
    if len(events) > 2:
        assert events[-1]["done"] > events[0]["done"]


def test_progress_without_json(pg, pg_db, store):
    assert "--json" in store.dump("--progress", pg.socket_dsn(pg_db), exit=helpers.USAGE).stderr
