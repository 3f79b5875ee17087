/* What store.c and writer.c share. */
#pragma once

#include <pthread.h>

#include "store/idmap.h"
#include "store/lists.h"
#include "store/lock.h"

struct Store {
    ObjectSource objects; /* first: store_objects hands it out */
    char *path;
    Backend *backend;
    PackSet *packs;
    StoreConfig config;

    /* Guards what follows. Never held while reading a pack. */
    pthread_rwlock_t lock;
    Catalogue *catalogue;    /* NULL: none can be used */
    IdMap overlay;           /* objects of packs the catalogue does not know */
    ObjectId *overlay_packs; /* Location.pack counts in here */
    size_t n_overlay_packs;
    bool overlay_is_full; /* it holds every pack: the catalogue was found wanting */
    BackupList *list;
    uint64_t stamps[3];

    pthread_mutex_t codec_lock;
    struct StoreCodec *codecs; /* idle ones */
};

/* A codec with buffers, kept for the next user rather than made for every object. */
typedef struct StoreCodec {
    Codec *codec;
    Buf record;
    struct StoreCodec *next;
} StoreCodec;
StoreCodec *store_take_codec(Store *s); /* NULL when out of memory */
void store_put_codec(Store *s, StoreCodec *c);

/* Whether a pack that is there holds the object, by the pack's own index: what a writer must know
 * before it refers to the object. */
bool store_holds(Store *s, const ObjectId *id);

/* Read and decode the object `id` from record `length` bytes at `offset` of `pack`. */
int store_read_at(Store *s, const ObjectId *id, const ObjectId *pack, uint32_t offset,
                  uint32_t length, Object **ret_object, Error *e);

/* Decode a record's bytes and check that it is `id`. */
int store_decode(Store *s, const ObjectId *id, const uint8_t *bytes, size_t len,
                 Object **ret_object, Error *e);

/* Open the catalogue for writing and bring it up to date. Needs the lock. */
int store_catch_up(Store *s, bool from_scratch, Error *e);

/* Tell readers that something changed. */
int store_renew_generation(Store *s, Error *e);
