"""Mounting and unmounting: from the shell, in the background, through mount(8), by signals."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess

import pytest

import helpers


@pytest.fixture
def filled(store, shop):
    store.dump(f"sqlite:{shop}")
    return store


@pytest.fixture
def point(tmp_path):
    """A directory to mount on, unmounted in the end."""
    path = tmp_path / "point"
    path.mkdir()
    yield path
    helpers.unmount(path)


def drivers(point):
    """The driver processes that were started for this mount point."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            argv = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            if os.fsencode(point) in argv and b"bakfs" in argv[0]:
                found.append(int(pid))
    return found


def gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(autouse=True)
def can_mount(mount):
    """Skips where nothing can be mounted."""


def test_background(build, filled, point):
    """When the command returns, the mount is there; when it is unmounted, the driver ends."""
    done = helpers.run(build.bakfs, filled, point)
    assert done.stdout == done.stderr == ""
    assert helpers.is_mounted(point)
    assert os.listdir(point / "latest")
    (pid,) = drivers(point)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid
    for fd in range(3):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"
    helpers.run("umount", point)
    helpers.wait_until(lambda: not drivers(point), 5, "the driver's end")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_background_without_standard_descriptors(build, filled, point, closed):
    command = f'exec "$@" {closed}'
    helpers.run("sh", "-c", command, "sh", build.bakfs, filled, point, timeout=10)
    assert os.listdir(point / "latest")
    helpers.unmount(point)
    helpers.run("sh", "-c", command, "sh", build.bakfs, filled, point / "missing", timeout=10,
                exit=helpers.FAILED)


@pytest.mark.parametrize("foreground", [[], ["-f"]])
def test_bad_input(build, filled, point, tmp_path, foreground):
    def refused(code, *args):
        done = helpers.run(build.bakfs, *args, *foreground, exit=code, cwd=tmp_path)
        assert done.stdout == ""
        assert done.stderr.startswith("bakfs: ") and "\nhint: " in done.stderr
        assert not helpers.is_mounted(point)
        return done.stderr

    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert "nowhere" in refused(helpers.NO_STORE, tmp_path / "nowhere", point)
    refused(helpers.NO_STORE, tmp_path / "file", point)
    refused(helpers.NO_STORE, tmp_path / "empty", point)
    assert "mkdir" in refused(helpers.FAILED, filled, tmp_path / "missing")
    refused(helpers.FAILED, filled, tmp_path / "file")
    refused(helpers.USAGE, filled)
    refused(helpers.USAGE, filled, point, "more")
    assert "bogus" in refused(helpers.USAGE, filled, point, "-o", "bogus")
    refused(helpers.USAGE, filled, point, "-o", "cache_size=many")
    refused(helpers.USAGE, filled, point, "-o", "collection=../x")
    refused(helpers.USAGE, filled, point, "--bogus")


def test_mount_point_in_use(build, filled, point):
    helpers.run(build.bakfs, filled, point)
    done = helpers.run(build.bakfs, filled, point, exit=helpers.FAILED)
    assert "in use" in done.stderr and "hint: unmount" in done.stderr
    assert os.listdir(point / "latest")
    assert len(drivers(point)) == 1


@pytest.mark.parametrize("where", ["store", "store/tmp", "alias", "."])
def test_mount_point_hides_the_store(build, filled, tmp_path, where):
    """On the store, in it or above it: nobody would reach the store any more, and `df` hung."""
    (tmp_path / "alias").symlink_to(filled)
    try:
        done = helpers.run(build.bakfs, filled, tmp_path / where, exit=helpers.FAILED)
        assert "the store" in done.stderr and "\nhint: " in done.stderr
        assert not helpers.is_mounted(os.path.realpath(tmp_path / where))
    finally:
        helpers.unmount(os.path.realpath(tmp_path / where))


def test_after_a_killed_driver(build, filled, point):
    """The kernel keeps a dead mount; the message says how to get rid of it, and that works."""
    helpers.run(build.bakfs, filled, point)
    (pid,) = drivers(point)
    os.kill(pid, signal.SIGKILL)
    helpers.wait_until(lambda: gone(pid))
    done = helpers.run(build.bakfs, filled, point, exit=helpers.FAILED)
    assert f"fusermount3 -u {point}" in done.stderr
    helpers.run("fusermount3", "-u", point)
    helpers.run(build.bakfs, filled, point)
    assert os.listdir(point / "latest")


def test_relative_paths(build, filled, point):
    helpers.run(build.bakfs, os.path.relpath(filled, point.parent), "point", cwd=point.parent)
    assert os.listdir(point / "latest")


def test_odd_names(build, filled, tmp_path):
    """A comma in the store's path must not end the mount option that carries it."""
    odd = tmp_path / "a,b \\ c=d"
    shutil.copytree(filled, odd / "store,ro")
    point = odd / "mount point"
    point.mkdir()
    try:
        helpers.run(build.bakfs, odd / "store,ro", point)
        assert os.listdir(point / "latest")
    finally:
        helpers.unmount(point)


@contextlib.contextmanager
def foreground(build, store, point, *args, **env):
    proc = subprocess.Popen([str(build.bakfs), str(store), str(point), "-f", *args],
                            env=helpers.clean_env(**env), stderr=subprocess.PIPE, text=True)
    try:
        helpers.wait_until(lambda: helpers.is_mounted(point) or proc.poll() is not None)
        yield proc
    finally:
        helpers.unmount(point)
        if proc.poll() is None:
            proc.kill()
        proc.wait()
        proc.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_unmounts(build, filled, point, number):
    with foreground(build, filled, point) as proc:
        assert os.listdir(point / "latest")
        proc.send_signal(number)
        assert proc.wait(timeout=5) == 0
        assert not helpers.is_mounted(point)
        assert proc.stderr.read() == ""


def test_signal_while_busy(build, store, big_sqlite, point):
    """The mount leaves the tree at once; a reader finishes; then the driver ends."""
    store.dump(f"sqlite:{big_sqlite}")
    with foreground(build, store, point) as proc:
        (name,) = os.listdir(point / "latest")
        with open(point / "latest" / name / "big.db", "rb") as f:
            start = f.read(100000)
            proc.send_signal(signal.SIGTERM)
            helpers.wait_until(lambda: not helpers.is_mounted(point), 5)
            assert os.listdir(point) == []
            assert start + f.read() == big_sqlite.read_bytes()
            assert proc.poll() is None
        assert proc.wait(timeout=5) == 0
        assert "in use" in proc.stderr.read()


def test_second_signal_does_not_wait(build, filled, point):
    with foreground(build, filled, point) as proc:
        fd = os.open(point / "latest", os.O_RDONLY)
        try:
            proc.send_signal(signal.SIGTERM)
            helpers.wait_until(lambda: not helpers.is_mounted(point), 5)
            assert proc.poll() is None
            proc.send_signal(signal.SIGTERM)
            assert proc.wait(timeout=5) == 0
        finally:
            os.close(fd)


def test_signal_leaves_foreign_mounts_alone(build, filled, point):
    """After someone detached the mount and put another in its place, TERM ends the driver only."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a tmpfs")
    with foreground(build, filled, point) as proc:
        fd = os.open(point / "latest", os.O_RDONLY)
        helpers.run("umount", "-l", point)
        helpers.run("mount", "-t", "tmpfs", "bakfs-test", point)
        proc.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            proc.wait(timeout=0.5)
        os.close(fd)
        assert proc.wait(timeout=5) == 0
        assert helpers.is_mounted(point)


@pytest.mark.parametrize("busy", [False, True])
def test_signal_after_a_move(build, filled, tmp_path, busy):
    """The mount's path leads nowhere any more: the mount is found and unmounted all the same."""
    (tmp_path / "a b" / "point").mkdir(parents=True)
    with foreground(build, filled, tmp_path / "a b" / "point") as proc:
        (tmp_path / "a b").rename(tmp_path / "c\td")
        moved = tmp_path / "c\td" / "point"
        try:
            assert helpers.is_mounted(moved)
            fd = os.open(moved / "latest", os.O_RDONLY) if busy else None
            proc.send_signal(signal.SIGTERM)
            helpers.wait_until(lambda: not helpers.is_mounted(moved), 5)
            if busy:
                assert proc.poll() is None
                os.close(fd)
            assert proc.wait(timeout=5) == 0
        finally:
            helpers.unmount(moved)


def test_signal_below_another_mount(build, filled, point):
    """What somebody mounted over the mount stays; the driver says so and ends."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a tmpfs")
    with foreground(build, filled, point) as proc:
        helpers.run("mount", "-t", "tmpfs", "bakfs-test", point)
        proc.send_signal(signal.SIGTERM)
        assert proc.wait(timeout=5) == 0
        assert "mounted over it" in proc.stderr.read()
        mounts = [line.split() for line in open("/proc/self/mounts")]
        assert [m[0] for m in mounts if m[1] == str(point)][-1] == "bakfs-test"
        helpers.run("umount", point)


def test_signal_after_detaching(build, filled, point):
    """Nothing is left to unmount: that is said, and a second signal does not wait."""
    with foreground(build, filled, point) as proc:
        fd = os.open(point / "latest", os.O_RDONLY)
        try:
            helpers.run("umount", "-l", point)
            proc.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                proc.wait(timeout=0.5)
            proc.send_signal(signal.SIGTERM)
            assert proc.wait(timeout=5) == 0
            assert "second signal" in proc.stderr.read()
        finally:
            os.close(fd)


def test_signal_while_mounting(build, filled, point):
    """TERM comes with the mount: it is taken away again, not left without a driver."""
    if os.getuid() != 0 or not shutil.which("strace"):
        pytest.skip("needs strace, and root, who mounts without a helper")
    # mount(2) returns half a second after the mount is made. No leak check runs under a tracer.
    with subprocess.Popen([str(a) for a in (
            "strace", "-f", "-o", "/dev/null", "-e", "trace=mount", "-e",
            "inject=mount:delay_exit=500000", build.bakfs, "-f", filled, point)],
            env=helpers.clean_env(ASAN_OPTIONS="detect_leaks=0")) as proc:
        try:
            helpers.wait_until(lambda: helpers.is_mounted(point))
            (pid,) = drivers(point)
            os.kill(pid, signal.SIGTERM)
            assert proc.wait(timeout=10) == 0
            assert not helpers.is_mounted(point)
        finally:
            proc.terminate()


def test_systemd_is_told(build, filled, point, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(5)
        with foreground(build, filled, point, NOTIFY_SOCKET=tmp_path / "notify") as proc:
            first = notify.recv(1000)
            if b"READY=1" not in first.split(b"\n"):
                pytest.fail(f"systemd was told {first}")
            assert os.listdir(point / "latest")
            proc.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in notify.recv(1000)
            assert proc.wait(timeout=5) == 0


FSTAB_OPTIONS = ("ro,noauto,user,nofail,_netdev,x-systemd.automount,cache_size=16M,relatime,"
                 "nodiratime,strictatime,lazytime,silent,nomand,iversion")


@pytest.fixture
def helper(build, tmp_path):
    """mount.bakfs, the name under which the driver is mount(8)'s helper."""
    path = tmp_path / "sbin" / "mount.bakfs"
    path.parent.mkdir()
    path.symlink_to(build.bakfs.resolve())
    return path


def test_mount_helper(helper, filled, point):
    done = helpers.run(helper, filled, point, "-n", "-s", "-v", "-o", FSTAB_OPTIONS)
    assert done.stderr == ""
    assert os.listdir(point / "latest")
    assert "mount.bakfs" in helpers.run(helper, "--help").stdout
    helpers.unmount(point)
    done = helpers.run(helper, filled, point, "-o", "rw,bogus", exit=helpers.USAGE)
    assert done.stderr.startswith("mount.bakfs: ")


def test_mount_helper_fakes(helper, filled, point, tmp_path):
    """-f looks whether it would work, and mounts nothing."""
    helpers.run(helper, filled, point, "-f", "-o", FSTAB_OPTIONS)
    assert not helpers.is_mounted(point)
    helpers.run(helper, filled, point, "-fo", "bogus", exit=helpers.USAGE)
    helpers.run(helper, filled, tmp_path / "missing", "-f", exit=helpers.FAILED)
    helpers.run(helper, tmp_path / "missing", point, "-f", exit=helpers.NO_STORE)


def test_mount_helper_in_a_namespace(helper, filled, point):
    """-N mounts in another mount namespace: given by a process in it, or by a file."""
    if os.getuid() != 0:
        pytest.skip("only root can make a mount namespace")
    with subprocess.Popen(["unshare", "-m", "sh", "-c", "echo; exec sleep 60"],
                          stdout=subprocess.PIPE) as proc:
        try:
            proc.stdout.readline()
            for name in (proc.pid, f"/proc/{proc.pid}/ns/mnt"):
                helpers.run(helper, filled, point, "-N", name)
                assert not helpers.is_mounted(point)
                there = ["nsenter", "-m", "-t", proc.pid]
                assert helpers.run(*there, "ls", point / "latest").stdout
                helpers.run(*there, "umount", point)
            done = helpers.run(helper, filled, point, "-N", "/nowhere", exit=helpers.FAILED)
            assert "/nowhere" in done.stderr
        finally:
            proc.kill()


def test_mount_and_fstab(helper, filled, point, tmp_path):
    """mount(8) finds its helper in /sbin only: lay it over that, in a namespace of its own."""
    if os.getuid() != 0:
        pytest.skip("only root can make a mount namespace")
    scratch = tmp_path / "overlay"
    helpers.run("mkdir", "-p", scratch)
    helpers.run("mount", "-t", "tmpfs", "bakfs-test", scratch)  # overlays need a plain one
    fstab = tmp_path / "fstab"
    fstab.write_text(f"{filled} {point} bakfs {FSTAB_OPTIONS} 0 0\n")
    script = f"""
        set -e
        mkdir {scratch}/upper {scratch}/work
        cp {helper.resolve()} {scratch}/upper/mount.bakfs
        mount -t overlay -o lowerdir=/usr/sbin,upperdir={scratch}/upper,workdir={scratch}/work \
            overlay /usr/sbin
        mount -t bakfs {filled} {point}
        ls {point}/latest
        umount {point}
        mount -T {fstab} {point}
        ls {point}/latest
        umount {point}
    """
    try:
        done = helpers.run("unshare", "-m", "sh", "-c", script)
        assert len(done.stdout.split()) == 2
    finally:
        helpers.unmount(scratch)


@pytest.mark.parametrize("at_last", ["below", "moved"])
def test_unprivileged_user(build, filled, tmp_path, at_last):
    """As nobody, by way of fusermount3; others are kept out, root too."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become nobody")
    if not shutil.which("fusermount3") or not os.stat(shutil.which("fusermount3")).st_mode & 0o4000:
        pytest.skip("fusermount3 is not set-uid here")
    nobody = pwd.getpwnam("nobody")
    home = tmp_path / "home"
    shutil.copytree(filled, home / "store")
    shutil.copy(build.bakfs, home / "bakfs")
    (home / "below" / "point").mkdir(parents=True)
    helpers.run("chown", "-R", f"{nobody.pw_uid}:{nobody.pw_gid}", home)
    for parent in home.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    # /dev/fuse may be for root only here: one for all, in a mount namespace of its own.
    script = f"""
        set -e
        user="setpriv --reuid={nobody.pw_uid} --regid={nobody.pw_gid} --clear-groups"
        mount -t tmpfs bakfs-test {tmp_path}/dev
        mknod -m 666 {tmp_path}/dev/fuse c 10 229
        mount --bind {tmp_path}/dev/fuse /dev/fuse
        cd {home}
        $user ./bakfs store below/point
        $user ls -ln below/point
        ls below/point >/dev/null 2>&1 && echo root was let in
        [ below = {at_last} ] || $user mv below {at_last}
        kill $(pgrep -u {nobody.pw_uid} -f '^./bakfs store below/point$')
        for i in $(seq 50); do grep -q {home}/ /proc/self/mounts || break; sleep 0.1; done
        grep {home}/ /proc/self/mounts || echo unmounted
    """
    (tmp_path / "dev").mkdir()
    done = helpers.run("unshare", "-m", "sh", "-c", script)
    lines = done.stdout.splitlines()
    assert lines[-1] == "unmounted" and "root was let in" not in lines
    assert all(f" {nobody.pw_uid} {nobody.pw_gid} " in line for line in lines[1:-1])
    assert len(lines) == 6


# Mounts an autofs trap as systemd does, and the store on it from the process group that may pass.
AUTOMOUNT = """
import ctypes, os, subprocess, sys
bakfs, store, point = sys.argv[1:]
os.setpgid(0, 0)
asks, told = os.pipe()
options = f"fd={told},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"bakfs-test", os.fsencode(point), b"autofs", 0, options.encode()) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
try:
    subprocess.run([bakfs, store, point], check=True, timeout=20)
    print(*os.listdir(f"{point}/latest"))
    subprocess.run(["umount", point], check=True, timeout=20)
finally:
    os.close(asks)
    os.close(told)
    subprocess.run(["umount", "-l", point])
"""


def test_on_an_automount_point(build, filled, point):
    """Who makes the mount must stay in the process group that the automounter started."""
    if os.getuid() != 0:
        pytest.skip("only root can mount autofs")
    done = helpers.run("unshare", "-m", "/usr/bin/python3", "-c", AUTOMOUNT, build.bakfs, filled,
                       point, timeout=60)
    assert len(done.stdout.split()) == 1
