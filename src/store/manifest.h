/* Manifest: the immutable JSON document that makes a backup exist. format.md, "Manifests". */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "chunk/id.h"
#include "util/buf.h"
#include "util/error.h"

#define MANIFEST_MAX       (64u << 20) /* bytes */
#define MANIFEST_NAME_SIZE 96          /* "manifests/<10 digits>-<64 hex>.json" and zero */

/* What lists and look-ups need of a backup. Strings are owned. */
typedef struct BackupInfo {
    uint64_t ordinal;   /* from 1, never reused; the order of commits */
    char *id;           /* backup-<16 hex> */
    char *collection;   /* namespace/name */
    int64_t timestamp;  /* start, seconds since 1970 */
    char *latest_name;  /* latest_<TS> */
    char *archive_name; /* <TS>--<repo>--<event>--<sha>[--N] */
    bool partial;
    bool verified; /* by an event */
    uint64_t size_bytes, record_count, file_count, table_count, bytes_new;
    ObjectId root;            /* root directory */
    uint64_t entries;         /* entries below the root directory */
    ObjectId manifest_sha256; /* of the manifest's bytes */
} BackupInfo;

void backup_info_release(BackupInfo *b); /* frees the strings, not `b` */
int backup_info_copy(const BackupInfo *from, BackupInfo *ret_copy);

/* A parsed manifest. `doc` is the whole document. */
typedef struct Manifest {
    BackupInfo info;
    json_t *doc; /* owned reference */
    size_t n_packs;
    ObjectId *packs; /* the packs this backup added */
} Manifest;

/* The manifest's path in the store. */
void manifest_name(const BackupInfo *b, char out[MANIFEST_NAME_SIZE]);

/* Parse and check. -EBADMSG with a message when it is no manifest. `bytes` may be outside bytes. */
int manifest_parse(const void *bytes, size_t len, Manifest **ret_manifest, Error *e);

/* The map of names and tags that lists carry (a new reference): source_repo, trigger_event,
 * commit_sha, environment, kind, description, retention, and the tags. NULL when out of memory. */
json_t *manifest_metadata(const Manifest *m);

/* Append the document as people read it: backup.json. Indented, unless that takes several times
 * MANIFEST_MAX. 0 or -ENOMEM. */
int manifest_print(const Manifest *m, Buf *out);

void manifest_free(Manifest *m); /* NULL is allowed */

/* Whether "namespace/name" is one: both parts 1 to 100 bytes of letters, digits, '.', '_', '-', not
 * beginning with '.'. */
bool collection_is_valid(const char *collection);
bool collection_part_is_valid(const char *text, size_t len);
