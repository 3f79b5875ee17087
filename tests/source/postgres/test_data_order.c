#include "source/postgres/data_order.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

/* Tables 0 to n-1 with the oids 100 on, whose rows are printed in the order of `printed`. */
typedef struct World {
    TocEntry *entries;
    Model model;
    Script script;
} World;

static void world_init(World *w, size_t n, const size_t *printed)
{
    *w = (World){.entries = calloc(n, sizeof(TocEntry))};
    w->model = (Model){.n_tables = n,
                       .tables = calloc(n, sizeof(ModelTable)),
                       .oids = calloc(n, sizeof(ModelOid)),
                       .table_of = calloc(n, sizeof(size_t))};
    w->script = (Script){.n = n, .parts = calloc(n, sizeof(ScriptPart))};
    for (size_t i = 0; i < n; i++) {
        size_t table = printed ? printed[i] : i;
        w->entries[i].desc = "TABLE DATA";
        w->model.tables[i].oid = 100 + (uint32_t)i;
        w->model.oids[i] = (ModelOid){100 + (uint32_t)i, i};
        w->model.table_of[i] = table;
        w->script.parts[i] = (ScriptPart){.entry = &w->entries[i], .index = i};
    }
}

static void world_release(World *w)
{
    free(w->entries);
    model_release(&w->model);
    script_release(&w->script);
}

/* Check the order of the tables whose rows come out. */
static void expect(World *w, Reference *references, size_t n, const size_t *want)
{
    _cleanup_free_ size_t *parts = NULL;
    size_t n_parts = 0;
    assert_int_equal(
        data_order(&w->model, &w->script, &(ReferenceList){n, references}, &parts, &n_parts), 0);
    assert_int_equal(n_parts, w->model.n_tables);
    for (size_t i = 0; i < n_parts; i++)
        assert_int_equal(w->model.table_of[parts[i]], want[i]);
}

/* Without keys the order is that of the tables: by schema and name. */
static void test_by_name(void **state)
{
    _cleanup_(world_release) World w;
    world_init(&w, 3, (size_t[]){2, 0, 1});
    expect(&w, NULL, 0, (size_t[]){0, 1, 2});
}

static void test_references_first(void **state)
{
    _cleanup_(world_release) World w;
    world_init(&w, 4, NULL);
    Reference r[] = {{100, 101}, {100, 103}, {101, 102}, {103, 999}};
    expect(&w, r, 4, (size_t[]){2, 1, 3, 0});
}

/* The oldest table of a circle comes first, though its key refers to a later one. */
static void test_circle(void **state)
{
    _cleanup_(world_release) World w;
    world_init(&w, 3, NULL);
    Reference r[] = {{100, 101}, {101, 102}, {102, 100}};
    expect(&w, r, 3, (size_t[]){0, 2, 1});
}

/* Two keys between the same tables, circles that share a table, and a table that hangs on them. */
static void test_circles(void **state)
{
    _cleanup_(world_release) World w;
    world_init(&w, 4, NULL);
    Reference r[] = {{100, 101}, {100, 101}, {101, 100}, {101, 102}, {102, 101}, {103, 102}};
    expect(&w, r, 6, (size_t[]){0, 1, 2, 3});
}

/* A chain as long as there are tables does not overflow the stack. */
static void test_long_chain(void **state)
{
    enum { N = 200000 };
    _cleanup_(world_release) World w;
    world_init(&w, N, NULL);
    _cleanup_free_ Reference *r = calloc(N, sizeof(*r));
    _cleanup_free_ size_t *want = calloc(N, sizeof(*want));
    for (size_t i = 0; i < N; i++) {
        r[i] = (Reference){100 + (uint32_t)i, 101 + (uint32_t)i};
        want[i] = N - 1 - i;
    }
    expect(&w, r, N - 1, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_name),    cmocka_unit_test(test_references_first),
        cmocka_unit_test(test_circle),     cmocka_unit_test(test_circles),
        cmocka_unit_test(test_long_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
