#include "source/postgres/joiner.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "util/buf.h"
#include "util/cleanup.h"

/* What several threads share. Piece i is `lines` lines "i:line". */
typedef struct Shared {
    Joiner *joiner;
    Buf out;
    size_t lines, fail_at; /* bytes after which writing fails; 0: never */
    atomic_bool stop;
    atomic_int writers, ends;
} Shared;

static int write_out(void *ctx, const void *data, size_t len, Error *e)
{
    Shared *s = ctx;
    assert_int_equal(atomic_fetch_add(&s->writers, 1), 0); /* one at a time */
    int r = s->fail_at && s->out.len > s->fail_at ? error_set(e, EIO, "full")
                                                  : buf_add(&s->out, data, len);
    atomic_fetch_sub(&s->writers, 1);
    return r;
}

static bool should_stop(void *ctx)
{
    return atomic_load(&((Shared *)ctx)->stop);
}

static void doze(unsigned *seed)
{
    if (rand_r(seed) % 16 == 0)
        nanosleep(&(struct timespec){.tv_nsec = rand_r(seed) % 200000}, NULL);
}

static void *bring(void *arg)
{
    Shared *s = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    size_t piece;
    int r = 0;
    while (r >= 0 && (piece = joiner_take(s->joiner)) != SIZE_MAX) {
        for (size_t i = 0; r >= 0 && i < s->lines * (piece % 3); i++) { /* some are empty */
            char line[64];
            int n = snprintf(line, sizeof(line), "%zu:%zu\n", piece, i);
            r = joiner_write(s->joiner, piece, line, (size_t)n, NULL);
            doze(&seed);
        }
        if (r >= 0)
            r = joiner_end(s->joiner, piece, NULL);
        if (r == 1)
            atomic_fetch_add(&s->ends, 1);
    }
    if (r < 0)
        atomic_store(&s->stop, true);
    return NULL;
}

static void run(Shared *s, size_t pieces, size_t budget, size_t n_threads)
{
    pthread_t threads[8];
    const JoinerOptions o = {.pieces = pieces,
                             .budget = budget,
                             .write = write_out,
                             .should_stop = should_stop,
                             .write_ctx = s,
                             .stop_ctx = s};
    assert_int_equal(joiner_new(&o, &s->joiner), 0);
    for (size_t i = 0; i < n_threads; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bring, s), 0);
    for (size_t i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
}

static void test_order(void **state)
{
    static const size_t budgets[] = {0, 10, 1000, 1u << 30};
    for (size_t b = 0; b < sizeof(budgets) / sizeof(budgets[0]); b++) {
        Shared s = {.lines = 100};
        _cleanup_(buf_release) Buf expected = BUF_INIT;
        for (size_t piece = 0; piece < 40; piece++)
            for (size_t i = 0; i < s.lines * (piece % 3); i++)
                assert_int_equal(buf_addf(&expected, "%zu:%zu\n", piece, i), 0);
        run(&s, 40, budgets[b], 5);
        assert_int_equal(atomic_load(&s.ends), 1);
        assert_int_equal(s.out.len, expected.len);
        assert_memory_equal(s.out.data, expected.data, expected.len);
        assert_false(joiner_has_pieces(s.joiner));
        joiner_free(s.joiner);
        buf_release(&s.out);
    }
}

/* A failure ends all who wait; what is kept is freed. */
static void test_failure(void **state)
{
    Shared s = {.lines = 200, .fail_at = 2000};
    run(&s, 60, 3000, 4);
    assert_true(atomic_load(&s.stop));
    assert_int_equal(atomic_load(&s.ends), 0);
    joiner_free(s.joiner);
    buf_release(&s.out);
}

/* By one thread, in an order that nobody else would take. */
static void test_last_first(void **state)
{
    Shared s = {.lines = 0};
    const JoinerOptions o = {.pieces = 3, .budget = 1u << 20, .write = write_out, .write_ctx = &s};
    _cleanup_(buf_release) Buf big = BUF_INIT;
    for (size_t i = 0; i < 700000; i++)
        assert_int_equal(buf_add_u8(&big, (uint8_t)(i * 7)), 0);
    assert_int_equal(joiner_new(&o, &s.joiner), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(joiner_take(s.joiner), i);
    assert_true(joiner_take(s.joiner) == SIZE_MAX);
    assert_int_equal(joiner_write(s.joiner, 2, big.data, big.len, NULL), 0);
    assert_int_equal(joiner_end(s.joiner, 2, NULL), 0);
    assert_int_equal(joiner_end(s.joiner, 1, NULL), 0);
    assert_int_equal(joiner_write(s.joiner, 0, "x", 1, NULL), 0);
    assert_int_equal(s.out.len, 1);
    assert_int_equal(joiner_end(s.joiner, 0, NULL), 1);
    assert_int_equal(s.out.len, 1 + big.len);
    assert_memory_equal(s.out.data + 1, big.data, big.len);
    joiner_free(s.joiner);
    buf_release(&s.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_last_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
