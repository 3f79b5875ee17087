#include "verify/inventory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

/* A delta whose base is looked up when all objects are known. */
typedef struct Pending {
    ObjectId id, base;
    uint32_t pack, offset, depth;
} Pending;

#define DEPTH_ANY 16 /* more than 4 bits hold */

typedef struct Builder {
    Inventory *inventory;
    Backend *backend;
    DamageList *damage;
    size_t capacity;
    Pending *pending;
    size_t n_pending, pending_capacity;
} Builder;

/* Make room for `more` in an array of `n` elements. */
static void *make_room(void *array, size_t n, size_t more, size_t *capacity, size_t size)
{
    if (more <= *capacity - n)
        return array;
    size_t bigger = *capacity * 2 > n + more ? *capacity * 2 : n + more;
    void *grown = reallocarray(array, bigger, size);
    if (grown)
        *capacity = bigger;
    return grown;
}

static int add_objects(Builder *b, uint32_t pack, const PackIndex *x)
{
    Inventory *v = b->inventory;
    if (x->n == 0)
        return 0;
    if (x->n >= INVENTORY_NONE - v->n_objects)
        return -EOVERFLOW;
    InventoryObject *objects =
        make_room(v->objects, v->n_objects, x->n, &b->capacity, sizeof(*objects));
    if (!objects)
        return -ENOMEM;
    v->objects = objects;
    if (x->n_bases) {
        Pending *pending =
            make_room(b->pending, b->n_pending, x->n_bases, &b->pending_capacity, sizeof(*pending));
        if (!pending)
            return -ENOMEM;
        b->pending = pending;
    }
    size_t delta = 0;
    for (size_t i = 0; i < x->n; i++) {
        const PackEntry *p = &x->entries[i];
        objects[v->n_objects++] = (InventoryObject){.id = p->id,
                                                    .pack = pack,
                                                    .offset = p->offset,
                                                    .base = INVENTORY_NONE,
                                                    .sound = INVENTORY_NONE,
                                                    .plain_len = p->plain_len,
                                                    .stored_len = p->stored_len & 0x1fffff,
                                                    .encoding = p->encoding & 3,
                                                    .depth = p->depth & 15};
        if (p->encoding == ENCODING_DELTA && delta < x->n_bases)
            b->pending[b->n_pending++] = (Pending){.id = p->id,
                                                   .base = x->bases[delta++],
                                                   .pack = pack,
                                                   .offset = p->offset,
                                                   .depth = p->depth & 15};
    }
    return 0;
}

/* The pack's objects into `x`. What is wrong with the pack goes to the damage list; only what
 * stops the verify as a whole (memory) is returned. */
static int read_pack(Builder *b, InventoryPack *p, PackIndex *x)
{
    _cleanup_(error_release) Error why = ERROR_INIT;
    const BackendOps *ops = b->backend->ops;
    BackendFile *f = NULL;
    char name[PACK_NAME_SIZE];
    pack_name(&p->sha256, name);
    int r = ops->open(b->backend, name, &f, &why);
    if (r == 0) {
        p->size = ops->size(f);
        r = pack_read_index(b->backend, f, x, &why);
    }
    if (r < 0 && r != -ENOMEM) {
        if (damage_add(b->damage, DAMAGE_PACK, name, NULL, why.message ? why.message : name) < 0)
            r = -ENOMEM;
        else
            r = f ? pack_scan(b->backend, f, x, NULL, NULL) : r;
        p->scanned = r == 0;
        p->unreadable = r < 0;
        r = r == -ENOMEM ? r : 0;
    }
    if (f)
        ops->close(f);
    p->objects = x->n;
    return r;
}

static int compare_ids(const void *x, const void *y)
{
    return id_compare(x, y);
}

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int compare_objects(const void *x, const void *y)
{
    const InventoryObject *a = x, *b = y;
    int order = id_compare(&a->id, &b->id);
    if (!order)
        order = compare_numbers(a->depth, b->depth);
    if (!order)
        order = compare_numbers(a->pack, b->pack);
    return order ? order : compare_numbers(a->offset, b->offset);
}

static int compare_deltas(const void *x, const void *y, void *ctx)
{
    const InventoryObject *objects = ctx;
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    uint32_t a_base = objects[a].base, b_base = objects[b].base;
    return a_base != b_base ? (a_base > b_base) - (a_base < b_base) : (a > b) - (a < b);
}

static int list_packs(Inventory *v, PackSet *packs, Error *e)
{
    _cleanup_free_ ObjectId *names = NULL;
    int r = packset_refresh(packs, e);
    if (r < 0)
        return r;
    if (packset_names(packs, &names, &v->n_packs) < 0)
        return error_oom(e);
    v->packs = calloc(v->n_packs + 1, sizeof(*v->packs));
    if (!v->packs)
        return error_oom(e);
    if (v->n_packs)
        qsort(names, v->n_packs, sizeof(*names), compare_ids);
    for (size_t i = 0; i < v->n_packs; i++)
        v->packs[i].sha256 = names[i];
    return 0;
}

static int read_packs(Builder *b, const atomic_bool *cancel, Error *e)
{
    Inventory *v = b->inventory;
    for (size_t i = 0; i < v->n_packs; i++) {
        if (cancel && atomic_load(cancel))
            return error_set(e, EINTR, "interrupted");
        _cleanup_(pack_index_release) PackIndex x = {0};
        int r = read_pack(b, &v->packs[i], &x);
        if (r == 0)
            r = add_objects(b, (uint32_t)i, &x);
        if (r == -EOVERFLOW)
            return error_set(e, EOVERFLOW, "the store has too many objects");
        if (r < 0)
            return error_oom(e);
    }
    if (v->n_objects)
        qsort(v->objects, v->n_objects, sizeof(*v->objects), compare_objects);
    return 0;
}

/* How many copies the object whose first one is number `first` has of a depth below `depth`. There
 * may be very many in a crafted store. */
static size_t count_copies(const Inventory *v, size_t first, unsigned depth)
{
    const ObjectId *id = &v->objects[first].id;
    size_t lo = first, hi = first, step = 1;
#define is_one(i)                                                                                  \
    ((i) < v->n_objects && v->objects[i].depth < depth && id_compare(&v->objects[i].id, id) == 0)
    for (; is_one(hi); hi += step, step *= 2)
        lo = hi + 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (is_one(mid))
            lo = mid + 1;
        else
            hi = mid;
    }
#undef is_one
    return lo - first;
}

static bool is_sound(const InventoryObject *o)
{
    return !o->damaged && !o->adrift;
}

/* Link one delta to the first, least deep copy of its base. */
static int link_delta(Builder *b, const Pending *p)
{
    Inventory *v = b->inventory;
    const PackEntry entry = {.id = p->id, .offset = p->offset, .depth = (uint8_t)p->depth};
    InventoryObject *delta = inventory_find_record(v, &entry, p->pack);
    const InventoryObject *base = inventory_find(v, &p->base);
    if (!delta)
        return 0;
    delta->adrift = 1; /* until settled */
    if (!base)
        return 0;                     /* in no pack: of interest only when a backup needs it */
    if (base->depth < delta->depth) { /* what lets chains end */
        delta->base = (uint32_t)(base - v->objects);
        v->deltas[v->n_deltas++] = (uint32_t)(delta - v->objects);
        return 0;
    }
    char name[PACK_NAME_SIZE];
    pack_name(&v->packs[p->pack].sha256, name);
    delta->damaged = 1;
    delta->adrift = 0;
    return damage_add(b->damage, DAMAGE_OBJECT, name, &p->id,
                      "a delta is not deeper than its base");
}

/* Which deltas stand on something, by the indexes alone: those whose base has a sound copy that is
 * less deep. By rising depth, so that a base is settled before what stands on it. */
static void settle_deltas(Inventory *v)
{
    inventory_settle(v);
    for (unsigned depth = 1; depth < DEPTH_ANY; depth++)
        for (size_t i = 0; i < v->n_deltas; i++) {
            InventoryObject *delta = &v->objects[v->deltas[i]];
            if (delta->depth != depth)
                continue;
            uint32_t sound = v->objects[delta->base].sound;
            if (sound == INVENTORY_NONE || v->objects[sound].depth >= depth)
                continue;
            InventoryObject *first = inventory_find(v, &delta->id);
            delta->adrift = 0;
            if (first->sound == INVENTORY_NONE)
                first->sound = v->deltas[i];
        }
    inventory_settle(v);
}

static int link_deltas(Builder *b, Error *e)
{
    Inventory *v = b->inventory;
    v->deltas = calloc(b->n_pending + 1, sizeof(*v->deltas));
    if (!v->deltas)
        return error_oom(e);
    for (size_t i = 0; i < b->n_pending; i++)
        if (link_delta(b, &b->pending[i]) < 0)
            return error_oom(e);
    qsort_r(v->deltas, v->n_deltas, sizeof(*v->deltas), compare_deltas, v->objects);
    settle_deltas(v);
    return 0;
}

int inventory_new(Backend *backend, PackSet *packs, DamageList *damage, const atomic_bool *cancel,
                  Inventory **ret_inventory, Error *e)
{
    Inventory *v = calloc(1, sizeof(*v));
    if (!v)
        return error_oom(e);
    Builder b = {.inventory = v, .backend = backend, .damage = damage};
    int r = list_packs(v, packs, e);
    if (r == 0)
        r = read_packs(&b, cancel, e);
    if (r == 0)
        r = link_deltas(&b, e);
    free(b.pending);
    if (r < 0) {
        inventory_free(v);
        return r;
    }
    *ret_inventory = v;
    return 0;
}

void inventory_free(Inventory *v)
{
    if (!v)
        return;
    free(v->packs);
    free(v->objects);
    free(v->deltas);
    free(v);
}

InventoryObject *inventory_find(const Inventory *v, const ObjectId *id)
{
    size_t lo = 0, hi = v->n_objects;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (id_compare(&v->objects[mid].id, id) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->n_objects && id_compare(&v->objects[lo].id, id) == 0 ? &v->objects[lo] : NULL;
}

InventoryObject *inventory_find_record(const Inventory *v, const PackEntry *entry, size_t pack)
{
    const InventoryObject key = {.id = entry->id,
                                 .depth = entry->depth & 15,
                                 .pack = (uint32_t)pack,
                                 .offset = entry->offset};
    return v->n_objects ? bsearch(&key, v->objects, v->n_objects, sizeof(key), compare_objects)
                        : NULL;
}

void inventory_settle(Inventory *v)
{
    InventoryObject *first = NULL;
    for (size_t i = 0; i < v->n_objects; i++) {
        InventoryObject *o = &v->objects[i];
        if (!first || id_compare(&first->id, &o->id) != 0) {
            first = o;
            first->sound = INVENTORY_NONE;
            first->lacking = 0;
        }
        if (first->sound == INVENTORY_NONE && is_sound(o))
            first->sound = (uint32_t)i;
        first->lacking = first->sound == INVENTORY_NONE && (first->lacking || !o->damaged);
    }
}

/* Those of an object's copies that are wanted are the first ones, always: when the last one is, all
 * before it are. Depths fall from a delta to its base, so this goes at most 15 deep. */
static void want_copies(Inventory *v, size_t first, unsigned depth)
{
    for (size_t i = first + count_copies(v, first, depth); i-- > first;) {
        InventoryObject *o = &v->objects[i];
        if (o->wanted)
            break;
        o->wanted = 1;
        v->packs[o->pack].wanted = true;
        if (o->base != INVENTORY_NONE)
            want_copies(v, o->base, o->depth);
    }
}

void inventory_want(Inventory *v, const InventoryObject *first)
{
    want_copies(v, (size_t)(first - v->objects), DEPTH_ANY);
}

void inventory_want_all(Inventory *v)
{
    for (size_t i = 0; i < v->n_packs; i++)
        v->packs[i].wanted = true;
    for (size_t i = 0; i < v->n_objects; i++)
        v->objects[i].wanted = 1;
}

const uint32_t *inventory_deltas(const Inventory *v, uint32_t base, size_t *ret_n)
{
    size_t lo = 0, hi = v->n_deltas, n = 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->objects[v->deltas[mid]].base < base)
            lo = mid + 1;
        else
            hi = mid;
    }
    while (lo + n < v->n_deltas && v->objects[v->deltas[lo + n]].base == base)
        n++;
    *ret_n = n;
    return v->deltas + lo;
}
