#include "fs/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Fake {
    ObjectSource source;
    pthread_mutex_t gate; /* loads wait while it is held */
    atomic_int loads, at_once, most_at_once;
} Fake;

static int fake_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Fake *f = (Fake *)s;
    int now = atomic_fetch_add(&f->at_once, 1) + 1, most = atomic_load(&f->most_at_once);
    while (now > most && !atomic_compare_exchange_weak(&f->most_at_once, &most, now))
        continue;
    pthread_mutex_lock(&f->gate);
    pthread_mutex_unlock(&f->gate);
    int r = id->b[0] % 3 == 0 ? error_set(e, EIO, "bad") : 0;
    if (r == 0)
        *ret_object = object_new(1);
    atomic_fetch_sub(&f->at_once, 1);
    atomic_fetch_add(&f->loads, 1);
    return r;
}

static Ahead *start(Fake *f, unsigned threads)
{
    Ahead *a;
    f->source.get = fake_get;
    pthread_mutex_init(&f->gate, NULL);
    assert_int_equal(ahead_new(&f->source, threads, &a, NULL), 0);
    return a;
}

static bool ask(Ahead *a, unsigned n)
{
    ObjectId id = {{(uint8_t)n}};
    return ahead_load(a, &id);
}

static void wait_for(atomic_int *value, int at_least)
{
    for (int i = 0; i < 5000 && atomic_load(value) < at_least; i++)
        usleep(1000);
    assert_in_range(atomic_load(value), at_least, INT32_MAX);
}

static void loads_what_it_is_asked_for(void **state)
{
    Fake f = {0};
    Ahead *a = start(&f, 3);
    for (unsigned i = 0; i < 100; i++)
        assert_true(ask(a, i));
    wait_for(&f.loads, 100);
    ahead_free(a);
    assert_int_equal(f.loads, 100);
}

static void several_load_at_once_and_the_rest_is_bounded(void **state)
{
    Fake f = {0};
    Ahead *a = start(&f, 4);
    unsigned taken = 0;
    pthread_mutex_lock(&f.gate);
    for (unsigned i = 0; i < 4; i++)
        assert_true(ask(a, i));
    wait_for(&f.at_once, 4);
    while (taken < 100000 && ask(a, taken))
        taken++;
    assert_in_range(taken, 16, 4096); /* never waits: it says no */
    pthread_mutex_unlock(&f.gate);
    wait_for(&f.loads, 4 + (int)taken);
    assert_int_equal(f.most_at_once, 4);
    assert_true(ask(a, 1));
    ahead_free(a);
}

static void ends_without_loading_what_is_left(void **state)
{
    Fake f = {0};
    Ahead *a = start(&f, 1);
    pthread_mutex_lock(&f.gate);
    for (unsigned i = 0; i < 50; i++)
        ask(a, i);
    wait_for(&f.at_once, 1);
    pthread_mutex_unlock(&f.gate);
    ahead_free(a);
    assert_in_range(f.loads, 1, 50);
    ahead_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_what_it_is_asked_for),
        cmocka_unit_test(several_load_at_once_and_the_rest_is_bounded),
        cmocka_unit_test(ends_without_loading_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
