/* Reading objects of a store: bytes that do not hash to their id never come out. */
#include <errno.h>
#include <fcntl.h>

#include "fixture.h"
#include "store/packset.h"

/* Every object of every pack of a store of deltas. */
typedef struct All {
    ObjectId *ids;
    size_t n;
} All;

static void list_all(Fixture *f, All *all)
{
    Error error = ERROR_INIT;
    ObjectId *packs = NULL;
    size_t n_packs;
    *all = (All){0};
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n_packs), 0);
    for (size_t i = 0; i < n_packs; i++) {
        PackIndex x = {0};
        assert_ok(packset_load_index(store_packs(f->store), &packs[i], &x, NULL, &error));
        all->ids = reallocarray(all->ids, all->n + x.n, sizeof(*all->ids));
        for (size_t k = 0; k < x.n; k++)
            all->ids[all->n++] = x.entries[k].id;
        pack_index_release(&x);
    }
    free(packs);
}

/* How many objects can be read; each of them is checked. */
static size_t read_all(Fixture *f, const All *all)
{
    size_t good = 0;
    for (size_t i = 0; i < all->n; i++) {
        Error error = ERROR_INIT;
        Object *o = NULL;
        ObjectId id;
        int r = object_get(store_objects(f->store), &all->ids[i], &o, &error);
        if (r == 0) {
            assert_int_equal(id_of(o->data, o->len, &id), 0);
            assert_memory_equal(&id, &all->ids[i], ID_SIZE);
            good++;
        } else {
            assert_int_equal(r, -EIO);
            assert_non_null(error.message);
        }
        object_unref(o);
        error_release(&error);
    }
    return good;
}

static void pack_path(Fixture *f, const ObjectId *pack, char out[512])
{
    char name[PACK_NAME_SIZE];
    pack_name(pack, name);
    snprintf(out, 512, "%s/%s", f->path, name);
}

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    chmod(path, 0600);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void test_chains_of_deltas(void **state)
{
    Fixture *f = *state;
    All all;
    fixture_days(f, 8);
    fixture_reopen(f);
    list_all(f, &all);
    assert_int_equal(read_all(f, &all), all.n);
    free(all.ids);
}

/* Any damage makes some objects unreadable, and never other ones wrong. */
static void test_damage_is_an_error_never_other_bytes(void **state)
{
    Fixture *f = *state;
    All all;
    ObjectId *packs = NULL;
    size_t n;
    uint64_t random = 8;
    fixture_days(f, 4);
    list_all(f, &all);
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    for (size_t i = 0; i < n; i++) {
        char path[512];
        struct stat st;
        pack_path(f, &packs[i], path);
        assert_int_equal(stat(path, &st), 0);
        for (int k = 0; k < 6; k++) {
            off_t at = (off_t)(test_random(&random) % (uint64_t)st.st_size);
            flip(path, at);
            read_all(f, &all); /* opened before */
            fixture_reopen(f);
            read_all(f, &all);
            flip(path, at);
        }
    }
    assert_int_equal(read_all(f, &all), all.n);
    free(all.ids);
    free(packs);
}

static void test_missing_packs(void **state)
{
    Fixture *f = *state;
    All all;
    ObjectId *packs = NULL;
    size_t n;
    fixture_days(f, 4);
    list_all(f, &all);
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    for (size_t i = 0; i < n; i++) {
        char path[512], away[512];
        pack_path(f, &packs[i], path);
        snprintf(away, sizeof(away), "%s/away", f->dir);
        assert_int_equal(rename(path, away), 0);
        fixture_reopen(f);
        assert_true(read_all(f, &all) < all.n);
        assert_int_equal(rename(away, path), 0);
        fixture_reopen(f);
        assert_int_equal(read_all(f, &all), all.n);
    }
    free(all.ids);
    free(packs);
}

static void test_unknown_objects(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Object *o = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(object_get(store_objects(f->store), &(ObjectId){{7}}, &o, &error), -EIO);
        assert_non_null(strstr(error.message, "0700000000"));
        error_release(&error);
    }
    assert_null(o);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_chains_of_deltas),
        WITH_STORE(test_damage_is_an_error_never_other_bytes),
        WITH_STORE(test_missing_packs),
        WITH_STORE(test_unknown_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
