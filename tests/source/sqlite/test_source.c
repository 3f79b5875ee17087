/* Sources that can't be read: which error, and a hint. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../support.h"
#include "fixture.h"

static void write_file(Fixture *f, const char *name, const void *data, size_t len)
{
    FILE *file = fopen(fixture_path(f, name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* Dumping `name` fails with `errnum`, a message that holds `text`, and a hint. */
static void assert_refused(Fixture *f, const char *name, int errnum, const char *text)
{
    assert_int_equal(fixture_dump(f, name), -errnum);
    assert_non_null(strstr(f->error.message, text));
    assert_non_null(strstr(f->error.message, name));
    assert_null(strchr(f->error.message, '\n'));
    assert_non_null(f->error.hint);
}

static void test_not_a_database(void **state)
{
    Fixture *f = *state;
    uint8_t noise[8192];
    test_fill_random(noise, sizeof(noise), 1);
    write_file(f, "noise.db", noise, sizeof(noise));
    assert_refused(f, "noise.db", EINVAL, "not a SQLite database, or it is encrypted");
    write_file(f, "text.db", "hello\n", 6);
    assert_refused(f, "text.db", EINVAL, "not a SQLite database, or it is encrypted");
    assert_int_equal(mkdir(fixture_path(f, "dir.db"), 0755), 0);
    assert_refused(f, "dir.db", EISDIR, "is a directory");
    assert_int_equal(mkfifo(fixture_path(f, "fifo.db"), 0644), 0);
    assert_refused(f, "fifo.db", EINVAL, "not a regular file");
    assert_refused(f, "absent.db", ENOENT, "No such file");
}

static void test_damaged(void **state)
{
    Fixture *f = *state;
    uint8_t junk[8192];
    memset(junk, 0xff, sizeof(junk));
    fixture_sql(f, "x.db", "CREATE TABLE t(a); INSERT INTO t VALUES(zeroblob(9000)),(1);");
    FILE *file = fopen(fixture_path(f, "x.db"), "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
    assert_int_equal(fwrite(junk, 1, sizeof(junk), file), sizeof(junk));
    assert_int_equal(fclose(file), 0);
    assert_refused(f, "x.db", EBADMSG, "damaged");
    assert_non_null(strstr(f->error.hint, "integrity_check"));
    /* Its pages can still be saved. */
    f->options.no_text = true;
    assert_int_equal(fixture_dump(f, "x.db"), 0);

    fixture_sql(f, "cut.db", "CREATE TABLE t(a); INSERT INTO t VALUES(zeroblob(90000));");
    assert_int_equal(truncate(fixture_path(f, "cut.db"), 20000), 0);
    assert_refused(f, "cut.db", EBADMSG, "damaged");
}

static void *cancel_soon(void *cancel)
{
    usleep(200000);
    atomic_store((atomic_bool *)cancel, true);
    return NULL;
}

/* Whoever interrupts need not wait for the lock. */
static void test_locked_and_cancelled(void **state)
{
    Fixture *f = *state;
    atomic_bool cancel = false;
    pthread_t thread;
    sqlite3 *app;
    fixture_sql(f, "x.db", "CREATE TABLE t(a)");
    assert_int_equal(sqlite3_open(fixture_path(f, "x.db"), &app), SQLITE_OK);
    assert_int_equal(sqlite3_exec(app, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    f->options.cancel = &cancel;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    assert_int_equal(fixture_dump(f, "x.db"), -EINTR);
    assert_int_equal(pthread_join(thread, NULL), 0);
    sqlite3_close(app);
    f->options.cancel = NULL;
    assert_int_equal(fixture_dump(f, "x.db"), 0);
}

static void test_rollback_mode_says_that_writers_wait(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "x.db", "CREATE TABLE t(a)");
    assert_int_equal(fixture_dump(f, "x.db"), 0);
    assert_non_null(strstr(buf_cstr(&f->notes), "writers wait"));
}

static void test_odd_paths(void **state)
{
    Fixture *f = *state;
    static const char *const names[] = {"sp ace.db",   "a?b&c=d#e.db", "file:x.db", "100%41.db",
                                        "q'uo\"te.db", "new\nline.db", ".db"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fixture_sql(f, names[i], "PRAGMA journal_mode=WAL; CREATE TABLE t(a)");
        if (fixture_dump(f, names[i]) < 0)
            fail_msg("%s: %s", names[i], f->error.message);
        const char *path = json_string_value(json_object_get(f->result.database, "connection"));
        assert_non_null(strstr(path, names[i]));
    }
}

/* What SQLite can't open for its length alone is said to be too long, not forbidden. */
static void test_long_path(void **state)
{
    Fixture *f = *state;
    Buf path = BUF_INIT;
    assert_int_equal(buf_add_str(&path, f->dir), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(buf_addf(&path, "/%0200d", i), 0);
        assert_int_equal(mkdir(buf_cstr(&path), 0755), 0);
    }
    assert_int_equal(buf_add_str(&path, "/x.db"), 0);
    FILE *file = fopen(buf_cstr(&path), "w");
    assert_non_null(file);
    fclose(file);
    Source *s;
    assert_int_equal(sqlite_source_new(buf_cstr(&path), &f->options, &s, NULL), 0);
    assert_int_equal(s->ops->open(s, &f->error), -ENAMETOOLONG);
    assert_non_null(f->error.hint);
    s->ops->free(s);
    buf_release(&path);
}

/* A file name need not be UTF-8; JSON has to be. */
static void test_name_that_is_no_utf8(void **state)
{
    Fixture *f = *state;
    fixture_sql(f, "b\xff.db", "CREATE TABLE t(a)");
    assert_int_equal(fixture_dump(f, "b\xff.db"), 0);
    Buf copy;
    fixture_read(f, "b%FF.db", &copy);
    assert_int_equal(copy.len, 8192);
    buf_release(&copy);
    assert_string_equal(json_string_value(json_object_get(f->result.database, "name")), "b%FF");
}

static void test_names(void **state)
{
    static const struct {
        const char *path, *name, *masked;
    } cases[] = {
        {"/a/shop.db", "shop", "sqlite:/a/shop.db"},
        {"/a/shop.sqlite3", "shop", "sqlite:/a/shop.sqlite3"},
        {"/a/shop.SQLITE", "shop", "sqlite:/a/shop.SQLITE"},
        {"/a/.db", ".db", "sqlite:/a/.db"},
        {"/a/b.c", "b.c", "sqlite:/a/b.c"},
    };
    SourceOptions options = {0};
    Source *s;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(sqlite_source_new(cases[i].path, &options, &s, NULL), 0);
        assert_string_equal(s->name, cases[i].name);
        assert_string_equal(s->masked, cases[i].masked);
        s->ops->free(s);
    }
    Error e = ERROR_INIT;
    assert_int_equal(sqlite_source_new("", &options, &s, &e), -EINVAL);
    assert_int_equal(e.exit_code, BK_EXIT_USAGE);
    error_release(&e);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_not_a_database),
        TEST(test_damaged),
        TEST(test_locked_and_cancelled),
        TEST(test_rollback_mode_says_that_writers_wait),
        TEST(test_odd_paths),
        TEST(test_long_path),
        TEST(test_name_that_is_no_utf8),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
