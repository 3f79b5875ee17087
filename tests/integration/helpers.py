"""What the integration tests share: running programs, PostgreSQL servers, mounts."""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Exit codes, docs/man/*.scd.
OK, FAILED, USAGE, PARTIAL, NO_STORE, LOCKED, WRONG_KEY, INTERRUPTED = 0, 1, 2, 3, 10, 11, 12, 130

# Variables that would change what the programs do; tests set those they are about.
FOREIGN_ENV = ("PG", "GITHUB_", "BAKFS_", "BACKUP_", "DATABASE_URL", "SUPABASE_")


def clean_env(**extra):
    env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_ENV)}
    env.update(LC_ALL="C.UTF-8", TZ="UTC")
    env.update({k: str(v) for k, v in extra.items()})
    return env


def run(*argv, exit=OK, env=None, timeout=120, text=True, **kwargs):
    """Run a program; fail the test unless it exits with `exit` (a code, a collection of codes, or
    None for any). `env` is added to an environment without anything that would leak in."""
    argv = [str(a) for a in argv]
    kwargs.setdefault("stdin", None if "input" in kwargs else subprocess.DEVNULL)
    if kwargs["stdin"] is None:
        del kwargs["stdin"]
    done = subprocess.run(argv, env=clean_env(**(env or {})), timeout=timeout, text=text,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
    codes = exit if isinstance(exit, (tuple, set, list)) or exit is None else (exit,)
    if codes is not None and done.returncode not in codes:
        raise AssertionError(f"{' '.join(argv)}\nexited with {done.returncode}, expected {codes}\n"
                             f"stdout:\n{done.stdout}\nstderr:\n{done.stderr}")
    return done


def wait_until(condition, timeout=10, what="condition", interval=0.02):
    """Poll until `condition()` is true and return its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} not met after {timeout} s")
        time.sleep(interval)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tree_digest(path):
    """Every path below a directory with its kind and content, for 'nothing was written' checks."""
    found = {}
    for p in sorted(pathlib.Path(path).rglob("*")):
        name = str(p.relative_to(path))
        found[name] = p.read_bytes() if p.is_file() and not p.is_symlink() else None
    return found


class Programs:
    """The built programs, and short ways to call them."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        tools = self.dir / "tools"
        self.bakfs = tools / "bakfs"
        self.dump = tools / "bakfs-dump"
        self.verify = tools / "bakfs-verify"
        self.store = tools / "bakfs-store"
        self.restore = tools / "bakfs-restore"

    def all(self):
        return [self.bakfs, self.dump, self.verify, self.store, self.restore]


class Store:
    """An initialised store and the programs that work on it."""

    def __init__(self, build, path):
        self.build = build
        self.path = pathlib.Path(path)

    def __fspath__(self):
        return str(self.path)

    def __str__(self):
        return str(self.path)

    def dump(self, *args, **kwargs):
        return run(self.build.dump, "--store", self.path, *args, **kwargs)

    def start_dump(self, *args, **env):
        """A dump that runs on: its process, with `stderr` as text."""
        return subprocess.Popen([str(a) for a in (self.build.dump, "--store", self, *args)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                env=clean_env(**env))

    def verify(self, *args, **kwargs):
        return run(self.build.verify, "--store", self.path, *args, **kwargs)

    def admin(self, verb, *args, **kwargs):
        return run(self.build.store, verb, "--store", self.path, *args, **kwargs)

    def list(self):
        """Backups as bakfs-store list --json gives them."""
        text = self.admin("list", "--json").stdout.strip()
        docs = [json.loads(line) for line in text.splitlines() if line]
        if len(docs) == 1 and isinstance(docs[0], dict) and "backups" in docs[0]:
            return docs[0]["backups"]
        return docs

    def packs(self):
        return sorted((self.path / "packs").rglob("*.pack"))

    def manifests(self):
        return sorted((self.path / "manifests").rglob("*.json"))


def is_mounted(path):
    with open("/proc/self/mounts", errors="surrogateescape") as mounts:
        return any(line.split()[1].encode().decode("unicode_escape") == str(path)
                   for line in mounts)


def unmount(path):
    """Take a mount away whatever state it is in."""
    for command in (["fusermount3", "-u", path], ["fusermount3", "-u", "-z", path],
                    ["umount", "-l", path]):
        if not is_mounted(path):
            return
        subprocess.run([str(a) for a in command], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=20)


class MountPath(type(pathlib.Path())):
    """The mount point of a running driver: a path with `proc` (its process) and `log()`."""

    def log(self):
        return self.log_file.read_text(errors="replace")

    def requests(self):
        """How many requests of each kind the driver logged (it runs with -d)."""
        return collections.Counter(re.findall(r"opcode: (\w+)", self.log()))

    def latest(self):
        """The one directory in latest/."""
        (name,) = os.listdir(self / "latest")
        return self / "latest" / name


@contextlib.contextmanager
def mounted(build, store, where, *args, timeout=20):
    """Mount `store` on a new directory below `where` with the driver in the foreground; always
    unmounted in the end. The driver must then exit with 0."""
    point = MountPath(tempfile.mkdtemp(prefix="mnt-", dir=where))
    os.chmod(point, 0o755)
    point.log_file = pathlib.Path(str(point) + ".log")
    with open(point.log_file, "wb") as log:
        proc = subprocess.Popen([str(a) for a in (build.bakfs, store, point, "-f", *args)],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                env=clean_env())
    point.proc = proc
    try:
        wait_until(lambda: is_mounted(point) or proc.poll() is not None, timeout, "mount")
        if proc.poll() is not None:
            raise AssertionError(f"driver exited with {proc.returncode}: {point.log()}")
        yield point
    finally:
        unmount(point)
        try:
            proc.wait(timeout=20)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()
            raise AssertionError(f"driver did not end after unmount: {point.log()}") from None
    if proc.returncode != 0:
        raise AssertionError(f"driver exited with {proc.returncode}: {point.log()}")


def postgres_bindir():
    """The newest installed server's programs, or None."""
    found = [p.parent for p in pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda p: int(p.parent.name))
    initdb = shutil.which("initdb")
    return pathlib.Path(initdb).resolve().parent if initdb else None


class PgServer:
    """A throw-away PostgreSQL cluster: own directory, Unix socket, no TCP unless asked for."""

    def __init__(self, tcp_password=None):
        self.bindir = postgres_bindir()
        self.password = tcp_password
        self.port = free_port() if tcp_password else 5433  # in a directory of its own: no clash
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bakfs-pg-", dir="/tmp"))
        self.data = self.dir / "data"
        self.serial = 0
        os.chmod(self.dir, 0o755)
        if os.getuid() == 0:
            shutil.chown(self.dir, "postgres", "postgres")

    def _as_postgres(self, *argv, **kwargs):
        prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        return run(*prefix, *argv, cwd=self.dir, **kwargs)

    def start(self):
        initdb = ["-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        if self.password:
            pwfile = self.dir / "password"
            pwfile.write_text(self.password)
            pwfile.chmod(0o644)
            initdb += ["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile", pwfile]
        else:
            initdb += ["--auth=trust"]
        self._as_postgres(self.bindir / "initdb", *initdb)
        listen = "127.0.0.1" if self.password else ""
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"listen_addresses = '{listen}'\nport = {self.port}\n"
                       f"unix_socket_directories = '{self.dir}'\nfsync = off\n"
                       "full_page_writes = off\nsynchronous_commit = off\nmax_connections = 50\n"
                       "shared_buffers = 64MB\nautovacuum = off\nlog_line_prefix = '%m [%p] '\n")
        # pg_ctl's own output must not hold our pipe open: the server inherits it.
        self._as_postgres(self.bindir / "pg_ctl", "-D", self.data, "-w", "-t", "60", "-l",
                          self.dir / "log", "start")
        return self

    def stop(self):
        try:
            if (self.data / "postmaster.pid").exists():
                self._as_postgres(self.bindir / "pg_ctl", "-D", self.data, "-m", "immediate", "-w",
                                  "stop", exit=None)
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        return (self.dir / "log").read_text(errors="replace")

    def dsn(self, db, user="postgres", password=None):
        """A connection URL. With TCP the password is part of it; the socket needs none."""
        if not self.password:
            return f"postgresql:///{db}?host={self.dir}&port={self.port}&user={user}"
        password = self.password if password is None else password
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{db}"

    def socket_dsn(self, db, user="postgres"):
        return f"postgresql:///{db}?host={self.dir}&port={self.port}&user={user}"

    def createdb(self, name=None, **options):
        """A new, empty database; its name. Options are CREATE DATABASE's."""
        if name is None:
            self.serial += 1
            name = f"db{self.serial}"
        quoted = name.replace('"', '""')
        with_ = " ".join(f"{k.upper()} {v}" for k, v in options.items())
        self.psql("postgres", f'CREATE DATABASE "{quoted}" TEMPLATE template0 {with_}')
        return name

    def dropdb(self, name):
        quoted = name.replace('"', '""')
        self.psql("postgres", f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)')

    def psql(self, db, sql=None, *args, **kwargs):
        """Run SQL (or files given in `args`) with ON_ERROR_STOP; its output, unaligned, no
        headers, without the last newline."""
        if sql is not None:
            kwargs["input"] = sql
        return run(self.bindir / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d",
                   self.socket_dsn(db), *args, **kwargs).stdout.rstrip("\n")

    @contextlib.contextmanager
    def session(self, db, sql):
        """A psql session that ran `sql` (e.g. BEGIN; LOCK …) and stays open in the block. Yields
        a function that runs more SQL there and waits for it."""
        proc = subprocess.Popen(
            [str(self.bindir / "psql"), "-X", "-q", "-A", "-t", "-d", self.socket_dsn(db)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=clean_env())

        def send(text, wait=True):
            proc.stdin.write(text.rstrip(";\n") + ";\n" + ("\\echo =done=\n" if wait else ""))
            proc.stdin.flush()
            lines = []
            while wait:
                line = proc.stdout.readline()
                if line in ("", "=done=\n"):
                    break
                lines.append(line)
            return "".join(lines)

        try:
            send(sql)
            yield send
        finally:
            proc.stdin.close()
            proc.terminate()
            proc.wait()
            proc.stdout.close()

    def pg_dump(self, db, *args):
        """pg_dump's plain text without the random restrict key, for comparing databases."""
        text = run(self.bindir / "pg_dump", "-d", self.socket_dsn(db), *args, timeout=300).stdout
        return strip_restrict(text)


def strip_restrict(text):
    return "\n".join(line for line in text.splitlines()
                     if not line.startswith(("\\restrict ", "\\unrestrict ")))


def make_shop(path, customers=200, wal=False):
    """A small SQLite shop."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        if wal:
            db.execute("PRAGMA journal_mode = WAL")
        db.executescript("""
            CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE,
                                    credit REAL, photo BLOB);
            CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers,
                                 amount NUMERIC, placed TEXT);
            CREATE INDEX orders_customer ON orders (customer);
            CREATE VIEW big_orders AS SELECT * FROM orders WHERE amount > 500;
        """)
        db.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)",
                       ((i, f"Customer {i}", f"c{i}@example.com", i / 7, bytes([i % 256]) * 20)
                        for i in range(1, customers + 1)))
        db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)",
                       ((i, i % customers + 1, i * 37 % 1000, f"2026-01-{i % 28 + 1:02}")
                        for i in range(1, customers * 3 + 1)))
        db.commit()
    return pathlib.Path(path)


def query(path, sql):
    """Rows of a query on a SQLite file, read by the sqlite3 program in a process of its own."""
    out = run("sqlite3", "-readonly", "-batch", path, sql).stdout
    return out.rstrip("\n").split("\n") if out.strip() else []


def kill_group(proc):
    """SIGKILL for a process started with start_new_session, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(proc.pid, signal.SIGKILL)
    proc.wait()


Damage = collections.namedtuple("Damage", "pack offset")


@contextlib.contextmanager
def flipped(path, offset, bit=0):
    """One bit of a file flipped inside the block, and back afterwards."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with open(path, "r+b") as f:
        f.seek(offset)
        original = f.read(1)
        f.seek(offset)
        f.write(bytes([original[0] ^ (1 << bit)]))
    try:
        yield
    finally:
        with open(path, "r+b") as f:
            f.seek(offset)
            f.write(original)
        path.chmod(mode)
