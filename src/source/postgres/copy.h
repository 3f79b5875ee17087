/* Copy: reads the rows of all tables of a snapshot, by several connections at once, or, where locks
 * are refused, from pg_dump's own stream. */
#pragma once

#include "source/postgres/blobs.h"
#include "source/postgres/conninfo.h"
#include "source/postgres/model.h"
#include "source/postgres/sink.h"
#include "source/postgres/snapshot.h"

typedef struct CopyOptions {
    const ConnInfo *pinned; /* where further connections go */
    int jobs;               /* further connections, >= 1 */
    uint64_t piece_size;    /* bytes on disk that one of them reads at a time of a large table */
    SinkShared *shared;
} CopyOptions;

/* Fill every table that has data. The first failure stops all; -ECONNRESET when a connection was
 * lost, -ESTALE when a table is no longer what the snapshot says, -EINTR when cancelled. */
int copy_tables(const CopyOptions *o, Snapshot *s, Model *m, Error *e);

/* The same from the archive stream that `s->reader` stands in, to its end; with large objects,
 * which become the `blobs` (zeroed, one for each part) of the script's parts BLOBS. */
int copy_from_dump(const CopyOptions *o, Snapshot *s, Model *m, const Script *script,
                   BlobData *blobs, Error *e);
