/* Inventory: every pack of a store and every object in their indexes. 40 bytes an object, so that
 * a terabyte of data needs some 300 MB. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "store/pack.h"
#include "verify/damage.h"

typedef struct InventoryPack {
    ObjectId sha256; /* from its name */
    uint64_t size;   /* bytes */
    size_t objects;  /* records in its index */
    bool unreadable; /* it can't be opened at all */
    bool scanned;    /* its own index is damaged; its objects were found by their records */
    bool wanted;     /* something that is being verified lies in it */
} InventoryPack;

typedef struct InventoryObject {
    ObjectId id;
    uint32_t pack; /* position in `packs` */
    uint32_t plain_len : 31;
    uint32_t damaged : 1;
} InventoryObject;

typedef struct Inventory {
    Backend *backend; /* borrowed */
    InventoryPack *packs;
    size_t n_packs;
    InventoryObject *objects; /* by id, then pack */
    size_t n_objects;
} Inventory;

/* List the packs of `backend` and read their indexes. Packs whose header, index or trailer is
 * damaged are added to `damage`, and their objects found by going through the records. -EINTR when
 * `cancel` (may be NULL) becomes true. */
int inventory_new(Backend *backend, DamageList *damage, const atomic_bool *cancel,
                  Inventory **ret_inventory, Error *e);
void inventory_free(Inventory *v); /* NULL is allowed */

/* The first object with this id, or NULL. Copies in further packs follow it in the array. */
InventoryObject *inventory_find(const Inventory *v, const ObjectId *id);

/* Whether one of the copies of the object that `first` (from inventory_find) stands for is
 * damaged. Mark all of them in pack `pack` so. Not thread-safe with each other. */
bool inventory_is_damaged(const Inventory *v, const InventoryObject *first);
void inventory_mark_damaged(Inventory *v, const ObjectId *id, size_t pack);

/* Mark the packs that hold copies of the object as wanted. */
void inventory_want(Inventory *v, const InventoryObject *first);
