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
