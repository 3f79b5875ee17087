#include "store/packset.h"

#include <errno.h>
#include <pthread.h>

#include "fixture.h"

static int setup(void **state)
{
    fixture_setup(state);
    fixture_days(*state, 3);
    return 0;
}

static void test_names_and_reads(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    PackSet *s = NULL;
    ObjectId *names = NULL;
    size_t n;
    assert_ok(packset_new(store_backend(f->store), &s, &error));
    assert_int_equal(packset_count(s), 0);
    assert_ok(packset_refresh(s, &error));
    assert_int_equal(packset_count(s), 6);
    assert_int_equal(packset_names(s, &names, &n), 0);
    assert_int_equal(n, 6);
    for (size_t i = 0; i < n; i++) {
        char magic[9] = "";
        assert_true(packset_has(s, &names[i]));
        assert_ok(packset_read(s, &names[i], 0, magic, 8, &error));
        assert_string_equal(magic, "BAKFSPK1");
        PackIndex x = {0};
        uint64_t size;
        assert_ok(packset_load_index(s, &names[i], &x, &size, &error));
        assert_int_equal(packset_read(s, &names[i], size - 4, magic, 8, &error), -EBADMSG);
        error_release(&error);
        for (size_t k = 0; k < x.n; k++) {
            PackEntry entry;
            ObjectId base;
            assert_int_equal(packset_describe(s, &names[i], x.entries[k].offset, &x.entries[k].id,
                                              &entry, &base),
                             0);
            assert_int_equal(entry.plain_len, x.entries[k].plain_len);
            if (entry.encoding == ENCODING_DELTA)
                assert_memory_equal(&base, &x.bases[x.entries[k].base], ID_SIZE);
            assert_true(packset_describe(s, &names[i], x.entries[k].offset + 1, &x.entries[k].id,
                                         &entry, &base) < 0);
            assert_true(
                packset_describe(s, &names[i], x.entries[k].offset, &names[i], &entry, &base) < 0);
        }
        pack_index_release(&x);
    }
    const ObjectId none = {{1}};
    char byte;
    assert_false(packset_has(s, &none));
    assert_int_equal(packset_read(s, &none, 0, &byte, 1, &error), -ENOENT);
    error_release(&error);
    free(names);
    packset_free(s);
    packset_free(NULL);
}

static void test_packs_come_and_go(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    PackSet *s = NULL;
    ObjectId *names = NULL;
    size_t n;
    char name[PACK_NAME_SIZE], path[512], away[512], byte;
    assert_ok(packset_new(store_backend(f->store), &s, &error));
    assert_ok(packset_refresh(s, &error));
    assert_int_equal(packset_names(s, &names, &n), 0);
    pack_name(&names[0], name);
    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    snprintf(away, sizeof(away), "%s/away", f->dir);
    assert_ok(packset_read(s, &names[0], 0, &byte, 1, &error));
    assert_int_equal(rename(path, away), 0);
    assert_ok(packset_read(s, &names[0], 0, &byte, 1, &error)); /* still open */
    assert_ok(packset_refresh(s, &error));
    assert_int_equal(packset_count(s), n - 1);
    assert_int_equal(packset_read(s, &names[0], 0, &byte, 1, &error), -ENOENT);
    error_release(&error);
    assert_int_equal(rename(away, path), 0);
    assert_ok(packset_add(s, &names[0], &error));
    assert_ok(packset_add(s, &names[0], &error));
    assert_int_equal(packset_count(s), n);
    assert_ok(packset_read(s, &names[0], 0, &byte, 1, &error));
    free(names);
    packset_free(s);
}

typedef struct Reader {
    PackSet *set;
    const ObjectId *names;
    size_t n;
    bool ok;
} Reader;

static void *read_many(void *arg)
{
    Reader *r = arg;
    r->ok = true;
    for (int i = 0; i < 500; i++) {
        char magic[8];
        PackIndex x = {0};
        const ObjectId *name = &r->names[(size_t)i % r->n];
        r->ok &= packset_read(r->set, name, 0, magic, 8, NULL) == 0;
        if (i % 50 == 0) {
            r->ok &= packset_refresh(r->set, NULL) == 0;
            r->ok &= packset_load_index(r->set, name, &x, NULL, NULL) == 0;
        }
        pack_index_release(&x);
    }
    return NULL;
}

static void test_threads(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectId *names = NULL;
    size_t n;
    PackSet *s = NULL;
    assert_ok(packset_new(store_backend(f->store), &s, &error));
    assert_ok(packset_refresh(s, &error));
    assert_int_equal(packset_names(s, &names, &n), 0);
    pthread_t threads[4];
    Reader readers[4];
    for (size_t i = 0; i < 4; i++) {
        readers[i] = (Reader){.set = s, .names = names, .n = n};
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, &readers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(readers[i].ok);
    }
    free(names);
    packset_free(s);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_names_and_reads),
        WITH_STORE(test_packs_come_and_go),
        WITH_STORE(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
