/* What store.c and writer.c share. */
#pragma once

#include <pthread.h>

#include "store/lists.h"
#include "store/lock.h"
#include "store/places.h"

#define STORE_COPIES_MAX 8 /* places tried of one object */
#define NEAR_PACKS       8 /* packs that the catalogue was last asked for and that may come again */

struct Store {
    ObjectSource objects; /* first: store_objects hands it out */
    char *path;
    Backend *backend;
    PackSet *packs;
    StoreConfig config;

    /* Guards what follows. Held for writing while lists and the packs' indexes are read, never
     * while objects are. */
    pthread_rwlock_t lock;
    Catalogue *catalogue;      /* NULL: none can be used */
    bool knows_damage;         /* a writer's: the catalogue names damaged records */
    bool catalogue_is_current; /* it knew everything when the lists were read last */
    Places overlay;            /* packs the catalogue does not know */
    /* Not 0: the overlay holds every pack there was at that generation of the pack set, since the
     * catalogue was found wanting. */
    uint64_t overlay_of;
    double overlay_vain; /* when a listing last brought it nothing new, by clock_monotonic */
    BackupList *list;
    uint64_t stamps[3];

    pthread_mutex_t near_lock; /* guards what follows */
    Places near;               /* packs that are much asked for just now */
    ObjectId asked[NEAR_PACKS];
    unsigned n_asked;

    pthread_mutex_t codec_lock;
    struct StoreCodec *codecs; /* idle ones */
};

/* A codec with buffers, kept for the next user rather than made for every object. */
typedef struct StoreCodec {
    Codec *codec;
    Buf record;
    Buf chain[DELTA_MAX_DEPTH]; /* the records a delta needs */
    struct StoreCodec *next;
} StoreCodec;
StoreCodec *store_take_codec(Store *s); /* NULL when out of memory */
void store_put_codec(Store *s, StoreCodec *c);
void store_free_codecs(Store *s);

/* Where an object lies, as far as is known. -ENOENT. */
int store_find(Store *s, const ObjectId *id, Place *ret_place);

/* All places that are known, at most `max`; the order says nothing, and one may come twice. How
 * many. */
size_t store_places(Store *s, const ObjectId *id, Place *places, size_t max);

/* What its pack's index says of an object; `ret_base` is set for deltas. -ENOENT. */
int store_describe(Store *s, const ObjectId *id, PackEntry *ret_entry, ObjectId *ret_base);

/* The overlay: objects of packs that the catalogue does not know. Clear and update want the lock
 * held for writing; fill takes it, and indexes every pack in memory: the last resort when the
 * catalogue knows too little. 0; -ENOENT when that was done already. */
void store_overlay_clear(Store *s);
int store_overlay_update(Store *s, const Lists *l, Error *e);
int store_overlay_fill(Store *s);

typedef enum Holding {
    HOLDS_NOT,   /* no pack is known to */
    HOLDS_SOUND, /* it may be referred to */
    HOLDS_BADLY, /* it is stored, but a pack or record that it takes is damaged or can't be read */
} Holding;

/* Whether packs that are there hold the object and all it is a delta of, by the packs' own indexes:
 * what a writer must know before it refers to the object. With `without` (may be NULL) among them
 * it is HOLDS_BADLY. A Holding; -EMFILE, -ENOMEM and the like, which say nothing about the object.
 */
int store_holds(Store *s, const ObjectId *id, const ObjectId *without);

/* ObjectSource.get of a store. */
int store_get(ObjectSource *source, const ObjectId *id, Object **ret_object, Error *e);

/* Open the catalogue for writing and bring it up to date. Needs the lock. */
int store_catch_up(Store *s, bool from_scratch, Error *e);

/* Whether this program may and knows how to write to the store. */
int store_check_writable(Store *s, Error *e);

/* store_changed, with the lock held. */
bool store_stamps_changed(Store *s);

/* Tell readers that something changed. */
int store_renew_generation(Store *s, Error *e);
