/* SqliteGuard: the VFS through which a source database is opened. It passes everything on to the
 * system's VFS, keeps a copy of page 1 as SQLite read it (from the file or from the WAL: no
 * interface hands out the raw page), and, once sealed, refuses every write to the database file,
 * so that no path through SQLite can checkpoint or change it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct SqliteGuard SqliteGuard;

/* Register a VFS of its own. With `immutable` SQLite is told that the medium can't change: no
 * locks, no -wal, no -shm. 0 or -ENOMEM. */
int sqlite_guard_new(bool immutable, SqliteGuard **ret_guard);

/* Unregister and free. All connections opened through it must be closed. NULL is allowed. */
void sqlite_guard_free(SqliteGuard *g);

/* The name for sqlite3_open_v2. */
const char *sqlite_guard_vfs(const SqliteGuard *g);

/* From here on writes to the database file fail with SQLITE_READONLY. */
void sqlite_guard_seal(SqliteGuard *g);

/* Page 1 as last read and its length: a whole page after a transaction began, 100 bytes or none
 * before. Valid until the next read through the connection. */
const uint8_t *sqlite_guard_page1(const SqliteGuard *g, size_t *ret_len);
