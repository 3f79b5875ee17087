#include "source/postgres/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static void test_regexes(void **state)
{
    static const struct {
        const char *pattern, *schema, *name;
    } cases[] = {
        {"orders", "", "^(orders)$"},
        {"app.orders", "^(app)$", "^(orders)$"},
        {"App.Order*", "^(app)$", "^(order.*)$"},
        {"a?.b", "^(a.)$", "^(b)$"},
        {"\"App\".\"O.r*d?$\"", "^(App)$", "^(O\\.r\\*d\\?\\$)$"},
        {"a\"B\"\"c\"d", "", "^(aB\"cd)$"},
        {"a|b", "", "^(a|b)$"},
        {"\"a|b\"", "", "^(a\\|b)$"},
        {"t$[0-9]", "", "^(t\\$[0-9])$"},
        {"t[]", "", "^(t\\[])$"},
        {"db.app.t", "^(app)$", "^(t)$"},
        {"*.*", "^(.*)$", "^(.*)$"},
        {"\"open", "", "^(open)$"},
        {"", "", "^()$"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(buf_release) Buf schema = BUF_INIT, name = BUF_INIT;
        assert_int_equal(scope_regexes(cases[i].pattern, &schema, &name), 0);
        assert_string_equal(buf_cstr(&schema), cases[i].schema);
        assert_string_equal(buf_cstr(&name), cases[i].name);
    }
}

static void test_quote(void **state)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    assert_int_equal(scope_quote("a.b", "c\"d*", &b), 0);
    assert_string_equal(buf_cstr(&b), "\"a.b\".\"c\"\"d*\"");
    buf_clear(&b);
    assert_int_equal(scope_quote(NULL, "x", &b), 0);
    assert_string_equal(buf_cstr(&b), "\"x\"");
}

static void test_arguments(void **state)
{
    const char *const tables[] = {"a", "b*"}, *const data[] = {"-x"};
    SourceOptions o = {.no_acl = true,
                       .no_owner = true,
                       .scope = {.tables = {tables, 2}, .exclude_data = {data, 1}}};
    static const char *const expected[] = {"--table=a", "--table=b*", "--exclude-table-data=-x",
                                           "--strict-names", "--no-privileges"};
    _cleanup_(arg_list_release) ArgList l = {0};
    assert_true(source_scope_is_narrow(&o.scope));
    assert_int_equal(scope_arguments(&o, &l, NULL), 0);
    assert_int_equal(l.n, 5);
    for (size_t i = 0; i < l.n; i++)
        assert_string_equal(l.items[i], expected[i]);

    json_t *doc = scope_json(&o);
    char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"exclude-table-data\":[\"-x\"],\"no-acl\":true,\"no-owner\":true,"
                              "\"table\":[\"a\",\"b*\"]}");
    free(text);
    json_decref(doc);
}

static void test_no_arguments(void **state)
{
    SourceOptions o = {.jobs = 2};
    ArgList l = {0};
    assert_false(source_scope_is_narrow(&o.scope));
    assert_int_equal(scope_arguments(&o, &l, NULL), 0);
    assert_int_equal(l.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regexes),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_no_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
