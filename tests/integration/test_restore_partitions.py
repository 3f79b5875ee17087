"""bakfs-restore --overwrite where tables are partitioned: all of them are replaced, or none."""

import re

import pytest

import pgcompare
from restoring import JOBS, backup, server, target  # noqa: F401

# Each kind of thing that a partition has from its parent, and some of its own.
PARTED = """
CREATE TABLE customers (id int PRIMARY KEY);
CREATE TABLE z (id int PRIMARY KEY);
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TABLE m (id int, at int, customer int REFERENCES customers, v text CHECK (v <> ''),
                PRIMARY KEY (id, at, v)) PARTITION BY RANGE (at);
CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (100);
CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (100) TO (200) PARTITION BY LIST (v);
CREATE TABLE m2_a PARTITION OF m2 FOR VALUES IN ('a');
CREATE TABLE m2_b PARTITION OF m2 DEFAULT;
CREATE INDEX ON m (customer);
ALTER TABLE m ADD CONSTRAINT later CHECK (id > 0) NOT VALID;
CREATE INDEX own ON m1 (v); ALTER TABLE m1 ADD FOREIGN KEY (id) REFERENCES z;
CREATE TRIGGER mark BEFORE INSERT ON m FOR EACH ROW EXECUTE FUNCTION mark();
CREATE TRIGGER quiet AFTER INSERT ON m FOR EACH ROW EXECUTE FUNCTION mark();
ALTER TABLE m1 DISABLE TRIGGER quiet;
CREATE TABLE refs (id int, at int, v text, FOREIGN KEY (id, at, v) REFERENCES m);
INSERT INTO customers SELECT generate_series(1, 9);
INSERT INTO z SELECT generate_series(1, 199);
INSERT INTO m SELECT i, i, i % 9 + 1, chr(97 + i % 3) FROM generate_series(1, 199) i;
INSERT INTO refs SELECT id, at, v FROM m;
"""

ALL = ("customers", "z", "m", "refs")


def tables(*names):
    return [arg for name in names for arg in ("--table", name)]


WHOLE = pytest.param([], id="whole")
SCHEMA = pytest.param(["--schema", "public"], id="schema")
TABLES = pytest.param(tables(*ALL), id="tables")


class TestReplaced:
    @pytest.mark.parametrize("part", [WHOLE, SCHEMA, TABLES])
    @JOBS
    def test_keys_indexes_triggers(self, backup, target, part, jobs):
        restore = backup(PARTED)
        restore.to(target)
        restore.server.psql(target, "DELETE FROM refs; DELETE FROM m WHERE at % 2 = 0; "
                            "ALTER TABLE refs ADD a int")
        restore.to(target, "--overwrite", "--yes", "--jobs", jobs, *part)
        restore.same(target)

    @JOBS
    def test_one_partition(self, backup, target, jobs):
        """It goes, and what it has from its parent with it."""
        restore = backup(re.sub("CREATE TABLE refs.*|INSERT INTO refs.*|.*NOT VALID.*", "", PARTED))
        restore.to(target)
        args = ("--yes", "--jobs", jobs, "--table")
        restore.server.psql(target, "DELETE FROM m")
        restore.to(target, "--overwrite", *args, "m1")
        assert restore.count(target, "m") == restore.count(target, "m1") == 99
        restore.to(target, "--overwrite", *args, "m2")
        restore.same(target)
        restore.server.psql(target, "DROP TABLE m1")
        restore.to(target, *args, "m1")
        restore.same(target)

    @JOBS
    def test_one_whose_rows_go_in_through_the_parent(self, backup, target, jobs):
        """As pg_dump has it where the partition depends on an enum's hash."""
        restore = backup("""
            CREATE TYPE mood AS ENUM ('sad', 'ok');
            CREATE TABLE m (mood mood, id int) PARTITION BY HASH (mood);
            CREATE TABLE m1 PARTITION OF m FOR VALUES WITH (MODULUS 1, REMAINDER 0);
            CREATE INDEX ON m (id);
            INSERT INTO m SELECT 'ok', i FROM generate_series(1, 99) i""")
        restore.to(target)
        restore.to(target, "--overwrite", "--yes", "--jobs", jobs, "--table", "m1")
        restore.same(target)

    @pytest.mark.parametrize("part", [WHOLE, SCHEMA, TABLES])
    @JOBS
    def test_rows(self, backup, target, part, jobs):
        """A partitioned table refers to one whose rows are replaced, and one to it."""
        restore = backup(PARTED)
        restore.to(target)
        restore.server.psql(target, "DELETE FROM refs; DELETE FROM m WHERE at % 2 = 0; "
                            "UPDATE m SET v = 'mine'")
        restore.to(target, "--data-only", "--overwrite", "--yes", "--jobs", jobs, *part)
        restore.same(target)


LATER = """
CREATE SCHEMA other;
CREATE TABLE other."m 3" PARTITION OF m2 FOR VALUES IN ('d');
CREATE TABLE m4 PARTITION OF m FOR VALUES FROM (200) TO (300) PARTITION BY RANGE (id);
CREATE TABLE m5 PARTITION OF m4 FOR VALUES FROM (0) TO (1000);
"""
ROWS = "INSERT INTO z VALUES (201); INSERT INTO m VALUES (102, 102, 1, 'd'), (201, 201, 1, 'x');"


class TestPartitionsThatTheBackupLacks:
    def refused(self, restore, target, names, *args):
        before = restore.dump(target)
        done = restore.to(target, "--overwrite", "--yes", *args, exit=1)
        message, hint = done.stderr.splitlines()[-2:]
        for name in names:
            assert name in message, done.stderr
        assert "DETACH PARTITION" in hint and "--create --overwrite" in hint
        pgcompare.same(restore.dump(target), before, "the target after a refused restore")

    @pytest.mark.parametrize("part", [WHOLE, SCHEMA, TABLES])
    @JOBS
    def test_stay(self, backup, target, part, jobs):
        restore = backup(PARTED)
        restore.to(target)
        restore.server.psql(target, LATER)
        self.refused(restore, target, ("public.m4", "other.m 3"), "--jobs", jobs, *part)

    @pytest.mark.parametrize("part", [WHOLE, SCHEMA, TABLES])
    @JOBS
    def test_rows_stay(self, backup, target, part, jobs):
        restore = backup(PARTED)
        restore.to(target)
        restore.server.psql(target, LATER + ROWS)
        self.refused(restore, target, ("public.m5", "other.m 3"), "--data-only", "--jobs", jobs,
                     *part)

    @JOBS
    def test_without_rows(self, backup, target, jobs):
        """Such as have none are no obstacle to rows."""
        restore = backup(PARTED)
        restore.to(target)
        restore.server.psql(target, LATER + "DELETE FROM refs; UPDATE m SET v = 'mine'")
        restore.to(target, "--data-only", "--overwrite", "--yes", "--jobs", jobs)
        restore.server.psql(target, 'ALTER TABLE m DETACH PARTITION m4; '
                            'ALTER TABLE m2 DETACH PARTITION other."m 3"; '
                            "DROP TABLE m4; DROP SCHEMA other CASCADE")
        restore.same(target)

    def test_a_table_that_was_none(self, backup, target):
        """What is partitioned is for the target to say."""
        restore = backup("CREATE TABLE m (id int)")
        restore.server.psql(target, "CREATE TABLE m (id int) PARTITION BY LIST (id); "
                            "CREATE TABLE m1 PARTITION OF m DEFAULT; INSERT INTO m VALUES (1)")
        self.refused(restore, target, ["public.m1"])
        self.refused(restore, target, ["public.m1"], "--data-only")

    def test_of_another_schema(self, backup, target):
        """The backup has it, but it is not restored."""
        restore = backup("""
            CREATE SCHEMA old;
            CREATE TABLE m (id int) PARTITION BY LIST (id);
            CREATE TABLE m1 PARTITION OF m DEFAULT;
            CREATE TABLE old.m2 PARTITION OF m FOR VALUES IN (2);
            INSERT INTO m VALUES (1), (2)""")
        restore.to(target)
        self.refused(restore, target, ["old.m2"], "--schema", "public")
        self.refused(restore, target, ["old.m2"], "--schema", "public", "--data-only")
        restore.to(target, "--overwrite", "--yes", "--schema", "public", "--schema", "old")
        restore.same(target)

    def test_detached(self, backup, target):
        restore = backup("CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id)")
        restore.to(target)
        restore.server.psql(target, "CREATE TABLE m1 PARTITION OF m DEFAULT; "
                            "INSERT INTO m VALUES (1)")
        self.refused(restore, target, ["public.m1"])
        restore.server.psql(target, "ALTER TABLE m DETACH PARTITION m1")
        restore.to(target, "--overwrite", "--yes")
        assert restore.count(target, "m1") == 1 and restore.count(target, "m") == 0
