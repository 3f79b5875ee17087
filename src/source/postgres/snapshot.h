/* Snapshot: one consistent state of a database: a coordinator session whose transaction stays open,
 * the TOC that pg_dump made of it, and the tables locked against change. */
#pragma once

#include <stdatomic.h>

#include "source/postgres/archive.h"
#include "source/postgres/child.h"
#include "source/postgres/conn.h"
#include "source/postgres/tool_notes.h"
#include "source/postgres/tools.h"

typedef struct SnapshotOptions {
    const PgTools *tools;
    const ConnInfo *pinned;  /* the server the coordinator is connected to */
    double lock_wait;        /* seconds pg_dump waits for a table's lock */
    bool from_dump;          /* data is to be read from pg_dump: keep it running */
    const char *const *args; /* more arguments for pg_dump: its scope */
    size_t n_args;
    bool no_owner;             /* take the owners out of the TOC */
    const atomic_bool *cancel; /* may be NULL */
    ToolNotes *notes;          /* what pg_dump warns of; borrowed, may be NULL */
} SnapshotOptions;

typedef struct Snapshot {
    Conn *coordinator; /* borrowed; in its transaction */
    ToolNotes *notes;  /* borrowed */
    char *id;          /* for SET TRANSACTION SNAPSHOT; owned */
    Archive toc;       /* owned */
    /* Set when that was asked for, or when the coordinator can't lock the tables too, because
     * another session waits for one or the server has no room for so many locks: pg_dump still
     * runs, keeps its locks, and its data is to be read from here. */
    Child *dump;           /* owned, or NULL */
    ArchiveReader *reader; /* owned, or NULL */
    const char *why_one;   /* why the coordinator can't lock; NULL: it has, or was not to */
} Snapshot;

/* Begin the transaction, run pg_dump, lock. `coordinator` must be idle. -ESTALE when a table
 * or a definition changed meanwhile: try again. -EBUSY when a lock was not to be had in time.
 * -ECONNRESET when the connection was lost, or pg_dump got none. -EREMOTEIO when the server's
 * reason is in a language that is not understood here: it may be one that passes. */
int snapshot_begin(Conn *coordinator, const SnapshotOptions *o, Snapshot *ret_snapshot, Error *e);

/* Reading from `s->reader` failed with `why` (which is consumed) or ended: wait for pg_dump, and
 * tell what it says of the reason when it failed. 0 when neither did. */
int snapshot_dump_failed(Snapshot *s, Error *why, Error *e);

/* Prove that the coordinator's transaction still stands. */
int snapshot_check(Snapshot *s, Error *e);

/* End pg_dump and the transaction. A zeroed Snapshot is allowed. */
void snapshot_end(Snapshot *s);
