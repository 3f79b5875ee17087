#include "store/object.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_references(void **state)
{
    Object *o = object_new(3);
    assert_non_null(o);
    assert_int_equal(o->len, 3);
    memcpy(o->data, "abc", 3);
    assert_ptr_equal(object_ref(o), o);
    object_unref(o);
    assert_memory_equal(o->data, "abc", 3);
    object_unref(o);
    object_unref(NULL);
    o = object_new(0);
    assert_non_null(o);
    object_unref(o);
}

static void *churn(void *arg)
{
    for (int i = 0; i < 20000; i++)
        object_unref(object_ref(arg));
    return NULL;
}

static void test_references_from_threads(void **state)
{
    Object *o = object_new(100);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, o), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&o->refs), 1);
    object_unref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_references_from_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
