"""bakfs-restore on PostgreSQL 17, whose archives are of version 1.16: large objects stand in them
in another way than before."""

import pytest

import restoring
from test_postgres_versions import bin17, root17, server17  # noqa: F401 (fixtures)
from restoring import shop, target  # noqa: F401 (fixtures)
from test_restore import TestParts, TestWhole  # noqa: F401 (tests)

MANY = 2600  # more than one transaction's share of the lock table


@pytest.fixture(scope="module")
def server(server17):  # noqa: F811
    return server17


def many_large_objects(server):
    db = server.createdb()
    server.psql(db, f"""
        SELECT lo_from_bytea(10000 + i, sha256(i::text::bytea)) FROM generate_series(1, {MANY}) i
        \\g /dev/null
        COMMENT ON LARGE OBJECT 10001 IS 'the first';
        ALTER LARGE OBJECT 10002 OWNER TO ks_owner;
        GRANT SELECT ON LARGE OBJECT 10003 TO ks_reader;
        SELECT lo_create(5)""")
    return db


@restoring.JOBS
def test_many_large_objects(server, build, tmp_path, jobs):
    """An entry of the archive stands for up to a thousand of them: they take locks all the same."""
    restore = restoring.backed_up(many_large_objects, server, build, tmp_path)
    with server.scratch() as db:
        result = restore.result(db, "--jobs", jobs)
        assert result["one_transaction"] is False
        restore.same(db)
    server.dropdb(restore.source)


@restoring.JOBS
def test_large_objects_replaced(shop, target, jobs):  # noqa: F811
    shop.to(target)
    shop.server.psql(target, "SELECT lo_put(4711, 0, 'mine')")
    shop.to(target, "--data-only", "--overwrite", "--yes", "--jobs", jobs)
    shop.same(target)
