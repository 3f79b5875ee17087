"""PostgreSQL: dumps of a part of the database equal pg_dump's with the same options."""

import json

import pytest

import helpers

SETUP = """
    CREATE SCHEMA app; CREATE SCHEMA "Odd.Schema"; CREATE SCHEMA empty;
    CREATE TABLE app.orders (id serial PRIMARY KEY, note text);
    INSERT INTO app.orders (note) SELECT md5(i::text) FROM generate_series(1, 100) i;
    CREATE TABLE app.order_lines (o int REFERENCES app.orders, n int);
    INSERT INTO app.order_lines SELECT i, i FROM generate_series(1, 100) i;
    CREATE TABLE app."Orders" (a int); INSERT INTO app."Orders" VALUES (7);
    CREATE TABLE "Odd.Schema"."t*?.$x" (a int); INSERT INTO "Odd.Schema"."t*?.$x" VALUES (8);
    CREATE TABLE plain (a int); INSERT INTO plain VALUES (9);
    CREATE VIEW app.v AS SELECT * FROM app.orders;
    CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
    SELECT lo_from_bytea(4712, 'large');
    GRANT SELECT ON app.orders TO PUBLIC;
"""

SCOPES = [
    ["--schema=app"],
    ["--schema=a*", "--schema=public"],
    ['--schema="Odd.Schema"'],
    ["--exclude-schema=app"],
    ["--table=app.orders"],
    ["--table=plain"],
    ["--table=APP.ORDER*", "--exclude-table=*.order_lines"],
    ['--table=app."Orders"'],
    ['--table="Odd.Schema"."t*?.$x"'],
    ["--exclude-table=app.order*"],
    ["--exclude-table-data=app.orders", "--exclude-table-data=plain"],
    ["--schema=app", "--exclude-table-data=app.order_*"],
    ["--no-acl"],
]


@pytest.fixture
def db(pg, pg_db):
    pg.psql(pg_db, SETUP)
    yield pg_db
    pg.psql(pg_db, "SELECT lo_unlink(4712)")


def manifest(store):
    return json.loads(store.manifests()[-1].read_text())


@pytest.mark.parametrize("scope", SCOPES, ids=" ".join)
def test_same_as_pg_dump(pg, db, store, mount, scope):
    store.dump(*scope, pg.socket_dsn(db))
    narrow = scope != ["--no-acl"]
    doc = manifest(store)
    assert doc["partial"] is narrow and doc["left_out"] == []
    assert doc["databases"][0]["scope"]
    with mount(store) as mnt:
        if narrow:
            assert not (mnt / "latest").exists() or not list((mnt / "latest").iterdir())
            (where,) = (mnt / "archive").iterdir()
        else:
            where = mnt.latest()
        assert helpers.strip_restrict((where / "restore.sql").read_text()) == \
            pg.pg_dump(db, *scope)


def test_no_owner(pg, db, store, mount):
    store.dump("--no-owner", pg.socket_dsn(db))
    with mount(store) as mnt:
        text = helpers.strip_restrict((mnt.latest() / "restore.sql").read_text())
        assert text == pg.pg_dump(db, "--no-owner")
        assert "OWNER TO" not in (mnt.latest() / "app/tables/orders/schema.sql").read_text()


def test_all_but_owners_and_privileges_is_complete(pg, db, store):
    """The data is all there: such a backup becomes the latest."""
    store.dump("--no-owner", "--no-acl", pg.socket_dsn(db))
    doc = manifest(store)
    assert doc["partial"] is False
    assert doc["databases"][0]["scope"] == {"no-owner": True, "no-acl": True}


def test_partial_never_becomes_latest(pg, db, store, mount):
    store.dump(pg.socket_dsn(db))
    store.dump("--table=plain", pg.socket_dsn(db))
    with mount(store) as mnt:
        assert (mnt.latest() / "app").exists()
        assert len(list((mnt / "archive").iterdir())) == 1


@pytest.mark.parametrize("scope", [["--table=nowhere"], ["--schema=nowhere"],
                                   ["--table=plain", "--table=nowhere*"],
                                   ["--schema=app", "--schema=nowhere"]])
def test_nothing_matches(pg, db, store, scope):
    done = store.dump(*scope, pg.socket_dsn(db), exit=helpers.FAILED)
    assert "nowhere" in done.stderr and "hint:" in done.stderr and "double quotes" in done.stderr
    assert not store.manifests()


@pytest.mark.parametrize("pattern", ["a.b.c.d", "elsewhere.public.plain", "a(b"])
def test_malformed_pattern(pg, db, store, pattern):
    done = store.dump(f"--table={pattern}", pg.socket_dsn(db), exit=helpers.FAILED)
    assert "hint:" in done.stderr
    assert not store.manifests()


@pytest.mark.parametrize("option", ["--schema", "--exclude-schema", "--table", "--exclude-table",
                                    "--exclude-table-data"])
def test_sqlite_is_refused(shop, store, option):
    done = store.dump(f"{option}=customers", f"sqlite:{shop}", exit=helpers.USAGE)
    assert "as a whole" in done.stderr and "hint:" in done.stderr
    assert not store.manifests()


def test_search_path_of_the_role(pg, db, store):
    """A name without a schema means what it means to the role."""
    pg.psql(db, "DROP ROLE IF EXISTS path; CREATE ROLE path LOGIN; "
                "GRANT pg_read_all_data TO path; ALTER ROLE path SET search_path = app")
    store.dump("--table=orders", pg.socket_dsn(db, user="path"))
    assert manifest(store)["record_count"] == 100
    store.dump("--table=plain", pg.socket_dsn(db, user="path"), exit=helpers.FAILED)
    pg.psql(db, "DROP OWNED BY path; DROP ROLE path")
