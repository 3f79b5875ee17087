#include "verify/walk.h"

#include <errno.h>

#include "harm.h"
#include "tree/rope_node.h"

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

/* Encode a rope node whose two entries are both the child `id` of `len` bytes, and store it. */
static ObjectId add_pair(Fixture *f, unsigned height, const ObjectId *id, uint64_t len, Rope *ret)
{
    Error error = ERROR_INIT;
    ObjectId own;
    *ret = (Rope){.length = 2 * len, .n = 2, .height = height};
    buf_add_u8(&ret->node, ROPE_VERSION);
    buf_add_u8(&ret->node, (uint8_t)height);
    buf_add_varint(&ret->node, 2);
    buf_add_varint(&ret->node, 2 * len);
    for (int i = 0; i < 2; i++) {
        buf_add_u8(&ret->node, height ? ROPE_NODE : ROPE_OBJECT);
        buf_add_varint(&ret->node, len);
        buf_add(&ret->node, id->b, ID_SIZE);
    }
    assert_ok(writer_put(f->writer, OBJECT_ROPE, ret->node.data, ret->node.len, &own, &error));
    return own;
}

/* A file of 2^33 stretches, each the same chunk. `at_bottom` gets its lowest node's id. */
static void make_doubled_rope(Fixture *f, const ObjectId *chunk, uint64_t len, Rope *ret,
                              ObjectId *at_bottom)
{
    ObjectId id = *chunk;
    for (unsigned height = 0; height <= ROPE_MAX_HEIGHT; height++) {
        rope_release(ret);
        id = add_pair(f, height, &id, len, ret);
        len *= 2;
        if (height == 0)
            *at_bottom = id;
    }
}

/* 2^50 directories that are all the same one, in each other, and the last of them holds `rope` as x
 * and y. */
static Dir make_doubled_dir(Fixture *f, const Rope *rope)
{
    Error error = ERROR_INIT;
    DirBuilder *b = NULL;
    Dir dir;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_ok(dir_builder_file(b, "x", 0444, rope, NULL, &error));
    assert_ok(dir_builder_file(b, "y", 0444, rope, NULL, &error));
    assert_ok(dir_builder_finish(b, &dir, &error));
    for (int i = 0; i < 50; i++) {
        dir.entries = 1; /* there are not so many numbers */
        assert_ok(dir_builder_dir(b, "a", &dir, &error));
        assert_ok(dir_builder_dir(b, "b", &dir, &error));
        assert_ok(dir_builder_finish(b, &dir, &error));
    }
    dir_builder_free(b);
    return dir;
}

/* Nodes that hold one child twice, and that again: each is looked at once, or in a bad directory
 * not for ever. */
static void test_shared_nodes(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    const uint8_t data[1000] = {7};
    ObjectId chunk, bottom;
    Rope rope = ROPE_INIT;
    fixture_begin(f);
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, sizeof(data), &chunk, &error));
    make_doubled_rope(f, &chunk, sizeof(data), &rope, &bottom);
    Dir dir = make_doubled_dir(f, &rope);
    fixture_commit(f, "test/shop", &dir, false, NULL);
    rope_release(&rope);
    static const bool last[] = {false, false, false, true};
    Walked w;
    prepare(f, &w);
    walk(f, &w, last);
    assert_int_equal(w.damage.n, 0);
    const ObjectId bad[] = {chunk, bottom};
    for (size_t i = 0; i < 2; i++) {
        InventoryObject *o = inventory_find(w.v, &bad[i]);
        o->damaged = 1;
        inventory_settle(w.v);
        damage_add(&w.damage, DAMAGE_OBJECT, "packs/x", &bad[i], "test");
        walk(f, &w, last);
        assert_int_equal(w.damage.n, i + 1);
        assert_true(w.damage.items[i].touched > DAMAGE_TOUCHES_MAX);
        assert_true(w.damage.items[i].touched < 300000);
        o->damaged = 0;
    }
    walked_release(&w);
}

/* What is said of a node that is known to be good is looked at all the same. */
static void test_what_is_said_of_shared_nodes(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    const uint8_t data[1000] = {8};
    ObjectId chunk, low, high;
    Rope ropes[6] = {0};
    fixture_begin(f);
    assert_ok(writer_put(f->writer, OBJECT_DATA, data, sizeof(data), &chunk, &error));
    low = add_pair(f, 0, &chunk, 1000, &ropes[0]);
    high = add_pair(f, 5, &low, 2000, &ropes[1]);
    add_pair(f, 9, &high, 4000, &ropes[2]);
    add_pair(f, 8, &low, 2000, &ropes[3]);
    add_pair(f, 4, &high, 4000, &ropes[4]); /* is not higher */
    add_pair(f, 9, &high, 4001, &ropes[5]);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    DirBuilder *b = NULL;
    Dir dir;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < 6; i++) {
        assert_ok(dir_builder_file(b, names[i], 0444, &ropes[i], NULL, &error));
        rope_release(&ropes[i]);
    }
    assert_ok(dir_builder_finish(b, &dir, &error));
    dir_builder_free(b);
    fixture_commit(f, "test/shop", &dir, false, NULL);
    static const bool last[] = {false, false, false, true};
    Walked w;
    prepare(f, &w);
    walk(f, &w, last);
    assert_int_equal(w.damage.n, 1);
    assert_int_equal(w.damage.items[0].touched, 2);
    assert_true(is_touched(&w.damage.items[0], 3, "e") && is_touched(&w.damage.items[0], 3, "f"));
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
        WITH_STORE(test_shared_nodes),
        WITH_STORE(test_what_is_said_of_shared_nodes),
        WITH_STORE(test_interruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
