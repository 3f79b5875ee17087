/* The verbs of bakfs-store. Each takes the parsed options and its operands, prints its result, and
 * returns the exit code. Failures are printed by the verb. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "store/store.h"

#define STORE_PROGRAM "bakfs-store"

typedef struct StoreOptions {
    const char *store;      /* never NULL when a verb runs */
    const char *collection; /* "ns/name" */
    const char *namespace;
    const char *since;
    int limit; /* 0 for all */
    double lock_wait;
    bool json, quiet, yes;
} StoreOptions;

int verb_init(const StoreOptions *o, const char *operand);
int verb_list(const StoreOptions *o, const char *operand);
int verb_show(const StoreOptions *o, const char *operand);
int verb_delete(const StoreOptions *o, const char *operand);
int verb_reindex(const StoreOptions *o, const char *operand);

/* A backup as the API's BackupMetadata and what is known beyond: `m` is its manifest, or NULL when
 * that can't be read. `latest` is the newest complete backup of its collection. The caller
 * decrefs; NULL when out of memory. */
json_t *backup_json(const BackupInfo *b, const Manifest *m, bool latest);

/* Whether `b` is its collection's newest complete backup. */
bool backup_is_latest(const BackupList *l, const BackupInfo *b);

/* The manifest's `kind`, or "" when it has none or is NULL. */
const char *backup_kind(const Manifest *m);

/* Seconds since 1970 of `text`: 2026-01-15, 2026-01-15T14:30:45Z (dashes for colons do as well; the
 * seconds, minutes and Z may be left out; UTC), @SECONDS, or an age before `now` such as 7d (units
 * s m h d w). 0 or -EINVAL. */
int parse_time(const char *text, int64_t now, int64_t *ret_time);
