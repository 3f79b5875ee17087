"""bakfs-restore into a target with settings of its own: what is made is the backup's alone, and what
is around it stays."""

import json

import pytest

import pgcompare
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


PUBLISHED = """
CREATE SCHEMA s; CREATE SCHEMA t;
CREATE TABLE s.a (id int PRIMARY KEY, "B b" text, c int); INSERT INTO s.a VALUES (1, 'x', 1);
CREATE TABLE s.b (id int PRIMARY KEY);
CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (9);
CREATE PUBLICATION old FOR TABLE s.b, TABLES IN SCHEMA t;
"""

LATER = """
CREATE TABLE later (id int); CREATE SCHEMA u;
CREATE PUBLICATION "New one" FOR TABLE s.a WHERE (id > 0 AND "B b" <> ''), m,
    TABLES IN SCHEMA s;
CREATE PUBLICATION other FOR TABLE s.a, m1, later;
ALTER PUBLICATION old ADD TABLE later, TABLES IN SCHEMA u;
"""

MEMBERS = """
SELECT p.pubname, r.prrelid::regclass::text, r.prattrs, pg_get_expr(r.prqual, r.prrelid)
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
UNION ALL SELECT p.pubname, NULL, NULL, n.nspname FROM pg_publication_namespace r
    JOIN pg_publication p ON p.oid = r.pnpubid JOIN pg_namespace n ON n.oid = r.pnnspid
ORDER BY 1, 2, 4
"""


class TestPublications:
    @pytest.mark.parametrize("part", [
        pytest.param([], id="whole"), pytest.param(["--schema", "s"], id="schema"),
        pytest.param(["--table", "s.a", "--table", "m"], id="tables")])
    @JOBS
    def test_keep_their_tables(self, backup, target, part, jobs):
        restore = backup(PUBLISHED)
        restore.to(target)
        restore.server.psql(target, LATER + 'CREATE PUBLICATION narrow FOR TABLE s.a ("B b", id)')
        before = restore.server.psql(target, MEMBERS)
        restore.to(target, "--overwrite", "--yes", "--jobs", jobs, *part)
        assert restore.server.psql(target, MEMBERS) == before

    def test_of_the_backup(self, backup, target):
        """What the backup says of both is restored."""
        restore = backup(PUBLISHED)
        restore.to(target)
        restore.server.psql(target, "ALTER PUBLICATION old DROP TABLE s.b; "
                            "ALTER PUBLICATION old ADD TABLE s.a")
        restore.to(target, "--overwrite", "--yes")
        restore.same(target)

    def test_refused(self, backup, target):
        """The table no longer has what the publication names: left out, and said."""
        restore = backup(PUBLISHED)
        restore.to(target)
        restore.server.psql(target, "ALTER TABLE s.a ADD d int; ALTER TABLE s.a ADD e int; "
                            "CREATE PUBLICATION one FOR TABLE s.a (d, e), s.b; "
                            "CREATE PUBLICATION two FOR TABLE s.a")
        done = restore.to(target, "--overwrite", "--yes", "--json", "--table", "s.a", exit=3)
        (left_out,) = json.loads(done.stdout)["left_out"]
        assert left_out["what"] == "ALTER PUBLICATION one ADD TABLE ONLY s.a (d, e)"
        assert '"d"' in left_out["why"]
        assert restore.server.psql(target, "SELECT count(*) FROM pg_publication_rel") == "3"

    def test_a_failure_after_they_were_lost(self, backup, target):
        restore = backup(PUBLISHED)
        restore.to(target)
        restore.server.psql(target, """
            CREATE PUBLICATION one FOR TABLE s.a;
            CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql
                AS $$BEGIN IF current_query() ~ 'PRIMARY' THEN RAISE 'no'; END IF; END$$;
            CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
                EXECUTE FUNCTION refuse()""")
        done = restore.to(target, "--overwrite", "--yes", "--jobs", "2", "--table", "s.a", exit=1)
        assert "half restored" in done.stderr
        assert "ALTER PUBLICATION one ADD TABLE ONLY s.a" in done.stderr


KEYS = """
CREATE SCHEMA sales;
CREATE TABLE customers (id int PRIMARY KEY, name text, mentor int REFERENCES customers);
CREATE TABLE places (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE places_1 PARTITION OF places DEFAULT;
CREATE TABLE sales.orders (id int, customer int REFERENCES customers ON DELETE CASCADE,
                           place int, part int, FOREIGN KEY (place, part) REFERENCES places);
INSERT INTO customers SELECT i, 'customer ' || i, 1 FROM generate_series(1, 9) i;
INSERT INTO places SELECT i, 1 FROM generate_series(1, 9) i;
INSERT INTO sales.orders SELECT i, i % 9 + 1, i % 9 + 1, 1 FROM generate_series(1, 99) i;
"""


class TestReferredTo:
    """A table whose rows others refer to, which are not restored."""

    def refused(self, restore, target, *args, **kwargs):
        before = restore.dump(target)
        done = restore.to(target, "--overwrite", "--yes", *args, exit=1, **kwargs)
        pgcompare.same(restore.dump(target), before, "the target after a refused restore")
        return done.stderr

    @JOBS
    def test_is_not_dropped(self, backup, target, jobs):
        restore = backup(KEYS)
        restore.to(target)
        said = self.refused(restore, target, "--table", "public.customers", "--jobs", jobs)
        assert "sales.orders (orders_customer_fkey) to public.customers" in said
        assert "--table sales.orders" in said and "--data-only" in said
        said = self.refused(restore, target, "--schema", "public", "--jobs", jobs)
        assert "--schema sales" in said
        restore.to(target, "--overwrite", "--yes", "--jobs", jobs, "--table", "public.customers",
                   "--table", "sales.orders")
        restore.same(target)

    def test_by_a_table_that_the_backup_lacks(self, backup, target):
        restore = backup(KEYS)
        restore.to(target)
        restore.server.psql(target, "CREATE TABLE mine (id int REFERENCES customers)")
        said = self.refused(restore, target)
        assert "public.mine (mine_id_fkey)" in said and "--table public.mine" not in said

    @pytest.mark.parametrize("table", ["customers", "places", "places_1"])
    @JOBS
    def test_rows_replaced(self, backup, target, table, jobs):
        restore = backup(KEYS)
        restore.to(target)
        restore.server.psql(target, "UPDATE customers SET name = 'mine'; "
                            "UPDATE sales.orders SET customer = 1, place = 1; "
                            "DELETE FROM customers WHERE id = 9; DELETE FROM places WHERE id = 9; "
                            "INSERT INTO customers VALUES (10); INSERT INTO places VALUES (10, 1)")
        done = restore.to(target, "--data-only", "--overwrite", "--yes", "--table", table, "--jobs",
                          jobs)
        assert "sales.orders" in done.stderr
        pgcompare.same(restore.dump(target, "--table", f"{table}*"),
                       restore.dump(restore.source, "--table", f"{table}*"), "the table restored")
        assert restore.count(target, "sales.orders WHERE customer = 1 AND place = 1") == 99

    @pytest.mark.parametrize("change, said", [
        ("INSERT INTO customers VALUES (10); UPDATE sales.orders SET customer = 10 WHERE id > 97",
         "2 rows of sales.orders refer to rows of public.customers"),
        ("INSERT INTO places VALUES (10, 1); UPDATE sales.orders SET place = 10 WHERE id = 99",
         "1 row of sales.orders refers to rows of public.places")])
    @JOBS
    def test_rows_that_would_refer_to_nothing(self, backup, target, change, said, jobs):
        restore = backup(KEYS)
        restore.to(target)
        restore.server.psql(target, change)
        assert said in self.refused(restore, target, "--data-only", "--schema", "public", "--jobs",
                                    jobs)

    def test_rows_that_refer_to_nothing_already(self, backup, target):
        restore = backup(KEYS)
        restore.to(target)
        restore.server.psql(target, "SET session_replication_role = replica; "
                            "UPDATE sales.orders SET customer = 77 WHERE id = 1; "
                            "DELETE FROM customers")
        restore.to(target, "--data-only", "--overwrite", "--yes", "--table", "customers")
        assert restore.count(target, "customers") == 9

    def test_keys_that_stay_on(self, backup, target):
        """Deleting would cascade."""
        restore = backup(KEYS)
        restore.to(target)
        with role(restore.server, "plain"):
            restore.server.psql(target, "GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
            said = self.refused(restore, target, "--data-only", "--table", "customers",
                                user="plain")
        assert "sales.orders" in said and "session_replication_role" in said
