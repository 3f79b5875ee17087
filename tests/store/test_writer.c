#include "store/backend.h"
#include "store/writer.h"

#include <errno.h>
#include <pthread.h>

#include "fixture.h"

static void test_objects_are_read_back(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const size_t sizes[] = {1, 2, 1000, 65536, OBJECT_MAX - 1, OBJECT_MAX};
    uint8_t *data = malloc(OBJECT_MAX);
    for (int noise = 0; noise < 2; noise++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            ObjectId id, expected;
            Object *o = NULL;
            memset(data, 'x', OBJECT_MAX);
            if (noise)
                test_fill_random(data, OBJECT_MAX, i);
            assert_ok(writer_put(f->writer, OBJECT_DATA, data, sizes[i], &id, &error));
            assert_int_equal(id_of(data, sizes[i], &expected), 0);
            assert_memory_equal(&id, &expected, ID_SIZE);
            assert_ok(object_get(writer_objects(f->writer), &id, &o, &error));
            assert_int_equal(o->len, sizes[i]);
            assert_memory_equal(o->data, data, sizes[i]);
            object_unref(o);
            /* Nobody else sees it before the commit. */
            assert_int_equal(object_get(store_objects(f->store), &id, &o, &error), -EIO);
            error_release(&error);
        }
    free(data);
}

static void test_sizes_are_bounded(void **state)
{
    Fixture *f = *state;
    ObjectId id;
    Error error = ERROR_INIT;
    uint8_t *data = calloc(1, OBJECT_MAX + 1);
    assert_int_equal(writer_put(f->writer, OBJECT_DATA, data, OBJECT_MAX + 1, &id, &error),
                     -EINVAL);
    error_release(&error);
    free(data);
}

static void test_the_same_bytes_are_stored_once(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    WriterStats stats;
    ObjectId id, again;
    uint8_t data[10000];
    test_fill_random(data, sizeof(data), 1);
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, sizeof(data), &id, &error));
    assert_ok(writer_put(f->writer, OBJECT_ROPE, data, sizeof(data), &again, &error));
    assert_memory_equal(&id, &again, ID_SIZE);
    writer_stats(f->writer, &stats);
    assert_int_equal(stats.objects, 2);
    assert_int_equal(stats.objects_new, 1);
    assert_int_equal(stats.bytes_in, 20000);
    assert_in_range(stats.bytes_new, 10000, 10200);

    fixture_backup(f, 1000, 1, NULL);
    fixture_begin(f);
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, sizeof(data), &again, &error));
    writer_stats(f->writer, &stats);
    assert_int_equal(stats.objects_new, 0);
}

typedef struct Putter {
    Fixture *f;
    uint64_t seed;
    bool ok;
} Putter;

static void *put_many(void *arg)
{
    Putter *p = arg;
    p->ok = true;
    for (uint64_t i = 0; i < 200; i++) {
        uint8_t data[3000];
        ObjectId id;
        Object *o = NULL;
        /* Half of the objects are those of the other threads. */
        test_fill_random(data, sizeof(data), i % 2 ? i : p->seed + i);
        p->ok &= writer_put(p->f->writer, OBJECT_DATA, data, sizeof(data), &id, NULL) == 0 &&
                 object_get(writer_objects(p->f->writer), &id, &o, NULL) == 0 &&
                 memcmp(o->data, data, sizeof(data)) == 0;
        object_unref(o);
    }
    return NULL;
}

static void test_threads(void **state)
{
    Fixture *f = *state;
    enum { THREADS = 4 };
    Putter putters[THREADS];
    pthread_t threads[THREADS];
    WriterStats stats;
    for (size_t i = 0; i < THREADS; i++) {
        putters[i] = (Putter){.f = f, .seed = (i + 1) * 100000};
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &putters[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(putters[i].ok);
    }
    writer_stats(f->writer, &stats);
    assert_int_equal(stats.objects, THREADS * 200);
    assert_int_equal(stats.objects_new, THREADS * 100 + 100);
}

static void test_tickets(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    enum { TICKETS = 100 };
    PutTicket *tickets = calloc(TICKETS, sizeof(*tickets));
    for (uint32_t i = 0; i < TICKETS; i++) {
        Object *o = object_new(5000);
        test_fill_random(o->data, o->len, i);
        tickets[i] = (PutTicket){.object = o, .type = OBJECT_DATA};
        assert_int_equal(writer_submit(f->writer, &tickets[i]), 0);
    }
    for (uint32_t i = TICKETS; i-- > 0;) {
        uint8_t data[5000];
        ObjectId id;
        test_fill_random(data, sizeof(data), i);
        assert_int_equal(id_of(data, sizeof(data), &id), 0);
        assert_ok(writer_wait(f->writer, &tickets[i], &error));
        assert_memory_equal(&id, &tickets[i].id, ID_SIZE);
    }
    free(tickets);
}

static void test_a_second_writer_is_turned_away(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    StoreWriter *w = NULL;
    Store *s = NULL;
    const WriterOptions o = {0};
    assert_ok(store_open(f->path, &s, &error));
    assert_int_equal(writer_begin(s, &o, &w, &error), -EAGAIN);
    assert_int_equal(error.exit_code, BK_EXIT_LOCKED);
    assert_null(w);
    error_release(&error);
    writer_end(f->writer);
    f->writer = NULL;
    assert_ok(writer_begin(s, &o, &w, &error));
    writer_end(w);
    writer_end(NULL);
    store_close(s);
}

static void test_giving_up_leaves_nothing(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectId id;
    assert_ok(writer_put(f->writer, OBJECT_DATA, "abc", 3, &id, &error));
    writer_end(f->writer);
    f->writer = NULL;
    char command[600];
    snprintf(command, sizeof(command), "test -z \"$(find %s/packs %s/tmp %s/manifests -type f)\"",
             f->path, f->path, f->path);
    assert_int_equal(system(command), 0);
}

/* What a killed writer left in tmp/ goes with the next one. */
static void test_leftovers_are_swept(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Backend *b = store_backend(f->store);
    BackendTemp *t = NULL;
    writer_end(f->writer);
    f->writer = NULL;
    assert_ok(b->ops->create(b, true, &t, &error));
    fixture_begin(f);
    assert_int_equal(b->ops->publish(t, "packs/x", &error), -ENOENT);
    error_release(&error);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_objects_are_read_back),
        WITH_STORE(test_sizes_are_bounded),
        WITH_STORE(test_the_same_bytes_are_stored_once),
        WITH_STORE(test_threads),
        WITH_STORE(test_tickets),
        WITH_STORE(test_a_second_writer_is_turned_away),
        WITH_STORE(test_giving_up_leaves_nothing),
        WITH_STORE(test_leftovers_are_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
