"""PostgreSQL: what is dumped is what pg_dump would have given, and comes back."""

import json
import pathlib

import pytest

import helpers

EVERY = pathlib.Path(__file__).with_name("postgres_every.sql")

# What changes the text of values or stops long commands, set where a role can't see it.
SETTINGS = {"statement_timeout": "'1s'", "TimeZone": "'Asia/Tokyo'", "bytea_output": "'escape'",
            "extra_float_digits": "0", "row_security": "on", "DateStyle": "'SQL, DMY'",
            "IntervalStyle": "'sql_standard'", "idle_in_transaction_session_timeout": "'1s'"}

NAMES = {  # object name: file name
    "a/b": "a%2Fb", 'q"uote\'s': 'q"uote\'s', "sp ace": "sp ace", "new\nline": "new%0Aline",
    ".dot": "%2Edot", "..": "%2E.", "back\\slash": "back%5Cslash", "100%": "100%25",
    "é" * 31 + "x": "é" * 31 + "x", "; DROP TABLE x; --": "; DROP TABLE x; --",
    "schema.sql": "schema.sql", "(": "(", "tab\tname": "tab%09name", "FROM stdin": "FROM stdin",
}


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def strip(path):
    return helpers.strip_restrict(path.read_bytes().decode())


def oracle(pg, db, *args):
    """pg_dump's own text under the settings bakfs pins."""
    return helpers.strip_restrict(helpers.run(
        pg.bindir / "pg_dump", "-d", pg.socket_dsn(db), *args,
        env={"PGTZ": "UTC", "PGOPTIONS": "-c bytea_output=hex -c statement_timeout=0"}).stdout)


@pytest.fixture(scope="module")
def roles(pg):
    pg.psql("postgres", "CREATE ROLE every_short VALID UNTIL '2030-02-01 00:00+00'")
    pg.psql("postgres", "CREATE ROLE every_owner; CREATE ROLE every_reader PASSWORD 'x'")


@pytest.fixture
def every(pg, roles):
    db = pg.createdb()
    pg.psql(db, None, "-f", EVERY)
    for name, value in SETTINGS.items():
        pg.psql("postgres", f"ALTER DATABASE {db} SET {name} = {value}")
    yield db
    drop(pg, db)


@pytest.fixture(scope="module")
def shop(pg):
    """Several schemas, foreign keys, sequences, views, functions and 1,000,000 rows. To be read,
    not changed."""
    db = pg.createdb()
    pg.psql(db, """
        CREATE SCHEMA sales; CREATE SCHEMA stock;
        CREATE TABLE stock.items (id serial PRIMARY KEY, name text NOT NULL, price numeric);
        CREATE TABLE sales.customers (id bigserial PRIMARY KEY, email text UNIQUE, j jsonb);
        CREATE TABLE sales.orders (id bigserial PRIMARY KEY,
            customer bigint NOT NULL REFERENCES sales.customers,
            item int NOT NULL REFERENCES stock.items, n int, at timestamptz);
        CREATE INDEX ON sales.orders (customer);
        CREATE VIEW sales.totals AS SELECT customer, sum(n) FROM sales.orders GROUP BY 1;
        CREATE FUNCTION sales.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
        INSERT INTO stock.items (name, price) SELECT 'item ' || i, i FROM generate_series(1,1000) i;
        INSERT INTO sales.customers (email, j)
            SELECT i || '@example.com', jsonb_build_object('i', i) FROM generate_series(1,99000) i;
        INSERT INTO sales.orders (customer, item, n, at)
            SELECT i % 99000 + 1, i % 1000 + 1, i % 7, '2026-01-01'::timestamptz + i * '1 s'::interval
            FROM generate_series(1, 900000) i;
    """)
    yield db
    pg.dropdb(db)


@pytest.fixture
def shop_copy(pg, shop):
    pg.psql("postgres", f"CREATE DATABASE shop_copy TEMPLATE {shop}")
    yield "shop_copy"
    pg.dropdb("shop_copy")


def drop(pg, db):
    pg.psql(db, "DROP SUBSCRIPTION IF EXISTS sub")
    pg.dropdb(db)


def restore(pg, script):
    """Run a script into a new database; its name."""
    db = pg.createdb()
    pg.psql(db, None, "-f", script, timeout=300)
    return db


def test_every_kind_equals_pg_dump(pg, every, store, mount):
    store.dump(pg.socket_dsn(every))
    with mount(store) as mnt:
        latest = mnt.latest()
        assert strip(latest / "restore.sql") == oracle(pg, every)
        assert strip(latest / "schema.sql") == oracle(pg, every, "--schema-only")
        assert strip(latest / "data.sql") == oracle(pg, every, "--data-only")
        restored = restore(pg, latest / "restore.sql")
        assert oracle(pg, restored) == oracle(pg, every)
        drop(pg, restored)
        assert (latest / "roles.sql").stat().st_mode & 0o777 == 0o400
        assert "CREATE ROLE every_owner" in (latest / "roles.sql").read_text()
        assert "SCRAM-SHA-256" in (latest / "roles.sql").read_text()
        assert "VALID UNTIL '2030-02-01 00:00:00+00'" in (latest / "roles.sql").read_text()


def test_two_dumps_of_a_million_rows(pg, shop_copy, store, mount):
    first = oracle(pg, shop_copy)
    store.dump(pg.socket_dsn(shop_copy))
    pg.psql(shop_copy, "UPDATE sales.customers SET j = '{}' WHERE id % 50 = 0; "
                  "DELETE FROM sales.orders WHERE id % 1000 = 0; CREATE TABLE stock.new (x int)")
    second = oracle(pg, shop_copy)
    store.dump(pg.socket_dsn(shop_copy))
    pg.psql(shop_copy, "DROP TABLE stock.new")
    store.dump(pg.socket_dsn(shop_copy))
    with mount(store) as mnt:
        archived = sorted((mnt / "archive").iterdir(), key=lambda p: (len(p.name), p.name))
        assert len(archived) == 2
        for path, want in zip(archived, (first, second)):
            assert strip(path / "restore.sql") == want
        restored = restore(pg, archived[0] / "restore.sql")
        assert oracle(pg, restored) == first
        pg.dropdb(restored)


def test_unchanged_database_costs_little(pg, shop, store):
    """The archives' names and their time are new."""
    store.dump(pg.socket_dsn(shop))
    again = json.loads(store.dump("--json", pg.socket_dsn(shop)).stdout.splitlines()[-1])
    assert again["bytes_new"] < 16 << 10


def test_manifest(pg, every, store):
    store.dump(pg.socket_dsn(every))
    manifest = json.loads(store.manifests()[0].read_text())
    (database,) = manifest["databases"]
    assert database["type"] == "postgres" and database["name"] == every
    assert database["encoding"] == "UTF8" and database["server_version"]
    schemas = {s["name"]: s for s in database["schemas"]}
    assert set(schemas) == {"app", "restore.sql", 'We/ird "S"', "empty_one", "public"}
    assert schemas["restore.sql"]["path"] == "%72estore.sql"
    assert schemas['We/ird "S"']["path"] == 'We%2Fird "S"'
    assert schemas["public"]["tables"] == 3 and schemas["public"]["rows"] == 5
    assert schemas["empty_one"]["tables"] == 0
    assert manifest["record_count"] == sum(s["rows"] for s in schemas.values())


def test_one_table_restores_alone(pg, shop, store, mount):
    """schema.sql is the closure, data.sql its rows and the values of its sequences."""
    store.dump(pg.socket_dsn(shop))
    with mount(store) as mnt:
        table = mnt.latest() / "sales" / "tables" / "customers"
        db = pg.createdb()
        pg.psql(db, "CREATE SCHEMA sales")
        pg.psql(db, None, "-f", table / "schema.sql")
        pg.psql(db, None, "-1", "-f", table / "data.sql")
        for table in ("-t", "sales.customers"), ("-t", "sales.customers_id_seq"):
            assert oracle(pg, db, *table) == oracle(pg, shop, *table)
        assert pg.psql(db, "SELECT nextval('sales.customers_id_seq')") == "99001"
        pg.dropdb(db)


def test_closure(pg, every, store, mount):
    store.dump(pg.socket_dsn(every))
    with mount(store) as mnt:
        text = (mnt.latest() / "app" / "tables" / "orders" / "schema.sql").read_text()
        for wanted in ("CREATE TABLE app.orders", "GENERATED BY DEFAULT AS IDENTITY",
                       "PRIMARY KEY (id)", "EXCLUDE USING gist", "CREATE INDEX orders_amt",
                       "COMMENT ON INDEX app.orders_amt", "CREATE STATISTICS app.st",
                       "REPLICA IDENTITY FULL", "CLUSTER ON", "SET STATISTICS 500",
                       "CREATE TRIGGER t1", "DISABLE TRIGGER t1", "CREATE RULE r1",
                       "ENABLE ROW LEVEL SECURITY", "CREATE POLICY pol", "COMMENT ON POLICY pol",
                       "FOREIGN KEY (customer)", "GENERATED ALWAYS AS"):
            assert wanted in text, wanted
        assert "customers (" not in text.replace("app.customers(id)", "")
        text = (mnt.latest() / "app" / "tables" / "customers" / "schema.sql").read_text()
        for wanted in ("CREATE SEQUENCE app.customers_id_seq", "OWNED BY app.customers.id",
                       "SET DEFAULT nextval", "GRANT SELECT(id)", "COMMENT ON COLUMN"):
            assert wanted in text, wanted
        assert not (mnt.latest() / "app" / "tables" / "ft" / "data.sql").exists()


def test_partition_restores_alone(pg, pg_db, store, mount):
    """Its own script loads it, though pg_dump sends the rows of hash partitions of an enum through
    the root."""
    pg.psql(pg_db, "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); "
                   "CREATE TABLE hp (m mood, x int) PARTITION BY HASH (m); "
                   "CREATE TABLE hp0 PARTITION OF hp FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
                   "CREATE TABLE hp1 PARTITION OF hp FOR VALUES WITH (MODULUS 2, REMAINDER 1); "
                   "INSERT INTO hp SELECT m, 7 FROM unnest(enum_range(NULL::mood)) m")
    store.dump(pg.socket_dsn(pg_db))
    with mount(store) as mnt:
        assert strip(mnt.latest() / "restore.sql") == oracle(pg, pg_db)
        db = pg.createdb()
        pg.psql(db, "CREATE TYPE mood AS ENUM ('happy', 'ok', 'sad')")
        for name in ("hp0", "hp1"):
            for file in ("schema.sql", "data.sql"):
                pg.psql(db, None, "-1", "-f", mnt.latest() / "public" / "tables" / name / file)
        rows = "SELECT m::text, x FROM hp0 UNION ALL SELECT m::text, x FROM hp1 ORDER BY 1"
        assert pg.psql(db, rows) == "happy|7\nok|7\nsad|7"
        pg.dropdb(db)


def test_sequence_of_a_partitioned_table(pg, pg_db, store, mount):
    """The parent has no rows of its own, but its sequence has a value."""
    pg.psql(pg_db, "CREATE TABLE p (id serial, k int) PARTITION BY LIST (k); "
                   "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); "
                   "INSERT INTO p (k) VALUES (1), (1)")
    store.dump(pg.socket_dsn(pg_db))
    with mount(store) as mnt:
        db = pg.createdb()
        for file in ("schema.sql", "data.sql"):
            pg.psql(db, None, "-1", "-f", mnt.latest() / "public" / "tables" / "p" / file)
        assert pg.psql(db, "SELECT nextval('p_id_seq')") == "3"
        pg.dropdb(db)


def test_data_script_tells_of_foreign_keys(pg, shop, store, mount):
    store.dump(pg.socket_dsn(shop))
    with mount(store) as mnt:
        tables = mnt.latest() / "sales" / "tables"
        with open(tables / "orders" / "data.sql") as orders:
            assert "session_replication_role" in orders.read(2000)
        db = pg.createdb()
        pg.psql(db, "CREATE SCHEMA stock; CREATE SCHEMA sales")
        for table in ("stock/tables/items", "sales/tables/customers", "sales/tables/orders"):
            pg.psql(db, None, "-1", "-f", mnt.latest() / table / "schema.sql")
        pg.psql(db, None, "-1", "-f", tables / "orders" / "data.sql",
                env={"PGOPTIONS": "-c session_replication_role=replica"})
        assert pg.psql(db, "SELECT count(*) FROM sales.orders") == "900000"
        pg.dropdb(db)


def test_schema_script_stands_alone(pg, shop, store, mount):
    store.dump(pg.socket_dsn(shop))
    with mount(store) as mnt:
        db = pg.createdb()
        for schema in ("stock", "sales"):
            pg.psql(db, None, "-f", mnt.latest() / schema / "schema.sql")
        pg.psql(db, None, "-f", mnt.latest() / "data.sql", timeout=300)
        assert oracle(pg, db) == oracle(pg, shop)
        pg.dropdb(db)


def test_names(pg, pg_db, store, mount):
    for schema in ("public", "SHA256SUMS", "we/ird"):
        if schema != "public":
            pg.psql(pg_db, f"CREATE SCHEMA {quote(schema)}")
        for name in NAMES:
            table = f"{quote(schema)}.{quote(name)}"
            pg.psql(pg_db, f"CREATE TABLE {table} ({quote(name)} int); "
                           f"INSERT INTO {table} VALUES (42)")
    store.dump(pg.socket_dsn(pg_db))
    with mount(store) as mnt:
        for path in ("public", "%53HA256SUMS", "we%2Fird"):
            tables = mnt.latest() / path / "tables"
            assert {p.name for p in tables.iterdir()} == set(NAMES.values())
            for file_name in NAMES.values():
                assert "\n42\n" in (tables / file_name / "data.sql").read_text()
        assert strip(mnt.latest() / "restore.sql") == oracle(pg, pg_db)


def test_empty_database(pg, pg_db, store, mount):
    store.dump(pg.socket_dsn(pg_db))
    with mount(store) as mnt:
        assert {p.name for p in mnt.latest().iterdir()} >= {"roles.sql", "restore.sql",
                                                           "schema.sql", "data.sql"}
        assert strip(mnt.latest() / "restore.sql") == oracle(pg, pg_db)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_other_encodings(pg, store, mount, encoding):
    db = pg.createdb(encoding=f"'{encoding}'", locale="'C'")
    pg.psql(db, f"SET client_encoding = {encoding}; CREATE TABLE t\\351 (a text); "
                "INSERT INTO t VALUES (chr(233))".replace("t\\351", "t"))
    store.dump(pg.socket_dsn(db))
    with mount(store) as mnt:
        data = (mnt.latest() / "public" / "tables" / "t" / "data.sql").read_bytes()
        assert b"\n\xe9\n" in data
        assert f"SET client_encoding = '{encoding}'".encode() in data
        restored = pg.createdb(encoding=f"'{encoding}'", locale="'C'")
        pg.psql(restored, None, "-f", mnt.latest() / "restore.sql")
        assert pg.psql(restored, "SELECT ascii(a) FROM t") == "233"
        pg.dropdb(restored)
    pg.dropdb(db)


def test_value_of_200_mb(pg, pg_db, store, mount):
    pg.psql(pg_db, "CREATE TABLE v (a int, t text); ALTER TABLE v ALTER t SET STORAGE EXTERNAL; "
                   "INSERT INTO v VALUES (1, 'x'), (2, repeat('0123456789', 20000000)), (3, 'z')")
    store.dump(pg.socket_dsn(pg_db))
    with mount(store) as mnt:
        data = (mnt.latest() / "public" / "tables" / "v" / "data.sql").read_bytes()
    value = data[data.index(b"\n2\t") + 3:data.index(b"\n3\tz\n")]
    assert len(value) == 200_000_000
    assert value == b"0123456789" * 20_000_000


def test_extension_configuration_tables(pg, pg_db, store, mount, tmp_path):
    """An extension's own table is not defined in the dump, but the user's rows of it are there."""
    sharedir = pathlib.Path(helpers.run(pg.bindir / "pg_config", "--sharedir").stdout.strip())
    extension = sharedir / "extension"
    control, script = extension / "bakfs_test.control", extension / "bakfs_test--1.0.sql"
    try:
        control.write_text("default_version = '1.0'\nrelocatable = false\n")
    except OSError:
        pytest.skip(f"{extension} can't be written")
    try:
        script.write_text("""
            CREATE TABLE conf (k int, v text);
            INSERT INTO conf VALUES (1, 'built in');
            SELECT pg_extension_config_dump('conf', 'WHERE k > 1');
        """)
        pg.psql(pg_db, "CREATE EXTENSION bakfs_test; INSERT INTO conf VALUES (2, 'mine')")
        store.dump(pg.socket_dsn(pg_db))
        with mount(store) as mnt:
            assert strip(mnt.latest() / "restore.sql") == oracle(pg, pg_db)
            table = mnt.latest() / "public" / "tables" / "conf"
            about = (table / "schema.sql").read_text()
            assert "CREATE EXTENSION bakfs_test" in about
            assert all(line.startswith("--") for line in about.splitlines())
            data = (table / "data.sql").read_text()
            assert "2\tmine" in data and "built in" not in data
    finally:
        control.unlink(missing_ok=True)
        script.unlink(missing_ok=True)
