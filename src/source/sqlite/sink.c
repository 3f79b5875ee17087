#include "source/sqlite/sink.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_BYTE 0x40000000u /* file offset whose page SQLite never uses */

struct SqliteSink {
    sqlite3_vfs vfs; /* pAppData is the sink */
    sqlite3_vfs *real;
    char name[40];
    Stream *stream;
    uint32_t page_size;
    uint64_t page_count;
    uint64_t next;    /* number, from 1, of the page that comes next */
    uint64_t written; /* file size as the pager sees it */
    bool page1_seen;
    Error error; /* the first failure */
    uint8_t page1[];
};

typedef struct SinkFile {
    sqlite3_file base;
    SqliteSink *sink;
} SinkFile;

static SqliteSink *sink_of(sqlite3_file *file)
{
    return ((SinkFile *)file)->sink;
}

static int pass_page(SqliteSink *s, const void *page)
{
    int r = stream_write(s->stream, page, s->page_size, &s->error);
    if (r < 0)
        return r;
    s->next++;
    return 0;
}

static int pass_zeros(SqliteSink *s)
{
    void *zeros = calloc(1, s->page_size);
    if (!zeros)
        return error_oom(&s->error);
    int r = pass_page(s, zeros);
    free(zeros);
    return r;
}

/* Pass on what never comes through xWrite: our own first page, and the lock-byte page. */
static int pass_unwritten(SqliteSink *s)
{
    int r = 0;
    if (s->next == 1)
        r = pass_page(s, s->page1);
    if (r >= 0 && s->next == LOCK_BYTE / s->page_size + 1 && s->next <= s->page_count)
        r = pass_zeros(s);
    return r;
}

/* Fields of the header that belong to the copy rather than to the snapshot: see the SQLite file
 * format, "The Database Header". */
static bool is_own_field(uint32_t i)
{
    return i == 18 || i == 19 ||  /* write and read version, set by us */
           (i >= 24 && i < 32) || /* change counter, size in pages */
           (i >= 40 && i < 44) || /* schema cookie */
           (i >= 92 && i < 100);  /* version-valid-for, SQLite version */
}

/* The pager's page 1 proves that ours is of the same snapshot. */
static int check_page1(SqliteSink *s, const uint8_t *page)
{
    for (uint32_t i = 0; i < s->page_size; i++)
        if (page[i] != s->page1[i] && !is_own_field(i))
            return error_set(&s->error, EIO, "the database's first page changed while it was read");
    s->page1_seen = true;
    return 0;
}

static int take_page(SqliteSink *s, const uint8_t *page, uint64_t number)
{
    if (number == 1)
        return check_page1(s, page);
    int r = pass_unwritten(s);
    if (r < 0)
        return r;
    if (number != s->next || number > s->page_count)
        return error_set(&s->error, EIO, "SQLite wrote page %llu of the copy where %llu was due",
                         (unsigned long long)number, (unsigned long long)s->next);
    return pass_page(s, page);
}

static int sink_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
    SqliteSink *s = sink_of(file);
    if (s->error.errnum)
        return SQLITE_IOERR_WRITE;
    int r;
    if ((uint32_t)len != s->page_size || offset % len != 0)
        r = error_set(&s->error, EIO, "SQLite wrote %d bytes of the copy at %lld", len,
                      (long long)offset);
    else
        r = take_page(s, data, (uint64_t)(offset / len) + 1);
    if ((uint64_t)offset + (uint64_t)len > s->written)
        s->written = (uint64_t)offset + (uint64_t)len;
    return r < 0 ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int sink_read(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
    memset(data, 0, (size_t)len);
    return SQLITE_IOERR_SHORT_READ;
}

static int sink_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    *ret_size = (sqlite3_int64)sink_of(file)->written;
    return SQLITE_OK;
}

static int sink_ok(sqlite3_file *file)
{
    return SQLITE_OK;
}

static int sink_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return SQLITE_OK;
}

static int sink_flags(sqlite3_file *file, int flags)
{
    return SQLITE_OK;
}

static int sink_check_reserved(sqlite3_file *file, int *ret_held)
{
    *ret_held = 0;
    return SQLITE_OK;
}

static int sink_control(sqlite3_file *file, int op, void *arg)
{
    return SQLITE_NOTFOUND;
}

static int sink_sector_size(sqlite3_file *file)
{
    return 512; /* no larger than a page, or the pager writes the neighbours too */
}

static int sink_characteristics(sqlite3_file *file)
{
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods sink_methods = {
    .iVersion = 1,
    .xClose = sink_ok,
    .xRead = sink_read,
    .xWrite = sink_write,
    .xTruncate = sink_truncate,
    .xSync = sink_flags,
    .xFileSize = sink_file_size,
    .xLock = sink_flags,
    .xUnlock = sink_flags,
    .xCheckReservedLock = sink_check_reserved,
    .xFileControl = sink_control,
    .xSectorSize = sink_sector_size,
    .xDeviceCharacteristics = sink_characteristics,
};

static int sink_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    SinkFile *f = (SinkFile *)file;
    *f = (SinkFile){0};
    if (!(flags & SQLITE_OPEN_MAIN_DB))
        return SQLITE_CANTOPEN;
    f->base.pMethods = &sink_methods;
    f->sink = vfs->pAppData;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int sink_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    return SQLITE_OK;
}

static int sink_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_result)
{
    *ret_result = 0;
    return SQLITE_OK;
}

static int sink_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    snprintf(out, (size_t)size, "%s", name);
    return SQLITE_OK;
}

static sqlite3_vfs *real_of(sqlite3_vfs *vfs)
{
    return ((SqliteSink *)vfs->pAppData)->real;
}

static int sink_randomness(sqlite3_vfs *vfs, int len, char *out)
{
    return real_of(vfs)->xRandomness(real_of(vfs), len, out);
}

static int sink_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return real_of(vfs)->xSleep(real_of(vfs), microseconds);
}

static int sink_time(sqlite3_vfs *vfs, double *ret_day)
{
    return real_of(vfs)->xCurrentTime(real_of(vfs), ret_day);
}

int sqlite_sink_new(Stream *stream, const uint8_t *page1, uint32_t page_size, uint64_t page_count,
                    SqliteSink **ret_sink)
{
    SqliteSink *s = calloc(1, sizeof(*s) + page_size);
    if (!s)
        return -ENOMEM;
    s->real = sqlite3_vfs_find(NULL);
    s->stream = stream;
    s->page_size = page_size;
    s->page_count = page_count;
    s->next = 1;
    memcpy(s->page1, page1, page_size);
    s->page1[18] = s->page1[19] = 1;
    snprintf(s->name, sizeof(s->name), "bakfs-sink-%p", (void *)s);
    s->vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(SinkFile),
        .mxPathname = 64,
        .zName = s->name,
        .pAppData = s,
        .xOpen = sink_open,
        .xDelete = sink_delete,
        .xAccess = sink_access,
        .xFullPathname = sink_full_path,
        .xRandomness = sink_randomness,
        .xSleep = sink_sleep,
        .xCurrentTime = sink_time,
    };
    if (!s->real || sqlite3_vfs_register(&s->vfs, 0) != SQLITE_OK) {
        free(s);
        return -ENOMEM;
    }
    *ret_sink = s;
    return 0;
}

void sqlite_sink_free(SqliteSink *s)
{
    if (!s)
        return;
    sqlite3_vfs_unregister(&s->vfs);
    error_release(&s->error);
    free(s);
}

const char *sqlite_sink_vfs(const SqliteSink *s)
{
    return s->name;
}

uint64_t sqlite_sink_bytes(const SqliteSink *s)
{
    return (s->next - 1) * s->page_size;
}

int sqlite_sink_error(SqliteSink *s, Error *e)
{
    return error_move(e, &s->error);
}

int sqlite_sink_finish(SqliteSink *s, Error *e)
{
    if (!s->error.errnum)
        pass_unwritten(s);
    if (!s->error.errnum && (s->next != s->page_count + 1 || !s->page1_seen))
        error_set(&s->error, EIO, "SQLite ended the copy after page %llu of %llu",
                  (unsigned long long)(s->next - 1), (unsigned long long)s->page_count);
    return error_move(e, &s->error);
}
