/* SqliteDb: a source database, opened so that nothing in it changes, and the read transaction in
 * which everything is read. Not thread-safe. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "source/source.h"
#include "source/sqlite/guard.h"
#include "source/sqlite/literal.h"
#include "util/error.h"

typedef struct SqliteDb {
    sqlite3 *handle;
    char *path; /* absolute */
    SqliteGuard *guard;
    const SourceOptions *options; /* borrowed */
    bool read_only;               /* on a read-only file system */
    bool immutable;               /* read without locks: at rest on a read-only file system */
    struct stat as_found;         /* the file, when immutable, before it was read */
    bool no_wal_before;           /* there was no -wal when we came */
    double busy_since;            /* clock_monotonic() of the first refusal */
    uint64_t expected;            /* bytes that will be read, by an estimate; 0 before begin */
} SqliteDb;

/* What the file says of itself within the transaction. */
typedef struct SqliteInfo {
    uint32_t page_size;  /* bytes, 512 to 65536; 0 for an empty file */
    uint64_t page_count; /* 0 for an empty file */
    bool has_wal;        /* header says WAL mode */
    TextEncoding encoding;
    int64_t user_version;
    int64_t application_id;
} SqliteInfo;

/* Open `path` (absolute) and read its schema once, so that a file that can't be read is found out
 * here. Waits up to ten seconds for another's exclusive lock.
 * -ENOENT, -EACCES, -EISDIR, -EINVAL (no database, or encrypted), -EBUSY (locked), -EBADMSG
 * (damaged), -EROFS (WAL that can't be read without writing beside it, or a journal that can't be
 * rolled back), -EINTR. */
int sqlite_db_open(const char *path, const SourceOptions *options, SqliteDb **ret_db, Error *e);

/* Ends the transaction. Leaves -wal and -shm as found. NULL is allowed. */
void sqlite_db_close(SqliteDb *db);

/* Begin the read transaction that lasts until sqlite_db_close. */
int sqlite_db_begin(SqliteDb *db, SqliteInfo *ret_info, Error *e);

/* When everything is read: that what was read without locks did not change meanwhile. -EBUSY. */
int sqlite_db_check_unchanged(const SqliteDb *db, Error *e);

/* Describe the SQLite result `rc` of `what` ("read table \"x\""). Returns the negative errno. */
int sqlite_db_error(SqliteDb *db, int rc, const char *what, Error *e);

/* Prepare `sql`. The caller finalizes. */
int sqlite_db_prepare(SqliteDb *db, const char *sql, sqlite3_stmt **ret_stmt, Error *e);

/* The integer in the first column of the first row of `sql`. */
int sqlite_db_integer(SqliteDb *db, const char *sql, int64_t *ret_value, Error *e);

bool sqlite_db_cancelled(const SqliteDb *db);

/* Tell the options' callbacks that `bytes` were read, and what is being read. */
void sqlite_db_report(const SqliteDb *db, uint64_t bytes, const char *what);

/* For _cleanup_(sqlite_stmt_cleanup) sqlite3_stmt *stmt = NULL. */
void sqlite_stmt_cleanup(sqlite3_stmt **stmt);
