"""What the parts of the benchmark share: temporary places, timed programs, medians, results."""

import contextlib
import dataclasses
import os
import pathlib
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import helpers

MB = 1e6
MIB = 1 << 20


class BenchError(Exception):
    """A part can't go on; its message says why."""


@dataclasses.dataclass
class Timed:
    """One run of a program or pipeline."""

    wall: float  # seconds
    cpu: float   # seconds, user and system, children included
    rss: int     # bytes, the largest process of it
    out: str = ""


@dataclasses.dataclass
class Result:
    """One row of the table. `measured` and `limit` share a unit; lower is better unless `higher`.

    The row is reached when measured / limit stays within `goal`, or, with no `ratio_goal`, when
    `measured` stays within `goal` itself."""

    part: str
    what: str
    measured: float
    unit: str
    goal: float = None
    limit: float = None  # the peer's or limit's figure
    peer: str = ""       # what the limit is
    ratio_goal: bool = True
    higher: bool = False
    n: int = 1
    note: str = ""
    detail: dict = dataclasses.field(default_factory=dict)

    @property
    def ratio(self):
        return self.measured / self.limit if self.limit else None

    @property
    def reached(self):
        value = self.ratio if self.ratio_goal and self.limit else self.measured
        if self.goal is None or value is None:
            return None
        return value >= self.goal if self.higher else value <= self.goal

    def as_json(self):
        doc = dataclasses.asdict(self)
        doc.update(ratio=self.ratio, reached=self.reached)
        return doc


class Runs:
    """The runs of one side of a comparison."""

    def __init__(self):
        self.runs = []

    def median(self, what="wall"):
        return statistics.median(getattr(r, what) for r in self.runs)

    def largest(self, what):
        return max(getattr(r, what) for r in self.runs)

    def summary(self):
        walls = [r.wall for r in self.runs]
        return {"n": len(walls), "median": statistics.median(walls), "min": min(walls),
                "max": max(walls), "cpu": self.median("cpu"), "rss": self.largest("rss")}


def shell(*words):
    """Words as one shell command."""
    return " ".join(shlex.quote(str(w)) for w in words)


class Bench:
    """One run of the benchmark: options, temporary directory, servers, results. Use it with
    `with`: everything it started ends with it."""

    def __init__(self, options, programs):
        self.options = options
        self.programs = programs
        self.results = []
        self.stack = contextlib.ExitStack()
        self.children = set()
        self._server = None
        self._chain = None
        self.make_chain = None  # set by run

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bakfs-bench-", dir=self.options.tmp))
        self.stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self.stack.callback(self._end_children)
        os.environ["RESTIC_PASSWORD"] = "bench"  # of throw-away repositories
        return self

    def __exit__(self, *exc):
        return self.stack.__exit__(*exc)

    def _end_children(self):
        for proc in list(self.children):
            helpers.kill_group(proc)

    def log(self, text):
        if not self.options.quiet:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def path(self, name):
        """A new path in the temporary directory."""
        path = self.dir / name
        if path.exists():
            raise BenchError(f"{path} exists")
        return path

    @property
    def server(self):
        """The throw-away PostgreSQL server, started when first needed."""
        if not self._server:
            if not helpers.postgres_bindir():
                raise BenchError("no PostgreSQL server is installed")
            self._server = helpers.PgServer()
            self.stack.callback(self._server.stop)
            self._server.start()
        return self._server

    @property
    def chain(self):
        """The shop's days, which several parts share; begun by the first of them."""
        if not self._chain:
            self._chain = self.make_chain()
        return self._chain

    def env(self, extra=None):
        env = helpers.clean_env(RESTIC_CACHE_DIR=self.dir / "restic-cache",
                                BORG_BASE_DIR=self.dir / "borg-base",
                                BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")
        env.update({k: str(v) for k, v in (extra or {}).items()})
        return env

    def time(self, command, env=None, keep=False, codes=(0,), limit=3600):
        """Run a shell command to its end; a Timed, with standard output when `keep`. A program
        that takes longer than `limit` seconds is ended."""
        with tempfile.TemporaryFile(dir=self.dir) as err, \
                tempfile.TemporaryFile(dir=self.dir) as out:
            start = time.monotonic()
            proc = subprocess.Popen(["bash", "-c", "set -o pipefail; " + command],
                                    stdin=subprocess.DEVNULL, env=self.env(env), cwd=self.dir,
                                    stdout=out if keep else subprocess.DEVNULL, stderr=err,
                                    start_new_session=True)
            self.children.add(proc)
            timer = threading.Timer(limit, os.killpg, (proc.pid, signal.SIGKILL))
            timer.start()
            try:
                _, status, usage = os.wait4(proc.pid, 0)
                wall = time.monotonic() - start
                proc.returncode = os.waitstatus_to_exitcode(status)
            finally:
                timer.cancel()
                if proc.returncode is None:
                    helpers.kill_group(proc)
                self.children.discard(proc)
            if proc.returncode not in codes:
                err.seek(0)
                text = err.read().decode(errors="replace").strip()
                raise BenchError(f"exit {proc.returncode}: {command}\n{text[-2000:]}")
            out.seek(0)
            return Timed(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024,
                         out.read().decode(errors="replace") if keep else "")

    def compare(self, n, sides, before=None):
        """Run each side (name to function that returns a Timed) `n` times, taking turns, so that
        what else the machine does meets all of them. `before(name)` runs untimed before each."""
        runs = {name: Runs() for name in sides}
        for _ in range(n):
            for name, run in sides.items():
                if before:
                    before(name)
                runs[name].runs.append(run())
        return runs

    def peer_names(self, names):
        """Those of `names` that the options ask for and the machine has."""
        return [n for n in names if n in self.options.peers and shutil.which(n)]

    def helper(self, name):
        """A program of this directory, built when needed."""
        target = f"tests/bench/{name}"
        done = subprocess.run(["ninja", "-C", str(self.programs.dir), target], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise BenchError(f"could not build {name}:\n{done.stdout[-3000:]}")
        return self.programs.dir / target

    def new_store(self, name):
        path = self.path(name)
        helpers.run(self.programs.store, "init", "--store", path)
        return path

    def dump_command(self, store, source, *options):
        words = [self.programs.dump, "--quiet", "--store", store, *options]
        if self.options.level:
            words += ["--level", self.options.level]
        if self.options.jobs:
            words += ["--jobs", self.options.jobs]
        return shell(*words, source)

    def mounted(self, store, *args):
        return helpers.mounted(self.programs, store, self.dir, *args)

    def add(self, *args, **kwargs):
        result = Result(*args, **kwargs)
        self.results.append(result)
        return result


def need(*programs):
    """Say what is missing before a part starts."""
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        raise BenchError(f"not installed: {', '.join(missing)}; see tools/install-deps bench")


@contextlib.contextmanager
def server_process(bench, argv, ready, stop, timeout=60, env=None):
    """A program that serves (a peer's mount) in the foreground while the block runs. `ready()`
    tells when it does; `stop()` asks it to end."""
    with tempfile.TemporaryFile(dir=bench.dir) as err:
        proc = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=err,
                                stderr=err, env=bench.env(env), start_new_session=True)
        bench.children.add(proc)
        try:
            helpers.wait_until(lambda: ready() or proc.poll() is not None, timeout, argv[0])
            if proc.poll() is not None:
                err.seek(0)
                raise BenchError(f"{argv[0]} ended: {err.read().decode(errors='replace')}")
            yield proc
        finally:
            stop()
            try:
                proc.wait(timeout=20)
            except subprocess.TimeoutExpired:
                helpers.kill_group(proc)
            bench.children.discard(proc)
