#include "tree/stream.h"

#include "reference.h"
#include "tree/rope_node.h"

/* Send `len` bytes in pieces of `piece`; the rope must give them back. */
static void send(Fixture *f, Stream *s, const uint8_t *data, size_t len, size_t piece, Rope *ret)
{
    Error error = ERROR_INIT;
    ObjectId sha256, expected_sha256;
    Buf expected = {.data = (uint8_t *)data, .len = len};
    for (size_t at = 0; at < len; at += piece)
        assert_ok(stream_write(s, data + at, len - at < piece ? len - at : piece, &error));
    assert_int_equal(stream_bytes(s), len);
    assert_ok(stream_finish(s, ret, &sha256, &error));
    assert_int_equal(id_of(data, len, &expected_sha256), 0);
    assert_memory_equal(&sha256, &expected_sha256, ID_SIZE);
    check_rope(writer_objects(f->writer), ret, &expected);
}

static void test_sizes_and_pieces(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const size_t sizes[] = {0,     1,     511,    512,        513,           4096,
                                   32767, 32768, 131072, 512 * 1024, (1 << 20) + 7, 3 << 20};
    static const size_t pieces[] = {1 << 30, 65536, 4097};
    uint8_t *data = malloc(3 << 20);
    test_fill_random(data, 3 << 20, 1);
    Stream *s = NULL;
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        Rope first = ROPE_INIT;
        for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
            Rope rope = ROPE_INIT;
            send(f, s, data, sizes[i], pieces[k], &rope);
            if (k == 0) {
                first = rope;
                continue;
            }
            /* The pieces don't show in what is stored. */
            assert_int_equal(first.node.len, rope.node.len);
            assert_memory_equal(first.node.data, rope.node.data, rope.node.len);
            rope_release(&rope);
        }
        rope_release(&first);
    }
    stream_free(s);
    stream_free(NULL);
    free(data);
}

static void test_byte_by_byte(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    uint8_t *data = malloc(200000);
    size_t len = test_fill_rows(data, 200000, 1, 1);
    Stream *s = NULL;
    Rope rope = ROPE_INIT;
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    send(f, s, data, len, 1, &rope);
    rope_release(&rope);
    stream_free(s);
    free(data);
}

static void test_small_files_are_literals(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    uint8_t data[513] = {7};
    Stream *s = NULL;
    WriterStats stats;
    Rope rope = ROPE_INIT;
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    send(f, s, data, 512, 100, &rope);
    writer_stats(f->writer, &stats);
    assert_int_equal(stats.objects, 0);
    rope_release(&rope);
    send(f, s, data, 513, 100, &rope);
    writer_stats(f->writer, &stats);
    assert_int_equal(stats.objects, 1);
    rope_release(&rope);
    stream_free(s);
}

static void test_repeated_content_is_stored_once(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    enum { ROWS = 6 << 20 };
    uint8_t *data = malloc(ROWS + 100);
    size_t len = test_fill_rows(data + 100, ROWS, 1, 1);
    Stream *s = NULL;
    WriterStats before, after;
    Rope rope = ROPE_INIT;
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    send(f, s, data + 100, len, 65536, &rope);
    rope_release(&rope);
    writer_stats(f->writer, &before);
    assert_true(before.objects_new > 20);
    send(f, s, data + 100, len, 30000, &rope);
    rope_release(&rope);
    writer_stats(f->writer, &after);
    assert_int_equal(after.objects_new, before.objects_new);
    assert_int_equal(after.bytes_new, before.bytes_new);
    /* With a row of 100 bytes in front. */
    memset(data, 'x', 99);
    data[99] = '\n';
    send(f, s, data, len + 100, 65536, &rope);
    rope_release(&rope);
    writer_stats(f->writer, &after);
    assert_true(after.objects_new - before.objects_new <= 4);
    stream_free(s);
    free(data);
}

/* Several streams at once, written in turns from one thread. */
static void test_streams_side_by_side(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    enum { STREAMS = 6, LEN = 1 << 20, PIECE = 50000 };
    Stream *s[STREAMS];
    uint8_t *data[STREAMS];
    for (size_t i = 0; i < STREAMS; i++) {
        data[i] = malloc(LEN);
        test_fill_random(data[i], LEN, i + 50);
        s[i] = NULL;
        assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s[i], &error));
    }
    for (size_t at = 0; at < LEN; at += PIECE)
        for (size_t i = 0; i < STREAMS; i++)
            assert_ok(
                stream_write(s[i], data[i] + at, LEN - at < PIECE ? LEN - at : PIECE, &error));
    for (size_t i = 0; i < STREAMS; i++) {
        Rope rope = ROPE_INIT;
        Buf expected = {.data = data[i], .len = LEN};
        assert_ok(stream_finish(s[i], &rope, NULL, &error));
        check_rope(writer_objects(f->writer), &rope, &expected);
        rope_release(&rope);
        stream_free(s[i]);
        free(data[i]);
    }
}

static void test_giving_up_half_way(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    uint8_t *data = malloc(5 << 20);
    test_fill_random(data, 5 << 20, 1);
    Stream *s = NULL;
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    assert_ok(stream_write(s, data, 5 << 20, &error));
    stream_free(s);
    free(data);
}

static void test_pages(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    enum { LEN = 4 << 20 };
    uint8_t *data = malloc(LEN);
    test_fill_random(data, LEN, 9);
    Stream *s = NULL;
    Rope rope = ROPE_INIT;
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_PAGES, .page_size = 4096}, &s, &error));
    send(f, s, data, LEN, 4096, &rope);
    for (uint64_t at = 0; at < LEN;) {
        RopeLeaf leaf;
        assert_ok(
            rope_find(writer_objects(f->writer), rope.node.data, rope.node.len, at, &leaf, &error));
        assert_int_equal(leaf.start % 4096, 0);
        at = leaf.start + leaf.len;
        rope_leaf_release(&leaf);
    }
    rope_release(&rope);
    stream_free(s);
    free(data);
}

/* A node of `n` entries, all of them `id`. */
static void make_node(unsigned height, size_t n, const ObjectId *id, uint64_t len, Buf *out)
{
    buf_clear(out);
    buf_add_u8(out, ROPE_VERSION);
    buf_add_u8(out, (uint8_t)height);
    buf_add_varint(out, n);
    buf_add_varint(out, n * len);
    for (size_t i = 0; i < n; i++) {
        buf_add_u8(out, height ? ROPE_NODE : ROPE_OBJECT);
        buf_add_varint(out, len);
        buf_add(out, id->b, ID_SIZE);
    }
}

/* Previous versions that no program wrote: of 2^32 entries in a few nodes, and of many too small to
 * be chunks. The new version is stored as without. */
static void test_following_crafted_ropes(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *objects = writer_objects(f->writer);
    uint8_t *data = malloc(1 << 20);
    size_t size = test_fill_rows(data, 1 << 20, 1, 1);
    ObjectId id, small;
    Buf node = BUF_INIT;
    Stream *s = NULL;
    Rope rope = ROPE_INIT;
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, 100000, &id, &error));
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, 10, &small, &error));
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    uint64_t len = 100000;
    for (unsigned height = 0; height <= 31; height++) {
        make_node(height, 2, &id, len, &node);
        assert_ok(writer_put(f->writer, OBJECT_ROPE, node.data, node.len, &id, &error));
        len *= 2;
    }
    assert_ok(stream_follow(s, objects, node.data, node.len, &error));
    send(f, s, data, size, 65536, &rope);
    rope_release(&rope);

    make_node(0, 20000, &small, 10, &node);
    assert_ok(stream_follow(s, objects, node.data, node.len, &error));
    send(f, s, data, size, 65536, &rope);
    rope_release(&rope);
    stream_free(s);
    buf_release(&node);
    free(data);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_sizes_and_pieces),
        WITH_STORE(test_byte_by_byte),
        WITH_STORE(test_small_files_are_literals),
        WITH_STORE(test_repeated_content_is_stored_once),
        WITH_STORE(test_streams_side_by_side),
        WITH_STORE(test_giving_up_half_way),
        WITH_STORE(test_pages),
        WITH_STORE(test_following_crafted_ropes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
