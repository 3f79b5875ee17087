#include "util/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_first_in_first_out(void **state)
{
    Queue q;
    int items[5];
    assert_int_equal(queue_init(&q, 3), 0);
    for (int round = 0; round < 4; round++) { /* past the end of the ring */
        for (int i = 0; i < 3; i++)
            assert_int_equal(queue_push(&q, &items[i]), 0);
        for (int i = 0; i < 3; i++)
            assert_ptr_equal(queue_pop(&q), &items[i]);
    }
    queue_release(&q);
}

static void test_closed_queue_drains(void **state)
{
    Queue q;
    int item;
    assert_int_equal(queue_init(&q, 2), 0);
    assert_int_equal(queue_push(&q, &item), 0);
    queue_close(&q);
    assert_int_equal(queue_push(&q, &item), -EPIPE);
    assert_ptr_equal(queue_pop(&q), &item);
    assert_null(queue_pop(&q));
    assert_null(queue_pop(&q));
    queue_release(&q);
}

#define PRODUCERS 4
#define EACH      5000

typedef struct Shared {
    Queue q;
    atomic_ulong sum, count;
} Shared;

static void *produce(void *arg)
{
    Shared *s = arg;
    for (uintptr_t i = 1; i <= EACH; i++)
        queue_push(&s->q, (void *)i);
    return NULL;
}

static void *consume(void *arg)
{
    Shared *s = arg;
    for (void *item; (item = queue_pop(&s->q));) {
        atomic_fetch_add(&s->sum, (uintptr_t)item);
        atomic_fetch_add(&s->count, 1);
    }
    return NULL;
}

static void test_many_threads_lose_nothing(void **state)
{
    Shared s = {0};
    pthread_t producers[PRODUCERS], consumers[3];
    assert_int_equal(queue_init(&s.q, 4), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&consumers[i], NULL, consume, &s), 0);
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&producers[i], NULL, produce, &s), 0);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i], NULL);
    queue_close(&s.q);
    for (int i = 0; i < 3; i++)
        pthread_join(consumers[i], NULL);
    assert_int_equal(atomic_load(&s.count), PRODUCERS * EACH);
    assert_int_equal(atomic_load(&s.sum), (unsigned long)PRODUCERS * EACH * (EACH + 1) / 2);
    queue_release(&s.q);
}

static void *push_one_more(void *arg)
{
    Shared *s = arg;
    return (void *)(intptr_t)queue_push(&s->q, s);
}

static void test_close_wakes_who_waits(void **state)
{
    Shared s = {0};
    pthread_t full, empty;
    void *result;
    assert_int_equal(queue_init(&s.q, 1), 0);
    assert_int_equal(queue_push(&s.q, &s), 0);
    assert_int_equal(pthread_create(&full, NULL, push_one_more, &s), 0);
    queue_close(&s.q);
    pthread_join(full, &result);
    assert_int_equal((intptr_t)result, -EPIPE);
    queue_release(&s.q);

    assert_int_equal(queue_init(&s.q, 1), 0);
    assert_int_equal(pthread_create(&empty, NULL, consume, &s), 0);
    queue_close(&s.q);
    pthread_join(empty, NULL);
    queue_release(&s.q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_closed_queue_drains),
        cmocka_unit_test(test_many_threads_lose_nothing),
        cmocka_unit_test(test_close_wakes_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
