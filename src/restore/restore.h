/* Restore: from a backup in the store to a database or directory, without a mount. */
#pragma once

#include <jansson.h>
#include <stdatomic.h>

#include "store/store.h"

typedef struct RestoreOptions {
    const char *store;      /* directory */
    const char *backup;     /* see backup_list_find */
    const char *collection; /* where it is looked for, or NULL */
    const char *target;     /* postgres://…, keyword string, sqlite:PATH, file:DIR */
    const char *database;   /* which one of a backup with several; NULL: there is only one */
    const char *const *schemas, *const *tables; /* only these; names as restore/select.h says */
    size_t n_schemas, n_tables;
    bool data_only, schema_only;
    bool create;    /* PostgreSQL: the target database is made */
    bool overwrite; /* what stands in the way is replaced */
    bool force;     /* PostgreSQL: end other sessions of a database that is dropped */
    bool no_owner, no_acl;
    int jobs;    /* connections; 1: all in one transaction where possible */
    int retries; /* further attempts to connect */
    const char *pg_bindir;
    const atomic_bool *cancel; /* set on SIGINT and SIGTERM; -EINTR then */
    /* Ask before something that exists is touched: 0 to go on, -ECANCELED with a message to stop.
     * `what` is a sentence without its end: "database shop at … holds 12 tables". NULL stops. */
    int (*confirm)(void *ctx, const char *what, Error *e);
    void (*note)(void *ctx, const char *text); /* one line for people; may be NULL */
    /* Bytes restored so far of `total` (0: not known), and of what; any thread. May be NULL. */
    void (*progress)(void *ctx, uint64_t bytes, uint64_t total, const char *what);
    void *ctx;
} RestoreOptions;

typedef struct RestoreResult {
    BackupInfo backup;
    const char *type; /* of the target: "postgres", "sqlite", "file" */
    char *target;     /* masked; owned */
    char *database;   /* the backup's database, or NULL for a whole backup; owned */
    uint64_t objects; /* PostgreSQL: entries of the archive restored */
    uint64_t files;   /* file: only */
    uint64_t tables, rows, bytes;
    bool one_transaction;
    double seconds;
    json_t *left_out; /* array of {what, why}, never NULL; owned */
} RestoreResult;
void restore_result_release(RestoreResult *r);

/* Do it. On failure the target is as before wherever that can be had; else the message says what
 * was left behind. -EINVAL with exit code BK_EXIT_USAGE for options that contradict each other or
 * the backup. */
int restore_run(const RestoreOptions *o, RestoreResult *ret_result, Error *e);
