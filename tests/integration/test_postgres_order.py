"""PostgreSQL with --order-by-key: another order of the rows, the same database."""

import pytest

import helpers

SETUP = """
    CREATE TABLE shuffled (id int PRIMARY KEY, v text);
    INSERT INTO shuffled SELECT i, md5(i::text) FROM generate_series(1, 5000) i ORDER BY md5(i::text);
    CREATE TABLE two ("Second" text, n int, x int GENERATED ALWAYS AS (n * 2) STORED, "F ""i" int,
                      PRIMARY KEY ("F ""i", "Second") INCLUDE (n));
    INSERT INTO two ("Second", n, "F ""i") SELECT 's' || i % 7, i, -i FROM generate_series(1, 500) i;
    CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (more int) INHERITS (parent);
    INSERT INTO parent VALUES (3), (1), (2); INSERT INTO child VALUES (5, 5), (4, 4);
    CREATE TABLE keyless (a int); INSERT INTO keyless VALUES (3), (1), (2);
    CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
    INSERT INTO parted VALUES (9), (3), (7);
"""


def rows(path):
    """The lines between COPY and its end."""
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("COPY "))
    return lines[start + 1:lines.index("\\.", start)]


@pytest.mark.parametrize("jobs", [[], ["--jobs", "1"], ["--jobs", "3"]], ids=" ".join)
def test_rows_come_in_the_order_of_the_key(pg, pg_db, store, mount, jobs):
    pg.psql(pg_db, SETUP)
    store.dump("--order-by-key", *jobs, pg.socket_dsn(pg_db),
               env={"BAKFS_TEST_PIECE_SIZE": "65536"})
    with mount(store) as mnt:
        tables = mnt.latest() / "public" / "tables"
        ids = [int(row.split("\t")[0]) for row in rows(tables / "shuffled" / "data.sql")]
        assert ids == list(range(1, 5001))
        keys = [(int(row.split("\t")[2]), row.split("\t")[0])
                for row in rows(tables / "two" / "data.sql")]
        assert len(keys) == 500 and keys == sorted(keys)
        assert rows(tables / "parent" / "data.sql") == ["1", "2", "3"]
        assert rows(tables / "keyless" / "data.sql") == ["3", "1", "2"]
        other = pg.createdb()
        pg.psql(other, None, "-f", mnt.latest() / "restore.sql")
        third = pg.createdb()
        helpers.run(pg.bindir / "pg_restore", "--exit-on-error", "-d", pg.socket_dsn(third),
                    mnt.latest() / "database.dump")
        for restored in (other, third):
            for table in ("shuffled", "two", "parent", "child", "keyless", "parted"):
                query = f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM ONLY {table} t"
                if table == "parted":
                    query = query.replace("ONLY ", "")
                assert pg.psql(restored, query) == pg.psql(pg_db, query)
            pg.dropdb(restored)


def test_moved_rows_cost_nothing(pg, pg_db, store):
    """Rows that an update wrote elsewhere in the table are the same rows."""
    pg.psql(pg_db, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t "
                   "SELECT i, md5(i::text) || md5((-i)::text) FROM generate_series(1, 50000) i")
    store.dump("--order-by-key", pg.socket_dsn(pg_db))
    before = sum(pack.stat().st_size for pack in store.packs())
    pg.psql(pg_db, "UPDATE t SET v = v WHERE id % 50 = 0; VACUUM t; "
                   "UPDATE t SET v = v WHERE id % 50 = 1")
    store.dump("--order-by-key", pg.socket_dsn(pg_db))
    assert sum(pack.stat().st_size for pack in store.packs()) - before < 20000
