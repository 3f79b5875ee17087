/* StoreWriter: the one writer of a store, from lock to commit or abort. Objects put here are
 * readable by others only after the commit. */
#pragma once

#include <jansson.h>
#include <stdatomic.h>

#include "chunk/cutter.h"
#include "store/bases.h"
#include "store/store.h"

typedef struct StoreWriter StoreWriter;

typedef struct WriterOptions {
    double lock_wait;          /* seconds; 0 fails at once */
    int level;                 /* zstd level; 0 for the default */
    int workers;               /* compressing threads; 0 for one per processor */
    bool no_deltas;            /* store every chunk whole */
    const atomic_bool *cancel; /* stop waiting when it becomes true; may be NULL */
    void (*on_wait)(void *ctx, const char *holder); /* called once, when waiting starts */
    void *on_wait_ctx;
} WriterOptions;

/* Lock the store, sweep what a dead writer left in tmp/, catch the catalogue up. On a lock held
 * elsewhere the error's exit code is BK_EXIT_LOCKED and its message names the holder. */
int writer_begin(Store *s, const WriterOptions *o, StoreWriter **ret_writer, Error *e);

/* Throw away what was not committed, unlock, free. NULL is allowed. Also after a commit. */
void writer_end(StoreWriter *w);

Store *writer_store(StoreWriter *w);

/* Put one object and wait for it. `len` is 1 to OBJECT_MAX. Known objects cost a look-up.
 * Thread-safe. */
int writer_put(StoreWriter *w, ObjectType type, const void *data, size_t len, ObjectId *ret_id,
               Error *e);

/* The same on the writer's threads. The caller fills in `object` (the reference becomes the
 * writer's) and `type`, submits, and waits before it uses or frees the ticket. Blocks while the
 * queue is full. 0; -EPIPE, when the object is still the caller's. */
typedef struct PutTicket {
    Object *object;
    ObjectType type;
    CutKind kind;    /* how the file was cut, for the sketch */
    uint64_t offset; /* in the file */
    Bases *bases;    /* the file's previous version, or NULL; must outlive the wait */
    ObjectId id;     /* valid after writer_wait returned 0 */
    int result;
    bool done;
} PutTicket;
int writer_submit(StoreWriter *w, PutTicket *t);
/* Wait until `t` is done; its result, and the writer's first error in `e`. */
int writer_wait(StoreWriter *w, PutTicket *t, Error *e);

/* Objects as the writer sees them: committed ones and its own. Thread-safe. */
ObjectSource *writer_objects(StoreWriter *w);

typedef struct WriterStats {
    uint64_t bytes_in;  /* plain bytes put */
    uint64_t bytes_new; /* bytes appended to packs */
    uint64_t objects, objects_new;
} WriterStats;
void writer_stats(StoreWriter *w, WriterStats *ret_stats);

/* Make the backup exist. `doc` is the manifest without `format`, `ordinal`, `backup_id`,
 * `latest_name`, `packs`, `bytes_read` and `bytes_new`, which are added here, and with an
 * `archive_name` that gets `--N` where it is taken. After success `ret_info` (release it) describes
 * the backup. After -errno nothing is visible. */
int writer_commit(StoreWriter *w, json_t *doc, BackupInfo *ret_info, Error *e);
