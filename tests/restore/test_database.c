#include "restore/postgres/database.h"

#include <errno.h>

#include "../fixture.h"

static void check(const char *sql, const char *from, const char *to, const char *expected)
{
    Buf out = BUF_INIT;
    assert_int_equal(database_rewrite(sql, from, to, &out), 0);
    assert_string_equal(buf_cstr(&out), expected);
    buf_release(&out);
}

static void test_rewrite(void **state)
{
    (void)state;
    check("COMMENT ON DATABASE a IS 'x';\n", "a", "\"B\"", "COMMENT ON DATABASE \"B\" IS 'x';\n");
    check("ALTER DATABASE \"a b\" SET x TO 'y';\nALTER ROLE r IN DATABASE \"a b\" SET z TO 1;\n",
          "\"a b\"", "c",
          "ALTER DATABASE c SET x TO 'y';\nALTER ROLE r IN DATABASE c SET z TO 1;\n");
    check("", "a", "b", "");
}

static void test_rewrite_leaves_texts(void **state)
{
    (void)state;
    check("COMMENT ON DATABASE a IS 'on DATABASE a it''s DATABASE a ';", "a", "b",
          "COMMENT ON DATABASE b IS 'on DATABASE a it''s DATABASE a ';");
    check("GRANT ALL ON DATABASE a TO \"x DATABASE a \";", "a", "b",
          "GRANT ALL ON DATABASE b TO \"x DATABASE a \";");
    check("ALTER DATABASE abc SET x TO 'unfinished", "a", "b",
          "ALTER DATABASE abc SET x TO 'unfinished");
}

static void test_command(void **state)
{
    (void)state;
    static const char sql[] =
        "ALTER DATABASE a SET b TO 'x;''y', '\"';\nGRANT ALL ON DATABASE a TO "
        "\"r;\"\"'\";\n\nCOMMENT ON DATABASE a IS 'unfinished;";
    static const char *const expected[] = {
        "ALTER DATABASE a SET b TO 'x;''y', '\"';\n",
        "GRANT ALL ON DATABASE a TO \"r;\"\"'\";\n\n",
        "COMMENT ON DATABASE a IS 'unfinished;",
    };
    const char *p = sql;
    for (size_t i = 0; i < 3; i++) {
        size_t n = database_command(p);
        assert_int_equal(n, strlen(expected[i]));
        assert_memory_equal(p, expected[i], n);
        p += n;
    }
    assert_int_equal(database_command(p), 0);
}

static void options(const char *sql, int major, const char *expected)
{
    Buf out = BUF_INIT;
    Error e = ERROR_INIT;
    int r = database_options(sql, major, &out, &e);
    if (expected) {
        assert_int_equal(r, 0);
        assert_string_equal(buf_cstr(&out), expected);
    } else {
        assert_int_equal(r, -EOPNOTSUPP);
        assert_non_null(strstr(e.message, "does not know"));
        assert_non_null(e.hint);
    }
    error_release(&e);
    buf_release(&out);
}

static void test_options(void **state)
{
    (void)state;
    static const char libc[] = " WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc"
                               " LOCALE = 'a '' LOCALE_PROVIDER = libc' TABLESPACE = \"b; c\";\n";
    options(libc, 15, libc);
    options(libc, 13,
            " WITH TEMPLATE = template0 ENCODING = 'UTF8'"
            " LOCALE = 'a '' LOCALE_PROVIDER = libc' TABLESPACE = \"b; c\";\n");
    options(" WITH TEMPLATE = template0 LOCALE_PROVIDER = libc LOCALE = 'C';\n", 12,
            " WITH TEMPLATE = template0 LC_COLLATE = 'C' LC_CTYPE = 'C';\n");
    options(" WITH LC_COLLATE = 'C' LC_CTYPE = 'de_DE';\n", 12,
            " WITH LC_COLLATE = 'C' LC_CTYPE = 'de_DE';\n");
    options(" TEMPLATE template0", 14, " TEMPLATE template0");
    options("", 14, "");
    options(" WITH X = 'unfinished", 14, " WITH X = 'unfinished");
}

static void test_options_that_are_lost(void **state)
{
    (void)state;
    static const char icu[] = " WITH LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'de';\n";
    options(icu, 15, icu);
    options(icu, 14, NULL);
    static const char rules[] =
        " WITH LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'de' ICU_RULES = '&a\n< b';\n";
    options(rules, 16, rules);
    options(rules, 15, NULL);
    static const char builtin[] =
        " WITH LOCALE_PROVIDER = builtin LOCALE = 'C' BUILTIN_LOCALE = 'C.UTF-8';\n";
    options(builtin, 17, builtin);
    options(builtin, 16, NULL);
    options(builtin, 13, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_rewrite_leaves_texts),
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_options_that_are_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
