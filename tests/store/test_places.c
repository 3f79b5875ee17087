/* Places of the objects of some packs. */
#include <errno.h>

#include "fixture.h"
#include "store/places.h"

static int setup(void **state)
{
    fixture_setup(state);
    fixture_days(*state, 2);
    return 0;
}

static void test_objects_of_known_packs(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Places p = {0};
    Place place;
    ObjectId *packs = NULL;
    size_t n;
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    assert_true(n >= 2);
    for (size_t i = 0; i < n; i++) {
        PackIndex x = {0};
        assert_ok(packset_load_index(store_packs(f->store), &packs[i], &x, NULL, &error));
        assert_false(places_knows(&p, &packs[i]));
        assert_false(places_find(&p, &x.entries[0].id, &place));
        assert_ok(places_add(&p, store_packs(f->store), &packs[i], x.n, &error));
        assert_true(places_knows(&p, &packs[i]));
        for (size_t k = 0; k < x.n; k++) {
            assert_true(places_find(&p, &x.entries[k].id, &place));
            assert_int_equal(id_compare(&place.pack, &packs[i]), 0);
            assert_int_equal(place.offset, x.entries[k].offset);
            assert_int_equal(place.length, PACK_RECORD_SIZE + x.entries[k].stored_len);
        }
        pack_index_release(&x);
    }
    places_clear(&p);
    assert_false(places_knows(&p, &packs[0]));
    free(packs);
}

static void test_too_many_and_missing(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Places p = {0};
    Place place;
    PackIndex x = {0};
    ObjectId *packs = NULL;
    size_t n;
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    assert_ok(packset_load_index(store_packs(f->store), &packs[0], &x, NULL, &error));
    assert_ok(places_add(&p, store_packs(f->store), &packs[0], x.n - 1, &error));
    assert_true(places_knows(&p, &packs[0])); /* so that it is not tried again */
    assert_false(places_find(&p, &x.entries[0].id, &place));
    assert_int_equal(places_add(&p, store_packs(f->store), &(ObjectId){{9}}, 1, &error), -ENOENT);
    error_release(&error);
    assert_false(places_knows(&p, &(ObjectId){{9}}));
    places_clear(&p);
    pack_index_release(&x);
    free(packs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_objects_of_known_packs, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_too_many_and_missing, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
