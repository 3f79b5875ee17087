#include "source/sqlite/guard.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_MAX   65536
#define HEADER_LEN 100

struct SqliteGuard {
    sqlite3_vfs vfs; /* pAppData is the guard */
    sqlite3_vfs *real;
    char name[40];
    bool immutable;
    bool sealed;
    size_t page1_len;
    uint8_t page1[PAGE_MAX];
};

/* The real file follows in the same allocation (szOsFile). */
typedef struct GuardFile {
    sqlite3_file base;
    SqliteGuard *guard;
    bool is_main;
    bool holds_pages; /* the database file or its WAL */
    sqlite3_file *real;
} GuardFile;

#define REAL(f)    (((GuardFile *)(f))->real)
#define METHODS(f) (REAL(f)->pMethods)

static void keep_page1(GuardFile *f, const void *data, int len, sqlite3_int64 offset)
{
    /* In a WAL any frame may hold page 1. No other page that a schema look-up reads begins with
     * the magic string: b-tree pages begin with a type byte, overflow pages with a page number
     * that no file reaches. */
    if (len < HEADER_LEN || len > PAGE_MAX || (f->is_main && offset != 0) ||
        memcmp(data, "SQLite format 3", 16) != 0)
        return;
    memcpy(f->guard->page1, data, (size_t)len);
    f->guard->page1_len = (size_t)len;
}

static int guard_close(sqlite3_file *file)
{
    return REAL(file)->pMethods ? METHODS(file)->xClose(REAL(file)) : SQLITE_OK;
}

static int guard_read(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
    GuardFile *f = (GuardFile *)file;
    int rc = METHODS(file)->xRead(f->real, data, len, offset);
    if (rc == SQLITE_OK && f->holds_pages)
        keep_page1(f, data, len, offset);
    return rc;
}

static bool refused(sqlite3_file *file)
{
    const GuardFile *f = (const GuardFile *)file;
    return f->is_main && f->guard->sealed;
}

static int guard_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
    return refused(file) ? SQLITE_READONLY : METHODS(file)->xWrite(REAL(file), data, len, offset);
}

static int guard_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return refused(file) ? SQLITE_READONLY : METHODS(file)->xTruncate(REAL(file), size);
}

static int guard_sync(sqlite3_file *file, int flags)
{
    return METHODS(file)->xSync(REAL(file), flags);
}

static int guard_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return METHODS(file)->xFileSize(REAL(file), ret_size);
}

static int guard_lock(sqlite3_file *file, int level)
{
    return METHODS(file)->xLock(REAL(file), level);
}

static int guard_unlock(sqlite3_file *file, int level)
{
    return METHODS(file)->xUnlock(REAL(file), level);
}

static int guard_check_reserved(sqlite3_file *file, int *ret_held)
{
    return METHODS(file)->xCheckReservedLock(REAL(file), ret_held);
}

static int guard_control(sqlite3_file *file, int op, void *arg)
{
    return METHODS(file)->xFileControl(REAL(file), op, arg);
}

static int guard_sector_size(sqlite3_file *file)
{
    return METHODS(file)->xSectorSize(REAL(file));
}

static int guard_characteristics(sqlite3_file *file)
{
    const GuardFile *f = (const GuardFile *)file;
    int flags = METHODS(file)->xDeviceCharacteristics(f->real);
    return f->is_main && f->guard->immutable ? flags | SQLITE_IOCAP_IMMUTABLE : flags;
}

static int guard_shm_map(sqlite3_file *file, int region, int size, int extend,
                         void volatile **ret_p)
{
    return METHODS(file)->xShmMap(REAL(file), region, size, extend, ret_p);
}

static int guard_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return METHODS(file)->xShmLock(REAL(file), offset, n, flags);
}

static void guard_shm_barrier(sqlite3_file *file)
{
    METHODS(file)->xShmBarrier(REAL(file));
}

static int guard_shm_unmap(sqlite3_file *file, int delete_it)
{
    return METHODS(file)->xShmUnmap(REAL(file), delete_it);
}

/* Version 2: without xFetch, so that every page passes xRead. */
static const sqlite3_io_methods guard_methods = {
    .iVersion = 2,
    .xClose = guard_close,
    .xRead = guard_read,
    .xWrite = guard_write,
    .xTruncate = guard_truncate,
    .xSync = guard_sync,
    .xFileSize = guard_file_size,
    .xLock = guard_lock,
    .xUnlock = guard_unlock,
    .xCheckReservedLock = guard_check_reserved,
    .xFileControl = guard_control,
    .xSectorSize = guard_sector_size,
    .xDeviceCharacteristics = guard_characteristics,
    .xShmMap = guard_shm_map,
    .xShmLock = guard_shm_lock,
    .xShmBarrier = guard_shm_barrier,
    .xShmUnmap = guard_shm_unmap,
};

static int guard_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                      int *ret_flags)
{
    GuardFile *f = (GuardFile *)file;
    SqliteGuard *g = vfs->pAppData;
    *f = (GuardFile){
        .guard = g,
        .is_main = (flags & SQLITE_OPEN_MAIN_DB) != 0,
        .holds_pages = (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0,
        .real = (sqlite3_file *)(f + 1),
    };
    memset(f->real, 0, (size_t)g->real->szOsFile);
    int rc = g->real->xOpen(g->real, name, f->real, flags, ret_flags);
    /* SQLite calls xClose whenever pMethods is set, also after a failure. */
    f->base.pMethods = f->real->pMethods ? &guard_methods : NULL;
    return rc;
}

static sqlite3_vfs *real_of(sqlite3_vfs *vfs)
{
    return ((SqliteGuard *)vfs->pAppData)->real;
}

static int guard_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    return real_of(vfs)->xDelete(real_of(vfs), name, sync_dir);
}

static int guard_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_result)
{
    return real_of(vfs)->xAccess(real_of(vfs), name, flags, ret_result);
}

static int guard_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    return real_of(vfs)->xFullPathname(real_of(vfs), name, size, out);
}

static int guard_randomness(sqlite3_vfs *vfs, int len, char *out)
{
    return real_of(vfs)->xRandomness(real_of(vfs), len, out);
}

static int guard_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return real_of(vfs)->xSleep(real_of(vfs), microseconds);
}

static int guard_time(sqlite3_vfs *vfs, double *ret_day)
{
    return real_of(vfs)->xCurrentTime(real_of(vfs), ret_day);
}

static int guard_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    return real_of(vfs)->xGetLastError(real_of(vfs), size, out);
}

static int guard_time64(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
    return real_of(vfs)->xCurrentTimeInt64(real_of(vfs), ret_ms);
}

int sqlite_guard_new(bool immutable, SqliteGuard **ret_guard)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    SqliteGuard *g = real ? calloc(1, sizeof(*g)) : NULL;
    if (!g)
        return -ENOMEM;
    g->real = real;
    g->immutable = immutable;
    snprintf(g->name, sizeof(g->name), "bakfs-guard-%p", (void *)g);
    g->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(GuardFile) + real->szOsFile,
        .mxPathname = real->mxPathname,
        .zName = g->name,
        .pAppData = g,
        .xOpen = guard_open,
        .xDelete = guard_delete,
        .xAccess = guard_access,
        .xFullPathname = guard_full_path,
        .xRandomness = guard_randomness,
        .xSleep = guard_sleep,
        .xCurrentTime = guard_time,
        .xGetLastError = guard_last_error,
        .xCurrentTimeInt64 = guard_time64,
    };
    if (sqlite3_vfs_register(&g->vfs, 0) != SQLITE_OK) {
        free(g);
        return -ENOMEM;
    }
    *ret_guard = g;
    return 0;
}

void sqlite_guard_free(SqliteGuard *g)
{
    if (!g)
        return;
    sqlite3_vfs_unregister(&g->vfs);
    free(g);
}

const char *sqlite_guard_vfs(const SqliteGuard *g)
{
    return g->name;
}

void sqlite_guard_seal(SqliteGuard *g)
{
    g->sealed = true;
}

const uint8_t *sqlite_guard_page1(const SqliteGuard *g, size_t *ret_len)
{
    *ret_len = g->page1_len;
    return g->page1;
}
