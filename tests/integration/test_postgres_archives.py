"""PostgreSQL: archives of large tables, what they cost, and the scripts of partitioned tables."""

import json

import pytest

import helpers


def tool(pg, name, *args, **kwargs):
    return helpers.run(pg.bindir / name, *args, **kwargs).stdout


def report(done):
    return json.loads(done.stdout.splitlines()[-1])


def dumped(store, pg, db):
    return report(store.dump("--json", pg.socket_dsn(db)))


def row(pg, db, sql):
    return pg.psql(db, sql).strip()


SUM = "SELECT count(*), sum(hashtext(t::text)::bigint) FROM {} t"


def test_large_tables_come_back_in_any_way(pg, store, mount):
    """Tables of many frames, of none and of one."""
    db = pg.createdb()
    pg.psql(db, """
        CREATE TABLE big AS SELECT i, md5(i::text) AS a, md5((i * 7)::text) AS b
            FROM generate_series(1, 800000) i;
        CREATE TABLE wide AS SELECT i, repeat(md5(i::text), 100000) AS t
            FROM generate_series(1, 12) i;
        CREATE TABLE empty (x int);
        CREATE TABLE small AS SELECT 1 AS x;
        SELECT lo_from_bytea(i, decode(repeat('00ff', i), 'hex')) FROM generate_series(5000, 5100) i;
    """)
    store.dump("-q", pg.socket_dsn(db))
    with mount(store) as mnt:
        archive = mnt.latest() / "database.dump"
        (schema_archive,) = mnt.latest().glob("public/public_schema_*.dump")
        for args, tables in ((("-j4", archive), ("big", "wide", "empty", "small")),
                             (("-t", "wide", archive), ("wide",)),
                             (("-j2", "--no-owner", "--clean", "--if-exists", schema_archive),
                              ("big", "wide", "empty", "small"))):
            copy = pg.createdb()
            tool(pg, "pg_restore", "--exit-on-error", "-d", pg.socket_dsn(copy), *args, timeout=300)
            for table in tables:
                assert row(pg, copy, SUM.format(table)) == row(pg, db, SUM.format(table)), table
            pg.dropdb(copy)
        objects = "SELECT count(*), md5(string_agg(lo_get(oid), '' ORDER BY oid)) FROM pg_largeobject_metadata"
        copy = pg.createdb()
        tool(pg, "pg_restore", "--exit-on-error", "-d", pg.socket_dsn(copy), archive, timeout=300)
        assert row(pg, copy, objects) == row(pg, db, objects)
        pg.dropdb(copy)
        document = json.loads((mnt.latest() / "backup.json").read_text())
        (schema,) = document["databases"][0]["schemas"]
        assert schema["archive"] == schema_archive.name
        assert schema["archive_bytes"] == schema_archive.stat().st_size
        assert document["databases"][0]["archive_bytes"] == archive.stat().st_size
    pg.dropdb(db)


def test_an_unchanged_database_costs_little(pg, store):
    db = pg.createdb()
    tables = 300
    pg.psql(db, "\n".join(f"CREATE TABLE t{i} (id serial PRIMARY KEY, name text); "
                          f"INSERT INTO t{i} (name) SELECT 'n' || i FROM generate_series(1, 50) i;"
                          for i in range(tables)))
    dumped(store, pg, db)
    again = dumped(store, pg, db)
    pg.dropdb(db)
    assert again["bytes_new"] <= 32 * 1024 + 100 * tables


PARTITIONED = """
    CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
    CREATE TABLE top (id bigserial, k text, at date, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
    CREATE INDEX ON top (at);
    CREATE TABLE a PARTITION OF top FOR VALUES IN ('a');
    CREATE TABLE b PARTITION OF top FOR VALUES IN ('b') PARTITION BY RANGE (id);
    CREATE TABLE b1 PARTITION OF b FOR VALUES FROM (1) TO (1000);
    CREATE TABLE b2 PARTITION OF b FOR VALUES FROM (1000) TO (9000);
    INSERT INTO top (k, at) SELECT CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END, '2026-01-01'
        FROM generate_series(1, 2000) i;
    CREATE TABLE hashed (c colour) PARTITION BY HASH (c);
    CREATE TABLE hashed0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE hashed1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO hashed SELECT c FROM unnest(enum_range(NULL::colour)) c, generate_series(1, 100);
    CREATE TABLE keyed (id bigint, k text, FOREIGN KEY (id, k) REFERENCES top);
"""


@pytest.fixture(scope="module")
def partitioned(pg):
    db = pg.createdb()
    pg.psql(db, PARTITIONED)
    yield db
    pg.dropdb(db)


@pytest.mark.parametrize("table", ["top", "b", "hashed"])
def test_a_partitioned_table_restored_alone(pg, partitioned, store, mount, table):
    store.dump("-q", pg.socket_dsn(partitioned))
    with mount(store) as mnt:
        where = mnt.latest() / "public" / "tables" / table
        copy = pg.createdb()
        if table == "hashed":  # an enum of another oid, so that rows belong elsewhere
            pg.psql(copy, "CREATE TYPE other AS ENUM ('x'); CREATE TYPE colour AS ENUM ('red', 'green', 'blue')")
        if table == "b":  # whose default is the parent's
            pg.psql(copy, "CREATE SEQUENCE top_id_seq")
        pg.psql(copy, None, "-f", where / "schema.sql")
        pg.psql(copy, None, "-1", "-f", where / "data.sql")
        assert row(pg, copy, SUM.format(table)) == row(pg, partitioned, SUM.format(table))
        shape = f"""SELECT string_agg(c.oid::regclass || ' ' || coalesce(pg_get_expr(relpartbound, c.oid), '')
                        || coalesce((SELECT i.inhparent::regclass::text FROM pg_inherits i
                                     WHERE i.inhrelid = c.oid AND i.inhrelid <> '{table}'::regclass), ''), ', ' ORDER BY c.oid::regclass::text)
                    FROM pg_partition_tree('{table}') t JOIN pg_class c ON c.oid = t.relid WHERE level > 0"""
        assert row(pg, copy, shape) == row(pg, partitioned, shape)
        indexes = f"""SELECT string_agg(indexrelid::regclass || ' ' || indisvalid
                                        || ' ' || (level = 0 OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)), ', '
                                        ORDER BY indexrelid::regclass::text)
                      FROM pg_index JOIN pg_partition_tree('{table}') ON relid = indrelid"""
        assert row(pg, copy, indexes) == row(pg, partitioned, indexes)
        pg.dropdb(copy)


def test_what_the_scripts_say(pg, partitioned, store, mount):
    store.dump("-q", pg.socket_dsn(partitioned))
    with mount(store) as mnt:
        tables = mnt.latest() / "public" / "tables"
        leaf = (tables / "b1" / "schema.sql").read_text()
        assert "-- its parent public.b.\n" in leaf and "ATTACH" not in leaf
        assert "foreign keys" in (tables / "keyed" / "schema.sql").read_text()
        assert "session_replication_role" in (tables / "keyed" / "data.sql").read_text()
        assert "foreign keys" not in leaf


def test_names_do_not_leave_a_comment(pg, store, mount):
    db = pg.createdb()
    pg.psql(db, """CREATE TABLE "p
SELECT 1/0; --" (i int) PARTITION BY LIST (i);
                   CREATE TABLE c PARTITION OF "p
SELECT 1/0; --" FOR VALUES IN (1); INSERT INTO c VALUES (1)""")
    store.dump("-q", pg.socket_dsn(db))
    with mount(store) as mnt:
        copy = pg.createdb()
        for name in ("schema.sql", "data.sql"):
            pg.psql(copy, None, "-f", mnt.latest() / "public" / "tables" / "c" / name)
        pg.dropdb(copy)
    pg.dropdb(db)


def test_a_table_of_an_extension(pg, store, mount):
    db = pg.createdb()
    pg.psql(db, """
        CREATE TABLE settings (k text);
        ALTER EXTENSION plpgsql ADD TABLE settings;
        UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid], extcondition = ARRAY['']
        WHERE extname = 'plpgsql';
        INSERT INTO settings VALUES ('x');
    """)
    store.dump("-q", pg.socket_dsn(db))
    with mount(store) as mnt:
        where = mnt.latest() / "public" / "tables" / "settings"
        text = (where / "schema.sql").read_text()
        assert "CREATE EXTENSION plpgsql" in text
        assert all(line.startswith("--") for line in text.splitlines())
        assert "COPY public.settings" in (where / "data.sql").read_text()
    pg.dropdb(db)
