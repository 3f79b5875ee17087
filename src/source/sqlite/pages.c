#include "source/sqlite/pages.h"

#include <errno.h>
#include <string.h>

#include "source/sqlite/sink.h"
#include "util/cleanup.h"

#define STEP_BYTES (1u << 20)

/* The destination keeps one step's pages until they are flushed; were its cache smaller than that,
 * it would write pages while others of the step are still to come. */
static int open_destination(SqliteDb *db, SqliteSink *sink, uint32_t step_pages,
                            sqlite3 **ret_handle, Error *e)
{
    char sql[160];
    sqlite3 *handle = NULL;
    int rc = sqlite3_open_v2("sink", &handle,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                             sqlite_sink_vfs(sink));
    if (rc == SQLITE_OK) {
        snprintf(sql, sizeof(sql),
                 "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; "
                 "PRAGMA cache_size=%u",
                 4 * step_pages);
        rc = sqlite3_exec(handle, sql, NULL, NULL, NULL);
    }
    if (rc != SQLITE_OK) {
        sqlite3_close(handle);
        return sqlite_db_error(db, rc, "prepare the copy", e);
    }
    *ret_handle = handle;
    return 0;
}

static int copy_steps(SqliteDb *db, sqlite3 *to, SqliteSink *sink, uint32_t step_pages,
                      const char *what, Error *e)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", db->handle, "main");
    if (!backup)
        return error_set(e, EIO, "can't copy %s: %s", db->path, sqlite3_errmsg(to));
    int rc;
    do {
        rc = sqlite3_backup_step(backup, (int)step_pages);
        if (rc == SQLITE_OK) /* write in order of page number what the step left in the cache */
            rc = sqlite3_db_cacheflush(to);
        sqlite_db_report(db, sqlite_sink_bytes(sink), what);
    } while (rc == SQLITE_OK && !sqlite_db_cancelled(db));
    sqlite3_backup_finish(backup);
    if (sqlite_db_cancelled(db))
        return error_set(e, EINTR, "interrupted");
    int r = sqlite_sink_error(sink, e);
    if (r < 0)
        return r;
    return rc == SQLITE_DONE ? sqlite_sink_finish(sink, e)
                             : sqlite_db_error(db, rc, "copy the pages", e);
}

int sqlite_pages_copy(SqliteDb *db, const SqliteInfo *info, Stream *stream, const char *what,
                      Error *e)
{
    if (info->page_count == 0)
        return 0;
    size_t len;
    const uint8_t *page1 = sqlite_guard_page1(db->guard, &len);
    SqliteSink *sink = NULL;
    int r = sqlite_sink_new(stream, page1, info->page_size, info->page_count, &sink);
    if (r < 0)
        return error_oom(e);
    uint32_t step_pages = STEP_BYTES / info->page_size;
    sqlite3 *to = NULL;
    r = open_destination(db, sink, step_pages, &to, e);
    if (r >= 0)
        r = copy_steps(db, to, sink, step_pages, what, e);
    sqlite3_close(to);
    sqlite_sink_free(sink);
    return r;
}
