"""bakfs-restore into a target with settings of its own: what is made is the backup's alone, and what
is around it stays."""

import json

import pytest

from restoring import JOBS, backup, role, server, target  # noqa: F401

# Of each kind something without privileges of its own, and something with.
PRIVILEGES = """
CREATE SCHEMA s; CREATE SCHEMA t; GRANT USAGE ON SCHEMA t TO ks_reader;
CREATE TABLE s.a (id serial PRIMARY KEY, g int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE s."B b" (id int); GRANT SELECT ON s."B b" TO ks_reader;
REVOKE INSERT ON s."B b" FROM CURRENT_USER;
CREATE TABLE s.parted (id int) PARTITION BY LIST (id); CREATE TABLE s.p1 PARTITION OF s.parted DEFAULT;
CREATE VIEW s.v AS SELECT id, g FROM s.a GROUP BY id; CREATE MATERIALIZED VIEW s.mv AS SELECT 1;
CREATE SEQUENCE s.seq; GRANT USAGE ON SEQUENCE s.seq TO ks_reader;
CREATE TYPE s.mood AS ENUM ('ok'); CREATE DOMAIN s."D" AS s.mood; REVOKE ALL ON TYPE s."D" FROM PUBLIC;
CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION s."F"(s.mood, a int, OUT x int, VARIADIC r text[]) LANGUAGE sql AS 'SELECT 1';
REVOKE ALL ON FUNCTION s."F"(s.mood, int, text[]) FROM PUBLIC;
CREATE FUNCTION s.late() RETURNS bigint LANGUAGE sql BEGIN ATOMIC
    SELECT count(*) FROM (SELECT id, g FROM s.a GROUP BY id) x; END;
CREATE PROCEDURE s.p(int) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE s.every(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE s.largest(int) (SFUNC = int4larger, STYPE = int);
CREATE TABLE s.owned (); ALTER TABLE s.owned OWNER TO ks_owner;
"""

def defaults(verb, to, other_verb, other_to):
    """Default privileges of two roles, wider and narrower than the server's own."""
    return "".join(f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} {verb} ALL ON {what} {to} ks_reader;"
                   for role in ("postgres", "ks_owner")
                   for what in ("TABLES", "SEQUENCES", "FUNCTIONS", "TYPES", "SCHEMAS")) + f"""
        ALTER DEFAULT PRIVILEGES {verb} SELECT ON TABLES {to} PUBLIC;
        ALTER DEFAULT PRIVILEGES {other_verb} ALL ON FUNCTIONS {other_to} PUBLIC;
        ALTER DEFAULT PRIVILEGES {other_verb} ALL ON SEQUENCES {other_to} postgres;"""


class TestDefaultPrivileges:
    @pytest.mark.parametrize("args", [
        pytest.param([], id="into-empty"),
        pytest.param(["--overwrite"], id="overwrite"),
        pytest.param(["--overwrite", "--schema", "s", "--schema", "t"], id="schema")])
    @JOBS
    def test_are_not_the_backups(self, backup, target, args, jobs):
        restore = backup(PRIVILEGES)
        if args:
            restore.to(target)
        restore.server.psql(target, defaults("GRANT", "TO", "REVOKE", "FROM"))
        restore.to(target, "--yes", "--jobs", jobs, *args)
        restore.server.psql(target, defaults("REVOKE", "FROM", "GRANT", "TO"))
        restore.same(target)

    def test_without_privileges(self, backup, target):
        """--no-acl leaves them to the target."""
        restore = backup("CREATE TABLE t ()")
        restore.server.psql(target, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ks_reader")
        restore.to(target, "--no-acl", "--yes")
        assert "ks_reader=r" in restore.server.psql(
            target, "SELECT relacl FROM pg_class WHERE relname = 't'")
