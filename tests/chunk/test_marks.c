#include "../support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "chunk/cutter.h"

#define SIZE (8u << 20)

static void test_finding(void **state)
{
    Marks m = MARKS_INIT;
    uint64_t seed = 1;
    assert_true(marks_find(&m, 5) == MARKS_NONE);
    assert_int_equal(marks_from(&m, 0), 0);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(marks_add(&m, test_random(&seed), i * 4096), 0);
    assert_int_equal(m.n, 10000);
    seed = 1;
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(marks_find(&m, test_random(&seed)), i);
    assert_true(marks_find(&m, 8193) == MARKS_NONE);
    assert_true(marks_find(&m, 0) == MARKS_NONE);
    assert_int_equal(marks_from(&m, 0), 0);
    assert_int_equal(marks_from(&m, 4096), 1);
    assert_int_equal(marks_from(&m, 4097), 2);
    assert_int_equal(marks_from(&m, 4096 * 10000), 10000);
    assert_true(marks_are_telling(&m));
    marks_release(&m);
}

/* Heads that several chunks have tell nothing; where most are such, none does. */
static void test_repeated_heads(void **state)
{
    Marks m = MARKS_INIT;
    for (size_t i = 0; i < 900; i++)
        assert_int_equal(marks_add(&m, 1000 + i, i), 0);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(marks_add(&m, 7, 900 + i), 0);
    assert_int_equal(marks_add(&m, 0, 1000), 0); /* not known: no repetition */
    assert_int_equal(marks_add(&m, 0, 1001), 0);
    assert_true(marks_find(&m, 7) == MARKS_NONE);
    assert_int_equal(marks_find(&m, 1899), 899);
    assert_true(marks_are_telling(&m));
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(marks_add(&m, 7, 1002 + i), 0);
    assert_false(marks_are_telling(&m));
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

/* As a writer does it. */
static void mark_all(Marks *m, const uint8_t *data, size_t len, const size_t *starts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t end = i + 1 < n ? starts[i + 1] : len;
        assert_int_equal(marks_add(m, mark_head(data + starts[i], end - starts[i]), starts[i]), 0);
    }
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
    mark_all(&m, data, len, starts, n);
    for (size_t i = 0; i < n; i++) {
        size_t end = i + 1 < n ? starts[i + 1] : len;
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
    mark_all(&m, data, SIZE, starts, n);
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
    assert_int_equal(marks_add(&m, 12345, 0), 0);
    size_t len = test_fill_rows(data, SIZE, 5000000, 9);
    assert_true(cut_all((CutRule){.kind = CUT_ROWS}, &m, data, len, starts) > SIZE / CUT_MAX);
    marks_release(&m);
}

/* Kinds of content. */
enum {
    SHORT_ROWS,
    LONG_ROWS,
    SAME_FIRST_COLUMN,
    FEW_FIRST_COLUMNS,
    BINARY,
    ONE_LINE,
    ZEROS,
    KINDS
};

static size_t put_row(uint8_t *at, const char *first, size_t width, uint64_t *seed)
{
    size_t n = (size_t)sprintf((char *)at, "%s\t", first);
    for (; n < width; n++)
        at[n] = "0123456789abcdef"[test_random(seed) >> 60];
    at[n++] = '\n';
    return n;
}

static size_t fill(int kind, uint8_t *data, size_t len)
{
    uint64_t seed = 77;
    size_t n = 0;
    char first[64];
    if (kind == SHORT_ROWS)
        return test_fill_rows(data, len, 1000000, 11);
    if (kind == BINARY)
        test_fill_random(data, len, 5);
    if (kind == ZEROS)
        memset(data, 0, len);
    if (kind == ONE_LINE)
        for (size_t i = 0; i < len; i++)
            data[i] = "0123456789abcdef"[test_random(&seed) >> 60];
    if (kind == BINARY || kind == ZEROS || kind == ONE_LINE)
        return len;
    for (uint64_t i = 0; n < len - 400000; i++) {
        uint64_t number = kind == SAME_FIRST_COLUMN   ? 0
                          : kind == FEW_FIRST_COLUMNS ? test_random(&seed) % 3000
                                                      : i;
        sprintf(first, "00000000-0000-4000-8000-%012llx", (unsigned long long)number);
        n += put_row(data + n, first, kind == LONG_ROWS ? 300000 : 150, &seed);
    }
    return n;
}

/* What did not change is cut as it was, in every version that follows. */
static void test_unchanged_content_is_cut_the_same(void **state)
{
    static uint8_t data[SIZE];
    static size_t starts[1000], again[1000];
    const CutRule rule = {.kind = CUT_ROWS};
    for (int kind = 0; kind < KINDS; kind++) {
        size_t len = fill(kind, data, SIZE);
        size_t n = cut_all(rule, NULL, data, len, starts);
        for (int version = 0; version < 3; version++) {
            Marks m = MARKS_INIT;
            mark_all(&m, data, len, starts, n);
            assert_int_equal(cut_all(rule, &m, data, len, again), n);
            assert_memory_equal(starts, again, n * sizeof(starts[0]));
            marks_release(&m);
        }
    }
}

/* A few bytes put in change the chunks around them, and leave the rest as it was. */
static void test_changes_stay_local(void **state)
{
    static uint8_t data[SIZE], next[SIZE + 5];
    static size_t starts[1000], again[1000];
    const CutRule rule = {.kind = CUT_ROWS};
    for (int kind = 0; kind < ZEROS; kind++) {
        size_t len = fill(kind, data, SIZE), at = len / 3;
        size_t n = cut_all(rule, NULL, data, len, starts), kept = 0, k = 0;
        Marks m = MARKS_INIT;
        mark_all(&m, data, len, starts, n);
        memcpy(next, data, at);
        memcpy(next + at, "wedge", 5);
        memcpy(next + at + 5, data + at, len - at);
        size_t with = cut_all(rule, &m, next, len + 5, again);
        for (size_t i = 0; i < n; i++) {
            size_t moved = starts[i] + (starts[i] > at ? 5 : 0);
            while (k < with && again[k] < moved)
                k++;
            kept += k < with && again[k] == moved;
        }
        assert_true(kept + 6 >= n);
        marks_release(&m);
    }
}

/* The same cuts however the bytes come. */
static void test_steps_do_not_matter(void **state)
{
    static uint8_t data[SIZE];
    static size_t starts[1000], again[1000];
    static const size_t steps[] = {1000, 4096, 65536, 300000, SIZE};
    const CutRule rule = {.kind = CUT_ROWS};
    for (int kind = 0; kind < KINDS; kind++) {
        size_t len = fill(kind, data, SIZE);
        size_t n = cut_all(rule, NULL, data, len, starts);
        Marks m = MARKS_INIT;
        for (size_t i = 0; i < n; i += 2) /* half of them, so that content decides too */
            assert_int_equal(marks_add(&m, mark_head(data + starts[i], len - starts[i]), starts[i]),
                             0);
        n = cut_in_steps(rule, &m, data, len, 777, starts);
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
            assert_int_equal(cut_in_steps(rule, &m, data, len, steps[i], again), n);
            assert_memory_equal(starts, again, n * sizeof(starts[0]));
        }
        marks_release(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finding),
        cmocka_unit_test(test_repeated_heads),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_cuts_outlive_their_rows),
        cmocka_unit_test(test_pages_are_cut_at_the_same_offsets),
        cmocka_unit_test(test_new_content_with_old_marks),
        cmocka_unit_test(test_unchanged_content_is_cut_the_same),
        cmocka_unit_test(test_changes_stay_local),
        cmocka_unit_test(test_steps_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
