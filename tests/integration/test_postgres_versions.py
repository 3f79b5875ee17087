"""PostgreSQL 17 from Debian 13's packages: as server with its own tools (archive version 1.16), as
tools for an older server, and as a server whose tools are missing. tests/pg17/fetch gets the
packages."""

import json
import os
import pathlib
import subprocess
import tempfile

import pytest

import helpers
import pgcompare
import pgfidelity

FETCH = helpers.ROOT / "tests/pg17/fetch"


def usable(directory):
    """Whether the server's user, who is not root, may run programs below a directory."""
    if os.getuid() != 0:
        return True
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        os.chmod(file.name, 0o644)
        return subprocess.run(["runuser", "-u", "postgres", "--", "test", "-r", file.name],
                              stderr=subprocess.DEVNULL).returncode == 0


@pytest.fixture(scope="session")
def root17(build, tmp_path_factory):
    """The directory with 17's packages unpacked, kept from run to run where that is possible."""
    cache = build.dir / "pg17"
    if not usable(cache):
        cache = tmp_path_factory.mktemp("pg17")
        for path in (cache, *cache.parents[:2]):
            os.chmod(path, 0o755)
    done = subprocess.run([FETCH, cache], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=600)
    if done.returncode != 0:
        pytest.skip(f"PostgreSQL 17 can't be had: {done.stderr.strip()[-300:]}")
    pgcompare.add_extension(cache / "root/usr/share/postgresql/17/extension")
    return cache / "root"


@pytest.fixture(scope="session")
def bin17(root17):
    return root17 / "usr/lib/postgresql/17/bin"


@pytest.fixture(scope="module")
def server17(bin17):
    running = pgcompare.Server(bin17)
    try:
        yield running.start().prepare()
    finally:
        running.stop()


@pgfidelity.parametrized([pgfidelity.kitchen_sink, pgfidelity.hostile_names, pgfidelity.latin1])
class TestFidelity17(pgfidelity.Fidelity):
    @pytest.fixture(scope="class")
    def server(self, server17):
        return server17

    def test_archive_version(self, backup):
        """The archive is of the version that 17's tools write."""
        assert backup.archive().read_bytes()[:8] == b"PGDMP\x01\x10\x00"


@pgfidelity.parametrized([pgfidelity.kitchen_sink])
class TestNewerTools(pgfidelity.Comparison):
    """The installed, older server read with 17's tools, compared with 17's pg_dump. To restore, use
    the server's own: 17's scripts begin with a setting that older servers don't know."""

    @pytest.fixture(scope="class")
    def server(self, bin17, tmp_path_factory):
        if helpers.postgres_bindir() is None:
            pytest.skip("no PostgreSQL server programs are installed")
        where = tmp_path_factory.mktemp("installation")
        for path in (where, *where.parents[:2]):
            os.chmod(path, 0o755)
        running = pgcompare.Server(pgcompare.relocated(where, helpers.postgres_bindir()))
        running.tools = bin17
        try:
            yield running.start().prepare()
        finally:
            running.stop()


def test_subscriptions_of_a_non_superuser(server17, bin17, store):
    """As with older versions, whatever roles were granted."""
    db = server17.createdb()
    server17.psql(db, """
        CREATE ROLE subscriber LOGIN; GRANT pg_read_all_data, pg_create_subscription TO subscriber;
        CREATE SUBSCRIPTION s CONNECTION 'dbname=x password=s3cret' PUBLICATION p
            WITH (connect = false, enabled = false, create_slot = false, slot_name = NONE)
    """)
    done = store.dump("--pg-bindir", bin17, server17.socket_dsn(db, user="subscriber"))
    assert done.stderr.count("subscriptions not dumped") == 1
    (manifest,) = store.manifests()
    left_out = json.loads(manifest.read_text())["left_out"]
    assert [item["what"] for item in left_out] == ["subscription s"]
    server17.psql(db, "DROP SUBSCRIPTION s; DROP ROLE subscriber")


def test_older_tools_are_refused(server17, store):
    """A server newer than every pg_dump: refused before anything is read, with what to install."""
    installed = helpers.postgres_bindir()
    if installed is None or int(installed.parent.name) >= 17:
        pytest.skip("no tools older than 17 are installed")
    db = server17.createdb()
    done = store.dump("--pg-bindir", installed, server17.socket_dsn(db), exit=helpers.FAILED)
    assert "17" in done.stderr and installed.parent.name in done.stderr
    assert "hint:" in done.stderr
    assert not store.manifests()
    assert not store.packs()


def test_tools_of_the_path_are_not_taken_when_too_old(server17, store):
    """Without --pg-bindir, no pg_dump of the machine fits: the message names the package."""
    found = [p for p in pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_dump")
             if int(p.parts[-3]) >= 17]
    if found:
        pytest.skip("tools of 17 or newer are installed")
    done = store.dump(server17.socket_dsn(server17.createdb()), exit=helpers.FAILED)
    assert "postgresql-client-17" in done.stderr
    assert not store.manifests()
