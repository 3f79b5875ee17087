/* A rope and the bytes it must give. */
#pragma once

#include "fixture.h"
#include "tree/rope_node.h"

static inline void check_range(ObjectSource *s, const Rope *rope, const Buf *expected, uint64_t at,
                               size_t len)
{
    Error error = ERROR_INIT;
    uint8_t *data = malloc(len + 1);
    assert_non_null(data);
    ssize_t n = rope_read(s, rope->node.data, rope->node.len, at, data, len, &error);
    size_t left = at < expected->len ? expected->len - (size_t)at : 0;
    assert_ok((int)(n < 0 ? n : 0));
    assert_int_equal(n, left < len ? left : len);
    if (n > 0)
        assert_memory_equal(data, expected->data + at, (size_t)n);
    free(data);
}

/* The whole, both ends, and random places and lengths. */
static inline void check_rope(ObjectSource *s, const Rope *rope, const Buf *expected)
{
    Error error = ERROR_INIT;
    uint64_t length, random = 12345;
    unsigned height;
    uint32_t n;
    assert_ok(rope_node_check(rope->node.data, rope->node.len, &length, &height, &n, &error));
    assert_int_equal(length, expected->len);
    assert_int_equal(rope->length, expected->len);
    assert_int_equal(rope->height, height);
    assert_int_equal(rope->n, n);
    check_range(s, rope, expected, 0, expected->len + 100);
    check_range(s, rope, expected, expected->len, 10);
    check_range(s, rope, expected, expected->len + 1000, 10);
    check_range(s, rope, expected, 0, 0);
    if (expected->len == 0)
        return;
    check_range(s, rope, expected, expected->len - 1, 10);
    for (int i = 0; i < 90; i++) {
        size_t max = i % 3 == 0 ? 100 : i % 3 == 1 ? 20000 : 200000;
        uint64_t at = test_random(&random) % expected->len;
        check_range(s, rope, expected, at, (size_t)(test_random(&random) % max));
    }
}

/* An object of `len` random bytes: put, appended to the rope, and to what is expected. */
static inline void append_object(Fixture *f, RopeBuilder *b, Buf *expected, size_t len,
                                 uint64_t seed)
{
    Error error = ERROR_INIT;
    ObjectId id;
    assert_int_equal(buf_reserve(expected, len), 0);
    uint8_t *data = expected->data + expected->len;
    test_fill_random(data, len, seed);
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, len, &id, &error));
    assert_ok(rope_builder_object(b, &id, (uint32_t)len, &error));
    expected->len += len;
}

static inline void append_literal(RopeBuilder *b, Buf *expected, const void *data, size_t len)
{
    Error error = ERROR_INIT;
    assert_ok(rope_builder_literal(b, data, len, &error));
    assert_int_equal(buf_add(expected, data, len), 0);
}

static inline void append_rope(RopeBuilder *b, Buf *expected, const Rope *rope, const Buf *bytes)
{
    Error error = ERROR_INIT;
    assert_ok(rope_builder_rope(b, rope, &error));
    assert_int_equal(buf_add(expected, bytes->data, bytes->len), 0);
}

/* A rope of `n` objects of some 100 to 300 bytes, each followed by a line of text. */
static inline void make_rope(Fixture *f, size_t n, uint64_t seed, Rope *ret_rope, Buf *ret_bytes)
{
    Error error = ERROR_INIT;
    RopeBuilder *b = NULL;
    uint64_t random = seed * 2 + 1;
    *ret_bytes = BUF_INIT;
    assert_int_equal(rope_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < n; i++) {
        append_object(f, b, ret_bytes, 100 + test_random(&random) % 200, seed + i);
        append_literal(b, ret_bytes, "-- a line\n", i % 4 == 0 ? 10 : 0);
    }
    assert_ok(rope_builder_finish(b, ret_rope, &error));
    rope_builder_free(b);
}
