"""PostgreSQL's own regression database: what its test suite leaves behind, the most varied database
there is. It takes minutes to make, so this runs with BAKFS_FULL=1 only."""

import os
import shutil
import subprocess

import pytest

import helpers
import pgcompare
import pgfidelity

FETCH = helpers.ROOT / "tests/pgregress/fetch"

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def server(build, tmp_path_factory):
    bindir = helpers.postgres_bindir()
    if bindir is None:
        pytest.skip("no PostgreSQL server programs are installed")
    version = bindir.parent.name
    driver = bindir.parent / "lib/pgxs/src/test/regress/pg_regress"
    if not driver.exists():
        pytest.skip(f"there is no {driver}")
    kept = build.dir / f"pgregress-{version}"
    done = subprocess.run([FETCH, kept, version], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=900)
    if done.returncode != 0:
        pytest.skip(f"the regression tests can't be had: {done.stderr.strip()[-300:]}")
    running = pgcompare.Server(bindir)
    try:
        running.start()
        run_suite(running, kept, driver)
        yield running
    finally:
        running.stop()


def run_suite(server, kept, driver):
    """Run PostgreSQL's test suite on the server, in a place that the server's user may write."""
    where = server.dir / "suite"
    shutil.copytree(kept / "regress", where)
    shutil.copytree(kept / "lib", where / "lib")
    prefix = []
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "postgres:", where], check=True)
        prefix = ["runuser", "-u", "postgres", "--"]
    done = subprocess.run(
        [str(a) for a in (*prefix, driver, f"--bindir={server.bindir}", f"--host={server.dir}",
                          f"--port={server.port}", "--user=postgres", f"--dlpath={where}/lib",
                          f"--inputdir={where}", f"--outputdir={where}", "--max-connections=10",
                          f"--schedule={where}/parallel_schedule")],
        cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500,
        env=helpers.clean_env())
    # Single tests may fail for reasons of the place, such as its locales.
    passed = done.stdout.count("... ok")
    assert done.returncode in (0, 1) and passed > 150, done.stdout[-3000:]
    print(f"{passed} of PostgreSQL's tests passed")


def regression(_server):
    return "regression"


# Children of parents with a constraint not yet valid get it as a valid one when made anew.
NOT_YET_VALID = {"invalid_check_con", "nv_child_2009", "nv_child_2010", "nv_child_2011"}


@pgfidelity.parametrized([regression])
class TestRegressionDatabase(pgfidelity.Fidelity):
    # invalid_check_con has rows that only fit before the constraint is there, for pg_dump too.
    test_schema_and_data_restore = None

    def test_every_table_restores_alone(self, backup):
        backup.check_tables(lambda schema, table: table not in NOT_YET_VALID, settle=True)
