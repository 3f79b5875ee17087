"""tools/quickstart: both modes, twice, and nothing left behind on success or interruption."""

import os
import pathlib
import signal
import subprocess

import pytest

import helpers

QUICKSTART = helpers.ROOT / "tools" / "quickstart"


def traces():
    """What quickstarts leave while they run: directory, mount, server."""
    found = [str(p) for p in pathlib.Path("/tmp").glob("bakfs-quickstart.*")]
    mounts = pathlib.Path("/proc/self/mounts").read_text(errors="surrogateescape")
    found += [line for line in mounts.splitlines() if "bakfs-quickstart" in line]
    for cmdline in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_bytes()
        except OSError:
            continue
        if b"/tmp/bakfs-quickstart." in text:
            found.append(text.decode(errors="replace"))
    return set(found)


@pytest.fixture(autouse=True)
def leaves_nothing(mount):
    """Every test here ends as it began. Skips where nothing can be mounted."""
    before = traces()
    yield
    assert traces() <= before


@pytest.fixture
def has_postgres(pg):
    """Skips where no server can be started."""


def quickstart(build, *args, **kwargs):
    return helpers.run(QUICKSTART, *args, env={"BAKFS_BUILD": build.dir}, timeout=300, **kwargs)


def test_sqlite_twice(build):
    for _ in range(2):
        out = quickstart(build).stdout
        assert "1|Teapot|24.5\n" in out
        assert "1|Teapot|19.5\n2|Cup|6.5\n3|Kettle|39\n4|Saucer|3.25\n" in out
        assert "\nok\n" in out
        assert "\n> INSERT" in out
        assert "# That was it" in out


@pytest.mark.slow
def test_postgres_twice(build, has_postgres):
    for _ in range(2):
        out = quickstart(build, "--postgres").stdout
        assert "pg_dump prints the same" in out
        assert "# That was it" in out


def test_a_callers_settings_do_not_matter(build, tmp_path):
    env = {"BAKFS_BUILD": build.dir, "BAKFS_STORE": tmp_path / "real", "BACKUP_ENABLED": "false",
           "DATABASE_URL": "postgresql://nowhere.invalid/x", "GITHUB_REPOSITORY": "me/real"}
    out = helpers.run(QUICKSTART, env=env, timeout=300).stdout
    assert "--standalone--standalone--standalone" in out
    assert not (tmp_path / "real").exists()


def interrupt(build, args, when):
    """Start a quickstart, send SIGINT to all of it as Ctrl-C does once its output has `when`."""
    proc = subprocess.Popen([str(QUICKSTART), *args], start_new_session=True, text=True, bufsize=1,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            env=helpers.clean_env(BAKFS_BUILD=build.dir))
    try:
        seen = ""
        for line in proc.stdout:
            seen += line
            if when in line:
                os.killpg(proc.pid, signal.SIGINT)
                break
        rest = proc.communicate(timeout=60)[0]
        assert when in seen, seen
        assert proc.returncode == 130, seen + rest
    finally:
        if proc.poll() is None:
            helpers.kill_group(proc)


def test_interrupted_while_mounted(build):
    interrupt(build, [], "find mnt/latest")


@pytest.mark.slow
def test_interrupted_while_the_server_runs(build, has_postgres):
    interrupt(build, ["--postgres"], "createdb shop")


def test_a_failure_cleans_up(build, tmp_path):
    tools = tmp_path / "build" / "tools"
    tools.mkdir(parents=True)
    for program in build.all():
        (tools / program.name).symlink_to(program)
    (tools / "bakfs-verify").unlink()
    (tools / "bakfs-verify").write_text("#!/bin/sh\necho 'damage!' >&2\nexit 1\n")
    (tools / "bakfs-verify").chmod(0o755)
    done = helpers.run(QUICKSTART, env={"BAKFS_BUILD": tmp_path / "build"}, exit=1, timeout=300)
    assert "damage!" in done.stderr
    assert "stopped (exit 1)" in done.stderr


def test_without_dev_fuse_it_says_so(build, tmp_path):
    dev = tmp_path / "dev"
    dev.mkdir()
    hide = f"""set -e
        mount -t tmpfs none {dev}
        for n in null zero full random urandom tty; do
            touch {dev}/$n && mount --bind /dev/$n {dev}/$n
        done
        mount --rbind {dev} /dev
        exec {QUICKSTART}"""
    done = helpers.run("unshare", "-m", "--propagation", "slave", "bash", "-c", hide, exit=1,
                       env={"BAKFS_BUILD": build.dir})
    assert "there is no /dev/fuse here" in done.stderr
    assert "hint:" in done.stderr


def test_missing_packages_are_named_where_they_cannot_be_installed(tmp_path):
    """A dpkg-query that knows nothing stands for a fresh machine."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (fake / "dpkg-query").chmod(0o755)
    env = {"PATH": f"{fake}:{os.environ['PATH']}", "BAKFS_NO_INSTALL": "1"}
    for script in (QUICKSTART, helpers.ROOT / "tools" / "install-deps"):
        args = ["build", "run"] if script.name == "install-deps" else []
        done = helpers.run(script, *args, env=env, exit=1)
        assert "missing Debian packages: build-essential meson" in done.stderr
        assert "libfuse3-dev" in done.stderr and "sqlite3" in done.stderr
        assert "hint: as root, apt-get install" in done.stderr


def test_wrong_usage():
    assert "unknown argument" in helpers.run(QUICKSTART, "--mysql", exit=helpers.USAGE).stderr
    assert "--postgres" in helpers.run(QUICKSTART, "--help").stdout
