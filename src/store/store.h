/* Store: a directory of packs, manifests and events, and the catalogue derived from them.
 * docs/format.md describes every byte. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/manifest.h"
#include "store/object.h"
#include "util/error.h"

#define STORE_FORMAT_VERSION 1

typedef struct Store Store;

typedef struct StoreConfig {
    int format_version;
    char *store_id;           /* 32 hex digits */
    char *default_collection; /* "namespace/name", or NULL before the first backup */
    uint8_t secret[32];       /* key of the \restrict HMAC */
    int64_t created;          /* seconds since 1970 */
} StoreConfig;

/* Create an empty store in `path`, which must not exist or be an empty directory.
 * `collection` ("ns/name") may be NULL: the first backup decides. -EEXIST when it holds a store
 * already, -ENOTEMPTY when it holds something else. */
int store_init(const char *path, const char *collection, Error *e);

/* Open for reading. Works on a read-only medium and without a usable catalogue. Error exit code
 * BK_EXIT_NO_STORE when `path` holds no store; -EPROTONOSUPPORT for a newer format. */
int store_open(const char *path, Store **ret_store, Error *e);
void store_close(Store *s); /* NULL is allowed */

const char *store_path(const Store *s);
const StoreConfig *store_config(const Store *s);

/* The store as a source of objects; valid as long as the store. */
ObjectSource *store_objects(Store *s);

/* Whether backups or events appeared since the last store_refresh: three stats. Thread-safe. */
bool store_changed(Store *s);

/* Read the list of backups anew. On failure the old list stays. */
int store_refresh(Store *s, Error *e);

/* The backups that are not deleted, by rising ordinal. A snapshot that a later refresh leaves
 * alone; free with backup_list_unref. Thread-safe. */
typedef struct BackupList BackupList;
struct BackupList {
    atomic_uint refs;
    size_t n;
    BackupInfo *items;
    size_t damaged; /* manifests that can't be read: their backups are not among the items */
};
BackupList *store_backups(Store *s);
BackupList *backup_list_ref(BackupList *l);
void backup_list_unref(BackupList *l);

/* The newest complete backup of `collection` ("ns/name"), or NULL. Points into the list. */
const BackupInfo *backup_list_latest(const BackupList *l, const char *collection);

/* Find one backup: id, unique prefix of one, archive name, timestamp or its prefix, `latest`, or a
 * collection "ns/name" (its latest). Among those of `collection` only, unless that is NULL; then
 * `latest` is the default collection's. -ENOENT; -EEXIST when ambiguous, naming the candidates. */
int backup_list_find(const BackupList *l, const Store *s, const char *spec, const char *collection,
                     const BackupInfo **ret_backup, Error *e);

/* Load and check a backup's manifest. The caller frees with manifest_free. */
int store_manifest(Store *s, const BackupInfo *b, Manifest **ret_manifest, Error *e);

/* Make a backup disappear at once, for every reader. Needs no writer lock. Its space is freed by
 * garbage collection. */
int store_delete_backup(Store *s, const BackupInfo *b, Error *e);

/* Record that these backups were found good. Needs no writer lock. */
int store_mark_verified(Store *s, const BackupInfo *const *backups, size_t n, Error *e);

/* Note in the catalogue that `packs` were read in full at `time` and found good. Does nothing where
 * the catalogue can't be written: notes are no more than a help. */
void store_note_read(Store *s, const ObjectId *packs, size_t n, int64_t time);

/* An object's record in one pack. */
typedef struct PackedObject {
    ObjectId pack, id;
} PackedObject;

/* Note in the catalogue that these records are damaged: a writer that has their objects at hand
 * stores them again. */
void store_note_damaged(Store *s, const PackedObject *list, size_t n);

/* Forget the catalogue and build it from packs, manifests and events. Takes the writer's lock,
 * waiting up to `lock_wait` seconds. `store_refresh` afterwards. */
int store_reindex(Store *s, double lock_wait, Error *e);

/* For verification: the parts below. Valid as long as the store. */
typedef struct Backend Backend;
typedef struct PackSet PackSet;
typedef struct Catalogue Catalogue;
Backend *store_backend(Store *s);
PackSet *store_packs(Store *s);
Catalogue *store_catalogue(Store *s); /* NULL when there is none that can be used */

/* Decode a record's bytes, fetching what it is a delta of, and check that it is `id`. -ESTALE when
 * the record is another object's. Thread-safe. */
int store_decode(Store *s, const ObjectId *id, const uint8_t *bytes, size_t len,
                 Object **ret_object, Error *e);

/* How many bytes an object takes in its pack, and whether as a delta. -ENOENT. Thread-safe. */
int store_stored(Store *s, const ObjectId *id, uint32_t *ret_bytes, bool *ret_is_delta);

/* Which pack an object lies in. -ENOENT when in none. Thread-safe. */
int store_locate(Store *s, const ObjectId *id, ObjectId *ret_pack, Error *e);
