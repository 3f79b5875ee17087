#include "util/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static void test_grows_and_keeps_content(void **state)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(buf_add_u8(&b, (uint8_t)i), 0);
    assert_int_equal(b.len, 10000);
    assert_true(b.cap >= b.len);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_true(b.cap > 0);
}

static void test_release_takes_null_and_empties(void **state)
{
    buf_release(NULL);
    Buf b = BUF_INIT;
    assert_int_equal(buf_add_str(&b, "x"), 0);
    buf_release(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 0);
}

static void test_impossible_size_is_refused(void **state)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    assert_int_equal(buf_add_str(&b, "keep"), 0);
    assert_true(buf_reserve(&b, SIZE_MAX) < 0);
    assert_true(buf_reserve(&b, SIZE_MAX / 2) < 0);
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "keep", 4);
}

static void test_integers_are_little_endian(void **state)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    assert_int_equal(buf_add_u16(&b, 0x1122), 0);
    assert_int_equal(buf_add_u32(&b, 0x33445566), 0);
    assert_int_equal(buf_add_u64(&b, 0x778899aabbccddee), 0);
    const uint8_t expected[] = {0x22, 0x11, 0x66, 0x55, 0x44, 0x33, 0xee,
                                0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77};
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));
    assert_int_equal(load_u32(b.data + 2), 0x33445566);
    assert_true(load_u64(b.data + 6) == 0x778899aabbccddee);

    uint8_t stored[8];
    store_u64(stored, 0x778899aabbccddee);
    assert_memory_equal(stored, expected + 6, 8);
    store_u32(stored, 0x33445566);
    assert_memory_equal(stored, expected + 2, 4);

    Cursor c = cursor_init(b.data, b.len);
    assert_int_equal(cursor_u16(&c), 0x1122);
    assert_int_equal(cursor_u32(&c), 0x33445566);
    assert_true(cursor_u64(&c) == 0x778899aabbccddee);
    assert_int_equal(cursor_left(&c), 0);
    assert_false(c.failed);
}

static void test_varints_come_back(void **state)
{
    static const struct {
        uint64_t value;
        size_t len;
    } cases[] = {
        {0, 1},           {1, 1},           {0x7f, 1},       {0x80, 2},
        {0x3fff, 2},      {0x4000, 3},      {UINT32_MAX, 5}, {(uint64_t)1 << 62, 9},
        {1ULL << 63, 10}, {UINT64_MAX, 10},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        _cleanup_(buf_release) Buf b = BUF_INIT;
        assert_int_equal(buf_add_varint(&b, cases[i].value), 0);
        assert_int_equal(b.len, cases[i].len);
        Cursor c = cursor_init(b.data, b.len);
        assert_true(cursor_varint(&c) == cases[i].value);
        assert_false(c.failed);
        assert_int_equal(cursor_left(&c), 0);
    }
}

static void test_bad_varints_are_refused(void **state)
{
    static const struct {
        uint8_t bytes[11];
        size_t len;
    } cases[] = {
        {{0}, 0},                /* nothing there */
        {{0x80}, 1},             /* ends in the middle */
        {{0x80, 0x00}, 2},       /* zero in two bytes */
        {{0xff, 0x80, 0x00}, 3}, /* a needless last byte */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10}, /* 65 bits */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x01}, 11},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        Cursor c = cursor_init(cases[i].bytes, cases[i].len);
        assert_true(cursor_varint(&c) == 0);
        assert_true(c.failed);
    }
}

static void test_cursor_stays_failed(void **state)
{
    const uint8_t bytes[] = {1, 2, 3};
    Cursor c = cursor_init(bytes, sizeof(bytes));
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(c.failed);
    assert_int_equal(cursor_u8(&c), 0);
    assert_null(cursor_bytes(&c, 1));
    assert_null(cursor_bytes(&c, 0));

    c = cursor_init(bytes, sizeof(bytes));
    assert_null(cursor_bytes(&c, SIZE_MAX));
    assert_true(c.failed);

    c = cursor_init(NULL, 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_true(c.failed);
}

static void test_text(void **state)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(buf_addf(&b, "%s=%d", "n", 42), 0);
    assert_int_equal(buf_add_str(&b, ";"), 0);
    assert_int_equal(b.len, 5);
    assert_string_equal(buf_cstr(&b), "n=42;");
    assert_int_equal(b.len, 5);
    _cleanup_free_ char *taken = buf_take_cstr(&b);
    assert_string_equal(taken, "n=42;");
    assert_null(b.data);
    assert_int_equal(b.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_and_keeps_content),
        cmocka_unit_test(test_release_takes_null_and_empties),
        cmocka_unit_test(test_impossible_size_is_refused),
        cmocka_unit_test(test_integers_are_little_endian),
        cmocka_unit_test(test_varints_come_back),
        cmocka_unit_test(test_bad_varints_are_refused),
        cmocka_unit_test(test_cursor_stays_failed),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
