#include "verify/inventory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

typedef struct Lister {
    Inventory *inventory;
    size_t capacity;
    char shard[3];
    Error *error;
} Lister;

static int add_pack(Lister *l, const ObjectId *sha256)
{
    Inventory *v = l->inventory;
    if (v->n_packs == UINT32_MAX)
        return -EOVERFLOW;
    if (v->n_packs == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        InventoryPack *packs = reallocarray(v->packs, capacity, sizeof(*packs));
        if (!packs)
            return -ENOMEM;
        v->packs = packs;
        l->capacity = capacity;
    }
    v->packs[v->n_packs++] = (InventoryPack){.sha256 = *sha256};
    return 0;
}

/* Names of any other form are not the store's: format.md says to ignore them. */
static int list_pack(void *ctx, const char *name)
{
    Lister *l = ctx;
    char hex[ID_HEX_SIZE];
    ObjectId sha256;
    if (strlen(name) != 64 + 5 || strcmp(name + 64, ".pack") != 0 || memcmp(name, l->shard, 2) != 0)
        return 0;
    memcpy(hex, name, 64);
    hex[64] = 0;
    return id_from_hex(hex, &sha256) < 0 ? 0 : add_pack(l, &sha256);
}

static int list_shard(void *ctx, const char *name)
{
    Lister *l = ctx;
    char dir[16];
    if (strlen(name) != 2)
        return 0;
    memcpy(l->shard, name, 3);
    snprintf(dir, sizeof(dir), "packs/%s", name);
    Backend *b = l->inventory->backend;
    return b->ops->list(b, dir, list_pack, l, l->error);
}

static int add_objects(Inventory *v, size_t *capacity, uint32_t pack, const PackIndex *x)
{
    if (x->n > *capacity - v->n_objects) {
        size_t more = *capacity * 2 > v->n_objects + x->n ? *capacity * 2 : v->n_objects + x->n;
        InventoryObject *objects = reallocarray(v->objects, more, sizeof(*objects));
        if (!objects)
            return -ENOMEM;
        v->objects = objects;
        *capacity = more;
    }
    for (size_t i = 0; i < x->n; i++)
        v->objects[v->n_objects++] = (InventoryObject){
            .id = x->entries[i].id, .pack = pack, .plain_len = x->entries[i].plain_len};
    return 0;
}

/* The pack's objects into `x`. What is wrong with the pack goes to `damage`; only what stops the
 * verify as a whole (memory) is returned. */
static int read_pack(Inventory *v, InventoryPack *p, PackIndex *x, DamageList *damage, Error *e)
{
    _cleanup_(error_release) Error why = ERROR_INIT;
    Backend *b = v->backend;
    BackendFile *f = NULL;
    char name[PACK_NAME_SIZE];
    pack_name(&p->sha256, name);
    int r = b->ops->open(b, name, &f, &why);
    if (r == 0) {
        p->size = b->ops->size(f);
        r = pack_read_index(b, f, x, &why);
    }
    if (r < 0 && r != -ENOMEM) {
        if (damage_add(damage, DAMAGE_PACK, name, NULL, why.message ? why.message : name) < 0)
            r = -ENOMEM;
        else
            r = f ? pack_scan(b, f, x, NULL, NULL) : r;
        p->scanned = r == 0;
        p->unreadable = r < 0;
        r = r == -ENOMEM ? r : 0;
    }
    b->ops->close(f);
    p->objects = x->n;
    return r < 0 ? error_oom(e) : 0;
}

static int compare_packs(const void *x, const void *y)
{
    return id_compare(&((const InventoryPack *)x)->sha256, &((const InventoryPack *)y)->sha256);
}

static int compare_objects(const void *x, const void *y)
{
    const InventoryObject *a = x, *b = y;
    int order = id_compare(&a->id, &b->id);
    return order ? order : (a->pack > b->pack) - (a->pack < b->pack);
}

static int read_packs(Inventory *v, DamageList *damage, const atomic_bool *cancel, Error *e)
{
    size_t capacity = 0;
    for (size_t i = 0; i < v->n_packs; i++) {
        if (cancel && atomic_load(cancel))
            return error_set(e, EINTR, "interrupted");
        _cleanup_(pack_index_release) PackIndex x = {0};
        int r = read_pack(v, &v->packs[i], &x, damage, e);
        if (r < 0)
            return r;
        if (add_objects(v, &capacity, (uint32_t)i, &x) < 0)
            return error_oom(e);
    }
    if (v->n_objects)
        qsort(v->objects, v->n_objects, sizeof(*v->objects), compare_objects);
    return 0;
}

int inventory_new(Backend *backend, DamageList *damage, const atomic_bool *cancel,
                  Inventory **ret_inventory, Error *e)
{
    Inventory *v = calloc(1, sizeof(*v));
    if (!v)
        return error_oom(e);
    v->backend = backend;
    Lister lister = {.inventory = v, .error = e};
    int r = backend->ops->list(backend, "packs", list_shard, &lister, e);
    if (r == -ENOMEM)
        error_oom(e);
    if (r == 0) {
        if (v->n_packs)
            qsort(v->packs, v->n_packs, sizeof(*v->packs), compare_packs);
        r = read_packs(v, damage, cancel, e);
    }
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

/* Whether `o` is one of the copies that `first` starts. */
static bool is_copy(const Inventory *v, const InventoryObject *first, const InventoryObject *o)
{
    return o < v->objects + v->n_objects && id_compare(&o->id, &first->id) == 0;
}

bool inventory_is_damaged(const Inventory *v, const InventoryObject *first)
{
    for (const InventoryObject *o = first; is_copy(v, first, o); o++)
        if (o->damaged)
            return true;
    return false;
}

void inventory_mark_damaged(Inventory *v, const ObjectId *id, size_t pack)
{
    InventoryObject *first = inventory_find(v, id);
    for (InventoryObject *o = first; o && is_copy(v, first, o); o++)
        if (o->pack == pack)
            o->damaged = 1;
}

void inventory_want(Inventory *v, const InventoryObject *first)
{
    for (const InventoryObject *o = first; is_copy(v, first, o); o++)
        v->packs[o->pack].wanted = true;
}
