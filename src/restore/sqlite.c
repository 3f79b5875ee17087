/* sqlite:PATH: a whole database as a new file; see sqlite_tables.c for single tables. */
#include "restore/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "restore/holder.h"
#include "restore/select.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"
#include "util/io.h"

#define LINKS_MAX     40  /* as the kernel's */
#define TEMPORARY_MAX 200 /* bytes of a temporary's name: its -journal must have a place too */

int sqlite_fail(sqlite3 *db, int rc, Error *e, const char *what)
{
    int errnum = rc == SQLITE_BUSY || rc == SQLITE_LOCKED ? EBUSY
                 : rc == SQLITE_FULL                      ? ENOSPC
                 : rc == SQLITE_INTERRUPT                 ? EINTR
                 : rc == SQLITE_NOMEM                     ? ENOMEM
                                                          : EIO;
    error_set(e, errnum, "%s: %s", what, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    if (errnum == EBUSY)
        error_hint(e, "stop the programs that have the database open");
    else if (db && sqlite_lacks_application(sqlite3_errmsg(db)))
        error_hint(e, "only the application knows it: restore the whole database to a new file and "
                      "copy the table with the application");
    return -errnum;
}

static int on_step(void *ctx)
{
    const RestoreOptions *o = ctx;
    return o->cancel && atomic_load(o->cancel);
}

int sqlite_open(const RestoreOptions *o, const char *path, sqlite3 **ret_db, Error *e)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc != SQLITE_OK) {
        int r = sqlite_fail(db, rc, e, path);
        sqlite3_close(db);
        return r;
    }
    sqlite3_progress_handler(db, 100000, on_step, (void *)o);
    *ret_db = db;
    return 0;
}

int sqlite_exec(sqlite3 *db, const char *sql, Error *e, const char *what)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_fail(db, rc, e, what);
}

int sqlite_count(sqlite3 *db, const char *table, uint64_t *ret_rows, Error *e)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT count(*) FROM main.\"%w\"", table);
    if (!sql)
        return error_oom(e);
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    sqlite3_free(sql);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    *ret_rows = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
    int r = rc == SQLITE_ROW ? 0 : sqlite_fail(db, rc, e, table);
    sqlite3_finalize(stmt);
    return r;
}

int sqlite_count_error(const char *table, uint64_t expected, uint64_t found, Error *e)
{
    return error_set(e, EBADMSG, "table %s has %llu rows, but the backup has %llu", table,
                     (unsigned long long)found, (unsigned long long)expected);
}

/* The one file NAME.db of the database's directory. */
typedef struct FindFile {
    char *name;
} FindFile;

static int find_file(void *ctx, uint64_t position, const DirEntry *entry)
{
    FindFile *f = ctx;
    (void)position;
    if (entry->kind != ENTRY_FILE || entry->name_len < 3 ||
        memcmp(entry->name + entry->name_len - 3, ".db", 3) != 0)
        return 0;
    f->name = strndup(entry->name, entry->name_len);
    return f->name ? 1 : -ENOMEM;
}

static int write_pages(const Content *c, int fd, RestoreResult *result, Error *e)
{
    FindFile found = {0};
    DirRef root = {.id = c->root};
    _cleanup_(reader_closep) Reader *r = NULL;
    TRY(dir_list(c->objects, &root, 0, find_file, &found, e));
    _cleanup_free_ char *name = found.name;
    if (!name)
        return error_set(e, ENOENT, "the backup holds no file of the database");
    TRY(content_file(c, name, &r, e));
    for (;;) {
        const uint8_t *p;
        size_t n;
        int more = reader_next(r, SIZE_MAX, &p, &n, e);
        if (more <= 0)
            return more;
        int err = io_write_all(fd, p, n);
        if (err < 0) {
            error_errno(e, -err, "can't write the database");
            error_hint(e, "%llu bytes are needed", (unsigned long long)reader_size(r));
            return err;
        }
        result->bytes += n;
        restore_progress(c->options, result->bytes, reader_size(r), name);
    }
}

static int check_rows(Content *c, sqlite3 *db, RestoreResult *result, Error *e)
{
    TRY(content_tables(c, e));
    for (size_t i = 0; i < c->n_tables; i++) {
        const ContentTable *t = &c->tables[i];
        uint64_t rows;
        result->tables++;
        if (!t->has_rows)
            continue;
        TRY(sqlite_count(db, t->name, &rows, e));
        if (rows != t->rows)
            return sqlite_count_error(t->name, t->rows, rows, e);
        result->rows += rows;
    }
    if (c->n_tables == 0) { /* written without its SQL text: nothing to compare with */
        result->tables = (uint64_t)json_integer_value(json_object_get(c->database, "table_count"));
        result->rows = (uint64_t)json_integer_value(json_object_get(c->database, "record_count"));
    }
    return 0;
}

/* The stored file is in rollback mode, so that it opens on a read-only mount. */
static int finish_database(Content *c, const char *path, RestoreResult *result, Error *e)
{
    const char *mode = content_text(c, "journal_mode");
    sqlite3 *db = NULL;
    TRY(sqlite_open(c->options, path, &db, e));
    int r = 0;
    if (mode && strcmp(mode, "wal") == 0)
        r = sqlite_exec(db, "PRAGMA journal_mode = WAL", e, "can't set the journal mode");
    if (r == 0)
        r = sqlite_check(db, c->options, e);
    if (r == 0)
        r = check_rows(c, db, result, e);
    /* The last connection to close takes -wal and -shm away. */
    if (sqlite3_close(db) != SQLITE_OK && r == 0)
        r = error_set(e, EIO, "the restored database can't be closed");
    return r;
}

static void remove_with(const char *path, const char *ending)
{
    _cleanup_free_ char *name = NULL;
    if (asprintf(&name, "%s%s", path, ending) >= 0)
        unlink(name);
}

static void remove_companions(const char *path)
{
    remove_with(path, "-wal");
    remove_with(path, "-shm");
    remove_with(path, "-journal");
}

void sqlite_remove(const char *path)
{
    unlink(path);
    remove_companions(path);
}

static bool exists(const char *path, const char *ending)
{
    _cleanup_free_ char *name = NULL;
    struct stat st;
    return asprintf(&name, "%s%s", path, ending) >= 0 && lstat(name, &st) == 0;
}

bool sqlite_exists(const char *path)
{
    return exists(path, "");
}

static int in_use(const char *path, const Holder *h, Error *e)
{
    if (h->pid)
        error_set(e, EBUSY, "%s is open in another program: %s, process %d", path, h->name, h->pid);
    else
        error_set(e, EBUSY, "%s is open in another program", path);
    error_hint(e, "stop what uses it, or restore to another file");
    return -EBUSY;
}

/* That nobody has the file open that is to be replaced: they would go on with the old one, and its
 * -wal would end up beside the new one. Locks tell of who is at work, and in WAL mode of all, /proc
 * of those that idle, where it lets us look. A file that is no database is nobody's. */
static int check_unused(const char *path, Error *e)
{
    Holder holder;
    sqlite3 *db = NULL;
    TRY(holder_find(path, &holder, e));
    if (holder.pid)
        return in_use(path, &holder, e);
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; ROLLBACK", NULL,
                          NULL, NULL);
    sqlite3_close(db);
    return rc == SQLITE_BUSY || rc == SQLITE_LOCKED ? in_use(path, &holder, e) : 0;
}

/* Not all file systems can rename so that nothing is replaced; NFS can't. */
static int rename_to_new(const char *temporary, const char *path)
{
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (link(temporary, path) < 0)
        return -1;
    unlink(temporary);
    return 0;
}

int sqlite_put_in_place(const char *temporary, const char *path, bool replace, Error *e)
{
    struct stat old;
    bool had_old = stat(path, &old) == 0;
    mode_t mask = umask(0);
    umask(mask);
    if (chmod(temporary, had_old ? old.st_mode & 0777 : 0666 & ~mask) < 0 ||
        (had_old && geteuid() == 0 && chown(temporary, old.st_uid, old.st_gid) < 0))
        return error_errno(e, errno, "can't set mode and owner of %s", temporary);
    if (replace)
        remove_companions(path);
    if ((replace ? rename(temporary, path) : rename_to_new(temporary, path)) < 0)
        return error_errno(e, errno, "can't put the database in place at %s", path);
    _cleanup_free_ char *dir = strdup(path);
    char *slash = dir ? strrchr(dir, '/') : NULL;
    if (slash)
        *(slash == dir ? slash + 1 : slash) = 0;
    return io_sync_dir(AT_FDCWD, slash ? dir : ".") < 0
               ? error_set(e, EIO, "can't sync the directory of %s", path)
               : 0;
}

int sqlite_temporary(const char *path, char **ret_name, int *ret_fd, Error *e)
{
    _cleanup_free_ char *name = NULL;
    const char *slash = strrchr(path, '/');
    size_t len = strlen(path), start = slash ? (size_t)(slash + 1 - path) : 0;
    if (len - start > TEMPORARY_MAX)
        len = start + TEMPORARY_MAX;
    if (asprintf(&name, "%.*s.bakfs-XXXXXX", (int)len, path) < 0)
        return error_oom(e);
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        int r = error_errno(e, errno, "can't make a file beside %s", path);
        error_hint(e, "its directory must exist and be writable");
        return r;
    }
    *ret_name = TAKE_PTR(name);
    *ret_fd = fd;
    return 0;
}

static int restore_whole(Content *c, const char *path, RestoreResult *result, Error *e)
{
    _cleanup_free_ char *temporary = NULL;
    int fd = -1;
    TRY(sqlite_temporary(path, &temporary, &fd, e));
    int r = write_pages(c, fd, result, e);
    if (r == 0 && fsync(fd) < 0)
        r = error_errno(e, errno, "can't sync %s", temporary);
    close(fd);
    if (r == 0)
        r = finish_database(c, temporary, result, e);
    if (r == 0 && c->options->overwrite) /* somebody may have come meanwhile */
        r = check_unused(path, e);
    if (r == 0)
        r = sqlite_put_in_place(temporary, path, c->options->overwrite, e);
    if (r < 0)
        sqlite_remove(temporary);
    result->one_transaction = true;
    return r;
}

/* What a link at `path` points to in the end, be it there or not: SQLite keeps -wal and -journal
 * beside that, and that is what is to be replaced. */
static int follow_links(const char *path, char **ret_path, Error *e)
{
    /* SQLite takes ":memory:" and "file:" for something else. */
    const char *here = path[0] == ':' || strncmp(path, "file:", 5) == 0 ? "./" : "";
    _cleanup_free_ char *now = NULL;
    if (asprintf(&now, "%s%s", here, path) < 0)
        now = NULL;
    for (int i = 0; now && i < LINKS_MAX; i++) {
        char target[PATH_MAX];
        ssize_t n = readlink(now, target, sizeof(target) - 1);
        if (n < 0) { /* no link; what else is wrong with it will be found out */
            char *real = i > 0 ? realpath(now, NULL) : NULL; /* reads better */
            *ret_path = real ? real : TAKE_PTR(now);
            return 0;
        }
        target[n] = 0;
        const char *slash = target[0] == '/' ? NULL : strrchr(now, '/');
        char *next = NULL;
        if (asprintf(&next, "%.*s%s", slash ? (int)(slash + 1 - now) : 0, now, target) < 0)
            next = NULL;
        free(now);
        now = next;
    }
    if (!now)
        return error_oom(e);
    int r = error_set(e, ELOOP, "%s is a symbolic link that leads nowhere", path);
    error_hint(e, "name the database file itself");
    return r;
}

static int check_kind(const char *path, Error *e)
{
    struct stat st;
    if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
        return 0;
    int r = error_set(e, S_ISDIR(st.st_mode) ? EISDIR : EINVAL, "%s is %s", path,
                      S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
    error_hint(e, S_ISDIR(st.st_mode) ? "name a file in it" : "name another file");
    return r;
}

/* SQLite itself would only say that it can't open the file, after all of it was written. */
static int check_length(const char *path, Error *e)
{
    const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    if (!vfs || strlen(path) + strlen(".bakfs-XXXXXX-journal") < (size_t)vfs->mxPathname)
        return 0;
    int r = error_set(e, ENAMETOOLONG, "the path %s is too long for SQLite, which takes %d bytes",
                      path, vfs->mxPathname);
    error_hint(e,
               "name it from a directory above it, or restore to another place and move the file");
    return r;
}

/* The file that `target` means, when a database can be put there. */
static int find_place(const char *target, const char *store, char **ret_path, Error *e)
{
    _cleanup_free_ char *path = NULL;
    TRY(follow_links(target, &path, e));
    TRY(check_kind(path, e));
    TRY(check_length(path, e));
    TRY(restore_check_outside(path, store, e));
    *ret_path = TAKE_PTR(path);
    return 0;
}

int restore_to_sqlite(Content *c, const char *target, RestoreResult *result, Error *e)
{
    const RestoreOptions *o = c->options;
    _cleanup_free_ char *path = NULL;
    if (o->n_schemas) {
        error_set(e, EINVAL, "--schema is for PostgreSQL: a SQLite database has main only");
        error_exit_code(e, BK_EXIT_USAGE);
        return -EINVAL;
    }
    if (asprintf(&result->target, "sqlite:%s", target) < 0) {
        result->target = NULL;
        return error_oom(e);
    }
    if (!o->n_tables && (o->data_only || o->schema_only)) {
        error_set(e, EINVAL, "a SQLite database is restored whole");
        error_hint(e, "with --table NAME, --data-only and --schema-only restore a table's parts");
        error_exit_code(e, BK_EXIT_USAGE);
        return -EINVAL;
    }
    TRY(find_place(target, o->store, &path, e));
    if (o->n_tables)
        return restore_sqlite_tables(c, path, result, e);
    bool leftover = exists(path, "-wal") || exists(path, "-journal");
    if (sqlite_exists(path) || leftover) {
        if (!o->overwrite) {
            error_set(e, EEXIST, "%s%s exists", path,
                      sqlite_exists(path) ? "" : ", or rather its -wal or -journal,");
            error_hint(e, "name another file, or give --overwrite to replace it");
            return -EEXIST;
        }
        TRY(restore_confirm(
            o, e, "%s exists and will be replaced; programs that use it must be stopped", path));
        TRY(check_unused(path, e)); /* it rolls back what a crash left: not before the question */
    }
    return restore_whole(c, path, result, e);
}
