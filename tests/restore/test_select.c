#include "restore/select.h"

#include <errno.h>

#include "../fixture.h"

static void check_name(const char *text, const char *schema, const char *name)
{
    Error error = ERROR_INIT;
    TableName n = {0};
    assert_ok(table_name_parse(text, &n, &error));
    if (schema)
        assert_string_equal(n.schema, schema);
    else
        assert_null(n.schema);
    assert_string_equal(n.name, name);
    table_name_release(&n);
}

static void test_names(void **state)
{
    (void)state;
    check_name("t", NULL, "t");
    check_name("S.T", "S", "T");
    check_name("\"a.b\"", NULL, "a.b");
    check_name("s.\"a.b\"", "s", "a.b");
    check_name("\"s \"\"x\"\".\".t", "s \"x\".", "t");
    check_name("a b.c\nd", "a b", "c\nd");
}

static void test_malformed_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     ".",      "a.",    ".a",       "a.b.c", "\"a",
                                      "\"\"", "\"a\"b", "a.\"b", "a.\"b\"c", "\"\".a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        Error error = ERROR_INIT;
        TableName n = {0};
        assert_int_equal(table_name_parse(bad[i], &n, &error), -EINVAL);
        assert_int_equal(error.exit_code, BK_EXIT_USAGE);
        assert_null(n.name);
        error_release(&error);
    }
}

static void check_tables(const char *const *names, size_t n, int expected,
                         const size_t *expected_indices)
{
    static ContentTable tables[] = {{.schema = (char *)"a", .name = (char *)"t"},
                                    {.schema = (char *)"a", .name = (char *)"u"},
                                    {.schema = (char *)"b", .name = (char *)"t"},
                                    {.schema = (char *)"b", .name = (char *)"x.y"}};
    const RestoreOptions o = {.tables = names, .n_tables = n};
    const Content c = {.options = &o, .tables = tables, .n_tables = 4};
    Error error = ERROR_INIT;
    size_t *indices = NULL;
    assert_int_equal(select_tables(&c, &indices, &error), expected);
    for (size_t i = 0; expected == 0 && i < n; i++)
        assert_int_equal(indices[i], expected_indices[i]);
    assert_true(expected == 0 || error.hint);
    free(indices);
    error_release(&error);
}

static void test_tables(void **state)
{
    (void)state;
    check_tables((const char *[]){"u", "b.t", "\"x.y\""}, 3, 0, (size_t[]){1, 2, 3});
    check_tables((const char *[]){"t"}, 1, -EINVAL, NULL); /* which one? */
    check_tables((const char *[]){"T"}, 1, -ENOENT, NULL);
    check_tables((const char *[]){"u", "b.u"}, 2, -ENOENT, NULL);
    check_tables((const char *[]){"x.y"}, 1, -ENOENT, NULL);
    check_tables(NULL, 0, 0, NULL);
}

static void test_schemas(void **state)
{
    (void)state;
    const char *there[] = {"b", "a"}, *not_there[] = {"a", "A"};
    RestoreOptions o = {.schemas = there, .n_schemas = 2};
    Content c = {.options = &o,
                 .database = json_pack("{s:[{s:s},{s:s}]}", "schemas", "name", "a", "name", "b")};
    Error error = ERROR_INIT;
    assert_ok(select_schemas(&c, &error));
    assert_true(select_has_schema(&o, "a"));
    assert_false(select_has_schema(&o, "ab"));
    o.schemas = not_there;
    assert_int_equal(select_schemas(&c, &error), -ENOENT);
    error_release(&error);
    json_decref(c.database);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_malformed_names),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
