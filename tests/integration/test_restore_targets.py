"""bakfs-restore into servers and databases that are unlike the one of the backup: older, set in
another way, with rights of fewer things, with extensions in schemas of their own."""

import pytest

import restoring
from test_postgres_versions import bin17, root17  # noqa: F401 (fixtures)
from restoring import JOBS, absent, backup, role, shop, target  # noqa: F401 (some are fixtures)

# Configuration tables with keys among them. The table that others refer to is the smallest.
LINKED = """
CREATE TABLE base (id int PRIMARY KEY);
CREATE TABLE detail (id int PRIMARY KEY, base int NOT NULL REFERENCES base, note text);
CREATE TABLE part (detail int NOT NULL REFERENCES detail, note text);
SELECT pg_catalog.pg_extension_config_dump('base', '');
SELECT pg_catalog.pg_extension_config_dump('detail', '');
SELECT pg_catalog.pg_extension_config_dump('part', '');
"""


def add_extension(server, name, sql):
    """An extension that the server, which has files of its own, can make."""
    share = server.bindir.parents[3] / "share/postgresql" / server.bindir.parent.name / "extension"
    (share / f"{name}.control").write_text("default_version = '1.0'\n")
    (share / f"{name}--1.0.sql").write_text(sql)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = restoring.installed(tmp_path_factory)
    add_extension(running, "linked", LINKED)
    with restoring.started(running):
        yield running


class TestExtensionTables:
    @JOBS
    def test_keys_among_them(self, backup, target, jobs):
        """They are in force when the rows come: the extension made them with its tables."""
        restore = backup("""
            CREATE EXTENSION linked;
            INSERT INTO base VALUES (1);
            INSERT INTO detail SELECT i, 1, repeat('x', 1000) FROM generate_series(1, 3000) i;
            INSERT INTO part SELECT i, repeat('y', 3000) FROM generate_series(1, 3000) i;
            CREATE TABLE own AS SELECT i, repeat('z', 9000) FROM generate_series(1, 500) i""")
        restore.to(target, "--jobs", jobs)
        restore.same(target)


class TestNewerTools:
    """pg_restore 17 begins its sessions with a setting that is unknown to older servers."""

    @JOBS
    def test_whole(self, shop, target, bin17, jobs):  # noqa: F811
        done = shop("--to", shop.server.socket_dsn(target), "--pg-bindir", bin17, "--jobs", jobs)
        assert ("one after another" in done.stderr) == (jobs != "1"), done.stderr
        shop.same(target)


class TestUncountable:
    """Rows that the restoring role may put into a table, but not see there, are counted by COPY."""

    @JOBS
    @pytest.mark.parametrize("sql", [
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY",
        "ALTER TABLE t OWNER TO plain; REVOKE SELECT ON t FROM plain",
    ], ids=["policies", "privileges"])
    def test_whole(self, server, backup, target, jobs, sql):
        with role(server, "plain"):
            restore = backup("CREATE TABLE t AS SELECT i FROM generate_series(1, 9) i; "
                             "CREATE TABLE u AS TABLE t; GRANT INSERT ON u TO plain; " + sql)
            server.psql(target, "GRANT ALL ON SCHEMA public TO plain")
            done = restore.to(target, "--no-owner", "--jobs", jobs, user="plain")
            assert "can't count the rows of public.t" in done.stderr, done.stderr
            assert "public.u" not in done.stderr
            assert restore.count(target, "t") == restore.count(target, "u") == 9
            server.drop(restore.source)

    def test_rows_are_added(self, server, backup, target):
        with role(server, "plain"):
            restore = backup("CREATE TABLE t AS SELECT i FROM generate_series(1, 9) i; "
                             "GRANT INSERT ON t TO plain")
            server.psql(target, "CREATE TABLE t (i int); GRANT INSERT ON t TO plain")
            done = restore.to(target, "--data-only", "--yes", user="plain")
            assert "can't count the rows of public.t" in done.stderr, done.stderr
            assert restore.count(target, "t") == 9
