#include "tree/rope.h"

#include <errno.h>

#include "reference.h"

/* What the cursor says of an offset must be what rope_find says from the root. */
static void check_at(ObjectSource *s, RopeCursor *c, const Rope *rope, uint64_t at)
{
    Error error = ERROR_INIT;
    RopeLeaf expected, got;
    assert_ok(rope_find(s, rope->node.data, rope->node.len, at, &expected, &error));
    assert_ok(rope_cursor_find(c, at, &got, &error));
    assert_int_equal(got.start, expected.start);
    assert_int_equal(got.len, expected.len);
    assert_int_equal(got.is_literal, expected.is_literal);
    if (got.is_literal)
        assert_memory_equal(got.literal, expected.literal, got.len);
    else
        assert_int_equal(id_compare(&got.id, &expected.id), 0);
    bool is_object;
    ObjectId id;
    uint64_t end;
    assert_ok(rope_cursor_peek(c, at, &is_object, &id, &end, &error));
    assert_int_equal(end, expected.start + expected.len);
    assert_int_equal(is_object, !expected.is_literal);
    if (is_object)
        assert_int_equal(id_compare(&id, &expected.id), 0);
    rope_leaf_release(&expected);
    rope_leaf_release(&got);
}

static void test_agrees_with_find(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Rope rope;
    Buf bytes;
    RopeCursor *c;
    uint64_t random = 7;
    make_rope(f, 3000, 3, &rope, &bytes);
    assert_true(rope.height > 0);
    ObjectSource *s = writer_objects(f->writer);
    assert_ok(rope_cursor_new(s, rope.node.data, rope.node.len, &c, &error));
    for (uint64_t at = 0; at < rope.length; at += 150)
        check_at(s, c, &rope, at);
    for (uint64_t at = rope.length; at-- > rope.length - 2000;)
        check_at(s, c, &rope, at);
    for (int i = 0; i < 2000; i++)
        check_at(s, c, &rope, test_random(&random) % rope.length);
    RopeLeaf leaf;
    bool is_object;
    ObjectId id;
    uint64_t end;
    assert_int_equal(rope_cursor_find(c, rope.length, &leaf, &error), -ERANGE);
    assert_int_equal(rope_cursor_peek(c, UINT64_MAX, &is_object, &id, &end, &error), -ERANGE);
    check_at(s, c, &rope, 1000); /* it goes on after failures */
    error_release(&error);
    rope_cursor_free(c);
    rope_release(&rope);
    buf_release(&bytes);
}

/* A source that fails when told to. */
typedef struct Shaky {
    ObjectSource source;
    ObjectSource *below;
    bool fails;
} Shaky;

static int shaky_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Shaky *x = (Shaky *)s;
    return x->fails ? error_set(e, EIO, "away") : object_get(x->below, id, ret_object, e);
}

static void test_goes_on_when_a_node_comes_back(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Rope rope;
    Buf bytes;
    RopeCursor *c;
    RopeLeaf leaf;
    make_rope(f, 3000, 5, &rope, &bytes);
    Shaky shaky = {.source = {.get = shaky_get}, .below = writer_objects(f->writer)};
    assert_ok(rope_cursor_new(&shaky.source, rope.node.data, rope.node.len, &c, &error));
    check_at(shaky.below, c, &rope, 0);
    shaky.fails = true;
    assert_int_equal(rope_cursor_find(c, rope.length - 1, &leaf, &error), -EIO);
    shaky.fails = false;
    check_at(shaky.below, c, &rope, rope.length - 1);
    check_at(shaky.below, c, &rope, 0);
    error_release(&error);
    rope_cursor_free(c);
    rope_release(&rope);
    buf_release(&bytes);
}

static void test_refuses_what_is_no_node(void **state)
{
    Error error = ERROR_INIT;
    Fixture *f = *state;
    RopeCursor *c;
    assert_int_equal(rope_cursor_new(writer_objects(f->writer), "nonsense", 8, &c, &error),
                     -EBADMSG);
    error_release(&error);
    rope_cursor_free(NULL);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_agrees_with_find),
        WITH_STORE(test_goes_on_when_a_node_comes_back),
        WITH_STORE(test_refuses_what_is_no_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
