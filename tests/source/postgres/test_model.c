#include "source/postgres/model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static void test_copy_sql(void **state)
{
    static const struct {
        const char *namespace, *tag, *stmt, *clause, *sql; /* sql NULL: refused */
    } cases[] = {
        {"public", "t", "COPY public.t (a, b) FROM stdin;\n", NULL,
         "COPY \"public\".\"t\" (a, b) TO STDOUT"},
        {"public", "t", "COPY public.t  FROM stdin;\n", NULL, "COPY \"public\".\"t\" TO STDOUT"},
        {"S \"x\"", "a.b (c",
         "COPY \"S \"\"x\"\"\".\"a.b (c\" (\"q) FROM stdin;\n\") FROM stdin;\n", NULL,
         "COPY \"S \"\"x\"\"\".\"a.b (c\" (\"q) FROM stdin;\n\") TO STDOUT"},
        /* rows of a partition that are to be loaded through its root */
        {"app", "part_1", "COPY app.root (m, x) FROM stdin;\n", NULL,
         "COPY \"app\".\"part_1\" (m, x) TO STDOUT"},
        {"ext", "conf", "COPY ext.conf (k, v) FROM stdin;\n", "WHERE k > 1",
         "COPY (SELECT k, v FROM ONLY \"ext\".\"conf\" WHERE k > 1) TO STDOUT"},
        {"public", "t", "COPY public.t (a, b) FROM stdin;\n", " ORDER BY b, a",
         "COPY (SELECT a, b FROM ONLY \"public\".\"t\"  ORDER BY b, a) TO STDOUT"},
        {"public", "t", "INSERT INTO public.t VALUES (1);\n", NULL, NULL},
        {"public", "t", "COPY public FROM stdin;\n", NULL, NULL},
        {"public", "t", "COPY \"public.t FROM stdin;\n", NULL, NULL},
        {"public", "t", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        TocEntry t = {.tag = (char *)cases[i].tag,
                      .namespace = (char *)cases[i].namespace,
                      .copy_stmt = (char *)cases[i].stmt};
        _cleanup_free_ char *sql = NULL;
        Error e = ERROR_INIT;
        int r = model_copy_sql(&t, cases[i].clause, &sql, &e);
        assert_int_equal(r, cases[i].sql ? 0 : -EBADMSG);
        if (cases[i].sql)
            assert_string_equal(sql, cases[i].sql);
        error_release(&e);
    }
}

static void test_range_sql(void **state)
{
    static const struct {
        const char *stmt, *sql; /* NULL: no columns */
    } cases[] = {
        {"COPY public.t (a, b) FROM stdin;\n", "SELECT a, b FROM ONLY \"s\".\"t \"\"x\""},
        {"COPY public.t (\"q) FROM stdin;\n\") FROM stdin;\n",
         "SELECT \"q) FROM stdin;\n\" FROM ONLY \"s\".\"t \"\"x\""},
        {"COPY public.t  FROM stdin;\n", NULL},
        {"COPY public.t () FROM stdin;\n", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        TocEntry t = {.tag = "t \"x", .namespace = "s", .copy_stmt = (char *)cases[i].stmt};
        _cleanup_free_ char *sql = NULL;
        assert_int_equal(model_range_sql(&t, &sql, NULL), 0);
        if (cases[i].sql)
            assert_string_equal(sql, cases[i].sql);
        else
            assert_null(sql);
    }
}

enum { PG_CLASS = 1259, PG_ATTRDEF = 2604, PG_CONSTRAINT = 2606 };

static TocEntry entries[] = {
    {.dump_id = 1, .desc = "SCHEMA", .tag = "app", .table_oid = 2615, .oid = 9},
    {.dump_id = 2,
     .desc = "TABLE",
     .tag = "b",
     .namespace = "app",
     .table_oid = PG_CLASS,
     .oid = 20},
    {.dump_id = 3,
     .desc = "TABLE",
     .tag = "a",
     .namespace = "app",
     .table_oid = PG_CLASS,
     .oid = 10},
    {.dump_id = 4,
     .desc = "SEQUENCE",
     .tag = "a_seq",
     .namespace = "app",
     .table_oid = PG_CLASS,
     .oid = 11},
    {.dump_id = 5,
     .desc = "SEQUENCE OWNED BY",
     .tag = "a_seq",
     .namespace = "app",
     .deps = (int32_t[]){4, 3},
     .n_deps = 2},
    {.dump_id = 6,
     .desc = "TABLE DATA",
     .tag = "a",
     .namespace = "app",
     .oid = 10,
     .had_dumper = true,
     .copy_stmt = "COPY app.a (x) FROM stdin;\n"},
    {.dump_id = 7,
     .desc = "TABLE DATA",
     .tag = "conf",
     .namespace = "ext",
     .oid = 30,
     .had_dumper = true,
     .copy_stmt = "COPY ext.conf (x) FROM stdin;\n"},
    {.dump_id = 8,
     .desc = "SEQUENCE SET",
     .tag = "a_seq",
     .namespace = "app",
     .deps = (int32_t[]){4},
     .n_deps = 1},
    {.dump_id = 9,
     .desc = "FK CONSTRAINT",
     .tag = "b a_fk",
     .namespace = "app",
     .table_oid = PG_CONSTRAINT,
     .oid = 40,
     .deps = (int32_t[]){3, 2},
     .n_deps = 2},
    {.dump_id = 10,
     .desc = "COMMENT",
     .tag = "CONSTRAINT a_fk ON b",
     .namespace = "app",
     .deps = (int32_t[]){9},
     .n_deps = 1},
    {.dump_id = 11, .desc = "ACL", .tag = "SCHEMA app", .deps = (int32_t[]){1}, .n_deps = 1},
    {.dump_id = 12, .desc = "PUBLICATION TABLE", .tag = "p a", .namespace = "app"},
    {.dump_id = 13, .desc = "ACL", .tag = "FUNCTION f()", .namespace = "pg_catalog"},
    /* DEFAULT NULL that pg_dump makes up; one of a view, by a table's sequence */
    {.dump_id = 14,
     .desc = "DEFAULT",
     .tag = "b x",
     .namespace = "app",
     .deps = (int32_t[]){2},
     .n_deps = 1},
    {.dump_id = 15,
     .desc = "DEFAULT",
     .tag = "v x",
     .namespace = "app",
     .table_oid = PG_ATTRDEF,
     .oid = 50,
     .deps = (int32_t[]){4},
     .n_deps = 1},
};

/* Which table and schema each entry goes to. */
static void test_build(void **state)
{
    Archive toc = {.minor = 14, .n = sizeof(entries) / sizeof(entries[0]), .entries = entries};
    Belongs belongs[] = {{PG_CLASS, 11, 10}, {PG_CONSTRAINT, 40, 20}};
    TableFacts facts[] = {{.oid = 10, .size = 8192, .blocks = 1}, {.oid = 30, .clause = "WHERE x"}};
    _cleanup_(model_release) Model m = {0};
    Error e = ERROR_INIT;
    assert_int_equal(
        model_build(&toc, &(BelongsList){2, belongs}, &(TableFactsList){2, facts}, &m, &e), 0);
    assert_int_equal(m.n_schemas, 2);
    assert_string_equal(m.schemas[0].name, "app");
    assert_string_equal(m.schemas[1].name, "ext");
    assert_int_equal(m.n_tables, 3);
    assert_string_equal(m.tables[0].name, "a");
    assert_int_equal(m.tables[0].data, 5);
    assert_int_equal(m.tables[0].size, 8192);
    assert_int_equal(m.tables[1].data, MODEL_NONE);
    assert_string_equal(m.tables[2].name, "conf");
    assert_int_equal(m.tables[2].def, MODEL_NONE);
    assert_string_equal(m.tables[2].copy_sql,
                        "COPY (SELECT x FROM ONLY \"ext\".\"conf\" WHERE x) TO STDOUT");
    static const size_t none = MODEL_NONE;
    const size_t tables[] = {none, 1, 0, 0, 0, 0, 2, 0, 1, 1, none, none, none, 1, none};
    const size_t schemas[] = {0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, none, none, 0, 0};
    for (size_t i = 0; i < toc.n; i++) {
        assert_int_equal(m.table_of[i], tables[i]);
        assert_int_equal(m.schema_of[i], schemas[i]);
    }
}

static void test_is_schema(void **state)
{
    TocEntry t = {.desc = "TABLE", .tag = "x"};
    assert_true(model_is_schema(&t));
    assert_false(model_is_schema(&entries[5]));
    assert_false(model_is_schema(&entries[7]));
    t = (TocEntry){.desc = "COMMENT", .tag = "LARGE OBJECT 5"};
    assert_false(model_is_schema(&t));
    t = (TocEntry){.desc = "MATERIALIZED VIEW DATA", .tag = "m"};
    assert_false(model_is_schema(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_sql),
        cmocka_unit_test(test_range_sql),
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_is_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
