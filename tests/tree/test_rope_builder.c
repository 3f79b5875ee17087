#include <errno.h>

#include "tree/rope.h"

#include "reference.h"

static void test_nothing_and_one_byte(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    RopeBuilder *b = NULL;
    Buf expected = BUF_INIT;
    Rope rope = ROPE_INIT;
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    assert_ok(rope_builder_finish(b, &rope, &error));
    assert_int_equal(rope.length, 0);
    assert_int_equal(rope.n, 0);
    check_rope(writer_objects(f->writer), &rope, &expected);
    rope_release(&rope);

    append_literal(b, &expected, "", 0);
    append_literal(b, &expected, "x", 1);
    assert_ok(rope_builder_finish(b, &rope, &error));
    check_rope(writer_objects(f->writer), &rope, &expected);
    rope_release(&rope);
    buf_clear(&expected);

    append_object(f, b, &expected, 1, 1);
    assert_ok(rope_builder_finish(b, &rope, &error));
    check_rope(writer_objects(f->writer), &rope, &expected);
    rope_release(&rope);
    buf_release(&expected);
    rope_builder_free(b);
    rope_builder_free(NULL);
    rope_release(NULL);
}

static void test_neighbouring_literals_are_joined(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    RopeBuilder *b = NULL;
    Buf expected = BUF_INIT;
    Rope rope = ROPE_INIT;
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    for (int i = 0; i < 100; i++)
        append_literal(b, &expected, "0123456789", 10);
    assert_ok(rope_builder_finish(b, &rope, &error));
    assert_int_equal(rope.n, 1);
    check_rope(writer_objects(f->writer), &rope, &expected);

    /* Also across the border of a rope that is copied in. */
    Buf joined = BUF_INIT;
    Rope twice = ROPE_INIT;
    append_literal(b, &joined, "<", 1);
    append_rope(b, &joined, &rope, &expected);
    append_literal(b, &joined, ">", 1);
    assert_ok(rope_builder_finish(b, &twice, &error));
    assert_int_equal(twice.n, 1);
    check_rope(writer_objects(f->writer), &twice, &joined);
    rope_release(&rope);
    rope_release(&twice);
    buf_release(&expected);
    buf_release(&joined);
    rope_builder_free(b);
}

static void test_long_literals_become_objects(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    RopeBuilder *b = NULL;
    static const size_t sizes[] = {511,   512,   2047,          2048,    2049,          65535,
                                   65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20};
    uint8_t *data = malloc(5 << 20);
    test_fill_random(data, 5 << 20, 3);
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        Rope rope = ROPE_INIT;
        Buf expected = BUF_INIT;
        append_literal(b, &expected, data, sizes[i] / 3);
        append_literal(b, &expected, data + sizes[i] / 3, sizes[i] - sizes[i] / 3);
        assert_ok(rope_builder_finish(b, &rope, &error));
        assert_true(rope.node.len < 4096);
        check_rope(writer_objects(f->writer), &rope, &expected);
        rope_release(&rope);
        buf_release(&expected);
    }
    free(data);
    rope_builder_free(b);
}

static void test_many_entries_make_a_tree(void **state)
{
    Fixture *f = *state;
    static const size_t counts[] = {8, 9, 15, 16, 17, 255, 256, 257, 5000, 40000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        Rope rope;
        Buf bytes;
        make_rope(f, counts[i], 7, &rope, &bytes);
        assert_true(rope.height > 0 || counts[i] < 1000);
        assert_true(rope.n <= 256);
        check_rope(writer_objects(f->writer), &rope, &bytes);
        rope_release(&rope);
        buf_release(&bytes);
    }
}

/* header + table + trailer, those in a script, scripts in a script: as dumps are made. */
static void test_ropes_of_ropes(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const size_t counts[] = {0, 1, 3, 8, 9, 100, 3000};
    RopeBuilder *b = NULL, *all = NULL;
    Buf script = BUF_INIT;
    Rope whole = ROPE_INIT;
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    assert_int_equal(rope_builder_new(f->writer, &all), 0);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
            Rope table, file = ROPE_INIT;
            Buf rows, text = BUF_INIT;
            make_rope(f, counts[i], i, &table, &rows);
            append_literal(b, &text, "COPY t FROM stdin;\n", 19);
            append_rope(b, &text, &table, &rows);
            append_literal(b, &text, "\\.\n\n", 4);
            assert_ok(rope_builder_finish(b, &file, &error));
            check_rope(writer_objects(f->writer), &file, &text);
            append_rope(all, &script, &file, &text);
            append_rope(all, &script, &table, &rows);
            rope_release(&table);
            rope_release(&file);
            buf_release(&rows);
            buf_release(&text);
        }
    assert_ok(rope_builder_finish(all, &whole, &error));
    check_rope(writer_objects(f->writer), &whole, &script);
    rope_release(&whole);
    buf_release(&script);
    rope_builder_free(b);
    rope_builder_free(all);
}

/* A rope that refers to the last one and adds a byte, again and again: heights stay in bounds. */
static void test_nesting_ends_in_an_error_not_in_damage(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    RopeBuilder *b = NULL;
    Rope rope;
    Buf bytes;
    int r = 0, rounds = 0;
    make_rope(f, 300, 1, &rope, &bytes);
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    for (; rounds < 200 && r == 0; rounds++) {
        Rope next = ROPE_INIT;
        for (int i = 0; r == 0 && i < 10; i++) { /* too many entries to be copied */
            append_object(f, b, &bytes, 1, (uint64_t)i);
            bytes.len--;
        }
        r = rope_builder_rope(b, &rope, &error);
        if (r == 0)
            r = rope_builder_finish(b, &next, &error);
        if (r == 0) {
            assert_true(next.height <= ROPE_MAX_HEIGHT);
            assert_int_equal(next.length, rope.length + 10);
            rope_release(&rope);
            rope = next;
        }
    }
    assert_true(r < 0 && rounds > 20);
    assert_non_null(error.message);
    error_release(&error);
    rope_release(&rope);
    buf_release(&bytes);
    rope_builder_free(b);
}

static size_t objects_new(Fixture *f)
{
    WriterStats stats;
    writer_stats(f->writer, &stats);
    return stats.objects_new;
}

/* One entry changed among 20,000: the nodes beside its path are the old ones. */
static void test_unchanged_stretches_are_shared(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    enum { COUNT = 20000 };
    ObjectId *ids = calloc(COUNT, sizeof(*ids));
    for (uint32_t i = 0; i < COUNT; i++)
        assert_ok(writer_put(f->writer, OBJECT_DATA, &i, sizeof(i), &ids[i], &error));
    RopeBuilder *b = NULL;
    Rope rope = ROPE_INIT;
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    size_t before = objects_new(f), first = 0;
    for (int round = 0; round < 3; round++) {
        if (round == 2) /* a changed entry and an added one */
            ids[COUNT / 2] = ids[0];
        for (uint32_t i = 0; i < COUNT; i++)
            assert_ok(rope_builder_object(b, &ids[i], 4, &error));
        if (round == 2)
            assert_ok(rope_builder_object(b, &ids[1], 4, &error));
        assert_ok(rope_builder_finish(b, &rope, &error));
        size_t added = objects_new(f) - before;
        before += added;
        if (round == 0)
            first = added;
        assert_true(round == 0 ? added > 100 : round == 1 ? added == 0 : added < 12);
        rope_release(&rope);
    }
    assert_true(first > 0);
    free(ids);
    rope_builder_free(b);
}

/* Large objects in scripts: the digits of an object, and of a part of one. */
static void test_hex(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    RopeBuilder *b = NULL;
    Rope rope = ROPE_INIT;
    Buf expected = BUF_INIT;
    static uint8_t data[100000];
    ObjectId id;
    test_fill_random(data, sizeof(data), 3);
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, sizeof(data), &id, &error));
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    const struct {
        uint32_t offset, len;
    } parts[] = {{0, sizeof(data)}, {0, 1}, {99999, 1}, {16384, 16384}, {5, 32769}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        append_literal(b, &expected, "\\x", 2);
        assert_ok(rope_builder_hex(b, &id, parts[i].offset, parts[i].len, &error));
        for (uint32_t k = 0; k < parts[i].len; k++)
            assert_int_equal(buf_addf(&expected, "%02x", data[parts[i].offset + k]), 0);
    }
    assert_ok(rope_builder_finish(b, &rope, &error));
    check_rope(writer_objects(f->writer), &rope, &expected);
    rope_release(&rope);
    rope_builder_free(b);

    /* More than the object holds is damage, not a read past its end. */
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    assert_ok(rope_builder_hex(b, &id, sizeof(data) - 10, 11, &error));
    assert_ok(rope_builder_finish(b, &rope, &error));
    uint8_t byte;
    assert_int_equal(
        rope_read(writer_objects(f->writer), rope.node.data, rope.node.len, 0, &byte, 1, &error),
        -EBADMSG);
    error_release(&error);
    rope_release(&rope);
    rope_builder_free(b);
    buf_release(&expected);
}

/* Entries taken one by one, literals too, give the same bytes and are not joined. */
static void test_parts(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const size_t counts[] = {1, 5, 300, 5000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        RopeBuilder *b = NULL;
        Rope rope, copy = ROPE_INIT;
        Buf bytes;
        RopeNode node;
        make_rope(f, counts[i], 11, &rope, &bytes);
        assert_int_equal(rope_builder_new(f->writer, &b), 0);
        assert_ok(rope_node_open(rope.node.data, rope.node.len, &node, &error));
        while (node.n > 0) {
            RopeEntry entry;
            assert_ok(rope_node_next(&node, &entry, &error));
            assert_ok(rope_builder_part(b, &entry, node.height ? node.height - 1 : 0, &error));
        }
        const RopeEntry text = {
            .kind = ROPE_LITERAL, .length = 3, .literal = (const uint8_t *)"abc"};
        append_literal(b, &bytes, "<", 1);
        assert_ok(rope_builder_part(b, &text, 0, &error));
        assert_int_equal(buf_add(&bytes, "abc", 3), 0);
        append_literal(b, &bytes, ">", 1);
        assert_ok(rope_builder_finish(b, &copy, &error));
        assert_true(counts[i] > 16 || copy.n == rope.n + 3);
        check_rope(writer_objects(f->writer), &copy, &bytes);
        rope_release(&rope);
        rope_release(&copy);
        buf_release(&bytes);
        rope_builder_free(b);
    }
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_hex),
        WITH_STORE(test_nothing_and_one_byte),
        WITH_STORE(test_neighbouring_literals_are_joined),
        WITH_STORE(test_long_literals_become_objects),
        WITH_STORE(test_many_entries_make_a_tree),
        WITH_STORE(test_ropes_of_ropes),
        WITH_STORE(test_nesting_ends_in_an_error_not_in_damage),
        WITH_STORE(test_unchanged_stretches_are_shared),
        WITH_STORE(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
