#include "tree/sums.h"

#include <errno.h>

#include "fixture.h"

static void add_file(Fixture *f, DirBuilder *dir, const char *name, bool with_sum)
{
    Error error = ERROR_INIT;
    RopeBuilder *b;
    Rope rope;
    ObjectId sum;
    memset(sum.b, 0xab, sizeof(sum.b));
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    assert_ok(rope_builder_literal(b, "x", 1, &error));
    assert_ok(rope_builder_finish(b, &rope, &error));
    assert_ok(dir_builder_file(dir, name, 0444, &rope, with_sum ? &sum : NULL, &error));
    rope_builder_free(b);
    rope_release(&rope);
}

static void make_tree(Fixture *f, Dir *ret_root)
{
    Error error = ERROR_INIT;
    DirBuilder *b;
    Dir below;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    add_file(f, b, "back\\slash", true);
    add_file(f, b, "line\nend", false);
    add_file(f, b, "plain name", true);
    assert_ok(dir_builder_finish(b, &below, &error));
    assert_ok(dir_builder_dir(b, "sub", &below, &error));
    add_file(f, b, "restore.sql", false);
    assert_ok(dir_builder_finish(b, ret_root, &error));
    dir_builder_free(b);
}

#define SUM                                                                                        \
    "abababababababababababababababab"                                                             \
    "abababababababababababababababab"

static void test_lines(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Dir root;
    Buf text = BUF_INIT;
    uint64_t size, measured;
    make_tree(f, &root);
    ObjectSource *s = writer_objects(f->writer);
    assert_ok(sums_make(s, &root.id, root.entries, &text, &size, &error));
    assert_ok(sums_make(s, &root.id, root.entries, NULL, &measured, &error));
    assert_int_equal(size, text.len);
    assert_int_equal(measured, text.len);
    const char *got = buf_cstr(&text);
    assert_int_equal(got[0], '#');
    assert_non_null(strstr(got, "\n# restore.sql\n"));
    assert_non_null(strstr(got, "\n\\" SUM "  sub/back\\\\slash\n"));
    assert_non_null(strstr(got, "\n# sub/line\\nend\n"));
    assert_non_null(strstr(got, "\n" SUM "  sub/plain name\n"));
    buf_release(&text);
}

/* A tree that holds more than its manifest says, such as one that refers to itself many times
 * over, is given up. */
static void test_too_many_entries(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    DirBuilder *b;
    Dir dir;
    uint64_t size;
    make_tree(f, &dir);
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (int depth = 0; depth < 6; depth++) {
        for (int i = 0; i < 10; i++) {
            char name[] = {(char)('a' + i), 0};
            assert_ok(dir_builder_dir(b, name, &dir, &error));
        }
        assert_ok(dir_builder_finish(b, &dir, &error));
    }
    dir_builder_free(b);
    assert_int_equal(sums_make(writer_objects(f->writer), &dir.id, 10, NULL, &size, &error),
                     -EBADMSG);
    error_release(&error);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_lines),
        WITH_STORE(test_too_many_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
