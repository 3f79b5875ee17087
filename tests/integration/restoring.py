"""Shops, servers and stores for the tests of bakfs-restore."""

import contextlib
import json
import os

import pytest

import helpers
import pgcompare

SHOP = """
CREATE SCHEMA shop; CREATE SCHEMA other;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok');
CREATE TABLE shop.customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE,
                             mood shop.mood DEFAULT 'ok');
INSERT INTO shop.customers (name) SELECT 'customer ' || i FROM generate_series(1, 500) i;
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                          customer int REFERENCES shop.customers, amount numeric, note text);
INSERT INTO shop.orders (customer, amount, note)
    SELECT i % 500 + 1, i * 1.5, repeat('x', i % 50) FROM generate_series(1, 3000) i;
CREATE INDEX ON shop.orders (customer);
CREATE FUNCTION shop.mark() RETURNS trigger LANGUAGE plpgsql
    AS $$BEGIN NEW.note := coalesce(NEW.note, '') || '!'; RETURN NEW; END$$;
CREATE TRIGGER mark BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.mark();
CREATE MATERIALIZED VIEW shop.sums AS SELECT customer, sum(amount) FROM shop.orders GROUP BY 1;
CREATE TABLE other.refs (id int PRIMARY KEY, o bigint REFERENCES shop.orders,
                         self int REFERENCES other.refs);
INSERT INTO other.refs SELECT i, i, i FROM generate_series(1, 99) i;
CREATE TABLE parted (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted SELECT i, 'v' || i FROM generate_series(0, 199) i;
CREATE INDEX ON parted (id);
CREATE TABLE empty ();
SELECT lo_from_bytea(4711, decode(repeat('00ff10', 50000), 'hex'));
COMMENT ON LARGE OBJECT 4711 IS 'a large one';
COMMENT ON DATABASE {db} IS 'of {db}; DATABASE {db} it''s';
ALTER DATABASE {db} SET work_mem = '5MB';
"""

ALL = ("parted", "parted_1", "parted_2", "empty", "customers", "orders", "refs")


class Restorer:
    """A store with one backup, and ways to restore it."""

    def __init__(self, build, store, server=None, source=None):
        self.program = build.dir / "tools" / "bakfs-restore"
        self.store, self.server, self.source = store, server, source

    def __call__(self, *args, backup="latest", **kwargs):
        return helpers.run(self.program, "--store", self.store, backup, *args, **kwargs)

    def to(self, db, *args, user="postgres", **kwargs):
        return self("--to", self.server.socket_dsn(db, user), "--pg-bindir", self.server.tools,
                    *args, **kwargs)

    def result(self, db, *args, **kwargs):
        return json.loads(self.to(db, "--json", *args, **kwargs).stdout)

    def dump(self, db, *args):
        return pgcompare.settled(self.server.dump_bytes(db, *args))

    def same(self, db, *args):
        """The database's dump is the source's."""
        pgcompare.same(self.dump(db, *args), self.dump(self.source, *args), "the restored database")

    def count(self, db, table):
        return int(self.server.psql(db, f"SELECT count(*) FROM {table}"))


def installed(tmp_path_factory):
    """The installed server with the sample extension, not started."""
    if helpers.postgres_bindir() is None:
        pytest.skip("no PostgreSQL server programs are installed")
    where = tmp_path_factory.mktemp("installation")
    for path in (where, *where.parents[:2]):  # the server's user must get there
        os.chmod(path, 0o755)
    running = pgcompare.Server(pgcompare.relocated(where, helpers.postgres_bindir()))
    running.tools = helpers.postgres_bindir()
    return running


@contextlib.contextmanager
def started(running):
    """It, for the block, with the kitchen sink's roles."""
    try:
        yield running.start().prepare()
    finally:
        running.stop()


def backed_up(make, server, build, where):
    path = where / "store"
    helpers.run(build.store, "init", "--store", path)
    db = make(server)
    store = helpers.Store(build, path)
    store.dump("--quiet", "--pg-bindir", server.tools, server.socket_dsn(db))
    return Restorer(build, store, server, db)


def make_shop(server):
    db = server.createdb()
    server.psql(db, SHOP.format(db=db))
    return db


@contextlib.contextmanager
def absent(server):
    """The name of a database that does not exist."""
    db = server.createdb()
    server.dropdb(db)
    try:
        yield db
    finally:
        exists = f"SELECT count(*) FROM pg_database WHERE datname = '{db}'"
        if server.psql("postgres", exists) == "1":
            server.drop(db)


def databases(server):
    return set(server.psql("postgres", "SELECT datname FROM pg_database").splitlines())


@contextlib.contextmanager
def role(server, *names):
    """Roles for the block."""
    for name in names:
        server.psql("postgres", f"CREATE ROLE {name} LOGIN")
    try:
        yield
    finally:
        for name in names:
            for db in databases(server) - {"template0"}:
                server.psql(db, f"DROP OWNED BY {name}")
            server.psql("postgres", f"DROP ROLE {name}")


JOBS = pytest.mark.parametrize("jobs", ["1", "3"])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with started(installed(tmp_path_factory)) as running:
        yield running


@pytest.fixture(scope="module")
def shop(server, build, tmp_path_factory):
    return backed_up(make_shop, server, build, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def target(server):
    with server.scratch() as db:
        yield db


@pytest.fixture
def backup(server, build, tmp_path):
    """backup(sql, **options): a Restorer of a database made by it; {db} in it is its name. Options
    are CREATE DATABASE's."""
    made = []

    def make(sql, **options):
        def database(server):
            db = server.createdb(**options)
            server.load(db, sql.replace("{db}", db).encode())
            return db
        restore = backed_up(database, server, build, tmp_path)
        made.append(restore.source)
        return restore

    yield make
    for db in made:
        server.dropdb(db)
