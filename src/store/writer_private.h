/* What writer.c (objects in) and commit.c (backup out) share. */
#pragma once

#include "store/store_private.h"
#include "store/writer.h"
#include "util/queue.h"

typedef struct NewPack {
    PackWriter *pack;
    PackKind kind;
    bool sealed;
    ObjectId sha256; /* when sealed */
} NewPack;

struct StoreWriter {
    ObjectSource objects; /* first: writer_objects hands it out */
    Store *store;
    Lock *store_lock;
    int level;
    bool deltas;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ticket_done;
    IdMap mine; /* objects of this writer; Location.pack counts in packs */
    NewPack *packs;
    size_t n_packs;
    bool published; /* the packs have their names, and belong to the store */
    WriterStats stats;
    Error failure; /* the first one */

    Queue queue; /* of PutTicket, to the threads */
    pthread_t *threads;
    size_t n_threads;
};

/* Append a record to the open pack of its kind; `base` NULL but for deltas. Lock held. */
int writer_append(StoreWriter *w, const PackEntry *entry, const ObjectId *base, const void *stored,
                  Error *e);
