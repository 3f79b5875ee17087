/* restore.sql and main/tables/: what is loaded from them equals the source. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../../support.h"
#include "fixture.h"

/* Dump x.db, load restore.sql into new.db and compare the two on `queries` (NULL-terminated). */
static void check_round_trip(Fixture *f, const char *const *queries)
{
    if (fixture_dump(f, "x.db") < 0)
        fail_msg("%s", f->error.message);
    unlink(fixture_path(f, "new.db"));
    fixture_restore(f, "new.db");
    for (; *queries; queries++) {
        char *expected = fixture_query(f, "x.db", *queries);
        char *got = fixture_query(f, "new.db", *queries);
        assert_string_equal(got, expected);
        free(expected);
        free(got);
    }
}

static void assert_file(Fixture *f, const char *path, const char *expected)
{
    Buf b;
    fixture_read(f, path, &b);
    assert_string_equal(buf_cstr(&b), expected);
    buf_release(&b);
}

static const char SCHEMA[] =
    "SELECT type||name||tbl_name||sql FROM sqlite_master WHERE sql NOT NULL ORDER BY type, name";

static void test_plain(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db",
                "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);"
                "CREATE INDEX ti ON t(b);"
                "CREATE TRIGGER tt AFTER INSERT ON t BEGIN UPDATE t SET b='no' WHERE a=new.a; END;"
                "CREATE VIEW v AS SELECT 1 AS \";\" -- a comment\n;"
                "INSERT INTO t VALUES(2,'it''s',0.5),(1,NULL,3); UPDATE t SET b='x' WHERE a=2;"
                "CREATE TABLE e(a);");
    static const char *const queries[] = {SCHEMA, "SELECT a||quote(b)||quote(c) FROM t", NULL};
    check_round_trip(f, queries);
    assert_file(
        f, "restore.sql",
        "PRAGMA foreign_keys=OFF;\n"
        "BEGIN TRANSACTION;\n"
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);\n"
        "INSERT INTO \"t\" VALUES(1,'no',3.0);\n"
        "INSERT INTO \"t\" VALUES(2,'x',0.5);\n"
        "CREATE TABLE e(a);\n"
        "CREATE INDEX ti ON t(b);\n"
        "CREATE TRIGGER tt AFTER INSERT ON t BEGIN UPDATE t SET b='no' WHERE a=new.a; END;\n"
        "CREATE VIEW v AS SELECT 1 AS \";\" -- a comment\n"
        ";\n"
        "COMMIT;\n");
    assert_file(f, "main/tables/t/schema.sql",
                "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);\n"
                "CREATE INDEX ti ON t(b);\n"
                "CREATE TRIGGER tt AFTER INSERT ON t BEGIN UPDATE t SET b='no' WHERE a=new.a; "
                "END;\n");
    assert_file(f, "main/tables/t/data.sql",
                "PRAGMA foreign_keys=OFF;\n"
                "BEGIN TRANSACTION;\n"
                "INSERT INTO \"t\" VALUES(1,'no',3.0);\n"
                "INSERT INTO \"t\" VALUES(2,'x',0.5);\n"
                "COMMIT;\n");
    assert_file(f, "main/tables/e/data.sql",
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCOMMIT;\n");
}

static void test_values(void **state)
{
    Fixture *f = *state;
    static const char *const queries[] = {
        "SELECT typeof(a)||hex(a)||quote(a) FROM t ORDER BY rowid", "PRAGMA encoding", NULL};
    static const char *const encodings[] = {"UTF-8", "UTF-16le", "UTF-16be"};
    for (size_t i = 0; i < 3; i++) {
        char sql[1024];
        snprintf(sql, sizeof(sql),
                 "PRAGMA encoding='%s'; CREATE TABLE t(a);"
                 "INSERT INTO t VALUES(NULL),(1),(-9223372036854775808),(0.1),(1e999),(-1e999),"
                 "(''),(x''),('a'||char(0)||'b'),('é€😀'||char(0)),('l1'||char(10)||'l2'),"
                 "(char(13,10)||'\\n\\r'),(x'00ff'),('it''s \"quoted\"'),(zeroblob(70000));",
                 encodings[i]);
        unlink(fixture_path(f, "x.db"));
        fixture_sql(f, "x.db", sql);
        check_round_trip(f, queries);
        assert_int_equal(f->result.record_count, 15);
    }
}

static void test_generated_and_without_rowid(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db",
                "CREATE TABLE g(a, v AS (a*2), s AS (a*3) STORED, b);"
                "INSERT INTO g(a,b) VALUES(1,'x'),(2,'y');"
                "CREATE TABLE w(a TEXT, b INT, c, PRIMARY KEY(a COLLATE NOCASE DESC, b))"
                " WITHOUT ROWID;"
                "CREATE INDEX wi ON w(c, a, b);"
                "INSERT INTO w VALUES('a',1,3),('B',1,2),('c',1,1);"
                "CREATE TABLE st(a INTEGER, b ANY) STRICT; INSERT INTO st VALUES(1,'1'),(2,2);");
    static const char *const queries[] = {SCHEMA, "SELECT a||v||s||b FROM g",
                                          "SELECT a||b||c FROM w ORDER BY a",
                                          "SELECT a||typeof(b) FROM st", NULL};
    check_round_trip(f, queries);
    /* In the order of the key, whatever index would hold all columns. */
    assert_file(f, "main/tables/w/data.sql",
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
                "INSERT INTO \"w\" VALUES('c',1,1);\n"
                "INSERT INTO \"w\" VALUES('B',1,2);\n"
                "INSERT INTO \"w\" VALUES('a',1,3);\n"
                "COMMIT;\n");
    assert_file(f, "main/tables/g/data.sql",
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
                "INSERT INTO \"g\" VALUES(1,'x');\n"
                "INSERT INTO \"g\" VALUES(2,'y');\n"
                "COMMIT;\n");
}

static void test_sequence_statistics_and_versions(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db",
                "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b); CREATE INDEX ti ON t(b);"
                "INSERT INTO t(b) VALUES(1),(2),(3); DELETE FROM t WHERE a=3; ANALYZE;"
                "PRAGMA user_version=12; PRAGMA application_id=-5;");
    static const char *const queries[] = {SCHEMA,
                                          "SELECT name||seq FROM sqlite_sequence",
                                          "SELECT tbl||idx||stat FROM sqlite_stat1",
                                          "PRAGMA user_version",
                                          "PRAGMA application_id",
                                          NULL};
    check_round_trip(f, queries);
    assert_int_equal(f->result.table_count, 1);
    assert_int_equal(f->result.record_count, 2);
}

/* sqlite_sequence stays when the last table that uses it goes, but nothing makes it anew. */
static void test_sequence_of_nobody(void **state)
{
    Fixture *f = *state;
    fixture_sql(
        f, "x.db",
        "CREATE TABLE gone(a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO gone VALUES(1);"
        "DROP TABLE gone; CREATE TABLE t(a INTEGER PRIMARY KEY, b /* AUTOINCREMENT */);"
        "INSERT INTO t(a) VALUES(5); CREATE TABLE no_key(a);"
        "INSERT INTO sqlite_sequence VALUES('t',7),('no_key',8);");
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    fixture_restore(f, "new.db");
    assert_file(f, "main/tables/t/data.sql",
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
                "INSERT INTO \"t\" VALUES(5,NULL);\nCOMMIT;\n");

    /* One uses it, whatever its columns are called; the other's data.sql must do without. */
    fixture_sql(f, "y.db",
                "CREATE TABLE s(\"rowid\", \"oid\", \"_rowid_\","
                " \"the key\" INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO s VALUES(1,2,3,4);"
                "CREATE TABLE t(a); INSERT INTO sqlite_sequence VALUES('t',7);");
    assert_int_equal(fixture_dump(f, "y.db"), 0);
    fixture_restore(f, "new-y.db");
    char *counters = fixture_query(f, "new-y.db", "SELECT name||seq FROM sqlite_sequence");
    assert_string_equal(counters, "s4\nt7\n");
    free(counters);
    assert_file(f, "main/tables/t/data.sql",
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCOMMIT;\n");
}

static void test_virtual_tables(void **state)
{
    Fixture *f = *state;
    if (!sqlite3_compileoption_used("ENABLE_FTS5"))
        skip();
    fixture_sql(f, "x.db",
                "CREATE VIRTUAL TABLE ft USING fts5(x, tokenize='porter');"
                "INSERT INTO ft VALUES('hello worlds'),('it''s');"
                "CREATE TABLE t(a); INSERT INTO t VALUES(1);");
    static const char *const queries[] = {SCHEMA, "SELECT x FROM ft WHERE ft MATCH 'world'",
                                          "SELECT a FROM t", "PRAGMA integrity_check", NULL};
    check_round_trip(f, queries);
    assert_file(f, "main/tables/ft/schema.sql",
                "CREATE VIRTUAL TABLE ft USING fts5(x, tokenize='porter');\n");
}

static void test_names(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db",
                "CREATE TABLE \"a/b\" (\"select\", \"quo\"\"te\", [sp ace]);"
                "INSERT INTO \"a/b\" VALUES(1,2,3);"
                "CREATE TABLE \"new\nline\" (\"li\nne\"); INSERT INTO \"new\nline\" VALUES('x');"
                "CREATE TABLE \".dot\" (a); CREATE TABLE \"it's\" (a); CREATE TABLE \"%\" (a);"
                "CREATE TABLE \"\" (a); CREATE TABLE \"größe\" (a);"
                "CREATE TABLE \"table\" (\"rowid\", \"order\"); INSERT INTO \"table\" VALUES(5,6);"
                "CREATE INDEX \"i\"\"x\" ON \"table\"(\"order\");");
    static const char *const queries[] = {SCHEMA, "SELECT \"quo\"\"te\" FROM \"a/b\"",
                                          "SELECT rowid||\"order\" FROM \"table\"", NULL};
    check_round_trip(f, queries);
    static const char *const dirs[] = {"a%2Fb", "new%0Aline", "%2Edot", "it's",
                                       "%25",   "%",          "größe",  "table"};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        char path[128];
        Buf b;
        snprintf(path, sizeof(path), "main/tables/%s/schema.sql", dirs[i]);
        fixture_read(f, path, &b);
        assert_true(b.len > 0);
        buf_release(&b);
    }
}

/* A collation that only the application knows does not keep the rows from being read. */
static int compare_length(void *ctx, int n1, const void *p1, int n2, const void *p2)
{
    return n1 - n2;
}

static void test_unknown_collation(void **state)
{
    Fixture *f = *state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fixture_path(f, "x.db"), &db), SQLITE_OK);
    sqlite3_create_collation(db, "len", SQLITE_UTF8, NULL, compare_length);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE t(a TEXT COLLATE len PRIMARY KEY) WITHOUT ROWID;"
                                  "INSERT INTO t VALUES('ccc'),('bb'),('a')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    assert_file(f, "main/tables/t/data.sql",
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
                "INSERT INTO \"t\" VALUES('a');\n"
                "INSERT INTO \"t\" VALUES('bb');\n"
                "INSERT INTO \"t\" VALUES('ccc');\n"
                "COMMIT;\n");
}

static void test_no_text(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db", "CREATE TABLE t(a); INSERT INTO t VALUES(1),(2);");
    f->options.no_text = true;
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    assert_int_equal(f->result.record_count, 2);
    assert_int_equal(f->result.table_count, 1);
    assert_int_equal(f->result.file_count, 1);
    assert_int_equal(f->result.root.entries, 1);
}

static void test_many_rows_and_tables(void **state)
{
    Fixture *f = *state;
    Buf sql = BUF_INIT;
    for (int i = 0; i < 300; i++)
        assert_int_equal(
            buf_addf(&sql, "CREATE TABLE t%d(a,b); INSERT INTO t%d VALUES(%d,'x');", i, i, i), 0);
    assert_int_equal(
        buf_add_str(&sql, "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE "
                          "i<50000) INSERT INTO t7 SELECT i, hex(randomblob(20)) FROM s;"),
        0);
    assert_non_null(buf_cstr(&sql));
    fixture_sql(f, "x.db", (const char *)sql.data);
    buf_release(&sql);
    static const char *const queries[] = {SCHEMA, "SELECT a||b FROM t7", "SELECT a FROM t299",
                                          NULL};
    check_round_trip(f, queries);
    assert_int_equal(f->result.table_count, 300);
    assert_int_equal(f->result.record_count, 50300);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_plain),
        TEST(test_values),
        TEST(test_generated_and_without_rowid),
        TEST(test_sequence_statistics_and_versions),
        TEST(test_sequence_of_nobody),
        TEST(test_virtual_tables),
        TEST(test_names),
        TEST(test_unknown_collation),
        TEST(test_no_text),
        TEST(test_many_rows_and_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
