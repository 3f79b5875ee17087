/* IdMap: where objects lie, in memory. For what the catalogue does not know (yet). Open addressing:
 * 48 bytes a slot, at most 3/4 full. Not thread-safe. */
#pragma once

#include <stdbool.h>

#include "chunk/id.h"

typedef struct Location {
    uint32_t pack;   /* the caller's number for a pack */
    uint32_t offset; /* of the record */
    uint32_t length; /* of the record, header included */
} Location;

typedef struct IdMap {
    struct IdMapSlot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
} IdMap;

#define IDMAP_INIT ((IdMap){0})
void idmap_release(IdMap *m);

/* NULL when unknown. Valid until the next idmap_put. */
const Location *idmap_get(const IdMap *m, const ObjectId *id);

/* Add or replace. 0 or -ENOMEM. */
int idmap_put(IdMap *m, const ObjectId *id, const Location *at);
