"""Servers, databases and comparisons for the tests of what a PostgreSQL backup holds."""

import contextlib
import difflib
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest

import helpers

DATA = pathlib.Path(__file__).resolve().parent / "pgdata"

# Lines that hold a random key or a moment, in scripts and in archive lists.
# The session settings that bakfs pins and pg_dump itself does not.
ENVIRONMENT = helpers.clean_env(PGTZ="UTC", PGDATESTYLE="ISO",
                                PGOPTIONS="-c bytea_output=hex -c quote_all_identifiers=off")

REPLICA = b"SET session_replication_role = replica;\n"

KEYED = re.compile(rb"^\\(?:un)?restrict [0-9A-Za-z]+\n", re.M)
MOMENT = re.compile(rb"^; *(?:Archive created at|Compression:).*\n", re.M)


def bare(script):
    """A script without its random keys."""
    return KEYED.sub(b"", script)


VIA_ROOT = re.compile(rb"^-- load via partition root (.*)\n\nCOPY .*\n((?:.*\n)*?)\\\.\n", re.M)
ROWS = re.compile(rb"^(COPY .* FROM stdin;\n)((?:.*\n)*?)(\\\.\n)", re.M)


def settled(script):
    """A dump to compare with one of another database. Rows may come to lie in another order within
    a table, and where they lie in hash partitions of enums depends on the enum's oids, so these
    partitions' rows are put together."""
    rows = {}
    for root, lines in VIA_ROOT.findall(script):
        rows.setdefault(root, []).extend(lines.splitlines())
    script = VIA_ROOT.sub(rb"-- via \1\n", script)
    script = ROWS.sub(lambda m: m[1] + b"".join(sorted(m[2].splitlines(True))) + m[3], script)
    return script + b"".join(b"-- rows of %s\n%s\n" % (root, b"\n".join(sorted(lines)))
                             for root, lines in sorted(rows.items()))


def same(ours, theirs, what):
    """Fail with the first differences unless both are the same bytes."""
    if ours == theirs:
        return
    diff = difflib.unified_diff(theirs.decode("utf-8", "backslashreplace").split("\n"),
                                ours.decode("utf-8", "backslashreplace").split("\n"),
                                "expected", "found", lineterm="", n=2)
    lines = [line[:300] for _, line in zip(range(60), diff)]
    raise AssertionError(f"{what} differs ({len(ours)} bytes, expected {len(theirs)}):\n" +
                         "\n".join(lines))


def command(*argv, input=None, exit=0, timeout=300):
    """Run a program on bytes; its standard output."""
    feed = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=ENVIRONMENT, timeout=timeout, **feed)
    if exit is not None and done.returncode != exit:
        err = done.stderr.decode(errors="replace")
        raise AssertionError(f"{' '.join(map(str, argv))}\nexited with {done.returncode}:\n"
                             f"{err[:6000]}")
    return done.stdout


class Server(helpers.PgServer):
    """A server with the sample extension, and with tablespaces below its own directory."""

    def __init__(self, bindir):
        super().__init__()
        self.bindir = pathlib.Path(bindir)
        self.tools = self.bindir
        self.major = int(re.search(r"\) (\d+)", self.version()).group(1))

    def version(self):
        return command(self.bindir / "postgres", "--version").decode()

    def prepare(self):
        """Roles and tablespace of the kitchen sink."""
        space = self.dir / "space"
        space.mkdir()
        if os.getuid() == 0:
            shutil.chown(space, "postgres", "postgres")
        self.psql("postgres", None, "-v", f"space={space}", "-f", DATA / "kitchen_roles.sql")
        return self

    def tool(self, name, *args, **kwargs):
        return command(self.tools / name, *args, **kwargs)

    def dump_bytes(self, db, *args):
        """pg_dump's bytes without the key."""
        return bare(self.tool("pg_dump", "-d", self.socket_dsn(db), *args))

    def load(self, db, script):
        """Run a script, a path or bytes, that must pass."""
        from_file = {"input": script} if isinstance(script, bytes) else {}
        where = [] if from_file else ["-f", script]
        command(self.tools / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d",
                self.socket_dsn(db), *where, **from_file)

    @contextlib.contextmanager
    def scratch(self, **options):
        """An empty database for the block."""
        name = self.createdb(**options)
        try:
            yield name
        finally:
            self.drop(name)

    def drop(self, name):
        """Drop a database, its subscriptions first."""
        self.psql(name, r"""
            SET client_min_messages = error;
            SELECT format('ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET '
                          || '(slot_name = NONE); DROP SUBSCRIPTION %1$I;', subname)
            FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database
                                                  WHERE datname = current_database()) \gexec
            """.replace("; ALTER", ";\nALTER"), "-v", "ON_ERROR_STOP=0", exit=None)
        self.dropdb(name)


def relocated(where, bindir):
    """A copy of a server's installation below `where` that also has the sample extension. Only the
    programs that look for their files beside themselves are copied. Its programs' directory."""
    bindir = pathlib.Path(bindir)
    if bindir.parts[:3] != ("/", "usr", "lib"):
        pytest.skip(f"the server in {bindir} does not lie where Debian's does")
    version = bindir.parent.name
    new = where / "usr/lib/postgresql" / version / "bin"
    share = where / "usr/share/postgresql" / version
    new.mkdir(parents=True)
    (share / "extension").mkdir(parents=True)
    for program in ("postgres", "initdb", "pg_ctl"):
        shutil.copy2(bindir / program, new)
    for program in bindir.iterdir():
        if not (new / program.name).exists():
            (new / program.name).symlink_to(program)
    (new.parent / "lib").symlink_to(bindir.parent / "lib")
    old_share = pathlib.Path("/usr/share/postgresql") / version
    for old, to in ((old_share, share), (old_share / "extension", share / "extension")):
        for entry in old.iterdir():
            if entry.name != "extension":
                (to / entry.name).symlink_to(entry)
    add_extension(share / "extension")
    return new


def add_extension(directory):
    for name in ("bakfs_sample.control", "bakfs_sample--1.0.sql"):
        shutil.copy(DATA / name, directory)


def kitchen_sink(server):
    """The database with every kind of object; its name."""
    name = server.createdb()
    server.psql(name, None, "-v", f"version={server.major}", "-f", DATA / "kitchen_sink.sql")
    return name


# What \d+ does not tell of the table $table$.
DETAILS = """
SELECT relowner::regrole, relacl, obj_description(oid, 'pg_class'), relpersistence, reloptions,
       relrowsecurity, relforcerowsecurity, relreplident
FROM pg_class WHERE oid = $table$::regclass;
SELECT attname, attacl, col_description(attrelid, attnum), attfdwoptions,
       ARRAY(SELECT o FROM unnest(attoptions) o WHERE o !~ '^pg_attver=')
FROM pg_attribute WHERE attrelid = $table$::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum;
SELECT objid::regclass, pg_sequence_last_value(objid),
       (SELECT relacl FROM pg_class WHERE oid = objid)
FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = $table$::regclass
AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
AND (SELECT relkind FROM pg_class WHERE oid = objid) = 'S' ORDER BY 1::text;
SELECT conname, obj_description(oid, 'pg_constraint'), convalidated FROM pg_constraint
WHERE conrelid = $table$::regclass AND (contype <> 'f' OR conparentid = 0) ORDER BY 1;
SELECT tgname, tgenabled, obj_description(oid, 'pg_trigger') FROM pg_trigger
WHERE tgrelid = $table$::regclass AND NOT tgisinternal AND tgparentid = 0 ORDER BY 1;
"""

# Sections of \d+ about other objects, which DROP ... CASCADE takes with it or cuts loose.
ELSEWHERE = re.compile(r"^(?:Referenced by|Publications|Child tables|Partitions|Partition of"
                       r"|Partition constraint|No partition constraint|Number of partitions)"
                       r":?.*\n(?:^ .*\n)*", re.M)
# On a partition, what it has from its parent.
FROM_PARENT = re.compile(r'^ +TABLE ".*\n|^ .*, ON TABLE .*\n|^Foreign-key constraints:\n(?! )'
                         r"|^Triggers.*:\n(?! )|^Disabled user triggers:\n(?! )", re.M)


def comparable(description, kind):
    """What must be the same. Rows may have come to lie in another order."""
    description, _, rows = description.partition("=ROWS=\n")
    text = ELSEWHERE.sub("", description)
    if kind[1] == "p":
        text = text.replace(" INVALID\n", "\n")  # where a partition lacks the index
    if kind[0] == "1":
        text = text.replace("generated always as identity", "").replace(
            "generated by default as identity", "")
        for _ in range(2):
            text = FROM_PARENT.sub("", text)
    return text + "\n".join(sorted(rows.split("\n")))


def quote_ident(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def quote_arg(path):
    """A backslash command's argument."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "''") + "'"


def quote_pattern(*names):
    r"""The pattern of \d that stands for one object. Quoted text is taken as it is, but a line's
    end would end the command."""
    return re.sub("[\\r\\n]", '"?"', ".".join(quote_ident(name) for name in names))


class Backup:
    """One backup of one database, mounted; `path` is its directory."""

    def __init__(self, server, db, path):
        self.server = server
        self.db = db
        self.path = path
        self.encoding = server.psql(db, "SELECT getdatabaseencoding()")
        self.codec = "utf-8" if self.encoding == "UTF8" else "latin-1"  # which takes any bytes

    def read(self, name):
        return (self.path / name).read_bytes()

    def check_scripts(self):
        """The three whole-database scripts are pg_dump's."""
        for name, args in (("restore.sql", ()), ("schema.sql", ("--schema-only",)),
                           ("data.sql", ("--data-only",))):
            expected = self.server.dump_bytes(self.db, "-E", self.encoding, *args)
            same(bare(self.read(name)), expected, name)

    def check_restored(self, restore, control=None, **options):
        """What `restore(database)` puts into an empty database, dumped again, is the source's
        dump. Where a restore by PostgreSQL's own means doesn't bring everything back either,
        `control(database)` is that restore, and the measure."""
        expected = settled(self.server.dump_bytes(self.db))
        with self.server.scratch(**options) as ours:
            restore(ours)
            found = settled(self.server.dump_bytes(ours))
        if found != expected and control:
            with self.server.scratch(**options) as other:
                control(other)
                expected = settled(self.server.dump_bytes(other))
        same(found, expected, "the restored database's dump")

    def check_script_restores(self, **options):
        self.check_restored(lambda db: self.server.load(db, self.path / "restore.sql"),
                            lambda db: self.server.load(db, self.server.dump_bytes(self.db)),
                            **options)

    def check_schema_and_data_restore(self, **options):
        """schema.sql and data.sql one after the other, with triggers and keys set aside.
        Materialized views stay empty, as with pg_dump --schema-only and --data-only."""

        def restore(db):
            self.server.load(db, self.path / "schema.sql")
            self.server.load(db, REPLICA + self.read("data.sql"))

        def control(db):
            self.server.load(db, self.server.dump_bytes(self.db, "--schema-only"))
            self.server.load(db, REPLICA + self.server.dump_bytes(self.db, "--data-only"))

        self.check_restored(restore, control, **options)

    # Archives.

    def archive(self):
        return self.path / "database.dump"

    def their_archive(self, *args, where):
        path = pathlib.Path(where) / "theirs.dump"
        self.server.tool("pg_dump", "-Fc", "-Z0", "-f", path, "-d", self.server.socket_dsn(self.db),
                         *args)
        return path

    def check_archive(self, where):
        """pg_restore prints and lists the same of our archive and of pg_dump's."""
        theirs = self.their_archive(where=where)
        for args in ([], ["-C"], ["--section=pre-data"], ["--section=data"],
                     ["--section=post-data"], ["--schema-only"], ["--data-only"], ["--no-owner"],
                     ["--clean", "--if-exists"]):
            self.same_restore(args, theirs)
        self.same_list(self.archive(), theirs)
        piped = self.server.tool("pg_restore", "-f", "-", input=self.read("database.dump"))
        same(bare(piped), bare(self.server.tool("pg_restore", "-f", "-", theirs)),
             "pg_restore of the archive from a pipe")

    def same_restore(self, args, theirs, ours=None):
        found, expected = (bare(self.server.tool("pg_restore", "-f", "-", *args, archive))
                           for archive in (ours or self.archive(), theirs))
        same(found, expected, f"pg_restore {' '.join(args)}")

    def same_list(self, ours, theirs):
        found, expected = (MOMENT.sub(b"", self.server.tool("pg_restore", "-l", archive))
                           for archive in (ours, theirs))
        same(found, expected, "pg_restore -l")

    def check_archive_restores(self, *args, **options):
        """pg_restore of database.dump into an empty database. The sessions of -j get in each other's
        way at times, with pg_dump's archives too: where there are partitions, and where one grants
        what is in a schema while another takes that schema's rights away to give them anew. Then
        once more."""
        races = ("deadlock detected", "permission denied for schema", "tuple concurrently updated")

        def restore(db):
            self.server.tool("pg_restore", "--exit-on-error", "-d", self.server.socket_dsn(db),
                             *args, self.archive())

        for tries_left in (3, 2, 1, 0):
            try:
                self.check_restored(
                    restore, lambda db: self.server.load(db, self.server.dump_bytes(self.db)),
                    **options)
                return
            except AssertionError as error:
                if (tries_left == 0 or "-j4" not in args or
                        not any(race in str(error) for race in races)):
                    raise

    def check_archive_creates(self, name_in_archive=None):
        """pg_restore -C makes the database with its settings anew, on a server where it was
        dropped."""
        name = name_in_archive or self.db
        before = settled(self.server.dump_bytes(self.db, "-C"))
        self.server.drop(name)
        self.server.tool("pg_restore", "--exit-on-error", "-C", "-d",
                         self.server.socket_dsn("postgres"), self.archive())
        same(settled(self.server.dump_bytes(name, "-C")), before, "what pg_restore -C made")

    def directory(self, schema, table=None):
        """Where a schema or a table lies, found by its name as the database has it."""
        where = by_name(self.path)[schema.encode(self.codec)]
        return where if table is None else by_name(where / "tables")[table.encode(self.codec)]

    @staticmethod
    def schema_archive(directory):
        (found,) = directory.glob("*_schema_*.dump")
        assert re.search(r"_schema_\d{8}_\d{6}\.dump$", found.name), found.name
        return found

    def check_schema_archives(self, where):
        """pg_restore prints the same of a schema's archive as of pg_dump -n's, but for what that says
        of publications, which the schema does not hold, and of the schema public itself, which
        every database has already."""
        for number, (schema, directory) in enumerate(by_name(self.path).items()):
            if not (directory / "schema.sql").is_file():
                continue
            name = schema.decode(self.codec)
            theirs = pathlib.Path(where) / f"{number}.dump"
            self.server.tool("pg_dump", "-Fc", "-Z0", "-f", theirs, "-n",
                             os.fsdecode(quote_ident(name).encode(self.codec)), "-d",
                             self.server.socket_dsn(self.db))
            same(self._comparable_archive(self.schema_archive(directory), where),
                 self._comparable_archive(theirs, where), f"the archive of schema {name!r}")

    def _comparable_archive(self, archive, where):
        entries = pathlib.Path(where) / "entries"
        entries.write_bytes(b"".join(
            line for line in self.server.tool("pg_restore", "-l", archive).splitlines(True)
            if not re.search(rb" PUBLICATION TABLE| (SCHEMA|(COMMENT|ACL) - SCHEMA|- SCHEMA) "
                             rb"(- )?public ", line)))
        return bare(self.server.tool("pg_restore", "-f", "-", "-L", entries, archive))

    # Single tables.

    def tables(self):
        """(schema, name, kind) of every table that is no extension's. The kind is pg_class's, after
        a 1 where it is a partition, else a 0."""
        rows = self.server.psql(self.db, """
            SELECT encode(convert_to(nspname::text, getdatabaseencoding()), 'hex'),
                   encode(convert_to(relname::text, getdatabaseencoding()), 'hex'),
                   relispartition::int || relkind::text
            FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE relkind IN ('r', 'p', 'f') AND nspname !~ '^(pg_|information_schema$)'
              AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                              AND objid = c.oid AND deptype = 'e')
            ORDER BY nspname, relname""")
        return [(*(bytes.fromhex(name).decode(self.codec) for name in line.split("|")[:2]),
                 line.split("|")[2]) for line in rows.split("\n") if line]

    def check_tables(self, only=None, settle=False):
        """Every table (or those for which `only(schema, name)`) dropped from a copy of the database
        and brought back by its own two files is the same again. With `settle` the copy is what
        pg_dump makes of the database, for one with details that pg_dump never restores."""
        tables = [t for t in self.tables() if only is None or only(*t[:2])]
        copy = self.server.createdb()
        try:
            if settle:
                self.server.load(copy, self.server.dump_bytes(self.db))
            else:
                self.server.psql("postgres", f'DROP DATABASE "{copy}"; CREATE DATABASE "{copy}" '
                                 f"TEMPLATE {quote_ident(self.db)}")
            # They would give restored tables privileges of their own.
            self.server.psql(copy, "DELETE FROM pg_default_acl")
            before = self._describe(copy, tables, restore=False)
            after = self._describe(copy, tables, restore=True)
        finally:
            self.server.drop(copy)
        wrong = []
        for table, (expected, _), (found, errors) in zip(tables, before, after):
            if errors:
                wrong.append(f"{table[:2]}: {errors[0]}")
            elif comparable(found, table[2]) != comparable(expected, table[2]):
                diff = difflib.unified_diff(comparable(expected, table[2]).split("\n"),
                                            comparable(found, table[2]).split("\n"),
                                            "expected", "found", lineterm="", n=0)
                wrong.append(f"{table[:2]}:\n    " + "\n    ".join(line[:200] for line in
                                                                   list(diff)[:12]))
        assert not wrong, f"{len(wrong)} of {len(tables)} tables:\n" + "\n".join(wrong)

    def _describe(self, db, tables, restore):
        """(psql's account of the table and its rows, errors) for each table."""
        codec = self.codec
        script = ["\\pset format unaligned", "\\pset footer off"]
        for schema, name, kind in tables:
            ident = quote_ident(schema) + "." + quote_ident(name)
            script += ["\\echo =TABLE=", "\\warn =TABLE=", "BEGIN;",
                       "SELECT set_config('search_path', '', true) \\g /dev/null"]
            if restore:
                files = self._table_files(schema, name)
                drop = "FOREIGN TABLE" if kind.endswith("f") else "TABLE"
                script += ["SET client_min_messages = error;", f"DROP {drop} {ident} CASCADE;"]
                script += ["SET session_replication_role = replica;", "\\o /dev/null"]
                script += ["\\i " + quote_arg(os.fsencode(path).decode(codec, "surrogateescape"))
                           for path in files if path.exists()]
                script += ["\\o"]
                script += ["RESET session_replication_role;"]
            script += ["SET client_min_messages = error;", f"\\d+ {quote_pattern(schema, name)}",
                       DETAILS.replace("$table$", literal(ident)), "\\echo =ROWS="]
            if kind[1] == "r":
                script += [f"COPY (SELECT * FROM ONLY {ident}) TO STDOUT;"]
            script += ["ROLLBACK;"]
        argv = [self.server.tools / "psql", "-X", "-q", "-d", self.server.socket_dsn(db)]
        done = subprocess.run([str(a) for a in argv], 
                              input="\n".join(script).encode(codec, "surrogateescape"),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
                              timeout=300)
        texts, errors = (data.decode("utf-8", "backslashreplace").split("=TABLE=\n")[1:]
                         for data in (done.stdout, done.stderr))
        assert len(texts) == len(errors) == len(tables), done.stderr[-2000:]
        return [(text, [line for line in error.split("\n") if "ERROR" in line])
                for text, error in zip(texts, errors)]

    def _table_files(self, schema, name):
        where = self.directory(schema, name)
        assert (where / "schema.sql").is_file(), f"{where} has no schema.sql"
        return [where / "schema.sql", where / "data.sql"]


def by_name(directory):
    """The directories below one, by what their names stand for."""
    return {urllib.parse.unquote_to_bytes(os.fsencode(p.name)): p
            for p in directory.iterdir() if p.is_dir()}


def dump_and_mount(server, store, mount, db, *args):
    """A context: back `db` up into `store` and mount it; yields a Backup."""

    @contextlib.contextmanager
    def enter():
        store.dump("--pg-bindir", server.tools, "-q", *args, server.socket_dsn(db), timeout=600)
        with mount(store) as point:
            yield Backup(server, db, point.latest())

    return enter()
