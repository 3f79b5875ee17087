#include "verify/inventory.h"

#include <errno.h>

#include "harm.h"

static void open_inventory(Fixture *f, DamageList *l, Inventory **ret)
{
    Error error = ERROR_INIT;
    damage_list_init(l);
    assert_ok(inventory_new(store_backend(f->store), store_packs(f->store), l, NULL, ret, &error));
}

static void test_an_empty_store(void **state)
{
    DamageList damage;
    Inventory *v;
    open_inventory(*state, &damage, &v);
    assert_int_equal(v->n_packs, 0);
    assert_int_equal(v->n_objects, 0);
    assert_null(inventory_find(v, &(ObjectId){.b = {1}}));
    inventory_free(v);
    inventory_free(NULL);
    damage_list_release(&damage);
}

static void test_every_object_is_found(void **state)
{
    Fixture *f = *state;
    BackupInfo info;
    fixture_backup(f, 3 << 20, 1, &info);
    DamageList damage;
    Inventory *v;
    open_inventory(f, &damage, &v);
    assert_int_equal(damage.n, 0);
    assert_int_equal(v->n_packs, 2); /* data and nodes */
    assert_true(v->n_objects > 10);
    assert_int_equal(v->packs[0].objects + v->packs[1].objects, v->n_objects);
    for (size_t i = 0; i < v->n_objects; i++) {
        assert_ptr_equal(inventory_find(v, &v->objects[i].id), &v->objects[i]);
        assert_true(i == 0 || id_compare(&v->objects[i - 1].id, &v->objects[i].id) < 0);
    }
    InventoryObject *root = inventory_find(v, &info.root);
    assert_non_null(root);
    assert_null(inventory_find(v, &(ObjectId){{0}}));
    assert_null(inventory_find(v, &(ObjectId){.b = {[0 ... ID_SIZE - 1] = 0xff}}));

    assert_false(v->packs[root->pack].wanted);
    inventory_want(v, root);
    assert_true(v->packs[root->pack].wanted);
    assert_false(v->packs[1 - root->pack].wanted);

    const PackEntry entry = {
        .id = info.root, .offset = root->offset, .depth = (uint8_t)root->depth};
    assert_int_equal(root->sound, root - v->objects);
    assert_null(inventory_find_record(v, &entry, 1 - root->pack));
    assert_ptr_equal(inventory_find_record(v, &entry, root->pack), root);
    root->damaged = 1;
    inventory_settle(v);
    assert_int_equal(root->sound, INVENTORY_NONE);
    assert_false(root->lacking);
    backup_info_release(&info);
    inventory_free(v);
    damage_list_release(&damage);
}

static void test_copies_in_several_packs(void **state)
{
    (void)state;
    InventoryObject objects[] = {
        {.id = {{1}}, .pack = 0, .base = INVENTORY_NONE},
        {.id = {{2}}, .pack = 0, .base = INVENTORY_NONE},
        {.id = {{2}}, .pack = 1, .base = INVENTORY_NONE},
        {.id = {{2}}, .pack = 2, .base = INVENTORY_NONE},
        {.id = {{3}}, .pack = 1, .base = INVENTORY_NONE},
    };
    InventoryPack packs[3] = {0};
    Inventory v = {.packs = packs, .n_packs = 3, .objects = objects, .n_objects = 5};
    InventoryObject *o = inventory_find(&v, &objects[2].id);
    assert_ptr_equal(o, &objects[1]);
    objects[1].damaged = 1;
    inventory_settle(&v);
    assert_int_equal(o->sound, 2);
    objects[2].adrift = 1;
    inventory_settle(&v);
    assert_int_equal(o->sound, 3);
    objects[3].damaged = 1;
    inventory_settle(&v);
    assert_int_equal(o->sound, INVENTORY_NONE);
    assert_true(o->lacking);
    inventory_want(&v, inventory_find(&v, &objects[0].id));
    assert_true(packs[0].wanted && !packs[1].wanted && !packs[2].wanted);
    inventory_want(&v, o);
    assert_true(packs[1].wanted && packs[2].wanted);
}

static void test_deltas_know_their_bases(void **state)
{
    Fixture *f = *state;
    fixture_days(f, 5);
    DamageList damage;
    Inventory *v;
    open_inventory(f, &damage, &v);
    assert_true(v->n_deltas > 4);
    size_t linked = 0;
    for (uint32_t i = 0; i < v->n_objects; i++) {
        const InventoryObject *o = &v->objects[i];
        size_t n;
        const uint32_t *deltas = inventory_deltas(v, i, &n);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(v->objects[deltas[k]].base, i);
            assert_true(v->objects[deltas[k]].depth > o->depth);
        }
        linked += n;
        assert_int_equal(o->base != INVENTORY_NONE, o->encoding == ENCODING_DELTA);
        assert_int_equal(o->sound, i);
    }
    assert_int_equal(linked, v->n_deltas);

    /* Who wants a delta wants all below it. */
    for (uint32_t i = 0; i < v->n_deltas; i++)
        if (v->objects[v->deltas[i]].depth > 1) {
            inventory_want(v, &v->objects[v->deltas[i]]);
            size_t wanted = 0;
            for (size_t k = 0; k < v->n_objects; k++)
                wanted += v->objects[k].wanted;
            assert_true(wanted > 2);
            break;
        }
    inventory_free(v);
    damage_list_release(&damage);
}

/* The index is at the end of a pack: without it the records still tell. */
static void test_a_damaged_index_is_rebuilt_from_the_records(void **state)
{
    Fixture *f = *state;
    fixture_backup(f, 2 << 20, 1, NULL);
    DamageList damage;
    Inventory *v;
    open_inventory(f, &damage, &v);
    size_t objects = v->n_objects;
    inventory_free(v);
    damage_list_release(&damage);

    Files packs;
    files_list(f, ".pack", &packs);
    assert_int_equal(packs.n, 2);
    for (size_t i = 0; i < packs.n; i++) {
        flip(packs.paths[i], file_size(packs.paths[i]) - 60, 1);
        open_inventory(f, &damage, &v);
        assert_int_equal(damage.n, 1);
        assert_true(damage_names(&damage, DAMAGE_PACK, packs.paths[i]));
        assert_int_equal(v->n_objects, objects);
        assert_true(v->packs[0].scanned != v->packs[1].scanned);
        inventory_free(v);
        damage_list_release(&damage);
        flip(packs.paths[i], file_size(packs.paths[i]) - 60, 1);
    }
    files_release(&packs);
}

static void test_other_names_are_ignored(void **state)
{
    Fixture *f = *state;
    static const char *const names[] = {
        "packs/notes.txt",
        "packs/ab/notes.txt",
        /* in another's shard */
        "packs/ab/cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd.pack",
        "packs/ab/ABCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD.pack",
        "packs/ab/abcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd.tmp",
    };
    char path[512];
    snprintf(path, sizeof(path), "%s/packs/ab", f->path);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->path, names[i]);
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        fputs("something", file);
        fclose(file);
    }
    DamageList damage;
    Inventory *v;
    open_inventory(f, &damage, &v);
    assert_int_equal(v->n_packs, 0);
    assert_int_equal(damage.n, 0);
    inventory_free(v);
    damage_list_release(&damage);
}

static void test_interruption(void **state)
{
    Fixture *f = *state;
    fixture_backup(f, 1000, 1, NULL);
    DamageList damage;
    damage_list_init(&damage);
    Inventory *v = NULL;
    Error error = ERROR_INIT;
    const atomic_bool cancel = true;
    assert_int_equal(
        inventory_new(store_backend(f->store), store_packs(f->store), &damage, &cancel, &v, &error),
        -EINTR);
    assert_null(v);
    error_release(&error);
    damage_list_release(&damage);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_an_empty_store),
        WITH_STORE(test_every_object_is_found),
        cmocka_unit_test(test_copies_in_several_packs),
        WITH_STORE(test_deltas_know_their_bases),
        WITH_STORE(test_a_damaged_index_is_rebuilt_from_the_records),
        WITH_STORE(test_other_names_are_ignored),
        WITH_STORE(test_interruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
