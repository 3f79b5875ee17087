/* Backup: one run from the lock to the commit. */
#pragma once

#include "source/source.h"
#include "store/store.h"

typedef struct BackupOptions {
    const char *store;      /* directory */
    const char *collection; /* "namespace/name"; NULL for default/<database name> */
    const char *source_repo, *trigger_event, *commit_sha; /* NULL: see backup/names.h */
    const char *environment;                              /* NULL when not given */
    json_t *tags;                                         /* object of texts, or NULL; borrowed */
    const char *const *sources; /* SOURCE arguments; file: ones make one source */
    size_t n_sources; /* 0: $SUPABASE_DB_URL, $DATABASE_URL, then libpq's variables; a variable
                       * that is set to nothing, and no other, is refused */
    double lock_wait; /* seconds */
    int level;        /* zstd; 0 for the default */
    bool no_deltas;   /* store every chunk whole */
    SourceOptions source;
    void (*on_wait)(void *ctx, const char *holder); /* with source.ctx */
} BackupOptions;

typedef struct BackupResult {
    BackupInfo info;
    json_t *manifest; /* the whole document; owned */
    bool incomplete;  /* parts were left out that nobody excluded by name */
} BackupResult;
void backup_result_release(BackupResult *r);

/* Make one backup. On failure nothing is committed. Success with `incomplete` set: `left_out` in
 * the manifest lists what lacks. info.partial is set for those, and for one narrowed on purpose. */
int backup_run(const BackupOptions *o, BackupResult *ret_result, Error *e);
