#include "chunk/cutter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

#define MIB      (1u << 20)
#define MAX_CUTS 4096

typedef struct Cuts {
    size_t at[MAX_CUTS]; /* offsets after each chunk */
    size_t n;
} Cuts;

/* Cut `data`, showing the cutter `piece` more bytes each time it wants more. */
static void cut_all(CutRule rule, const uint8_t *data, size_t len, size_t piece, Cuts *cuts)
{
    Cutter c;
    cutter_init(&c, rule);
    size_t start = 0, seen = 0;
    cuts->n = 0;
    while (start < len) {
        size_t cut = cutter_next(&c, data + start, seen - start, seen == len);
        if (cut == 0) {
            assert_true(seen < len);
            assert_true(seen - start < CUT_MAX);
            seen = len - seen < piece ? len : seen + piece;
            continue;
        }
        assert_true(cut <= CUT_MAX);
        assert_true(cut <= seen - start);
        assert_true(cut >= CUT_MIN || start + cut == len);
        start += cut;
        assert_true(cuts->n < MAX_CUTS);
        cuts->at[cuts->n++] = start;
    }
    assert_int_equal(cutter_next(&c, data + len, 0, 1), 0);
}

static const CutRule rows_rule = {.kind = CUT_ROWS};
static const CutRule pages_rule = {.kind = CUT_PAGES, .page_size = 4096};

static void test_sizes_are_near_the_average(void **state)
{
    size_t len = 32 * MIB;
    uint8_t *data = malloc(len);
    test_fill_random(data, len, 11);
    Cuts cuts;
    cut_all(rows_rule, data, len, MIB, &cuts);
    size_t average = len / cuts.n;
    assert_in_range(average, CUT_AVG / 2, CUT_AVG * 2);
    free(data);
}

static void test_pieces_do_not_matter(void **state)
{
    size_t len = 4 * MIB;
    uint8_t *data = malloc(len);
    len = test_fill_rows(data, len, 1, 5);
    const CutRule rules[] = {rows_rule, pages_rule};
    for (size_t r = 0; r < 2; r++) {
        Cuts whole, pieces;
        cut_all(rules[r], data, len, len, &whole);
        static const size_t sizes[] = {997, 8192, 65536, 100001};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            cut_all(rules[r], data, len, sizes[i], &pieces);
            assert_int_equal(whole.n, pieces.n);
            assert_memory_equal(whole.at, pieces.at, whole.n * sizeof(*whole.at));
        }
    }
    free(data);
}

static bool has_cut(const Cuts *cuts, size_t at)
{
    for (size_t i = 0; i < cuts->n; i++)
        if (cuts->at[i] == at)
            return true;
    return false;
}

static void test_cuts_follow_content_after_a_shift(void **state)
{
    size_t len = 8 * MIB;
    uint8_t *data = malloc(len + 1000);
    test_fill_random(data, 1000, 1);
    len = test_fill_rows(data + 1000, len, 1, 5);
    Cuts plain, shifted;
    cut_all(rows_rule, data + 1000, len, MIB, &plain);
    static const size_t shifts[] = {1, 63, 1000};
    for (size_t i = 0; i < 3; i++) {
        size_t shift = shifts[i], same = 0;
        cut_all(rows_rule, data + 1000 - shift, len + shift, MIB, &shifted);
        for (size_t k = 0; k < plain.n; k++)
            same += has_cut(&shifted, plain.at[k] + shift);
        assert_true(same * 10 >= plain.n * 8); /* all but the first few */
        assert_true(has_cut(&shifted, plain.at[plain.n - 2] + shift));
    }
    free(data);
}

static void test_rows_end_chunks(void **state)
{
    size_t len = 8 * MIB;
    uint8_t *data = malloc(len);
    len = test_fill_rows(data, len, 1, 9);
    Cuts cuts;
    cut_all(rows_rule, data, len, 65536, &cuts);
    assert_true(cuts.n > 20);
    for (size_t i = 0; i < cuts.n; i++)
        assert_int_equal(data[cuts.at[i] - 1], '\n');
    free(data);
}

/* A row of 3 MiB has no end near; cuts inside it must come all the same, then rows again. */
static void test_a_row_longer_than_a_chunk(void **state)
{
    size_t head = 1 * MIB, row = 3 * MIB, tail = 2 * MIB;
    uint8_t *data = malloc(head + row + tail);
    size_t len = test_fill_rows(data, head, 1, 2);
    test_fill_random(data + len, row, 3);
    for (size_t i = 0; i < row; i++)
        if (data[len + i] == '\n')
            data[len + i] = 'x';
    size_t row_end = len + row;
    data[row_end - 1] = '\n';
    len = row_end + test_fill_rows(data + row_end, tail, 1, 4);
    Cuts cuts;
    cut_all(rows_rule, data, len, 65536, &cuts);
    size_t inside = 0;
    for (size_t i = 0; i < cuts.n; i++) {
        if (data[cuts.at[i] - 1] != '\n')
            inside++;
        if (cuts.at[i] > row_end + CUT_MAX)
            assert_int_equal(data[cuts.at[i] - 1], '\n');
    }
    assert_true(inside >= row / CUT_MAX - 1);
    free(data);
}

static void test_pages_stay_whole(void **state)
{
    size_t len = 16 * MIB;
    uint8_t *data = malloc(len);
    test_fill_random(data, len, 21);
    static const uint32_t sizes[] = {512, 1024, 4096, 65536};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        CutRule rule = {.kind = CUT_PAGES, .page_size = sizes[i]};
        Cuts cuts;
        cut_all(rule, data, len, 100000, &cuts);
        for (size_t k = 0; k + 1 < cuts.n; k++)
            assert_int_equal(cuts.at[k] % sizes[i], 0);
        assert_in_range(len / cuts.n, CUT_AVG / 2, CUT_AVG * 2);
    }
    free(data);
}

static void test_monotonous_content(void **state)
{
    size_t len = 4 * MIB;
    uint8_t *data = malloc(len);
    const CutRule rules[] = {rows_rule, pages_rule};
    static const int fills[] = {0, '\n', 'a', 0xff};
    for (size_t r = 0; r < 2; r++)
        for (size_t f = 0; f < 4; f++) {
            memset(data, fills[f], len);
            Cuts cuts;
            cut_all(rules[r], data, len, 65536, &cuts); /* checks the bounds */
            assert_true(cuts.n >= len / CUT_MAX);
        }
    free(data);
}

static void test_short_input(void **state)
{
    uint8_t *data = malloc(CUT_MIN + 1);
    test_fill_random(data, CUT_MIN + 1, 5);
    const CutRule rules[] = {rows_rule, pages_rule};
    static const size_t sizes[] = {1, 2, 63, 64, 65, CUT_MIN - 65, CUT_MIN - 1, CUT_MIN};
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            Cuts cuts;
            cut_all(rules[r], data, sizes[i], sizes[i], &cuts);
            assert_int_equal(cuts.n, 1);
            cut_all(rules[r], data, sizes[i], 1000, &cuts);
            assert_int_equal(cuts.n, 1);
        }
    free(data);
}

/* An edit in the middle leaves the cuts before it, and soon after it, where they were. */
static void test_edits_stay_local(void **state)
{
    size_t len = 16 * MIB;
    uint8_t *data = malloc(len);
    len = test_fill_rows(data, len, 1, 5);
    Cuts before, after;
    cut_all(rows_rule, data, len, MIB, &before);
    memset(data + len / 2, 'X', 10);
    cut_all(rows_rule, data, len, MIB, &after);
    size_t lost = 0;
    for (size_t i = 0; i < before.n; i++)
        lost += !has_cut(&after, before.at[i]);
    assert_true(lost <= 4);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_near_the_average),
        cmocka_unit_test(test_pieces_do_not_matter),
        cmocka_unit_test(test_cuts_follow_content_after_a_shift),
        cmocka_unit_test(test_rows_end_chunks),
        cmocka_unit_test(test_a_row_longer_than_a_chunk),
        cmocka_unit_test(test_pages_stay_whole),
        cmocka_unit_test(test_monotonous_content),
        cmocka_unit_test(test_short_input),
        cmocka_unit_test(test_edits_stay_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
