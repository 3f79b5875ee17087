#include "fs/inode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void entries_round_trip(void **state)
{
    static const uint32_t ordinals[] = {1, 2, 12345, INODE_ORDINAL_MAX};
    static const uint32_t indices[] = {0, 1, 2, 0x7fffffff, INODE_INDEX_MAX, UINT32_MAX};
    for (int view = INODE_FILE; view <= INODE_COLLECTION_BY_ID; view++)
        for (size_t o = 0; o < 4; o++)
            for (size_t i = 0; i < 6; i++) {
                Inode back;
                uint64_t ino = inode_of_entry((InodeView)view, ordinals[o], indices[i]);
                bool valid = view != INODE_FILE || indices[i] != 0;
                assert_int_equal(inode_parse(ino, &back), valid);
                if (!valid)
                    continue;
                assert_int_equal(back.view, view);
                assert_int_equal(back.ordinal, ordinals[o]);
                assert_int_equal(back.index, indices[i]);
            }
}

static void virtual_directories_round_trip(void **state)
{
    static const uint32_t numbers[] = {0, 1, INODE_ORDINAL_MAX};
    for (int kind = INODE_COLLECTIONS; kind < INODE_KIND_END; kind++)
        for (size_t i = 0; i < 3; i++) {
            Inode back;
            assert_true(inode_parse(inode_of_virtual((InodeKind)kind, numbers[i]), &back));
            assert_int_equal(back.view, INODE_VIRTUAL);
            assert_int_equal(back.kind, kind);
            assert_int_equal(back.number, numbers[i]);
        }
}

static void root_has_the_number_of_fuse(void **state)
{
    Inode back;
    assert_int_equal(inode_of_virtual(INODE_ROOT, 0), 1);
    assert_true(inode_parse(1, &back));
    assert_int_equal(back.view, INODE_VIRTUAL);
    assert_int_equal(back.kind, INODE_ROOT);
}

static void status_file(void **state)
{
    Inode back;
    assert_true(inode_parse(inode_of_virtual(INODE_STATUS, 0), &back));
    assert_int_equal(back.kind, INODE_STATUS);
}

static void others_are_refused(void **state)
{
    static const uint64_t bad[] = {
        0,                       /* nothing */
        2,                       /* no backup 0 */
        7ull << 60 | 1ull << 32, /* no view 7 */
        14ull << 60 | 1ull << 32,
        15ull << 60,     /* no kind 0 */
        15ull << 60 | 1, /* the root has one number only */
        15ull << 60 | INODE_KIND_END,
        15ull << 60 | 1ull << 32 | INODE_STATUS,
        1ull << 60 | 1, /* a directory of backup 0 */
        1ull << 32,     /* a root directory that is a file */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        Inode back;
        assert_false(inode_parse(bad[i], &back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_round_trip),
        cmocka_unit_test(virtual_directories_round_trip),
        cmocka_unit_test(root_has_the_number_of_fuse),
        cmocka_unit_test(status_file),
        cmocka_unit_test(others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
