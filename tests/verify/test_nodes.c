#include "verify/nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void id_of_number(uint32_t n, ObjectId *ret_id)
{
    *ret_id = (ObjectId){{0}}; /* alike but for its last bytes, as may be crafted */
    memcpy(ret_id->b + ID_SIZE - sizeof(n), &n, sizeof(n));
}

static void test_many(void **state)
{
    enum { MANY = 100000 };
    NodeSet s = {0};
    ObjectId id;
    id_of_number(7, &id);
    assert_null(nodes_get(&s, &id));
    for (uint32_t i = 0; i < MANY; i++) {
        id_of_number(i, &id);
        Node *node = nodes_put(&s, &id);
        assert_non_null(node);
        assert_false(node->good);
        node->round = i;
        node->good = true;
    }
    assert_int_equal(s.count, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        id_of_number(i, &id);
        assert_int_equal(nodes_get(&s, &id)->round, i);
        assert_ptr_equal(nodes_put(&s, &id), nodes_get(&s, &id));
    }
    assert_int_equal(s.count, MANY);
    id_of_number(MANY, &id);
    assert_null(nodes_get(&s, &id));
    nodes_release(&s);
    assert_null(nodes_get(&s, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
