"""The other tools, used as their manuals say: a stream of pg_dump's text goes in each day."""

import contextlib
import shutil
import tempfile

import helpers
from bench import BenchError, server_process, shell
from storesize import du


class Peer:
    """A tool with a repository of its own. `command` is a shell command that reads the dump on
    standard input."""

    name = ""
    program = ""

    def __init__(self, bench, repo=None):
        self.bench = bench
        self.repo = repo or bench.path(f"{self.name}-repo")
        self.setup()

    @classmethod
    def missing(cls):
        return not shutil.which(cls.program)

    def setup(self):
        """Make the empty repository."""

    def store(self, source, label):
        """Store what the shell command `source` prints; a Timed."""
        return self.bench.time(f"{source} | {self.command(label)}")

    def command(self, label):
        raise NotImplementedError

    def size(self):
        return du(self.repo)


class Restic(Peer):
    name = program = "restic"

    def words(self, *rest):
        return ("restic", "-q", "-r", self.repo, *rest)

    def setup(self):
        self.bench.time(shell(*self.words("init")))

    def command(self, label):
        return shell(*self.words("backup", "--stdin", "--stdin-filename", "shop.sql", "--tag",
                                 label))

    def verify_command(self):
        return shell(*self.words("check", "--read-data"))

    def file_in(self, point):
        return point / "snapshots" / "latest" / "shop.sql"

    def mount_words(self, point):
        return self.words("mount", point)


class Borg(Peer):
    name = program = "borg"

    def setup(self):
        self.bench.time(shell("borg", "init", "-e", "none", self.repo))

    def command(self, label):
        return shell("borg", "create", "--compression", "zstd,3", "--stdin-name", "shop.sql",
                     f"{self.repo}::{label}", "-")

    def verify_command(self):
        return shell("borg", "check", "--verify-data", self.repo)

    def file_in(self, point):
        return sorted(point.iterdir())[-1] / "shop.sql"

    def mount_words(self, point):
        return ("borg", "mount", "-f", self.repo, point)


class Casync(Peer):
    name = program = "casync"

    def setup(self):
        self.repo.mkdir()
    def store(self, source, label):
        with tempfile.TemporaryDirectory(dir=self.bench.dir) as scratch:
            self.bench.time(f"{source} >{scratch}/shop.sql")
            return self.bench.time(shell("casync", "make", f"--store={self.repo}/store.castr",
                                         f"{self.repo}/{label}.caibx", f"{scratch}/shop.sql"))


class Zstd(Peer):
    """The floor of what a tool that knows no yesterday can do."""

    name = program = "zstd"

    def setup(self):
        self.repo.mkdir()

    def command(self, label):
        return shell("zstd", "-3", "-q", "-c") + f" >{self.repo}/{label}.zst"


ALL = {peer.name: peer for peer in (Restic, Borg, Casync, Zstd)}


def make(bench, names):
    """Peers with empty repositories, by name; those not installed are left out with a word."""
    found = {}
    for name in names:
        if ALL[name].missing():
            bench.log(f"{name} is not installed: left out")
        else:
            found[name] = ALL[name](bench)
    return found


@contextlib.contextmanager
def mounted(bench, words, point):
    """A peer's mount on the new directory `point`, for the block."""
    point.mkdir()
    if words[0] == "borg" and not shutil.which("fusermount"):
        raise BenchError("borg mount needs fusermount")
    with server_process(bench, words, lambda: helpers.is_mounted(point),
                        lambda: helpers.unmount(point)):
        yield point
    point.rmdir()
