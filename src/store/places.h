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

/* A further record of an object. */
typedef struct PlacesCopy {
    ObjectId id;
    Location at;
} PlacesCopy;

typedef struct Places {
    IdMap map;
    PlacesCopy *copies; /* few: objects are stored twice by mishap only */
    size_t n_copies;
    ObjectId *packs; /* Location.pack counts in here */
    size_t n_packs;
} Places;

void places_clear(Places *p);

/* Add the objects of a pack; none when it has more than `max`, but the pack counts as known. */
int places_add(Places *p, PackSet *set, const ObjectId *pack, size_t max, Error *e);

bool places_knows(const Places *p, const ObjectId *pack);

/* False when no pack that was added holds it. */
bool places_find(const Places *p, const ObjectId *id, Place *ret_place);

/* Where it lies besides, when several of the packs hold it: at most `max` places; how many. */
size_t places_copies(const Places *p, const ObjectId *id, Place *places, size_t max);
