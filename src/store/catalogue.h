/* Catalogue: metadata.db, the index of a store, derived from packs, manifests and events.
 * docs/format.md, "Catalogue". Thread-safe. */
#pragma once

#include "store/event.h"
#include "store/manifest.h"
#include "store/pack.h"
#include "store/places.h"

typedef struct Catalogue Catalogue;

typedef enum CatalogueMode {
    CATALOGUE_READ,  /* as it is; works on a read-only medium */
    CATALOGUE_NOTE,  /* for writing to the ledger only: fails like CATALOGUE_READ, needs no lock */
    CATALOGUE_WRITE, /* one that can't be used is replaced by an empty one */
    CATALOGUE_NEW,   /* always replaced by an empty one */
} CatalogueMode;

/* Open `dir`/metadata.db. CATALOGUE_READ fails with -ENOENT or -EBADMSG when there is none that can
 * be used: unreadable, damaged, or of another store. The other modes need the store's lock. */
int catalogue_open(const char *dir, const char *store_id, CatalogueMode mode,
                   Catalogue **ret_catalogue, Error *e);
void catalogue_free(Catalogue *c); /* NULL is allowed */

bool catalogue_is_same(const Catalogue *a, const Catalogue *b); /* the same file */

/* Whether another file lies at `dir`/metadata.db now: a reader should open that one. */
bool catalogue_is_replaced(const Catalogue *c, const char *dir);

/* Where an object lies. -ENOENT when unknown; -EIO when the catalogue is damaged. */
int catalogue_find(Catalogue *c, const ObjectId *id, Place *ret_place);

/* Where it lies besides, when several packs hold it: at most `max` places; how many. */
size_t catalogue_copies(Catalogue *c, const ObjectId *id, Place *places, size_t max);

/* The highest ordinal that an event names; 0 for none. -EIO. */
int catalogue_last_ordinal(Catalogue *c, uint64_t *ret_ordinal);

/* Call `visit` for every row; nonzero stops and is returned. `info` is the callee's to keep or to
 * release. `deleted` and `verified` events are not applied. */
int catalogue_manifests(Catalogue *c, int (*visit)(void *ctx, BackupInfo *info), void *ctx);
int catalogue_events(Catalogue *c, int (*visit)(void *ctx, const char *name, const Event *event),
                     void *ctx);
int catalogue_packs(Catalogue *c, int (*visit)(void *ctx, const ObjectId *sha256), void *ctx);

/* Changes, between begin and commit or rollback. Only on a writable one. Where many packs are added
 * some are committed on the way, each with all of its chunks. */
int catalogue_begin(Catalogue *c, Error *e);
int catalogue_commit(Catalogue *c, Error *e);
void catalogue_rollback(Catalogue *c);
int catalogue_add_pack(Catalogue *c, const ObjectId *sha256, uint64_t size, const PackIndex *index,
                       Error *e);
int catalogue_remove_pack(Catalogue *c, const ObjectId *sha256, Error *e);
int catalogue_add_manifest(Catalogue *c, const Manifest *m, Error *e);
/* Also takes a deleted backup out of the table `backups`. */
int catalogue_add_event(Catalogue *c, const char *name, const Event *event, Error *e);
/* When verify last read a pack in full and found it good; 0 for never. Seconds since 1970. */
int catalogue_ledger_get(Catalogue *c, const ObjectId *sha256, int64_t *ret_time);
int catalogue_ledger_set(Catalogue *c, const ObjectId *sha256, int64_t time, Error *e);

/* A record of a pack is damaged, as verify found: until the ledger says that the pack was read and
 * found good. */
int catalogue_add_damaged(Catalogue *c, const ObjectId *pack, const ObjectId *id, Error *e);
/* 1, 0, or -EIO. */
int catalogue_is_damaged(Catalogue *c, const ObjectId *pack, const ObjectId *id);
bool catalogue_knows_damage(Catalogue *c); /* of any pack */
