#include "restore/postgres/owners.h"

#include <errno.h>

#include "../fixture.h"

#define ENTRY(id, kind, ns, name, ...)                                                             \
    {                                                                                              \
        .dump_id = id, .desc = (char *)kind, .namespace = (char *)ns, .tag = (char *)name,         \
        .deps = (int32_t[]){__VA_ARGS__}, .n_deps = sizeof((int32_t[]){__VA_ARGS__}) / 4           \
    }

/* In the order in which pg_dump writes them. */
static TocEntry entries[] = {
    ENTRY(1, "SCHEMA", "", "s", 0),
    ENTRY(2, "FUNCTION", "s", "f()", 1),
    ENTRY(3, "TABLE", "s", "a", 1),
    ENTRY(4, "TABLE", "s", "a b", 1),
    ENTRY(5, "SEQUENCE", "s", "a_id_seq", 3), /* of an identity column */
    ENTRY(6, "SEQUENCE", "s", "b_id_seq", 1), /* of a serial */
    ENTRY(7, "SEQUENCE OWNED BY", "s", "b_id_seq", 6, 4),
    ENTRY(8, "SEQUENCE", "s", "free", 1), /* nobody's */
    ENTRY(9, "DEFAULT", "s", "a b id", 6, 4),
    ENTRY(10, "DEFAULT", "s", "a x", 8, 3),
    ENTRY(11, "TABLE DATA", "s", "a", 3),
    ENTRY(12, "SEQUENCE SET", "s", "b_id_seq", 6),
    ENTRY(13, "CONSTRAINT", "s", "a b b_pkey", 4),
    ENTRY(14, "FK CONSTRAINT", "s", "a a_fkey", 13, 4, 3),
    ENTRY(15, "FK CONSTRAINT", "s", "a b b_fkey", 3, 4),
    ENTRY(16, "TRIGGER", "s", "a t", 2, 3),
    ENTRY(17, "COMMENT", "s", "COLUMN a.x", 3),
    ENTRY(18, "COMMENT", "s", "CONSTRAINT b_pkey ON \"a b\"", 13),
    ENTRY(19, "ACL", "s", "FUNCTION f()", 2),
    ENTRY(20, "ACL", "s", "SEQUENCE b_id_seq", 6),
    ENTRY(21, "TABLE ATTACH", "s", "a b", 3, 4), /* a b is a partition of a */
    ENTRY(22, "CONSTRAINT", "s", "a a_pkey", 3),
    ENTRY(23, "INDEX", "s", "a_v", 3),
    ENTRY(24, "INDEX", "s", "b_v", 23, 4),
    ENTRY(25, "INDEX ATTACH", "s", "b_v", 23, 3, 24, 4),
    ENTRY(26, "INDEX ATTACH", "s", "b_pkey", 22, 3, 13, 4),
};

static void test_owners(void **state)
{
    (void)state;
    static const int expected[] = {0, 0, 3, 4, 3, 4, 4, 8, 4, 3, 3, 4, 4,
                                   3, 4, 3, 3, 4, 0, 4, 4, 3, 3, 4, 4, 4}; /* dump ids; 0: none */
    const Archive a = {.n = sizeof(entries) / sizeof(*entries), .entries = entries};
    Error error = ERROR_INIT;
    DumpIds ids = {0};
    size_t *owners = NULL;
    assert_ok(dump_ids_make(&a, &ids, &error));
    assert_ok(owners_find(&a, &ids, &owners, &error));
    for (size_t i = 0; i < a.n; i++) {
        int id = owners[i] == OWNER_NONE ? 0 : a.entries[owners[i]].dump_id;
        if (id != expected[i])
            fail_msg("%s %s belongs to %d", a.entries[i].desc, a.entries[i].tag, id);
    }
    free(owners);
    dump_ids_release(&ids);
}

static void test_ids(void **state)
{
    (void)state;
    Error error = ERROR_INIT;
    DumpIds ids = {0};
    TocEntry far[] = {{.dump_id = INT32_MAX}};
    const Archive absurd = {.n = 1, .entries = far}, none = {0};
    assert_int_equal(dump_ids_make(&absurd, &ids, &error), -EBADMSG);
    error_release(&error);
    assert_ok(dump_ids_make(&none, &ids, &error));
    assert_true(dump_ids_find(&ids, 0) == OWNER_NONE);
    assert_true(dump_ids_find(&ids, 1) == OWNER_NONE);
    assert_true(dump_ids_find(&ids, -1) == OWNER_NONE);
    dump_ids_release(&ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
