#include "restore/postgres/database.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_rewrite_leaves_texts),
        cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
