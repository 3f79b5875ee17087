#include "verify/scrub.h"

#include <errno.h>

#include "harm.h"

/* Read all packs with `threads` threads; what was found is in `damage`. */
static void scrub(Fixture *f, unsigned threads, DamageList *damage, ScrubProgress *progress)
{
    Error error = ERROR_INIT;
    Inventory *v;
    const ScrubOptions o = {.store = f->store, .threads = threads};
    damage_list_init(damage);
    assert_ok(
        inventory_new(store_backend(f->store), store_packs(f->store), damage, NULL, &v, &error));
    inventory_want_all(v);
    assert_ok(scrub_packs(v, store_backend(f->store), store_packs(f->store), &o, damage, progress,
                          &error));
    inventory_free(v);
}

static void test_a_sound_store(void **state)
{
    Fixture *f = *state;
    fixture_backup(f, 5 << 20, 1, NULL);
    static const unsigned threads[] = {0, 1, 2, 7, 64};
    ScrubProgress first = {0};
    for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++) {
        DamageList damage;
        ScrubProgress p;
        scrub(f, threads[i], &damage, &p);
        assert_int_equal(damage.n, 0);
        assert_true(p.plain_bytes >= 5 << 20);
        if (i == 0)
            first = p;
        assert_memory_equal(&p, &first, sizeof(p));
        damage_list_release(&damage);
    }
}

static void test_an_empty_store(void **state)
{
    DamageList damage;
    ScrubProgress p;
    scrub(*state, 0, &damage, &p);
    assert_int_equal(damage.n, 0);
    assert_int_equal(p.objects, 0);
    damage_list_release(&damage);
}

/* Every byte of a small store's packs, one at a time: the damage is found and its pack named. */
static void test_every_flipped_byte_is_found(void **state)
{
    Fixture *f = *state;
    fixture_backup(f, 900, 1, NULL);
    Files packs;
    files_list(f, ".pack", &packs);
    assert_int_equal(packs.n, 2);
    for (size_t i = 0; i < packs.n; i++) {
        size_t size = file_size(packs.paths[i]);
        for (size_t at = 0; at < size; at++) {
            DamageList damage;
            ScrubProgress p;
            flip(packs.paths[i], at, (uint8_t)(1 << (at % 8)));
            scrub(f, 1, &damage, &p);
            if (!damage_names(&damage, DAMAGE_PACK, packs.paths[i]))
                fail_msg("byte %zu of %s", at, packs.paths[i]);
            flip(packs.paths[i], at, (uint8_t)(1 << (at % 8)));
            damage_list_release(&damage);
        }
    }
    files_release(&packs);
}

static void test_the_object_is_named(void **state)
{
    Fixture *f = *state;
    fixture_backup(f, 4 << 20, 1, NULL);
    Files packs;
    files_list(f, ".pack", &packs);
    size_t big = file_size(packs.paths[0]) > file_size(packs.paths[1]) ? 0 : 1;
    flip(packs.paths[big], file_size(packs.paths[big]) / 2, 0x10);
    DamageList damage;
    ScrubProgress p;
    scrub(f, 2, &damage, &p);
    assert_int_equal(damage.n, 2); /* the object, and the pack's SHA-256 */
    assert_true(damage_names(&damage, DAMAGE_PACK, packs.paths[big]));
    assert_true(damage_names(&damage, DAMAGE_OBJECT, packs.paths[big]));
    damage_list_release(&damage);
    files_release(&packs);
}

static void test_deltas_fall_with_their_base(void **state)
{
    Fixture *f = *state;
    fixture_days(f, 6);
    DamageList damage;
    ScrubProgress p;
    scrub(f, 2, &damage, &p);
    assert_int_equal(damage.n, 0);
    assert_int_equal(p.bytes, p.total_bytes);
    damage_list_release(&damage);

    Files packs;
    files_list(f, ".pack", &packs);
    char *first = files_biggest(&packs);
    flip(first, file_size(first) / 3, 4);
    scrub(f, 2, &damage, &p);
    size_t bases = 0;
    for (size_t i = 0; i < damage.n; i++) {
        assert_true(strstr(first, damage.items[i].file) != NULL); /* the only culprit */
        bases += damage.items[i].kind == DAMAGE_BASE;
    }
    assert_true(bases >= 1);
    assert_int_equal(damage.n, bases + 2);
    assert_int_equal(p.bytes, p.total_bytes);
    damage_list_release(&damage);
    files_release(&packs);
}

static void test_truncated_packs(void **state)
{
    Fixture *f = *state;
    fixture_backup(f, 1 << 20, 1, NULL);
    Files packs;
    files_list(f, ".pack", &packs);
    size_t size = file_size(packs.paths[0]);
    assert_int_equal(chmod(packs.paths[0], 0600), 0);
    const size_t sizes[] = {size - 1, size - 48, size / 2, 120, 80, 79, 32, 31, 1, 0};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        DamageList damage;
        ScrubProgress p;
        assert_int_equal(truncate(packs.paths[0], (off_t)sizes[i]), 0);
        scrub(f, 2, &damage, &p);
        assert_true(damage_names(&damage, DAMAGE_PACK, packs.paths[0]));
        damage_list_release(&damage);
    }
    files_release(&packs);
}

static void test_unwanted_packs_are_not_read(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    fixture_backup(f, 1 << 20, 1, NULL);
    Files packs;
    files_list(f, ".pack", &packs);
    flip(packs.paths[0], 200, 1);
    flip(packs.paths[1], 200, 1);
    DamageList damage;
    ScrubProgress p;
    Inventory *v;
    const ScrubOptions o = {0};
    damage_list_init(&damage);
    assert_ok(
        inventory_new(store_backend(f->store), store_packs(f->store), &damage, NULL, &v, &error));
    assert_ok(
        scrub_packs(v, store_backend(f->store), store_packs(f->store), &o, &damage, &p, &error));
    assert_int_equal(damage.n, 0);
    assert_int_equal(p.bytes, 0);
    inventory_free(v);
    damage_list_release(&damage);
    files_release(&packs);
}

static void test_interruption(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    fixture_backup(f, 1 << 20, 1, NULL);
    atomic_bool cancel = true;
    DamageList damage;
    ScrubProgress p;
    Inventory *v;
    const ScrubOptions o = {.cancel = &cancel};
    damage_list_init(&damage);
    assert_ok(
        inventory_new(store_backend(f->store), store_packs(f->store), &damage, NULL, &v, &error));
    inventory_want_all(v);
    assert_int_equal(
        scrub_packs(v, store_backend(f->store), store_packs(f->store), &o, &damage, &p, &error),
        -EINTR);
    error_release(&error);
    inventory_free(v);
    damage_list_release(&damage);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_a_sound_store),
        WITH_STORE(test_an_empty_store),
        WITH_STORE(test_every_flipped_byte_is_found),
        WITH_STORE(test_the_object_is_named),
        WITH_STORE(test_deltas_fall_with_their_base),
        WITH_STORE(test_truncated_packs),
        WITH_STORE(test_unwanted_packs_are_not_read),
        WITH_STORE(test_interruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
