/* What restores of a whole SQLite database and of single tables share. */
#pragma once

#include <sqlite3.h>

#include "restore/content.h"

/* Restore options->tables from their SQL text into the database `path`, which is made when it is
 * not there: all of them in one transaction. */
int restore_sqlite_tables(Content *c, const char *path, RestoreResult *result, Error *e);

/* Describe the SQLite result `rc` as "what: message". Returns the negative errno. */
int sqlite_fail(sqlite3 *db, int rc, Error *e, const char *what);

/* Open for writing, made when it is not there; long statements end when options->cancel is set. */
int sqlite_open(const RestoreOptions *o, const char *path, sqlite3 **ret_db, Error *e);
int sqlite_exec(sqlite3 *db, const char *sql, Error *e, const char *what);
int sqlite_count(sqlite3 *db, const char *table, uint64_t *ret_rows, Error *e);

/* The error of a row count that is not the backup's. */
int sqlite_count_error(const char *table, uint64_t expected, uint64_t found, Error *e);

/* Check a restored database as PRAGMA integrity_check does. What that needs the application's own
 * collations and functions for is told by a note instead; from here on `db` has stand-ins for them,
 * good enough to count rows. -EBADMSG when it is damaged. */
int sqlite_check(sqlite3 *db, const RestoreOptions *o, Error *e);

/* Whether SQLite says by `message` that it lacks a function or collation. */
bool sqlite_lacks_application(const char *message);

/* Whether something is there. */
bool sqlite_exists(const char *path);

/* A new, empty file beside `path`. */
int sqlite_temporary(const char *path, char **ret_name, int *ret_fd, Error *e);

/* Give `temporary`, which is closed, the name `path`. */
int sqlite_put_in_place(const char *temporary, const char *path, bool replace, Error *e);

/* Remove a database and the files beside it. */
void sqlite_remove(const char *path);
