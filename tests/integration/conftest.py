"""Fixtures of the integration tests. $BAKFS_BUILD is the build directory (default: build)."""

import os
import pathlib
import pwd
import random
import sqlite3

import pytest

import helpers


@pytest.fixture(scope="session")
def build():
    """The built programs: build.bakfs, build.dump, build.verify, build.store."""
    programs = helpers.Programs(os.environ.get("BAKFS_BUILD", helpers.ROOT / "build"))
    missing = [str(p) for p in programs.all() if not p.exists()]
    if missing:
        pytest.fail(f"not built: {', '.join(missing)}; run tests/run", pytrace=False)
    return programs


@pytest.fixture(scope="session")
def run():
    """run(program, args…, exit=0, env={}, timeout=120): see helpers.run."""
    return helpers.run


@pytest.fixture
def store(build, tmp_path):
    """A fresh, empty store."""
    path = tmp_path / "store"
    helpers.run(build.store, "init", "--store", path)
    return helpers.Store(build, path)


@pytest.fixture
def mount(build, tmp_path):
    """with mount(store, "-o", "…") as path: … — the driver in the foreground, always unmounted."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse can't be opened here, so nothing can be mounted")

    def enter(store, *args):
        return helpers.mounted(build, store, tmp_path, *args)

    return enter


def _server(**kwargs):
    if helpers.postgres_bindir() is None:
        pytest.skip("no PostgreSQL server programs are installed")
    if os.getuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root and there is no user postgres")
    return helpers.PgServer(**kwargs)


@pytest.fixture(scope="session")
def pg():
    """A throw-away PostgreSQL server on a Unix socket."""
    server = _server()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def pg_tcp():
    """One on a free loopback port that asks for a password; see .password."""
    server = _server(tcp_password="s3cret-pa55")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def pg_db(pg):
    """An empty database on `pg`, dropped afterwards; its name."""
    name = pg.createdb()
    yield name
    pg.dropdb(name)


@pytest.fixture
def shop(tmp_path):
    """A small SQLite shop database; its path."""
    return helpers.make_shop(tmp_path / "shop.db")


@pytest.fixture(scope="session")
def big_sqlite(tmp_path_factory):
    """A SQLite database of about 24 MB whose bytes compress little. Read it, don't write it."""
    path = tmp_path_factory.mktemp("big") / "big.db"
    rng = random.Random(1)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE blobs (id INTEGER PRIMARY KEY, data BLOB)")
    db.executemany("INSERT INTO blobs VALUES (?, ?)", ((i, rng.randbytes(3000)) for i in range(8000)))
    db.commit()
    db.close()
    return path


@pytest.fixture(scope="session")
def wide_store(build, tmp_path_factory):
    """One backup with 10,000 tables, so directories with that many entries."""
    base = tmp_path_factory.mktemp("wide")
    db = sqlite3.connect(base / "wide.db")
    db.executescript("BEGIN;" + "".join(f"CREATE TABLE t{i:05} (a);" for i in range(10000)) +
                     "COMMIT;")
    db.close()
    helpers.run(build.store, "init", "--store", base / "store")
    store = helpers.Store(build, base / "store")
    store.dump(f"sqlite:{base / 'wide.db'}")
    return store


@pytest.fixture(scope="session", autouse=True)
def nothing_stays_mounted(tmp_path_factory):
    yield
    base = str(tmp_path_factory.getbasetemp())
    mounts = pathlib.Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()
    left = [line.split()[1] for line in mounts if line.split()[1].startswith(base)]
    for point in left:
        helpers.unmount(point)
    assert not left, f"tests left these mounted: {left}"
