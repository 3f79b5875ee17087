"""PostgreSQL: a role that may not read everything. Without --skip-unreadable it fails with all that
lacks; with it, that is left out, listed, and the exit code is 3."""

import json

import pytest

import helpers


@pytest.fixture
def weak(pg, pg_db):
    pg.psql(pg_db, """
        DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN;
        CREATE SCHEMA closed; CREATE TABLE closed.t (a int); CREATE SEQUENCE closed.s;
        CREATE TABLE open (a int); INSERT INTO open VALUES (1);
        CREATE TABLE shut (a int); INSERT INTO shut VALUES (2);
        CREATE TABLE "Shut ""2"" x" (a int);
        CREATE SEQUENCE seq; SELECT nextval('seq');
        CREATE TABLE numbered (id serial, x text); INSERT INTO numbered (x) VALUES ('a'), ('b');
        GRANT SELECT ON numbered TO weak;
        CREATE TABLE hidden (a int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
        INSERT INTO hidden VALUES (3);
        CREATE POLICY p ON hidden USING (a > 5);
        GRANT SELECT ON open, hidden TO weak;
        SELECT lo_from_bytea(4711, 'secret'), lo_from_bytea(4713, 'shared');
        COMMENT ON LARGE OBJECT 4711 IS 'not for all';
        GRANT SELECT ON LARGE OBJECT 4713 TO weak
    """)
    yield pg_db
    pg.psql(pg_db, "SELECT lo_unlink(4711), lo_unlink(4713); DROP OWNED BY weak; DROP ROLE weak")


UNREADABLE = {
    "schema closed": "no USAGE on the schema",
    "closed.t": "no USAGE on the schema",
    "closed.s": "no USAGE on the schema",
    "public.shut": "no SELECT",
    'public.Shut "2" x': "no SELECT",
    "public.seq": "no SELECT",
    "public.numbered_id_seq": "no SELECT",
    "public.hidden": "row security hides rows",
    "large object 4711": "no SELECT",
}


def test_fails_with_the_whole_list(pg, weak, store):
    done = store.dump(pg.socket_dsn(weak, user="weak"), exit=helpers.FAILED)
    for what, why in UNREADABLE.items():
        if not what.startswith("schema "):
            assert f"{what} ({why})" in done.stderr
    assert "can't read 8 objects" in done.stderr
    assert "--skip-unreadable" in done.stderr and "hint:" in done.stderr
    assert "public.open" not in done.stderr and "4713" not in done.stderr
    assert not store.manifests() and not store.packs()


def test_long_lists_are_not_cut(pg, pg_db, store):
    pg.psql(pg_db, "DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN")
    pg.psql(pg_db, "".join(f"CREATE TABLE t{i} ();" for i in range(60)))
    done = store.dump(pg.socket_dsn(pg_db, user="weak"), exit=helpers.FAILED)
    for i in range(60):
        assert f"public.t{i} (no SELECT)" in done.stderr
    pg.psql(pg_db, "DROP ROLE weak")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_skip_unreadable(pg, weak, store, mount, jobs):
    done = store.dump("--skip-unreadable", "--jobs", jobs, pg.socket_dsn(weak, user="weak"),
                      exit=helpers.PARTIAL)
    doc = json.loads(store.manifests()[0].read_text())
    left_out = {item["what"]: item["why"] for item in doc["left_out"]}
    assert left_out.pop("role passwords")
    assert left_out == UNREADABLE
    assert doc["partial"] is True
    for what, why in UNREADABLE.items():
        assert f"{what}: {why}" in done.stdout
    with mount(store) as mnt:
        assert not list((mnt / "latest").iterdir())
        (backup,) = (mnt / "archive").iterdir()
        text = (backup / "restore.sql").read_text()
        assert sorted(p.name for p in (backup / "public/tables").iterdir()) == ["numbered", "open"]
        assert not (backup / "closed").exists()
        summary = (backup / "summary.txt").read_text()
        assert "large object 4711: no SELECT" in summary
    for name in ("hidden", "shut", "closed", "4711", "not for all"):
        assert name not in text.lower()
    other = pg.createdb()
    pg.psql(other, text)
    assert pg.psql(other, "SELECT count(*) FROM open") == "1"
    assert pg.psql(other, "SELECT count(*) FROM numbered") == "2"
    assert pg.psql(other, "SELECT convert_from(lo_get(4713), 'UTF8')") == "shared"
    assert pg.psql(other, "SELECT count(*) FROM pg_largeobject_metadata") == "1"
    pg.dropdb(other)


def test_skip_unreadable_where_all_is_readable(pg, pg_db, store):
    pg.psql(pg_db, "CREATE TABLE t (a int)")
    store.dump("--skip-unreadable", pg.socket_dsn(pg_db))
    assert json.loads(store.manifests()[0].read_text())["partial"] is False


@pytest.mark.parametrize("scope", [["--table=open"], ["--table=public.op*"],
                                   ["--exclude-schema=closed", "--exclude-table=*shut*",
                                    '--exclude-table="Shut ""2"" x"', "--exclude-table=hidden",
                                    "--exclude-table-data=*seq", "--schema=public"]])
def test_only_what_is_asked_for_counts(pg, weak, store, scope):
    store.dump(*scope, pg.socket_dsn(weak, user="weak"))
    doc = json.loads(store.manifests()[0].read_text())
    assert [item["what"] for item in doc["left_out"]] == ["role passwords"]


def test_owned_sequence_counts_with_its_table(pg, weak, store):
    done = store.dump("--table=numbered", pg.socket_dsn(weak, user="weak"), exit=helpers.FAILED)
    assert "public.numbered_id_seq (no SELECT)" in done.stderr
    store.dump("--table=numbered", "--skip-unreadable", pg.socket_dsn(weak, user="weak"),
               exit=helpers.PARTIAL)


def test_skipping_inside_a_scope(pg, weak, store):
    store.dump("--table=public.*", "--table=closed.*", "--skip-unreadable",
               pg.socket_dsn(weak, user="weak"), exit=helpers.PARTIAL)
    doc = json.loads(store.manifests()[0].read_text())
    assert {item["what"] for item in doc["left_out"]} == \
        set(UNREADABLE) - {"large object 4711"} | {"role passwords"}


def test_row_security_without_data_is_fine(pg, weak, store):
    """Definitions hide nothing."""
    store.dump("--table=hidden", "--exclude-table-data=hidden", pg.socket_dsn(weak, user="weak"))


def test_row_security_never_filters(pg, weak, store, mount):
    """Neither for a role it applies to, nor for an owner it is forced on."""
    pg.psql(weak, "ALTER TABLE hidden FORCE ROW LEVEL SECURITY; ALTER TABLE hidden OWNER TO weak")
    done = store.dump("--table=hidden", pg.socket_dsn(weak, user="weak"), exit=helpers.FAILED)
    assert "public.hidden (row security hides rows)" in done.stderr
    pg.psql(weak, "ALTER ROLE weak BYPASSRLS")
    store.dump("--table=hidden", pg.socket_dsn(weak, user="weak"))
    with mount(store) as mnt:
        (backup,) = (mnt / "archive").iterdir()
        assert "\n3\n" in (backup / "public/tables/hidden/data.sql").read_text()
    pg.psql(weak, "ALTER TABLE hidden OWNER TO postgres; ALTER ROLE weak NOBYPASSRLS")


@pytest.fixture
def subscribed(pg, pg_db):
    """A database with a subscription, and a role that may read all that can be granted."""
    pg.psql(pg_db, """
        DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader;
        CREATE TABLE t (a int);
        CREATE SUBSCRIPTION "s\u001b[2J" CONNECTION 'dbname=x password=s3cret' PUBLICATION p
            WITH (connect = false, enabled = false, create_slot = false, slot_name = NONE)
    """)
    yield pg_db
    pg.psql(pg_db, 'DROP SUBSCRIPTION "s\u001b[2J"; DROP ROLE reader')


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_subscriptions_of_a_non_superuser(pg, subscribed, store, mount, jobs):
    """pg_dump leaves them out with a warning, which is passed on once; they are listed."""
    done = store.dump("--jobs", jobs, pg.socket_dsn(subscribed, user="reader"))
    assert done.stderr.count("subscriptions not dumped") == 1
    assert "pg_dump: warning: " in done.stderr and "\u001b" not in done.stderr + done.stdout
    assert "s3cret" not in done.stderr + done.stdout
    doc = json.loads(store.manifests()[0].read_text())
    assert [item["what"] for item in doc["left_out"]] == ["subscription s\u001b[2J"]
    assert doc["partial"] is False
    with mount(store) as mnt:
        assert "CREATE SUBSCRIPTION" not in (mnt.latest() / "restore.sql").read_text()


def test_subscriptions_of_a_superuser(pg, subscribed, store, mount):
    done = store.dump(pg.socket_dsn(subscribed))
    assert done.stderr == ""
    assert json.loads(store.manifests()[0].read_text())["left_out"] == []
    with mount(store) as mnt:
        assert "CREATE SUBSCRIPTION" in (mnt.latest() / "restore.sql").read_text()


def test_subscriptions_that_nobody_asked_for(pg, subscribed, store):
    store.dump("--table=t", pg.socket_dsn(subscribed, user="reader"))
    assert not json.loads(store.manifests()[0].read_text())["left_out"]
