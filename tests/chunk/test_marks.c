#include "../support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "chunk/cutter.h"

#define SIZE (8u << 20)

static void test_set(void **state)
{
    Marks m = MARKS_INIT;
    uint64_t seed = 1;
    assert_false(marks_has(&m, 5));
    for (int i = 0; i < 10000; i++)
        assert_int_equal(marks_add(&m, test_random(&seed)), 0);
    for (uint64_t offset = 4096; offset < 4096 * 1000; offset += 4096) /* alike in their low bits */
        assert_int_equal(marks_add(&m, offset), 0);
    assert_int_equal(m.count, 10000 + 999);
    seed = 1;
    for (int i = 0; i < 10000; i++)
        assert_true(marks_has(&m, test_random(&seed)));
    assert_true(marks_has(&m, 8192));
    assert_false(marks_has(&m, 8193));
    assert_false(marks_has(&m, 0));
    marks_release(&m);
}

static void test_head(void **state)
{
    uint8_t data[64] = {0};
    uint64_t all = mark_head(data, sizeof(data));
    data[MARK_HEAD] = 1; /* beyond the head */
    assert_true(mark_head(data, sizeof(data)) == all);
    data[MARK_HEAD - 1] = 1;
    assert_true(mark_head(data, sizeof(data)) != all);
    assert_true(mark_head(data, 1) != 0);
    assert_true(mark_head(data, 0) == 0);
}

/* Cut all of `data`, `step` bytes at a time. The chunks' offsets go to `starts`. */
static size_t cut_in_steps(CutRule rule, const Marks *marks, const uint8_t *data, size_t len,
                           size_t step, size_t *starts)
{
    Cutter c;
    size_t n = 0, at = 0;
    cutter_init(&c, rule);
    if (marks)
        cutter_follow(&c, marks);
    for (size_t seen = 0; at < len;) {
        size_t cut = cutter_next(&c, data + at, seen - at, seen == len);
        if (cut) {
            assert_true(cut <= CUT_MAX && (cut >= CUT_MIN || at + cut == len));
            starts[n++] = at;
            at += cut;
        } else {
            seen = seen + step < len ? seen + step : len;
        }
    }
    return n;
}

static size_t cut_all(CutRule rule, const Marks *marks, const uint8_t *data, size_t len,
                      size_t *starts)
{
    return cut_in_steps(rule, marks, data, len, 60000, starts);
}

static size_t common(const uint8_t *a, const size_t *x, size_t n, const uint8_t *b, const size_t *y,
                     size_t m)
{
    size_t same = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m; k++)
            if (memcmp(a + x[i], b + y[k], MARK_HEAD) == 0) {
                same++;
                break;
            }
    return same;
}

/* The rows right before every cut are gone: without marks all those cuts would be. */
static void test_cuts_outlive_their_rows(void **state)
{
    static uint8_t data[SIZE], next[SIZE];
    static size_t starts[1000], again[1000];
    const CutRule rule = {.kind = CUT_ROWS};
    size_t len = test_fill_rows(data, SIZE, 1000000, 3), next_len = 0;
    size_t n = cut_all(rule, NULL, data, len, starts);
    Marks m = MARKS_INIT;
    assert_true(n > 20);
    for (size_t i = 0; i < n; i++) {
        size_t end = i + 1 < n ? starts[i + 1] : len;
        assert_int_equal(marks_add(&m, mark_head(data + starts[i], end - starts[i])), 0);
        for (int rows = 0; rows < 3; rows++) /* the last three rows of the chunk */
            end = (size_t)((uint8_t *)memrchr(data, '\n', end - 1) - data) + 1;
        memcpy(next + next_len, data + starts[i], end - starts[i]);
        next_len += end - starts[i];
    }
    size_t with = cut_all(rule, &m, next, next_len, again);
    assert_int_equal(common(data, starts, n, next, again, with), n);
    assert_int_equal(with, n);
    size_t without = cut_all(rule, NULL, next, next_len, again);
    assert_true(common(data, starts, n, next, again, without) < n);
    marks_release(&m);
}

static void test_pages_are_cut_at_the_same_offsets(void **state)
{
    static uint8_t data[SIZE];
    static size_t starts[1000], again[1000];
    const CutRule rule = {.kind = CUT_PAGES, .page_size = 4096};
    test_fill_random(data, SIZE, 5);
    size_t n = cut_all(rule, NULL, data, SIZE, starts);
    Marks m = MARKS_INIT;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(marks_add(&m, starts[i]), 0);
    for (size_t page = 0; page < SIZE / 4096; page += 2)
        test_fill_random(data + page * 4096, 4096, page);
    /* A chunk that was longer than content alone may now cut it is cut once more. */
    size_t kept = 0, k = 0, with = cut_all(rule, &m, data, SIZE, again);
    for (size_t i = 0; i < n; i++) {
        while (k < with && again[k] < starts[i])
            k++;
        kept += k < with && again[k] == starts[i];
    }
    assert_true(kept >= n * 9 / 10);
    marks_release(&m);
}

/* Content new to the marks is cut all the same. */
static void test_new_content_with_old_marks(void **state)
{
    static uint8_t data[SIZE];
    static size_t starts[1000];
    Marks m = MARKS_INIT;
    assert_int_equal(marks_add(&m, 12345), 0);
    size_t len = test_fill_rows(data, SIZE, 5000000, 9);
    assert_true(cut_all((CutRule){.kind = CUT_ROWS}, &m, data, len, starts) > SIZE / CUT_MAX);
    marks_release(&m);
}

/* The same cuts however the bytes come. */
static void test_steps_do_not_matter(void **state)
{
    static uint8_t data[SIZE];
    static size_t starts[1000], again[1000];
    static const size_t steps[] = {1000, 4096, 65536, 300000, SIZE};
    const CutRule rule = {.kind = CUT_ROWS};
    size_t len = test_fill_rows(data, SIZE, 1000000, 11);
    size_t n = cut_all(rule, NULL, data, len, starts);
    Marks m = MARKS_INIT;
    for (size_t i = 0; i < n; i += 2) /* half of them, so that content decides too */
        assert_int_equal(marks_add(&m, mark_head(data + starts[i], len - starts[i])), 0);
    n = cut_in_steps(rule, &m, data, len, 777, starts);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_int_equal(cut_in_steps(rule, &m, data, len, steps[i], again), n);
        assert_memory_equal(starts, again, n * sizeof(starts[0]));
    }
    marks_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_cuts_outlive_their_rows),
        cmocka_unit_test(test_pages_are_cut_at_the_same_offsets),
        cmocka_unit_test(test_new_content_with_old_marks),
        cmocka_unit_test(test_steps_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
