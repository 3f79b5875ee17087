#include "fs/cache.h"

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

/* A source of made-up objects: object n is `size` bytes of value n. */
typedef struct Fake {
    ObjectSource source;
    uint32_t size;
    useconds_t delay;
    atomic_int loads, at_once, most_at_once;
    atomic_int fail; /* a negative errno */
} Fake;

static ObjectId make_id(uint32_t n)
{
    ObjectId id = {{0}};
    memcpy(id.b, &n, sizeof(n));
    id.b[ID_SIZE - 1] = (uint8_t)(n * 7);
    return id;
}

static int fake_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Fake *f = (Fake *)s;
    atomic_fetch_add(&f->loads, 1);
    int now = atomic_fetch_add(&f->at_once, 1) + 1;
    if (now > atomic_load(&f->most_at_once))
        atomic_store(&f->most_at_once, now);
    if (f->delay)
        usleep(f->delay);
    int fail = atomic_load(&f->fail), r = 0;
    if (fail) {
        error_set(e, ENOENT, "object is broken"); /* what counts is what the function returns */
        error_hint(e, "mend it");
        r = fail;
    } else {
        Object *o = object_new(f->size);
        assert_non_null(o);
        memset(o->data, id->b[0], f->size);
        *ret_object = o;
    }
    atomic_fetch_sub(&f->at_once, 1);
    return r;
}

static Cache *new_cache(Fake *f, uint64_t limit)
{
    Cache *c;
    f->source.get = fake_get;
    assert_int_equal(cache_new(&f->source, limit, &c), 0);
    return c;
}

static void get_from(ObjectSource *source, uint32_t n)
{
    ObjectId id = make_id(n);
    Object *o = NULL;
    assert_int_equal(object_get(source, &id, &o, NULL), 0);
    assert_int_equal(o->data[0], (uint8_t)n);
    assert_int_equal(o->data[o->len - 1], (uint8_t)n);
    object_unref(o);
}

static void get(Cache *c, uint32_t n)
{
    get_from(cache_objects(c), n);
}

/* What a reader passes by leaves soon, and nothing that others use leaves for it. */
static void passing_takes_little_room(void **state)
{
    Fake f = {.size = 100000};
    Cache *c = new_cache(&f, 256 << 20);
    CacheStats s;
    for (uint32_t n = 0; n < 500; n++)
        get(c, n);
    for (uint32_t n = 1000; n < 5000; n++) {
        if (n % 2)
            get(c, n); /* read ahead */
        get_from(cache_passing(c), n);
        get_from(cache_passing(c), n);
    }
    cache_stats(c, &s);
    assert_int_equal(atomic_load(&f.loads), 4500);
    assert_in_range(s.bytes, 500 * f.size, 500 * f.size + (17 << 20));
    for (uint32_t n = 0; n < 500; n++)
        get(c, n);
    get_from(cache_passing(c), 4999); /* a second reader close behind */
    assert_int_equal(atomic_load(&f.loads), 4500);
    cache_free(c);
}

/* Whoever comes back to what was passed keeps it. */
static void passed_objects_can_be_kept(void **state)
{
    Fake f = {.size = 100000};
    Cache *c = new_cache(&f, 256 << 20);
    get_from(cache_passing(c), 1);
    get(c, 1);
    for (uint32_t n = 1000; n < 3000; n++)
        get_from(cache_passing(c), n);
    get(c, 1);
    assert_int_equal(atomic_load(&f.loads), 2001);
    cache_free(c);
}

static void second_get_is_a_hit(void **state)
{
    Fake f = {.size = 1000};
    Cache *c = new_cache(&f, 64 << 20);
    CacheStats s;
    for (int round = 0; round < 3; round++)
        for (uint32_t n = 0; n < 500; n++)
            get(c, n);
    cache_stats(c, &s);
    assert_int_equal(f.loads, 500);
    assert_int_equal(s.loads, 500);
    assert_int_equal(s.hits, 1000);
    assert_int_equal(s.objects, 500);
    assert_in_range(s.bytes, 500 * 1000, 500 * 1400);
    cache_free(c);
}

static void memory_keeps_its_bound(void **state)
{
    Fake f = {.size = 100000};
    const uint64_t limit = 4 << 20;
    Cache *c = new_cache(&f, limit);
    CacheStats s;
    for (uint32_t n = 0; n < 300; n++) {
        get(c, n);
        cache_stats(c, &s);
        assert_in_range(s.bytes, 1, limit);
    }
    assert_in_range(s.objects, 25, 42);
    get(c, 299); /* the newest is held, the oldest is not */
    assert_int_equal(f.loads, 300);
    get(c, 0);
    assert_int_equal(f.loads, 301);
    cache_free(c);
}

static void what_is_used_stays(void **state)
{
    Fake f = {.size = 100000};
    Cache *c = new_cache(&f, 4 << 20);
    for (uint32_t n = 0; n < 300; n++) {
        get(c, n);
        get(c, 0);
    }
    assert_int_equal(f.loads, 300);
    cache_free(c);
}

static void object_larger_than_the_cache_is_served(void **state)
{
    Fake f = {.size = OBJECT_MAX};
    Cache *c = new_cache(&f, 1000);
    CacheStats s;
    get(c, 1);
    get(c, 1);
    cache_stats(c, &s);
    assert_int_equal(f.loads, 2);
    assert_int_equal(s.bytes, 0);
    cache_free(c);
}

static void object_outlives_its_place(void **state)
{
    Fake f = {.size = OBJECT_MAX};
    Cache *c = new_cache(&f, 3 << 20);
    ObjectId id = make_id(9);
    Object *o;
    assert_int_equal(object_get(cache_objects(c), &id, &o, NULL), 0);
    for (uint32_t n = 100; n < 110; n++)
        get(c, n);
    assert_int_equal(o->data[77], 9);
    cache_free(c);
    assert_int_equal(o->data[OBJECT_MAX - 1], 9);
    object_unref(o);
}

static void failures_are_told_and_forgotten(void **state)
{
    Fake f = {.size = 10, .fail = -EIO};
    Cache *c = new_cache(&f, 1 << 20);
    ObjectId id = make_id(3);
    Object *o = NULL;
    Error e = ERROR_INIT;
    CacheStats s;
    assert_int_equal(object_get(cache_objects(c), &id, &o, &e), -EIO);
    assert_null(o);
    assert_string_equal(e.message, "object is broken");
    assert_string_equal(e.hint, "mend it");
    f.fail = -ENOENT;
    assert_int_equal(object_get(cache_objects(c), &id, &o, &e), -ESTALE);
    f.fail = 0;
    get(c, 3);
    cache_stats(c, &s);
    assert_int_equal(s.failures, 2);
    assert_int_equal(s.objects, 1);
    error_release(&e);
    cache_free(c);
}

typedef struct Crowd {
    Cache *cache;
    uint32_t objects;
    int rounds, expect;
    atomic_int others;
} Crowd;

static void *crowd_member(void *arg)
{
    Crowd *crowd = arg;
    uint32_t n = (uint32_t)(uintptr_t)&crowd;
    for (int i = 0; i < crowd->rounds; i++) {
        n = n * 1103515245u + 12345u;
        ObjectId id = make_id((n >> 8) % crowd->objects);
        Object *o = NULL;
        Error e = ERROR_INIT;
        int r = object_get(cache_objects(crowd->cache), &id, &o, &e);
        if (r != crowd->expect || (r == 0 && o->data[0] != id.b[0]) ||
            (r < 0 && strcmp(e.message, "object is broken") != 0))
            atomic_fetch_add(&crowd->others, 1);
        object_unref(o);
        error_release(&e);
    }
    return NULL;
}

static void run_crowd(Crowd *crowd)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, crowd), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd->others, 0);
}

static void one_load_for_many_readers(void **state)
{
    Fake f = {.size = 5000, .delay = 100000};
    Crowd crowd = {.cache = new_cache(&f, 64 << 20), .objects = 1, .rounds = 1};
    CacheStats s;
    run_crowd(&crowd);
    assert_int_equal(f.loads, 1);
    cache_stats(crowd.cache, &s);
    assert_int_equal(s.waits + s.hits, 7);
    cache_free(crowd.cache);
}

static void a_failed_load_reaches_all_who_wait(void **state)
{
    Fake f = {.size = 5000, .delay = 100000, .fail = -EIO};
    Crowd crowd = {.cache = new_cache(&f, 1 << 20), .objects = 1, .rounds = 1, .expect = -EIO};
    CacheStats s;
    run_crowd(&crowd);
    cache_stats(crowd.cache, &s);
    assert_int_equal(s.bytes, 0);
    assert_int_equal(s.objects, 0);
    assert_int_equal(s.failures + s.waits, 8);
    cache_free(crowd.cache);
}

static void different_objects_load_at_once(void **state)
{
    Fake f = {.size = 5000, .delay = 20000};
    Crowd crowd = {.cache = new_cache(&f, 64 << 20), .objects = 100, .rounds = 4};
    run_crowd(&crowd);
    assert_in_range(f.most_at_once, 2, 8);
    cache_free(crowd.cache);
}

/* For the sanitizers: much comes and goes in a cache that holds little. */
static void crowd_in_a_small_cache(void **state)
{
    Fake f = {.size = 200000};
    const uint64_t limit = 20 << 20;
    Crowd crowd = {.cache = new_cache(&f, limit), .objects = 200, .rounds = 1000};
    CacheStats s;
    run_crowd(&crowd);
    cache_stats(crowd.cache, &s);
    assert_int_equal(s.hits + s.waits + s.loads, 8000);
    assert_in_range(s.bytes, 1, limit);
    assert_in_range(s.loads, 200, 7999);
    cache_free(crowd.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passing_takes_little_room),
        cmocka_unit_test(passed_objects_can_be_kept),
        cmocka_unit_test(second_get_is_a_hit),
        cmocka_unit_test(memory_keeps_its_bound),
        cmocka_unit_test(what_is_used_stays),
        cmocka_unit_test(object_larger_than_the_cache_is_served),
        cmocka_unit_test(object_outlives_its_place),
        cmocka_unit_test(failures_are_told_and_forgotten),
        cmocka_unit_test(one_load_for_many_readers),
        cmocka_unit_test(a_failed_load_reaches_all_who_wait),
        cmocka_unit_test(different_objects_load_at_once),
        cmocka_unit_test(crowd_in_a_small_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
