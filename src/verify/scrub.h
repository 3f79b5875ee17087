/* Scrub: read packs in full and check every byte of them, on all processors. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "store/store.h"
#include "verify/inventory.h"

typedef struct ScrubProgress {
    uint64_t bytes;       /* stored bytes of records checked so far */
    uint64_t plain_bytes; /* and what they decompress to */
    uint64_t objects;
    uint64_t total_bytes; /* of the records to check */
} ScrubProgress;

typedef struct ScrubOptions {
    Store *store;              /* for the bases of deltas */
    unsigned threads;          /* 0 for one per processor */
    const atomic_bool *cancel; /* -EINTR when it becomes true; may be NULL */
    void (*progress)(void *ctx, const ScrubProgress *p); /* on the caller's thread; may be NULL */
    void *ctx;
} ScrubOptions;

/* Check the wanted packs and objects: a pack's SHA-256 is its name; every object's record has its
 * checksum, says what the index says of it, decompresses, and has its id. Deltas are decoded along
 * with their base, so that nothing is decoded twice, and with another copy of it where the first
 * one is damaged; at most 10 objects are held by a thread. Damaged objects are marked in `v` and
 * added to `damage`, with their pack; what could not be read for want of its base or pack stays
 * adrift. `v` is settled. 0 also when damage was found. */
int scrub_packs(Inventory *v, Backend *backend, PackSet *packs, const ScrubOptions *o,
                DamageList *damage, ScrubProgress *ret_progress, Error *e);
