/* Every value reads back as it was. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../../support.h"
#include "source/sqlite/literal.h"

static sqlite3 *open_memory(const char *encoding)
{
    sqlite3 *db;
    char sql[64];
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    snprintf(sql, sizeof(sql), "PRAGMA encoding='%s'", encoding);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

/* Evaluate what `o` holds; empties it. */
static sqlite3_stmt *evaluate(sqlite3 *db, SqlOut *o)
{
    Buf sql = BUF_INIT;
    sqlite3_stmt *stmt;
    assert_int_equal(buf_add_str(&sql, "SELECT "), 0);
    assert_int_equal(buf_add(&sql, o->buf.data, o->buf.len), 0);
    assert_null(memchr(sql.data, '\n', sql.len));
    assert_null(memchr(sql.data, '\r', sql.len));
    assert_null(memchr(sql.data, '\0', sql.len));
    assert_non_null(buf_cstr(&sql));
    if (sqlite3_prepare_v2(db, (const char *)sql.data, (int)sql.len + 1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %.200s", sqlite3_errmsg(db), (const char *)sql.data);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    buf_release(&sql);
    buf_clear(&o->buf);
    return stmt;
}

static void check_real(sqlite3 *db, double v)
{
    SqlOut o = {0};
    assert_int_equal(sql_out_real(&o, v, NULL), 0);
    sqlite3_stmt *stmt = evaluate(db, &o);
    assert_int_equal(sqlite3_column_type(stmt, 0), SQLITE_FLOAT);
    double got = sqlite3_column_double(stmt, 0);
    assert_memory_equal(&got, &v, sizeof(v));
    sqlite3_finalize(stmt);
    buf_release(&o.buf);
}

static void test_reals(void **state)
{
    static const double values[] = {0.0,
                                    -0.0,
                                    1.0,
                                    -1.0,
                                    0.1,
                                    12.99,
                                    1e15,
                                    1e16,
                                    9007199254740993.0,
                                    1e300,
                                    -2.5e-300,
                                    123456789.123456789,
                                    HUGE_VAL,
                                    -HUGE_VAL,
                                    DBL_MAX,
                                    DBL_MIN,
                                    -DBL_TRUE_MIN,
                                    1e-285,
                                    0x1.fffffffffffffp-1023};
    /* SQLite reads digits in long double, which valgrind makes a double. */
    volatile long double next = 1.0L;
    next += LDBL_EPSILON;
    if (next == 1.0L)
        skip();
    sqlite3 *db = open_memory("UTF-8");
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        check_real(db, values[i]);
    uint64_t seed = 7;
    for (int i = 0; i < 20000; i++)
        check_real(db, (double)(int64_t)test_random(&seed) / 1e7);
    /* Of any size; the smallest ones, where the digits alone would not do. */
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = test_random(&seed);
        if (i % 2)
            bits = (bits & ~(UINT64_C(0x7ff) << 52)) | (uint64_t)(i / 2 % 100) << 52;
        double v;
        memcpy(&v, &bits, sizeof(v));
        if (isfinite(v))
            check_real(db, v);
    }
    sqlite3_close(db);
}

static void test_integers(void **state)
{
    static const int64_t values[] = {0, 1, -1, 42, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    sqlite3 *db = open_memory("UTF-8");
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        SqlOut o = {0};
        assert_int_equal(sql_out_integer(&o, values[i], NULL), 0);
        sqlite3_stmt *stmt = evaluate(db, &o);
        assert_int_equal(sqlite3_column_type(stmt, 0), SQLITE_INTEGER);
        assert_true(sqlite3_column_int64(stmt, 0) == values[i]);
        sqlite3_finalize(stmt);
        buf_release(&o.buf);
    }
    sqlite3_close(db);
}

static void check_text(sqlite3 *db, TextEncoding encoding, const void *text, size_t len)
{
    SqlOut o = {.encoding = encoding};
    assert_int_equal(sql_out_text(&o, text, len, NULL), 0);
    sqlite3_stmt *stmt = evaluate(db, &o);
    assert_int_equal(sqlite3_column_type(stmt, 0), SQLITE_TEXT);
    const void *got = sqlite3_column_text(stmt, 0);
    assert_int_equal(sqlite3_column_bytes(stmt, 0), len);
    assert_memory_equal(got, text, len);
    sqlite3_finalize(stmt);
    buf_release(&o.buf);
}

#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

static void test_texts(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } values[] = {
        TEXT(""),
        TEXT("plain"),
        TEXT("it's"),
        TEXT("'"),
        TEXT("''"),
        TEXT("\n"),
        TEXT("\r\n"),
        TEXT("a\nb\nc"),
        TEXT("a\rb"),
        TEXT("\\n\n"),
        TEXT("\\n\\r\r\n\\n0.\\r0.\\n1."),
        TEXT("\\\n\\\r"),
        TEXT("'\n'"),
        TEXT("a\0b"),
        TEXT("\0"),
        TEXT("\0\n'\r"),
        TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
        TEXT("\xf0\x9f\x98\x80\0\xe2\x82\xac\n"),
        TEXT("-- no comment; /* neither */ \"x\""),
    };
    static const char *const names[] = {"UTF-8", "UTF-16le", "UTF-16be"};
    for (TextEncoding encoding = TEXT_UTF8; encoding <= TEXT_UTF16BE; encoding++) {
        sqlite3 *db = open_memory(names[encoding]);
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
            check_text(db, encoding, values[i].text, values[i].len);
        sqlite3_close(db);
    }
    /* Bytes that are no UTF-8 are kept where the database keeps them. */
    sqlite3 *db = open_memory("UTF-8");
    check_text(db, TEXT_UTF8, "\xff\xfe\x80x", 4);
    check_text(db, TEXT_UTF8, "\xff\n\0\x80", 4);
    sqlite3_close(db);
}

static void test_large_values(void **state)
{
    enum { LEN = 300001 };
    sqlite3 *db = open_memory("UTF-8");
    uint8_t *data = malloc(LEN);
    assert_non_null(data);
    memset(data, '\'', LEN);
    check_text(db, TEXT_UTF8, data, LEN);
    memset(data, '\n', LEN);
    check_text(db, TEXT_UTF8, data, LEN);
    memset(data, 0, LEN);
    check_text(db, TEXT_UTF8, data, LEN);

    test_fill_random(data, LEN, 3);
    SqlOut o = {0};
    assert_int_equal(sql_out_blob(&o, data, LEN, NULL), 0);
    sqlite3_stmt *stmt = evaluate(db, &o);
    assert_int_equal(sqlite3_column_type(stmt, 0), SQLITE_BLOB);
    assert_int_equal(sqlite3_column_bytes(stmt, 0), LEN);
    assert_memory_equal(sqlite3_column_blob(stmt, 0), data, LEN);
    sqlite3_finalize(stmt);
    buf_release(&o.buf);
    free(data);
    sqlite3_close(db);
}

static void test_quoting(void **state)
{
    Buf b = BUF_INIT;
    assert_int_equal(sql_quote_name(&b, "a\"b'c"), 0);
    assert_int_equal(sql_quote_string(&b, "a\"b'c"), 0);
    assert_string_equal(buf_cstr(&b), "\"a\"\"b'c\"'a\"b''c'");
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reals),   cmocka_unit_test(test_integers),
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_quoting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
