#include "source/sqlite/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"

#define BUSY_SECONDS  10.0
#define OPS_PER_CHECK 20000 /* virtual machine steps between two looks at `cancel` */
#define HEADER_WRITE  18    /* file format write version: 2 is WAL */
#define HEADER_READ   19
#define FORMAT_WAL    2
#define HEADER_LEN    100

bool sqlite_db_cancelled(const SqliteDb *db)
{
    return db->options->cancel && atomic_load(db->options->cancel);
}

void sqlite_stmt_cleanup(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

static int on_progress(void *ctx)
{
    return sqlite_db_cancelled(ctx);
}

/* In rollback mode a busy writer lets go for some microseconds at a time: ask often, and not in
 * step with it. */
static int on_busy(void *ctx, int attempts)
{
    SqliteDb *db = ctx;
    if (attempts == 0)
        db->busy_since = clock_monotonic();
    if (sqlite_db_cancelled(db) || clock_monotonic() - db->busy_since > BUSY_SECONDS)
        return 0;
    usleep(300 + (unsigned)attempts * 769 % 1000);
    return 1;
}

/* Scans never compare, so any order will do for a collation that the application brings along. */
static int compare_bytes(void *ctx, int n1, const void *p1, int n2, const void *p2)
{
    int c = memcmp(p1, p2, (size_t)(n1 < n2 ? n1 : n2));
    return c ? c : n1 - n2;
}

static void on_collation_needed(void *ctx, sqlite3 *handle, int encoding, const char *name)
{
    sqlite3_create_collation(handle, name, encoding, NULL, compare_bytes);
}

/* Whether the part of the header that SQLite reads first asks for WAL. */
static bool header_says_wal(const SqliteDb *db)
{
    size_t len;
    const uint8_t *page = sqlite_guard_page1(db->guard, &len);
    return len >= HEADER_LEN &&
           (page[HEADER_READ] == FORMAT_WAL || page[HEADER_WRITE] == FORMAT_WAL);
}

static int error_wal(SqliteDb *db, int rc, const char *what, Error *e)
{
    int r = error_set(e, EROFS,
                      "can't %s of %s: it is in WAL mode and its -shm file can't be made "
                      "or written beside it (%s)",
                      what, db->path, sqlite3_errstr(rc));
    error_hint(e, "run as a user who may write to the database's directory, or while the "
                  "application has the database open; or dump a copy of it and its -wal");
    return r;
}

/* Whether a transaction may be half done in the file: a -journal that SQLite would roll back, which
 * is one whose first byte is not zero, or one that can't be read. */
static bool has_hot_journal(const char *path)
{
    _cleanup_free_ char *journal = NULL;
    uint8_t first;
    if (asprintf(&journal, "%s-journal", path) < 0) {
        journal = NULL;
        return true;
    }
    _cleanup_close_ int fd = open(journal, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT && errno != ENAMETOOLONG;
    ssize_t n = read(fd, &first, 1);
    return n < 0 || (n == 1 && first != 0);
}

static int error_hot_journal(SqliteDb *db, Error *e)
{
    int r =
        error_set(e, EROFS,
                  "%s was left in the middle of a transaction by a crash, and SQLite can't roll "
                  "it back from %s-journal: that needs write access to both and to their "
                  "directory",
                  db->path, db->path);
    error_hint(e,
               "make them writable and run `sqlite3 %s .tables` once; or copy both files elsewhere "
               "and dump the copy",
               db->path);
    return r;
}

static int error_no_access(SqliteDb *db, int rc, const char *what, Error *e)
{
    int errnum = sqlite3_system_errno(db->handle);
    if (rc == SQLITE_READONLY_ROLLBACK || has_hot_journal(db->path))
        return error_hot_journal(db, e);
    if (header_says_wal(db) && (rc & 0xff) != SQLITE_PERM)
        return error_wal(db, rc, what, e);
    if (errnum == 0)
        errnum = EACCES;
    error_errno(e, errnum, "can't %s of %s", what, db->path);
    error_hint(e, "check the permissions of the file and of the directories above it");
    return -errnum;
}

/* SQLite's own words when they are about `rc`. */
static const char *words(const SqliteDb *db, int rc)
{
    if (db->handle && (sqlite3_errcode(db->handle) & 0xff) == (rc & 0xff))
        return sqlite3_errmsg(db->handle);
    return sqlite3_errstr(rc);
}

int sqlite_db_error(SqliteDb *db, int rc, const char *what, Error *e)
{
    int r;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return error_oom(e);
    case SQLITE_INTERRUPT:
        return error_set(e, EINTR, "interrupted");
    case SQLITE_NOTADB:
        r = error_set(e, EINVAL, "%s is not a SQLite database, or it is encrypted", db->path);
        error_hint(e, "check the path; an encrypted database (SQLCipher, SEE) has to be exported "
                      "by its own tools and the export dumped");
        return r;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        if (sqlite_db_cancelled(db))
            return error_set(e, EINTR, "interrupted");
        r = error_set(e, EBUSY, "%s is locked: another process holds it exclusively", db->path);
        error_hint(e,
                   "try again when that process is done (`fuser %s` shows it); with "
                   "`PRAGMA journal_mode=WAL` readers and writers do not wait for each other",
                   db->path);
        return r;
    case SQLITE_CORRUPT:
        r = error_set(e, EBADMSG, "can't %s of %s: the database is damaged (%s)", what, db->path,
                      words(db, rc));
        error_hint(e,
                   "look at `sqlite3 %s 'PRAGMA integrity_check'`; `.recover` there saves "
                   "what can be read",
                   db->path);
        return r;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return error_no_access(db, rc, what, e);
    case SQLITE_FULL:
        return error_set(e, ENOSPC, "can't %s of %s: no space for temporary files", what, db->path);
    default:
        if (rc == SQLITE_IOERR_DELETE) /* rolled back, but the journal stays and is hot again */
            return error_hot_journal(db, e);
        return error_set(e, EIO, "can't %s of %s: %s", what, db->path, words(db, rc));
    }
}

int sqlite_db_prepare(SqliteDb *db, const char *sql, sqlite3_stmt **ret_stmt, Error *e)
{
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, ret_stmt, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_db_error(db, rc, "read the schema", e);
}

int sqlite_db_integer(SqliteDb *db, const char *sql, int64_t *ret_value, Error *e)
{
    _cleanup_(sqlite_stmt_cleanup) sqlite3_stmt *stmt = NULL;
    int r = sqlite_db_prepare(db, sql, &stmt, e);
    if (r < 0)
        return r;
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
        return sqlite_db_error(db, rc == SQLITE_DONE ? SQLITE_ERROR : rc, "read", e);
    *ret_value = sqlite3_column_int64(stmt, 0);
    return 0;
}

/* The kinds of file that SQLite would answer with a riddle. The file itself is not opened: closing
 * it would drop the POSIX locks of every other connection in this process. */
static int check_file(const char *path, Error *e)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        int errnum = errno;
        error_errno(e, errnum, "can't open the database %s", path);
        error_hint(e, errnum == ENOENT ? "check the path; SOURCE is sqlite:PATH"
                                       : "check the permissions of the directories above it");
        return -errnum;
    }
    if (S_ISDIR(st.st_mode)) {
        int r = error_set(e, EISDIR, "%s is a directory, not a SQLite database", path);
        error_hint(e, "name the database file in it");
        return r;
    }
    if (!S_ISREG(st.st_mode)) {
        int r = error_set(e, EINVAL, "%s is not a regular file", path);
        error_hint(e, "name the database file itself");
        return r;
    }
    /* SQLite itself only says that it can't open the file. */
    const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    if (vfs && strlen(path) + strlen("-journal") >= (size_t)vfs->mxPathname) {
        int r = error_set(e, ENAMETOOLONG, "the path %s is longer than the %d bytes SQLite takes",
                          path, vfs->mxPathname);
        error_hint(e, "bind-mount its directory at a shorter path");
        return r;
    }
    if (access(path, R_OK) < 0) {
        int errnum = errno;
        error_errno(e, errnum, "can't read the database %s", path);
        error_hint(e, "run as a user who may read it");
        return -errnum;
    }
    return 0;
}

/* Size of the -wal beside the database, -1 when there is none. */
static int64_t wal_size(const char *path)
{
    _cleanup_free_ char *wal = NULL;
    struct stat st;
    if (asprintf(&wal, "%s-wal", path) < 0) {
        wal = NULL;
        return -1;
    }
    return stat(wal, &st) < 0 ? -1 : (int64_t)st.st_size;
}

/* Whether to do without -wal and -shm. A database at rest in WAL mode can't be opened otherwise
 * where the files that coordinate readers with writers can't be made. In rollback mode SQLite needs
 * none, and its locks and its look for a journal are wanted also here: what is read-only for us may
 * be another mount of what an application writes to. */
static bool is_at_rest(const SqliteDb *db)
{
    return db->read_only && header_says_wal(db) && wal_size(db->path) <= 0 &&
           !has_hot_journal(db->path);
}

/* Takes the read lock and, within a transaction, keeps it. */
static int first_read(SqliteDb *db, Error *e)
{
    int64_t ignored;
    return sqlite_db_integer(db, "SELECT count(*) FROM sqlite_master", &ignored, e);
}

static int open_handle(SqliteDb *db, Error *e)
{
    /* Read-write so that a WAL can be read by its -shm; falls back to read-only by itself. */
    int rc = sqlite3_open_v2(db->path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                             sqlite_guard_vfs(db->guard));
    if (rc != SQLITE_OK)
        return sqlite_db_error(db, rc, "open the file", e);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_handler(db->handle, on_busy, db);
    sqlite3_progress_handler(db->handle, OPS_PER_CHECK, on_progress, db);
    sqlite3_collation_needed(db->handle, NULL, on_collation_needed);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return first_read(db, e);
}

static int open_guarded(SqliteDb *db, Error *e)
{
    if (sqlite_guard_new(db->immutable, &db->guard) < 0)
        return error_oom(e);
    return open_handle(db, e);
}

static void close_guarded(SqliteDb *db)
{
    sqlite3_close(db->handle);
    db->handle = NULL;
    sqlite_guard_free(db->guard);
    db->guard = NULL;
}

static bool on_read_only_medium(const char *path)
{
    struct statvfs fs;
    return statvfs(path, &fs) == 0 && (fs.f_flag & ST_RDONLY);
}

int sqlite_db_open(const char *path, const SourceOptions *options, SqliteDb **ret_db, Error *e)
{
    int r = check_file(path, e);
    if (r < 0)
        return r;
    SqliteDb *db = calloc(1, sizeof(*db));
    if (!db)
        return error_oom(e);
    db->options = options;
    db->read_only = on_read_only_medium(path);
    db->no_wal_before = wal_size(path) < 0;
    db->path = strdup(path);
    r = db->path ? open_guarded(db, e) : error_oom(e);
    if (r == -EROFS && is_at_rest(db)) {
        close_guarded(db);
        db->immutable = true;
        r = stat(path, &db->as_found) < 0 ? error_errno(e, errno, "can't look at %s", path)
                                          : open_guarded(db, e);
    }
    if (r < 0) {
        sqlite_db_close(db);
        return r;
    }
    *ret_db = db;
    return 0;
}

int sqlite_db_check_unchanged(const SqliteDb *db, Error *e)
{
    const struct stat *old = &db->as_found;
    struct stat now;
    if (!db->immutable)
        return 0;
    if (stat(db->path, &now) < 0)
        return error_errno(e, errno, "can't look at %s again", db->path);
    if (now.st_ino == old->st_ino && now.st_size == old->st_size &&
        now.st_mtim.tv_sec == old->st_mtim.tv_sec && now.st_mtim.tv_nsec == old->st_mtim.tv_nsec)
        return 0;
    int r = error_set(e, EBUSY,
                      "%s changed while it was read: what is mounted read-only here is written to "
                      "elsewhere",
                      db->path);
    error_hint(e, "dump while the application has the database open, or where it is mounted "
                  "writable, so that SQLite can coordinate the two by its -shm file");
    return r;
}

void sqlite_db_close(SqliteDb *db)
{
    if (!db)
        return;
    if (db->handle) {
        sqlite_guard_seal(db->guard);
        sqlite3_progress_handler(db->handle, 0, NULL, NULL);
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
        /* A -wal and -shm that only our visit made: let SQLite take them away, which it does under
         * the exclusive lock, when it is alone. Left behind under our user they could keep the
         * application out. Should frames have come in, the sealed guard stops the checkpoint and
         * the files stay. */
        if (db->no_wal_before && wal_size(db->path) == 0)
            sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        sqlite3_close(db->handle);
    }
    sqlite_guard_free(db->guard);
    free(db->path);
    free(db);
}

static int read_info(SqliteDb *db, SqliteInfo *info, Error *e)
{
    int64_t page_size, page_count;
    int r = sqlite_db_integer(db, "PRAGMA page_size", &page_size, e);
    if (r >= 0)
        r = sqlite_db_integer(db, "PRAGMA page_count", &page_count, e);
    if (r >= 0)
        r = sqlite_db_integer(db, "PRAGMA user_version", &info->user_version, e);
    if (r >= 0)
        r = sqlite_db_integer(db, "PRAGMA application_id", &info->application_id, e);
    if (r < 0 || page_count <= 0)
        return r;
    info->page_size = (uint32_t)page_size;
    info->page_count = (uint64_t)page_count;

    size_t len;
    const uint8_t *page = sqlite_guard_page1(db->guard, &len);
    if (len != info->page_size)
        return error_set(e, EIO, "can't read %s: its first page was not seen", db->path);
    info->has_wal = header_says_wal(db);
    static const TextEncoding encodings[] = {TEXT_UTF8, TEXT_UTF8, TEXT_UTF16LE, TEXT_UTF16BE};
    info->encoding = encodings[page[59] & 3]; /* big-endian number at 56: 1 to 3 */
    return 0;
}

int sqlite_db_begin(SqliteDb *db, SqliteInfo *ret_info, Error *e)
{
    SqliteInfo info = {0};
    int rc = sqlite3_exec(db->handle, "BEGIN", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return sqlite_db_error(db, rc, "begin a transaction", e);
    int r = first_read(db, e);
    if (r < 0)
        return r;
    /* Only now: the first read may have rolled back what a crashed application left, as any reader
     * does. */
    sqlite_guard_seal(db->guard);
    r = read_info(db, &info, e);
    if (r < 0)
        return r;
    /* The pages, and about as much again as text. */
    db->expected = info.page_count * info.page_size * (db->options->no_text ? 1 : 2);
    *ret_info = info;
    return 0;
}

void sqlite_db_report(const SqliteDb *db, uint64_t bytes, const char *what)
{
    const SourceOptions *o = db->options;
    if (o->share && db->expected > 0)
        o->share(o->ctx, bytes < db->expected ? bytes : db->expected, db->expected);
    if (o->progress)
        o->progress(o->ctx, bytes, what);
}
