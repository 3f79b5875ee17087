#include "support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "chunk/sketch.h"

#define SIZE (128u << 10)

static int shared(const Sketch *x, const Sketch *y)
{
    int n = 0;
    for (int i = 0; i < SKETCH_FEATURES; i++)
        n += x->feature[i] == y->feature[i];
    return n;
}

/* Overwrite part of every row that a fixed rule picks, about one in `one_in`; newlines stay. */
static void change_rows(uint8_t *data, size_t len, unsigned one_in, uint64_t seed)
{
    uint64_t state = seed;
    for (size_t at = 0; at < len;) {
        uint8_t *nl = memchr(data + at, '\n', len - at);
        size_t end = nl ? (size_t)(nl - data) : len;
        state = state * 6364136223846793005u + 1442695040888963407u;
        if ((state >> 33) % one_in == 0)
            for (size_t i = at; i < end && i < at + 8; i++)
                data[i] ^= 1;
        at = end + 1;
    }
}

static void test_same_bytes_same_sketch(void **state)
{
    uint8_t *data = malloc(SIZE);
    Sketch a, b;
    size_t len = test_fill_rows(data, SIZE, 40, 1);
    sketch_of(CUT_ROWS, data, len, &a);
    sketch_of(CUT_ROWS, data, len, &b);
    assert_int_equal(shared(&a, &b), SKETCH_FEATURES);
    assert_false(sketch_is_empty(&a));
    free(data);
}

static void test_changed_rows_share_a_feature(void **state)
{
    uint8_t *data = malloc(SIZE), *changed = malloc(SIZE);
    int found = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        Sketch a, b;
        size_t len = test_fill_rows(data, SIZE, 40, seed);
        memcpy(changed, data, len);
        change_rows(changed, len, 50, seed);
        sketch_of(CUT_ROWS, data, len, &a);
        sketch_of(CUT_ROWS, changed, len, &b);
        found += shared(&a, &b) > 0;
    }
    assert_in_range(found, 95, 100); /* deterministic: the data comes from fixed seeds */
    free(data);
    free(changed);
}

static void test_moved_rows_share_a_feature(void **state)
{
    static uint8_t data[SIZE + 64];
    Sketch a, b;
    size_t len = test_fill_rows(data, SIZE, 40, 7);
    sketch_of(CUT_ROWS, data, len, &a);
    memmove(data + 17, data, len);
    memcpy(data, "a row more in all\n", 17);
    data[16] = '\n';
    sketch_of(CUT_ROWS, data, len + 17, &b);
    assert_true(shared(&a, &b) >= 2);
}

static void test_unrelated_bytes_share_nothing(void **state)
{
    uint8_t *data = malloc(SIZE);
    Sketch seen[50];
    for (uint64_t seed = 0; seed < 50; seed++) {
        size_t len = test_fill_rows(data, SIZE, 40, 1000 + seed);
        sketch_of(CUT_ROWS, data, len, &seen[seed]);
        for (uint64_t k = 0; k < seed; k++)
            assert_int_equal(shared(&seen[k], &seen[seed]), 0);
    }
    free(data);
}

static void test_pages_in_place(void **state)
{
    uint8_t *data = malloc(SIZE);
    Sketch a, b;
    test_fill_rows(data, SIZE, 40, 3);
    sketch_of(CUT_PAGES, data, SIZE, &a);
    for (size_t page = 0; page < SIZE / 4096; page += 8)
        data[page * 4096 + 100] ^= 0xff;
    sketch_of(CUT_PAGES, data, SIZE, &b);
    assert_true(shared(&a, &b) > 0);
    free(data);
}

static void test_short_and_odd_input(void **state)
{
    Sketch a;
    uint8_t zeros[1000] = {0};
    for (size_t len = 0; len <= sizeof(zeros); len++) {
        sketch_of(CUT_ROWS, zeros, len, &a);
        sketch_of(CUT_PAGES, zeros, len, &a);
        assert_false(sketch_is_empty(&a));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes_same_sketch),
        cmocka_unit_test(test_changed_rows_share_a_feature),
        cmocka_unit_test(test_moved_rows_share_a_feature),
        cmocka_unit_test(test_unrelated_bytes_share_nothing),
        cmocka_unit_test(test_pages_in_place),
        cmocka_unit_test(test_short_and_odd_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
