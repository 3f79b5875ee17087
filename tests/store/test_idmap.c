#include "store/idmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static ObjectId number_id(uint32_t i)
{
    ObjectId id = {{0}};
    uint64_t hash = (i + 1) * 0x9e3779b97f4a7c15ULL;
    memcpy(id.b, &hash, sizeof(hash));
    memcpy(id.b + 20, &i, sizeof(i));
    return id;
}

static void test_many_ids(void **state)
{
    enum { COUNT = 200000 };
    IdMap m = IDMAP_INIT;
    assert_null(idmap_get(&m, &(ObjectId){{0}}));
    for (uint32_t i = 0; i < COUNT; i++) {
        ObjectId id = number_id(i);
        const Location at = {.pack = i, .offset = i * 2, .length = i * 3};
        assert_null(idmap_get(&m, &id));
        assert_int_equal(idmap_put(&m, &id, &at), 0);
    }
    assert_int_equal(m.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        ObjectId id = number_id(i);
        const Location *at = idmap_get(&m, &id);
        assert_non_null(at);
        assert_true(at->pack == i && at->offset == i * 2 && at->length == i * 3);
    }
    ObjectId other = number_id(COUNT);
    assert_null(idmap_get(&m, &other));
    idmap_release(&m);
    assert_int_equal(m.count, 0);
    assert_null(idmap_get(&m, &other));
}

static void test_replacing(void **state)
{
    IdMap m = IDMAP_INIT;
    ObjectId id = number_id(5);
    for (uint32_t i = 0; i < 10; i++) {
        const Location at = {.pack = i};
        assert_int_equal(idmap_put(&m, &id, &at), 0);
        assert_int_equal(m.count, 1);
        assert_int_equal(idmap_get(&m, &id)->pack, i);
    }
    idmap_release(&m);
}

/* Ids that begin with the same bytes, and the id of zeros, are ids like any other. */
static void test_ids_with_equal_hashes(void **state)
{
    IdMap m = IDMAP_INIT;
    for (uint32_t i = 0; i < 500; i++) {
        ObjectId id = {{0}};
        memcpy(id.b + 28, &i, sizeof(i));
        const Location at = {.pack = i};
        assert_int_equal(idmap_put(&m, &id, &at), 0);
    }
    for (uint32_t i = 0; i < 500; i++) {
        ObjectId id = {{0}};
        memcpy(id.b + 28, &i, sizeof(i));
        assert_int_equal(idmap_get(&m, &id)->pack, i);
    }
    idmap_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_ids),
        cmocka_unit_test(test_replacing),
        cmocka_unit_test(test_ids_with_equal_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
