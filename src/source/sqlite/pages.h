/* The pages of a database, in order, through SQLite's backup interface into a Stream: no second
 * copy on disk, no copy in memory. */
#pragma once

#include "source/sqlite/db.h"
#include "tree/stream.h"

/* Copy all pages as the transaction that sqlite_db_begin began sees them, each as it is but for
 * bytes 18 and 19 of the first, which become 1: so that plain sqlite3 opens the copy on a read-only
 * medium, where WAL mode would need a -shm. The lock-byte page at 1 GiB, which holds nothing, is
 * zeros. Reports progress as `what`. */
int sqlite_pages_copy(SqliteDb *db, const SqliteInfo *info, Stream *stream, const char *what,
                      Error *e);
