/* <name>.db: the source's pages, and the source left as it was. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../../support.h"
#include "fixture.h"
#include "source/sqlite/db.h"
#include "source/sqlite/pages.h"

#define FILL                                                                                       \
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c TEXT);"                                            \
    "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<2000)"                   \
    " INSERT INTO t SELECT i, randomblob(100+i%300), 'row '||i FROM s;"                            \
    "CREATE INDEX ti ON t(c); DELETE FROM t WHERE a%7=0;"                                          \
    "INSERT INTO t VALUES(NULL, zeroblob(200000), 'large');"

/* The stored copy `x.db` against the file `name`: equal but for the two version bytes. */
static void check_copy(Fixture *f, const char *name)
{
    Buf original, copy;
    fixture_slurp(f, name, &original);
    fixture_read(f, "x.db", &copy);
    assert_int_equal(copy.len, original.len);
    assert_int_equal(copy.data[18], 1);
    assert_int_equal(copy.data[19], 1);
    original.data[18] = original.data[19] = 1;
    assert_memory_equal(copy.data, original.data, copy.len);
    buf_release(&original);
    buf_release(&copy);
}

static void test_every_kind_of_file(void **state)
{
    Fixture *f = *state;
    static const unsigned page_sizes[] = {512, 4096, 65536};
    static const char *const encodings[] = {"UTF-8", "UTF-16le"};
    static const char *const modes[] = {"WAL", "DELETE"};
    for (unsigned i = 0; i < 24; i++) {
        char sql[1024];
        snprintf(sql, sizeof(sql),
                 "PRAGMA page_size=%u; PRAGMA encoding='%s'; PRAGMA auto_vacuum=%u;"
                 "PRAGMA journal_mode=%s; %s",
                 page_sizes[i % 3], encodings[i / 12], i / 3 % 2, modes[i / 6 % 2], FILL);
        unlink(fixture_path(f, "x.db"));
        fixture_sql(f, "x.db", sql);
        Buf before, after;
        fixture_slurp(f, "x.db", &before);
        assert_int_equal(fixture_dump(f, "x.db"), 0);
        fixture_slurp(f, "x.db", &after);
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.data, after.data, before.len);
        buf_release(&before);
        buf_release(&after);
        check_copy(f, "x.db");
        assert_int_equal(access(fixture_path(f, "x.db-wal"), F_OK), -1);
        assert_int_equal(access(fixture_path(f, "x.db-shm"), F_OK), -1);
    }
}

static void test_same_bytes_twice(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db", "PRAGMA journal_mode=WAL; " FILL);
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    Dir first = f->result.root;
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    assert_int_equal(id_compare(&first.id, &f->result.root.id), 0);
}

/* Committed pages that are only in the WAL belong to the copy; the WAL stays as it is. */
static void test_pages_in_the_wal(void **state)
{
    Fixture *f = *state;
    sqlite3 *app;
    assert_int_equal(sqlite3_open(fixture_path(f, "x.db"), &app), SQLITE_OK);
    sqlite3_exec(app, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;" FILL, NULL, NULL,
                 NULL);
    Buf before, after, wal_before, wal_after;
    fixture_slurp(f, "x.db", &before);
    fixture_slurp(f, "x.db-wal", &wal_before);
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    fixture_slurp(f, "x.db", &after);
    fixture_slurp(f, "x.db-wal", &wal_after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    assert_int_equal(wal_before.len, wal_after.len);
    assert_memory_equal(wal_before.data, wal_after.data, wal_before.len);
    buf_release(&before);
    buf_release(&after);
    buf_release(&wal_before);
    buf_release(&wal_after);

    assert_int_equal(sqlite3_wal_checkpoint_v2(app, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
                     SQLITE_OK);
    check_copy(f, "x.db");
    sqlite3_close(app);
}

/* What is committed after the transaction began is not in the copy, and the writer is not held up
 * (its busy timeout is 0). */
static void test_writer_during_the_copy(void **state)
{
    Fixture *f = *state;
    sqlite3 *app;
    SqliteDb *db;
    SqliteInfo info;
    Stream *stream;
    Rope rope;
    ObjectId one, other;
    assert_int_equal(sqlite3_open(fixture_path(f, "x.db"), &app), SQLITE_OK);
    assert_int_equal(sqlite3_exec(app, "PRAGMA journal_mode=WAL;" FILL, NULL, NULL, NULL),
                     SQLITE_OK);
    CutRule rule = {.kind = CUT_PAGES, .page_size = 4096};
    assert_int_equal(stream_new(f->writer, rule, &stream, NULL), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(sqlite_db_open(fixture_path(f, "x.db"), &f->options, &db, NULL), 0);
        assert_int_equal(sqlite_db_begin(db, &info, NULL), 0);
        assert_true(info.has_wal);
        if (round == 0) {
            assert_int_equal(sqlite_pages_copy(db, &info, stream, "x", NULL), 0);
            assert_int_equal(stream_finish(stream, &rope, &one, NULL), 0);
            rope_release(&rope);
            sqlite_db_close(db);
            continue;
        }
        assert_int_equal(sqlite3_exec(app,
                                      "UPDATE t SET c='changed'; CREATE TABLE u(x);"
                                      "PRAGMA wal_checkpoint; DELETE FROM t WHERE a>100;"
                                      "PRAGMA user_version=5",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
        assert_int_equal(sqlite_pages_copy(db, &info, stream, "x", NULL), 0);
        assert_int_equal(stream_finish(stream, &rope, &other, NULL), 0);
        rope_release(&rope);
        sqlite_db_close(db);
    }
    assert_int_equal(id_compare(&one, &other), 0);
    stream_free(stream);
    sqlite3_close(app);
}

/* Should the application go away while we read, ours is the last connection: still no checkpoint.
 */
static void test_never_checkpoints(void **state)
{
    Fixture *f = *state;
    sqlite3 *app;
    SqliteDb *db;
    SqliteInfo info;
    fixture_sql(f, "x.db", "PRAGMA journal_mode=WAL; CREATE TABLE t(a)");
    assert_int_equal(sqlite_db_open(fixture_path(f, "x.db"), &f->options, &db, NULL), 0);
    assert_int_equal(sqlite_db_begin(db, &info, NULL), 0);
    Buf before, after;
    fixture_slurp(f, "x.db", &before);
    assert_int_equal(sqlite3_open(fixture_path(f, "x.db"), &app), SQLITE_OK);
    assert_int_equal(sqlite3_exec(app, "INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(app), SQLITE_OK);
    sqlite_db_close(db);
    fixture_slurp(f, "x.db", &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    buf_release(&before);
    buf_release(&after);
    char *rows = fixture_query(f, "x.db", "SELECT count(*) FROM t");
    assert_string_equal(rows, "1\n");
    free(rows);
}

static void test_empty_file(void **state)
{
    Fixture *f = *state;
    FILE *file = fopen(fixture_path(f, "x.db"), "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    Buf copy;
    fixture_read(f, "x.db", &copy);
    assert_int_equal(copy.len, 0);
    buf_release(&copy);
    assert_int_equal(f->result.table_count, 0);
    fixture_restore(f, "new.db");
}

static void test_cancel(void **state)
{
    Fixture *f = *state;
    atomic_bool cancel = true;
    f->options.cancel = &cancel;
    fixture_sql(f, "x.db", FILL);
    assert_int_equal(fixture_dump(f, "x.db"), -EINTR);
    f->options.cancel = NULL;
}

static void test_manifest_entry(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db",
                "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA user_version=-3;"
                "PRAGMA application_id=77; CREATE TABLE t(a); INSERT INTO t VALUES(1),(2)");
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    const json_t *d = f->result.database;
    assert_string_equal(json_string_value(json_object_get(d, "type")), "sqlite");
    assert_string_equal(json_string_value(json_object_get(d, "name")), "x");
    assert_string_equal(json_string_value(json_object_get(d, "journal_mode")), "wal");
    assert_true(json_is_true(json_object_get(d, "has_wal")));
    assert_int_equal(json_integer_value(json_object_get(d, "page_size")), 8192);
    assert_int_equal(json_integer_value(json_object_get(d, "page_count")), 2);
    assert_int_equal(json_integer_value(json_object_get(d, "user_version")), -3);
    assert_int_equal(json_integer_value(json_object_get(d, "application_id")), 77);
    assert_int_equal(json_integer_value(json_object_get(d, "record_count")), 2);
    assert_int_equal(f->result.record_count, 2);
    assert_int_equal(f->result.size_bytes, 16384);
    assert_int_equal(f->result.file_count, 4);
    assert_int_equal(f->notes.len, 0);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_every_kind_of_file),
        TEST(test_same_bytes_twice),
        TEST(test_pages_in_the_wal),
        TEST(test_writer_during_the_copy),
        TEST(test_never_checkpoints),
        TEST(test_empty_file),
        TEST(test_cancel),
        TEST(test_manifest_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
