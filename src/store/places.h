/* Places: where the objects of some packs lie, by the packs' own indexes, in memory. Not
 * thread-safe. */
#pragma once

#include "store/idmap.h"
#include "store/packset.h"

/* A record in a pack. */
typedef struct Place {
    ObjectId pack;
    uint32_t offset, length;
} Place;

typedef struct Places {
    IdMap map;
    ObjectId *packs; /* Location.pack counts in here */
    size_t n_packs;
} Places;

void places_clear(Places *p);

/* Add the objects of a pack; none when it has more than `max`, but the pack counts as known. */
int places_add(Places *p, PackSet *set, const ObjectId *pack, size_t max, Error *e);

bool places_knows(const Places *p, const ObjectId *pack);

/* False when no pack that was added holds it. */
bool places_find(const Places *p, const ObjectId *id, Place *ret_place);
