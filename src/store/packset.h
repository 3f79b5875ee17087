/* PackSet: the packs that lie in the store, with their files kept open and their indexes kept read
 * as far as they are used. Thread-safe. */
#pragma once

#include "store/pack.h"

typedef struct PackSet PackSet;

int packset_new(Backend *b, PackSet **ret_set, Error *e);
void packset_free(PackSet *s); /* NULL is allowed */

/* List the directory anew. Packs that are gone are forgotten, once nobody uses them. */
int packset_refresh(PackSet *s, Error *e);

/* Add a pack that was just published. */
int packset_add(PackSet *s, const ObjectId *sha256, Error *e);

bool packset_has(PackSet *s, const ObjectId *sha256);
size_t packset_count(PackSet *s);

/* Grows with every pack that comes or goes; 0 while there never was one. */
uint64_t packset_generation(PackSet *s);

/* All names, in no order; free with free(). */
int packset_names(PackSet *s, ObjectId **ret_names, size_t *ret_n);

/* Read `len` bytes at `offset` of a pack. -ENOENT when the pack is not there (any more). */
int packset_read(PackSet *s, const ObjectId *sha256, uint64_t offset, void *data, size_t len,
                 Error *e);

/* Load a pack's index: its own, or from its records where that one is damaged. The caller
 * releases it. */
int packset_load_index(PackSet *s, const ObjectId *sha256, PackIndex *ret_index, uint64_t *ret_size,
                       Error *e);

/* What the pack's index says of the object `id` at `offset`; `ret_base` is set for deltas. -ENOENT
 * when something else is there. Keeps a bounded number of indexes. */
int packset_describe(PackSet *s, const ObjectId *sha256, uint32_t offset, const ObjectId *id,
                     PackEntry *ret_entry, ObjectId *ret_base);
