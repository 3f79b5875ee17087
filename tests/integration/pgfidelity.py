"""The tests of what a PostgreSQL backup holds, for any server. test_postgres_fidelity.py runs them
against the installed one, test_postgres_versions.py against others: a subclass there has a
fixture `server`."""

import contextlib
import os
import pathlib
import re
import runpy

import pytest

import helpers
import pgcompare


def _python(name, function):
    return runpy.run_path(str(pgcompare.DATA / name))[function]


def kitchen_sink(server):
    return pgcompare.kitchen_sink(server)


def hostile_names(server):
    name = server.createdb()
    server.psql(name, "\n".join(_python("hostile.py", "sql")()), "-o", "/dev/null")
    return name


def thousand_tables(server):
    name = server.createdb()
    server.psql(name, "\n".join(_python("thousand.py", "sql")()))
    return name


def latin1(server):
    name = server.createdb(encoding="'LATIN1'", locale="'C'")
    server.load(name, _python("encodings.py", "latin1")())
    return name


def sql_ascii(server):
    name = server.createdb(encoding="'SQL_ASCII'", locale="'C'")
    server.load(name, _python("encodings.py", "sql_ascii")())
    return name


def empty(server):
    return server.createdb()


ENCODINGS = {latin1: {"encoding": "'LATIN1'", "locale": "'C'"},
             sql_ascii: {"encoding": "'SQL_ASCII'", "locale": "'C'"}}


# What the hostile names would make if they were commands.
ESCAPED = pathlib.Path("/tmp/bakfs-pwned")


@contextlib.contextmanager
def backed_up(make, server, build, where):
    """Make a database, back it up, mount the store; a pgcompare.Backup."""
    ESCAPED.unlink(missing_ok=True)
    db = make(server)
    path = where / "store"
    helpers.run(build.store, "init", "--store", path)
    with pgcompare.dump_and_mount(server, helpers.Store(build, path),
                                  lambda store, *args: helpers.mounted(build, store, where, *args),
                                  db) as backup:
        backup.options = ENCODINGS.get(make, {})
        yield backup
    server.drop(db)


class Comparison:
    """What stands in the files is what PostgreSQL's tools write."""

    databases = (kitchen_sink, hostile_names, latin1, sql_ascii, empty)

    @pytest.fixture(scope="class")
    def backup(self, request, server, build, tmp_path_factory):
        where = tmp_path_factory.mktemp("fidelity")
        with backed_up(request.param, server, build, where) as found:
            yield found

    def test_scripts_are_pg_dumps(self, backup):
        backup.check_scripts()

    def test_archive_is_pg_dumps(self, backup, tmp_path):
        backup.check_archive(tmp_path)

    def test_schema_archives(self, backup, tmp_path):
        backup.check_schema_archives(tmp_path)

    def test_archive_selects(self, backup, tmp_path):
        """-t and -n print the same from our archive as from pg_dump's."""
        theirs = backup.their_archive(where=tmp_path)
        tables = backup.tables()
        for schema, table, _ in tables[:: max(1, len(tables) // 8)]:
            for args in (["-t", table], ["-n", schema], ["-n", schema, "-t", table, "-a"]):
                backup.same_restore([os.fsdecode(a.encode(backup.codec)) for a in args], theirs)

    def test_roles(self, backup):
        """roles.sql is pg_dumpall's account of roles and tablespaces."""
        theirs = [pgcompare.bare(backup.server.tool("pg_dumpall", "--globals-only", "-l", db, "-d",
                                                    backup.server.socket_dsn(db)))
                  for db in (backup.db, "postgres")]
        ours = pgcompare.bare(backup.read("roles.sql"))
        # Through another database's connection only the encoding differs.
        if ours != theirs[1]:
            pgcompare.same(ours, theirs[0], "roles.sql")

    def test_nothing_escaped(self, backup):
        """No name broke out of a script or a directory."""
        assert not ESCAPED.exists()
        root = backup.path.resolve()
        for directory, _, files in os.walk(root):
            assert directory.startswith(str(root))
            for name in files:
                assert re.fullmatch(r"[^/\x00-\x1f\x7f\\]+", name), (directory, name)


class Fidelity(Comparison):
    """And everything can be had back from them."""

    def test_restore_sql_restores(self, backup):
        backup.check_script_restores(**backup.options)

    def test_schema_and_data_restore(self, backup):
        backup.check_schema_and_data_restore(**backup.options)

    def test_every_table_restores_alone(self, backup):
        # Of a thousand alike, every twentieth.
        tables = [t[:2] for t in backup.tables()]
        some = set(tables[::20] if len(tables) > 500 else tables)
        backup.check_tables(lambda *table: table in some)

    @pytest.mark.parametrize("args", [(), ("-j4",), ("-1",)], ids=["plain", "parallel", "at once"])
    def test_archive_restores(self, backup, args):
        backup.check_archive_restores(*args, **backup.options)

    def test_archive_restores_from_a_pipe(self, backup):
        backup.check_restored(
            lambda db: backup.server.tool("pg_restore", "--exit-on-error", "-d",
                                          backup.server.socket_dsn(db),
                                          input=backup.read("database.dump")),
            lambda db: backup.server.load(db, backup.server.dump_bytes(backup.db)),
            **backup.options)


def parametrized(databases):
    """The decorator that runs a class of these tests for databases."""
    return pytest.mark.parametrize("backup", databases, indirect=True, scope="class",
                                   ids=[make.__name__ for make in databases])
