/* Inventory: every pack of a store and every object in their indexes. 56 bytes an object, so that
 * a terabyte of data needs some 380 MB.
 *
 * An object may lie in several packs, whole and as deltas. Any sound copy will do; below a delta
 * any whose depth is less than the delta's. */
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

/* One copy of an object: a record. */
typedef struct InventoryObject {
    ObjectId id;
    uint32_t pack;   /* position in `packs` */
    uint32_t offset; /* of its record */
    uint32_t base;   /* a delta's base: position of the first copy in `objects`, or INVENTORY_NONE
                        when no copy can be used */
    uint32_t sound;  /* of an object's first copy: position of its least deep sound one, or
                        INVENTORY_NONE; see inventory_settle */
    uint32_t plain_len;
    uint32_t stored_len : 21;
    uint32_t encoding : 2;
    uint32_t depth : 4;
    uint32_t damaged : 1;
    uint32_t adrift : 1;  /* all that it could be a delta of is missing or damaged */
    uint32_t lacking : 1; /* of a first copy: no copy is sound, but some are undamaged and adrift */
    uint32_t wanted : 1;  /* it is being verified */
} InventoryObject;

typedef struct Inventory {
    InventoryPack *packs; /* by name */
    size_t n_packs;
    InventoryObject *objects; /* by id, then depth, pack, offset */
    size_t n_objects;
    uint32_t *deltas; /* positions of deltas whose base can be used, by base */
    size_t n_deltas;
} Inventory;

/* List the packs anew and read their indexes. Packs whose header, index or trailer is damaged are
 * added to `damage`, and their objects found by going through the records; as are deltas whose base
 * has only copies that are no less deep. -EINTR when `cancel` (may be NULL) becomes true. */
int inventory_new(Backend *backend, PackSet *packs, DamageList *damage, const atomic_bool *cancel,
                  Inventory **ret_inventory, Error *e);
void inventory_free(Inventory *v); /* NULL is allowed */

/* The first copy of the object with this id, or NULL. The others follow it in the array. */
InventoryObject *inventory_find(const Inventory *v, const ObjectId *id);

/* The copy that an entry of the index of pack number `pack` tells of, or NULL. */
InventoryObject *inventory_find_record(const Inventory *v, const PackEntry *entry, size_t pack);

/* After copies were marked as damaged or adrift: note which objects have sound copies. */
void inventory_settle(Inventory *v);

/* Mark the object's copies, all that they may be deltas of, and the packs of these as wanted; or
 * all. `first` is from inventory_find. */
void inventory_want(Inventory *v, const InventoryObject *first);
void inventory_want_all(Inventory *v);

/* The deltas of the object whose first copy is number `base`: positions in `objects`. */
const uint32_t *inventory_deltas(const Inventory *v, uint32_t base, size_t *ret_n);
