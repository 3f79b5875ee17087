/* Where objects lie when the catalogue knows too little. */
#include <errno.h>

#include "fixture.h"
#include "store/store_private.h"

/* Every object of the packs is found at its place. */
static void check_all_found(Fixture *f)
{
    Error error = ERROR_INIT;
    ObjectId *packs = NULL;
    size_t n;
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    assert_true(n >= 4);
    for (size_t i = 0; i < n; i++) {
        PackIndex x = {0};
        assert_ok(packset_load_index(store_packs(f->store), &packs[i], &x, NULL, &error));
        for (size_t k = 0; k < x.n; k++) {
            Place place;
            PackEntry entry;
            ObjectId base;
            assert_int_equal(store_find(f->store, &x.entries[k].id, &place), 0);
            assert_memory_equal(&place.pack, &packs[i], ID_SIZE);
            assert_int_equal(place.offset, x.entries[k].offset);
            assert_int_equal(place.length, PACK_RECORD_SIZE + x.entries[k].stored_len);
            assert_int_equal(store_holds(f->store, &x.entries[k].id, NULL), HOLDS_SOUND);
            assert_int_equal(store_describe(f->store, &x.entries[k].id, &entry, &base), 0);
            assert_int_equal(entry.encoding, x.entries[k].encoding);
        }
        pack_index_release(&x);
    }
    free(packs);
    Place place;
    assert_int_equal(store_find(f->store, &(ObjectId){{9}}, &place), -ENOENT);
    assert_int_equal(store_holds(f->store, &(ObjectId){{9}}, NULL), HOLDS_NOT);
}

static int setup(void **state)
{
    fixture_setup(state);
    fixture_days(*state, 3);
    return 0;
}

static void test_by_the_catalogue(void **state)
{
    fixture_reopen(*state);
    check_all_found(*state);
}

static void test_by_the_packs(void **state)
{
    Fixture *f = *state;
    char path[512];
    snprintf(path, sizeof(path), "%s/metadata.db", f->path);
    assert_int_equal(unlink(path), 0);
    fixture_reopen(f);
    assert_null(store_catalogue(f->store));
    check_all_found(f);
}

/* A catalogue from before the last two backups, as a copying tool may bring it back. */
static void test_by_both(void **state)
{
    Fixture *f = *state;
    char command[900];
    fixture_begin(f);
    snprintf(command, sizeof(command), "cp %s/metadata.db %s/old.db", f->path, f->dir);
    assert_int_equal(system(command), 0);
    fixture_backup(f, 500000, 77, NULL);
    snprintf(command, sizeof(command), "cp %s/old.db %s/metadata.db", f->dir, f->path);
    assert_int_equal(system(command), 0);
    fixture_reopen(f);
    assert_non_null(store_catalogue(f->store));
    check_all_found(f);
    assert_int_equal(store_overlay_fill(f->store), 0);
    check_all_found(f);
    assert_int_equal(store_overlay_fill(f->store), -ENOENT); /* once is enough */
}

/* Packs that are asked for again and again are read once, and not trusted when they are gone. */
static void test_near_packs(void **state)
{
    Fixture *f = *state;
    ObjectId *packs = NULL;
    size_t n;
    char name[PACK_NAME_SIZE], command[700];
    fixture_reopen(f);
    check_all_found(f);
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    assert_int_equal(f->store->near.n_packs, n);
    assert_true(f->store->near.map.count > 0);
    pack_name(&packs[0], name);
    snprintf(command, sizeof(command), "mv %s/%s %s/away", f->path, name, f->dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_overlay_fill(f->store), 0);
    assert_int_equal(f->store->near.n_packs, 0);
    snprintf(command, sizeof(command), "mv %s/away %s/%s", f->dir, f->path, name);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_overlay_fill(f->store), 0); /* packs came since */
    check_all_found(f);
    assert_int_equal(store_overlay_fill(f->store), -ENOENT);
    Error error = ERROR_INIT;
    assert_ok(store_refresh(f->store, &error)); /* what is full and still right is kept */
    assert_int_equal(store_overlay_fill(f->store), -ENOENT);
    free(packs);
}

/* An object whose pack is gone is not held, whatever the catalogue says. */
static void test_lost_packs_hold_nothing(void **state)
{
    Fixture *f = *state;
    ObjectId *packs = NULL;
    size_t n;
    char command[700], name[PACK_NAME_SIZE];
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    PackIndex x = {0};
    Error error = ERROR_INIT;
    assert_ok(packset_load_index(store_packs(f->store), &packs[0], &x, NULL, &error));
    pack_name(&packs[0], name);
    snprintf(command, sizeof(command), "rm -f %s/%s", f->path, name);
    assert_int_equal(system(command), 0);
    fixture_reopen(f);
    for (size_t i = 0; i < x.n; i++)
        assert_int_not_equal(store_holds(f->store, &x.entries[i].id, NULL), HOLDS_SOUND);
    pack_index_release(&x);
    free(packs);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_by_the_catalogue),
        WITH_STORE(test_by_the_packs),
        WITH_STORE(test_by_both),
        WITH_STORE(test_near_packs),
        WITH_STORE(test_lost_packs_hold_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
