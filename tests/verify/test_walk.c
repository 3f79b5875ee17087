#include "verify/walk.h"

#include <errno.h>

#include "harm.h"

/* Two backups of the same rows, and one of others. */
static int setup(void **state)
{
    fixture_setup(state);
    Fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        if (i > 0)
            fixture_begin(f);
        fixture_backup(f, 1 << 20, i == 2 ? 2 : 1, NULL);
    }
    return 0;
}

typedef struct Walked {
    Inventory *v;
    BackupList *l;
    ObjectId roots[16];
    DamageList damage;
    size_t done;
} Walked;

static void count(void *ctx, size_t done)
{
    *(size_t *)ctx = done;
}

static void prepare(Fixture *f, Walked *w)
{
    Error error = ERROR_INIT;
    *w = (Walked){.l = store_backups(f->store)};
    for (size_t i = 0; i < w->l->n; i++)
        w->roots[i] = w->l->items[i].root;
    damage_list_init(&w->damage);
    assert_ok(inventory_new(store_backend(f->store), store_packs(f->store), &w->damage, NULL, &w->v,
                            &error));
    assert_int_equal(w->damage.n, 0);
}

static void walk(Fixture *f, Walked *w, const bool *selected)
{
    Error error = ERROR_INIT;
    const WalkOptions o = {.backups = w->l,
                           .selected = selected,
                           .roots = w->roots,
                           .progress = count,
                           .ctx = &w->done};
    assert_ok(walk_backups(w->v, store_objects(f->store), &o, &w->damage, &error));
}

static void walked_release(Walked *w)
{
    inventory_free(w->v);
    backup_list_unref(w->l);
    damage_list_release(&w->damage);
}

static const bool all[] = {true, true, true};

static void test_sound_backups(void **state)
{
    Walked w;
    prepare(*state, &w);
    walk(*state, &w, all);
    assert_int_equal(w.damage.n, 0);
    assert_int_equal(w.done, 3);
    for (size_t i = 0; i < w.v->n_packs; i++)
        assert_true(w.v->packs[i].wanted);
    walked_release(&w);
}

static void test_only_the_selected_ones(void **state)
{
    static const bool last[] = {false, false, true};
    Walked w;
    size_t wanted = 0;
    prepare(*state, &w);
    walk(*state, &w, last);
    assert_int_equal(w.done, 1);
    for (size_t i = 0; i < w.v->n_packs; i++)
        wanted += w.v->packs[i].wanted;
    assert_true(wanted < w.v->n_packs);
    walked_release(&w);
}

/* Mark the object that holds byte 0 of file c of backup `i` as damaged. */
static ObjectId harm_first_chunk(Fixture *f, Walked *w, size_t i)
{
    Error error = ERROR_INIT;
    DirEntry entry;
    RopeLeaf leaf;
    const uint8_t *node;
    size_t len;
    Object *holder;
    ObjectSource *s = store_objects(f->store);
    assert_ok(dir_resolve(s, &w->l->items[i].root, "c", &entry, &error));
    assert_ok(dir_entry_rope(s, &entry, &node, &len, &holder, &error));
    assert_ok(rope_find(s, node, len, 0, &leaf, &error));
    ObjectId id = leaf.id;
    InventoryObject *o = inventory_find(w->v, &id);
    assert_non_null(o);
    o->damaged = 1;
    inventory_settle(w->v);
    damage_add(&w->damage, DAMAGE_OBJECT, "packs/x", &id, "test");
    rope_leaf_release(&leaf);
    object_unref(holder);
    dir_entry_release(&entry);
    return id;
}

static bool is_touched(const Damage *d, size_t backup, const char *path)
{
    for (size_t i = 0; i < d->n_touches; i++)
        if (d->touches[i].backup == backup && strcmp(d->touches[i].path, path) == 0)
            return true;
    return false;
}

/* Shared subtrees are skipped only when they are good: the second backup is touched as well. */
static void test_damage_touches_every_file_of_every_backup(void **state)
{
    Walked w;
    prepare(*state, &w);
    harm_first_chunk(*state, &w, 0);
    walk(*state, &w, all);
    assert_int_equal(w.damage.n, 1);
    const Damage *d = &w.damage.items[0];
    assert_int_equal(d->touched, 4);
    for (size_t i = 0; i < 2; i++)
        assert_true(is_touched(d, i, "c") && is_touched(d, i, "d/e"));
    walked_release(&w);
}

static void remove_object(Inventory *v, const ObjectId *id)
{
    InventoryObject *o = inventory_find(v, id);
    assert_non_null(o);
    memmove(o, o + 1, (size_t)(v->objects + v->n_objects - (o + 1)) * sizeof(*o));
    v->n_objects--;
    inventory_settle(v);
}

static void test_missing_and_wrong_objects(void **state)
{
    Walked w;
    prepare(*state, &w);
    ObjectId id = harm_first_chunk(*state, &w, 2);
    remove_object(w.v, &id);
    walk(*state, &w, all);
    assert_int_equal(w.damage.n, 2);
    assert_int_equal(w.damage.items[1].kind, DAMAGE_MISSING);
    assert_true(is_touched(&w.damage.items[1], 2, "c"));
    assert_true(is_touched(&w.damage.items[1], 2, "d/e"));
    walked_release(&w);

    prepare(*state, &w);
    id = harm_first_chunk(*state, &w, 2);
    InventoryObject *o = inventory_find(w.v, &id);
    o->damaged = 0;
    o->plain_len++;
    inventory_settle(w.v);
    walk(*state, &w, all);
    assert_int_equal(w.damage.n, 2);
    assert_int_equal(w.damage.items[1].kind, DAMAGE_TREE);
    assert_true(is_touched(&w.damage.items[1], 2, "d/e"));
    walked_release(&w);
}

/* An object source that fails for one object. */
typedef struct Faulty {
    ObjectSource base;
    ObjectSource *real;
    ObjectId id;
} Faulty;

static int faulty_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Faulty *x = (Faulty *)s;
    if (id_compare(id, &x->id) == 0)
        return error_set(e, EIO, "test");
    return object_get(x->real, id, ret_object, e);
}

/* Every node of the first backup in turn can't be read: reported, and the walk goes on. */
static void test_every_unreadable_node_is_reported(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Walked w;
    prepare(f, &w);
    size_t nodes = 0;
    for (size_t i = 0; i < w.v->n_objects; i++) {
        Faulty faulty = {
            .base.get = faulty_get, .real = store_objects(f->store), .id = w.v->objects[i].id};
        DamageList damage;
        size_t done = 0;
        const WalkOptions o = {
            .backups = w.l, .selected = all, .roots = w.roots, .progress = count, .ctx = &done};
        damage_list_init(&damage);
        assert_ok(walk_backups(w.v, &faulty.base, &o, &damage, &error));
        assert_int_equal(done, 3);
        assert_true(damage.n <= 1); /* data chunks are not fetched */
        if (damage.n) {
            nodes++;
            assert_memory_equal(&damage.items[0].object, &faulty.id, ID_SIZE);
            assert_true(damage.items[0].touched >= 1);
        }
        damage_list_release(&damage);
    }
    assert_true(nodes >= 4); /* two roots, two sub-directories at least */
    walked_release(&w);
}

/* A delta is as good as missing when its base is. */
static void test_missing_bases(void **state)
{
    Fixture *f = *state;
    fixture_begin(f);
    fixture_days(f, 4);
    Walked w;
    bool selected[7] = {false, false, false, false, false, false, true};
    prepare(f, &w);
    assert_true(w.v->n_deltas > 0);
    for (size_t i = 0; i < w.v->n_deltas; i++)
        w.v->objects[w.v->deltas[i]].adrift = 1;
    inventory_settle(w.v);
    walk(f, &w, selected);
    assert_true(w.damage.n >= 1);
    for (size_t i = 0; i < w.damage.n; i++) {
        assert_int_equal(w.damage.items[i].kind, DAMAGE_MISSING);
        assert_true(is_touched(&w.damage.items[i], 6, "c"));
    }
    walked_release(&w);
}

static void test_interruption(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    const atomic_bool cancel = true;
    Walked w;
    prepare(f, &w);
    const WalkOptions o = {.backups = w.l, .selected = all, .roots = w.roots, .cancel = &cancel};
    assert_int_equal(walk_backups(w.v, store_objects(f->store), &o, &w.damage, &error), -EINTR);
    assert_non_null(error.message);
    error_release(&error);
    walked_release(&w);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_sound_backups),
        WITH_STORE(test_only_the_selected_ones),
        WITH_STORE(test_damage_touches_every_file_of_every_backup),
        WITH_STORE(test_missing_and_wrong_objects),
        WITH_STORE(test_every_unreadable_node_is_reported),
        WITH_STORE(test_missing_bases),
        WITH_STORE(test_interruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
