/* What catalogue.c and catalogue_chunks.c share. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "store/catalogue.h"

struct Catalogue {
    sqlite3 *db;
    dev_t device; /* which file it is */
    ino_t inode;
    pthread_mutex_t lock; /* one statement at a time */
    size_t n_added;       /* chunks in the transaction under way */
    sqlite3_stmt *find;
    sqlite3_stmt *add_chunk;
};

/* Describe the failure of the last call. -EIO, -ENOSPC, -ENOMEM. */
int catalogue_failed(Catalogue *c, Error *e);

/* Run statements that give no rows. With the lock. */
int catalogue_run(Catalogue *c, const char *sql, Error *e);
int catalogue_prepare(Catalogue *c, const char *sql, sqlite3_stmt **ret_stmt, Error *e);

/* Run one that gives no rows, with an id bound to ?1. */
int catalogue_run_with_id(Catalogue *c, const char *sql, const ObjectId *id, Error *e);

/* Run a statement that gives no rows, and finalize it. */
int catalogue_step_done(Catalogue *c, sqlite3_stmt *stmt, Error *e);

/* Bind an id without copying it; it must outlive the step. */
void catalogue_bind_id(sqlite3_stmt *stmt, int i, const ObjectId *id);
bool catalogue_column_id(sqlite3_stmt *stmt, int i, ObjectId *ret_id);

/* Prepare `find`. -EBADMSG when the tables are not there. */
int catalogue_prepare_find(Catalogue *c, Error *e);
