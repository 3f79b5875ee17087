/* Verify: whether a store is what it says it is, and whether its backups can be restored. Reads
 * only, but for marking good backups as verified and the ledger; needs no writer lock. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "store/store.h"
#include "verify/damage.h"

typedef enum VerifyPhase {
    VERIFY_LISTS, /* manifests, events and the packs' indexes */
    VERIFY_PACKS, /* reading packs: `done` and `total` are bytes */
    VERIFY_TREES, /* walking backups: `done` and `total` are backups */
} VerifyPhase;

typedef struct VerifyOptions {
    bool quick;                /* structure and sizes only: no pack is read in full */
    const char *backup;        /* only this one (see backup_list_find), or NULL */
    const char *collection;    /* only backups of "ns/name", or NULL */
    unsigned threads;          /* 0 for one per processor */
    const atomic_bool *cancel; /* -EINTR when it becomes true; may be NULL */
    /* On the caller's thread, some ten times a second while packs are read; may be NULL. */
    void (*progress)(void *ctx, VerifyPhase phase, uint64_t done, uint64_t total);
    void *ctx;
} VerifyOptions;

typedef struct VerifyResult {
    BackupList *backups; /* the store's; touches refer to positions in it */
    bool *selected;      /* one for each backup: it was verified */
    DamageList damage;
    size_t n_backups, n_manifests, n_events, n_packs;
    uint64_t objects;     /* in the packs that were verified */
    uint64_t bytes;       /* size of these packs */
    uint64_t plain_bytes; /* what was decompressed and hashed; 0 when quick */
    double seconds;
    size_t n_marked; /* backups newly marked as verified */
} VerifyResult;

/* Verify the store, or one backup or collection: then only the packs they need are read, each as
 * a whole. 0 also when damage was found: see `damage`. The caller frees with verify_result_free. */
int verify_run(Store *s, const VerifyOptions *o, VerifyResult **ret_result, Error *e);
void verify_result_free(VerifyResult *r); /* NULL is allowed */

/* Whether a finding touches the backup at position `i`. */
bool verify_touches(const VerifyResult *r, size_t i);
