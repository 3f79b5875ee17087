/* Inventory: every pack of a store and every object in their indexes. 52 bytes an object, so that
 * a terabyte of data needs some 350 MB. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "store/packset.h"
#include "verify/damage.h"

#define INVENTORY_NONE UINT32_MAX

typedef struct InventoryPack {
    ObjectId sha256; /* from its name */
    uint64_t size;   /* bytes */
    size_t objects;  /* records in its index */
    bool unreadable; /* neither an index nor a record can be read */
    bool scanned;    /* its own index is damaged; its objects were found by their records */
    bool wanted;     /* something that is being verified lies in it */
} InventoryPack;

typedef struct InventoryObject {
    ObjectId id;
    uint32_t pack;   /* position in `packs` */
    uint32_t offset; /* of its record */
    uint32_t base; /* a delta's base: position in `objects`, or INVENTORY_NONE when there is none */
    uint32_t plain_len;
    uint32_t stored_len : 21;
    uint32_t encoding : 2;
    uint32_t depth : 4;
    uint32_t damaged : 1;
    uint32_t wanted : 1; /* it is being verified */
} InventoryObject;

typedef struct Inventory {
    InventoryPack *packs; /* by name */
    size_t n_packs;
    InventoryObject *objects; /* by id, then pack */
    size_t n_objects;
    uint32_t *deltas; /* positions of deltas whose base is there, by base */
    size_t n_deltas;
} Inventory;

/* List the packs anew and read their indexes. Packs whose header, index or trailer is damaged are
 * added to `damage`, and their objects found by going through the records. -EINTR when `cancel`
 * (may be NULL) becomes true. */
int inventory_new(Backend *backend, PackSet *packs, DamageList *damage, const atomic_bool *cancel,
                  Inventory **ret_inventory, Error *e);
void inventory_free(Inventory *v); /* NULL is allowed */

/* The first object with this id, or NULL. Copies in further packs follow it in the array. */
InventoryObject *inventory_find(const Inventory *v, const ObjectId *id);

/* The copy in pack `pack`, or NULL. */
InventoryObject *inventory_find_in(const Inventory *v, const ObjectId *id, size_t pack);

/* Whether one of the copies of the object that `first` (from inventory_find) stands for is
 * damaged. */
bool inventory_is_damaged(const Inventory *v, const InventoryObject *first);

/* Whether all it is a delta of, down to what stands alone, is there. */
bool inventory_has_bases(const Inventory *v, const InventoryObject *o);

/* Mark the object's copies, all they are deltas of, and the packs of these as wanted; or all. */
void inventory_want(Inventory *v, const InventoryObject *first);
void inventory_want_all(Inventory *v);

/* The deltas against object number `base`: positions in `objects`. */
const uint32_t *inventory_deltas(const Inventory *v, uint32_t base, size_t *ret_n);
