#include "store/catalogue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "store/catalogue_private.h"
#include "util/cleanup.h"
#include "util/io.h"

#define BUSY_MS 10000

/* 1111575366 is 0x42414B46, "BAKF". */
static const char schema[] =
    "PRAGMA application_id = 1111575366;"
    "PRAGMA user_version = 2;"
    "CREATE TABLE backups (backup_id TEXT PRIMARY KEY, collection_namespace TEXT NOT NULL,"
    " collection_name TEXT NOT NULL, timestamp INTEGER NOT NULL, size_bytes INTEGER NOT NULL,"
    " record_count INTEGER NOT NULL, file_count INTEGER NOT NULL, includes_files INTEGER NOT NULL,"
    " storage_path TEXT NOT NULL, storage_type TEXT NOT NULL, metadata TEXT,"
    " created_at INTEGER NOT NULL);"
    "CREATE INDEX idx_collection ON backups(collection_namespace, collection_name);"
    "CREATE INDEX idx_timestamp ON backups(timestamp);"
    "CREATE TABLE manifests (ordinal INTEGER PRIMARY KEY, sha256 BLOB NOT NULL,"
    " backup_id TEXT NOT NULL, collection TEXT NOT NULL, timestamp INTEGER NOT NULL,"
    " latest_name TEXT NOT NULL, archive_name TEXT NOT NULL, partial INTEGER NOT NULL,"
    " size_bytes INTEGER NOT NULL, record_count INTEGER NOT NULL, file_count INTEGER NOT NULL,"
    " table_count INTEGER NOT NULL, bytes_new INTEGER NOT NULL, root BLOB NOT NULL,"
    " entries INTEGER NOT NULL, checksum INTEGER NOT NULL);"
    "CREATE TABLE events (name TEXT PRIMARY KEY, type TEXT NOT NULL, ordinal INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE packs (pack INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE,"
    " size INTEGER NOT NULL);"
    "CREATE TABLE chunks (id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " length INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE copies (id BLOB, pack INTEGER, offset INTEGER NOT NULL,"
    " length INTEGER NOT NULL, PRIMARY KEY (id, pack)) WITHOUT ROWID;"
    "CREATE TABLE ledger (sha256 BLOB PRIMARY KEY, read_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE damaged (sha256 BLOB, id BLOB, PRIMARY KEY (sha256, id)) WITHOUT ROWID;"
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

int catalogue_failed(Catalogue *c, Error *e)
{
    int code = sqlite3_extended_errcode(c->db) & 0xff;
    int errnum = code == SQLITE_FULL ? ENOSPC : code == SQLITE_NOMEM ? ENOMEM : EIO;
    int r = error_set(e, errnum, "the catalogue metadata.db: %s", sqlite3_errmsg(c->db));
    if (errnum == ENOSPC)
        error_hint(e, "free space on the store's file system, then run it again; nothing was lost");
    if (errnum == EIO)
        error_hint(e, "it is derived: `bakfs-store reindex` builds it anew");
    return r;
}

int catalogue_run(Catalogue *c, const char *sql, Error *e)
{
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : catalogue_failed(c, e);
}

int catalogue_prepare(Catalogue *c, const char *sql, sqlite3_stmt **ret_stmt, Error *e)
{
    return sqlite3_prepare_v2(c->db, sql, -1, ret_stmt, NULL) == SQLITE_OK ? 0
                                                                           : catalogue_failed(c, e);
}

static void finalize(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

void catalogue_bind_id(sqlite3_stmt *stmt, int i, const ObjectId *id)
{
    sqlite3_bind_blob(stmt, i, id->b, ID_SIZE, SQLITE_STATIC);
}

bool catalogue_column_id(sqlite3_stmt *stmt, int i, ObjectId *ret_id)
{
    const void *blob = sqlite3_column_blob(stmt, i);
    if (!blob || sqlite3_column_bytes(stmt, i) != ID_SIZE)
        return false;
    memcpy(ret_id->b, blob, ID_SIZE);
    return true;
}

int catalogue_step_done(Catalogue *c, sqlite3_stmt *stmt, Error *e)
{
    int code = sqlite3_step(stmt);
    int r = code == SQLITE_DONE ? 0 : catalogue_failed(c, e);
    sqlite3_finalize(stmt);
    return r;
}

static bool is_ours(Catalogue *c, const char *store_id)
{
    _cleanup_(finalize) sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(c->db,
                           "SELECT value FROM meta, pragma_application_id, pragma_user_version"
                           " WHERE key = 'store_id' AND application_id = 1111575366"
                           " AND user_version = 2",
                           -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        return false;
    const char *value = (const char *)sqlite3_column_text(stmt, 0);
    return value && strcmp(value, store_id) == 0;
}

static int create_schema(Catalogue *c, const char *store_id, Error *e)
{
    int r = catalogue_run(c, "BEGIN IMMEDIATE", e);
    if (r == 0)
        r = catalogue_run(c, schema, e);
    sqlite3_stmt *stmt;
    if (r == 0)
        r = catalogue_prepare(c, "INSERT INTO meta VALUES ('store_id', ?1)", &stmt, e);
    if (r == 0) {
        sqlite3_bind_text(stmt, 1, store_id, -1, SQLITE_STATIC);
        r = catalogue_step_done(c, stmt, e);
    }
    return r < 0 ? r : catalogue_run(c, "COMMIT", e);
}

static int open_db(const char *path, const char *store_id, bool writable, Catalogue **ret_catalogue,
                   Error *e)
{
    Catalogue *c = calloc(1, sizeof(*c));
    if (!c)
        return error_oom(e);
    pthread_mutex_init(&c->lock, NULL);
    struct stat st;
    if (stat(path, &st) == 0) { /* first: a file put there meanwhile then counts as another */
        c->device = st.st_dev;
        c->inode = st.st_ino;
    }
    int flags = SQLITE_OPEN_NOMUTEX | (writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    int r = 0;
    if (sqlite3_open_v2(path, &c->db, flags, NULL) != SQLITE_OK)
        r = error_set(e, ENOENT, "no catalogue can be opened at %s", path);
    if (r == 0) {
        sqlite3_busy_timeout(c->db, BUSY_MS);
        /* Derived data: never worth a sync. */
        sqlite3_exec(c->db,
                     "PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;"
                     "PRAGMA cache_spill = OFF",
                     NULL, NULL, NULL);
        if (!is_ours(c, store_id)) {
            sqlite3_stmt *stmt = NULL;
            bool empty = writable &&
                         sqlite3_prepare_v2(c->db, "SELECT 1 FROM sqlite_schema", -1, &stmt,
                                            NULL) == SQLITE_OK &&
                         sqlite3_step(stmt) == SQLITE_DONE;
            sqlite3_finalize(stmt);
            r = empty ? create_schema(c, store_id, e)
                      : error_set(e, EBADMSG, "%s is not this store's catalogue", path);
        }
    }
    if (r == 0)
        r = catalogue_prepare_find(c, e);
    if (r < 0) {
        catalogue_free(c);
        return r;
    }
    *ret_catalogue = c;
    return 0;
}

int catalogue_open(const char *dir, const char *store_id, CatalogueMode mode,
                   Catalogue **ret_catalogue, Error *e)
{
    char path[PATH_MAX], journal[PATH_MAX + 16];
    if (snprintf(path, sizeof(path), "%s/metadata.db", dir) >= (int)sizeof(path))
        return error_set(e, ENAMETOOLONG, "the store's path is too long");
    if (mode != CATALOGUE_NEW) {
        int r = open_db(path, store_id, mode != CATALOGUE_READ, ret_catalogue, e);
        if (r == 0 || mode != CATALOGUE_WRITE || r == -ENOMEM || r == -ENOSPC)
            return r;
    }
    snprintf(journal, sizeof(journal), "%s-journal", path);
    if ((unlink(path) < 0 && errno != ENOENT) || (unlink(journal) < 0 && errno != ENOENT))
        return error_errno(e, errno, "cannot replace %s", path);
    /* SQLite would create it readable for others. */
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    _cleanup_close_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || dirfd < 0 ? -errno : io_adopt(dirfd, fd, NULL);
    if (r < 0)
        return error_errno(e, -r, "cannot create %s", path);
    return open_db(path, store_id, true, ret_catalogue, e);
}

bool catalogue_is_same(const Catalogue *a, const Catalogue *b)
{
    return a->device == b->device && a->inode == b->inode;
}

bool catalogue_is_replaced(const Catalogue *c, const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    if (snprintf(path, sizeof(path), "%s/metadata.db", dir) >= (int)sizeof(path) ||
        stat(path, &st) < 0)
        return false;
    return st.st_dev != c->device || st.st_ino != c->inode;
}

void catalogue_free(Catalogue *c)
{
    if (!c)
        return;
    sqlite3_finalize(c->find);
    sqlite3_finalize(c->add_chunk);
    sqlite3_close(c->db);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static char *column_dup(sqlite3_stmt *stmt, int i)
{
    const char *text = (const char *)sqlite3_column_text(stmt, i);
    return strdup(text ? text : "");
}

/* Of all a row says: the catalogue is never synced, and readers believe it. */
static int64_t checksum(const BackupInfo *b)
{
    const char *const texts[] = {b->id, b->collection, b->latest_name, b->archive_name};
    const uint64_t numbers[] = {b->ordinal,     (uint64_t)b->timestamp, b->partial,
                                b->size_bytes,  b->record_count,        b->file_count,
                                b->table_count, b->bytes_new,           b->entries};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        sum = XXH64(texts[i], strlen(texts[i]), sum);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint8_t bytes[8];
        store_u64(bytes, numbers[i]);
        sum = XXH64(bytes, sizeof(bytes), sum);
    }
    sum = XXH64(b->manifest_sha256.b, ID_SIZE, sum);
    return (int64_t)XXH64(b->root.b, ID_SIZE, sum);
}

static int read_info(sqlite3_stmt *stmt, BackupInfo *b)
{
    *b = (BackupInfo){
        .ordinal = (uint64_t)sqlite3_column_int64(stmt, 0),
        .id = column_dup(stmt, 2),
        .collection = column_dup(stmt, 3),
        .timestamp = sqlite3_column_int64(stmt, 4),
        .latest_name = column_dup(stmt, 5),
        .archive_name = column_dup(stmt, 6),
        .partial = sqlite3_column_int(stmt, 7) != 0,
        .size_bytes = (uint64_t)sqlite3_column_int64(stmt, 8),
        .record_count = (uint64_t)sqlite3_column_int64(stmt, 9),
        .file_count = (uint64_t)sqlite3_column_int64(stmt, 10),
        .table_count = (uint64_t)sqlite3_column_int64(stmt, 11),
        .bytes_new = (uint64_t)sqlite3_column_int64(stmt, 12),
        .entries = (uint64_t)sqlite3_column_int64(stmt, 14),
    };
    bool sound = b->id && b->collection && b->latest_name && b->archive_name &&
                 catalogue_column_id(stmt, 1, &b->manifest_sha256) &&
                 catalogue_column_id(stmt, 13, &b->root) &&
                 sqlite3_column_int64(stmt, 15) == checksum(b);
    if (!sound)
        backup_info_release(b);
    return sound ? 0 : -EIO;
}

/* Step through `sql`, handing each row to `row`. */
static int for_each(Catalogue *c, const char *sql, int (*row)(void *ctx, sqlite3_stmt *stmt),
                    void *ctx)
{
    pthread_mutex_lock(&c->lock);
    sqlite3_stmt *stmt = NULL;
    int r = sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL) == SQLITE_OK ? 0 : -EIO, code;
    while (r == 0 && (code = sqlite3_step(stmt)) != SQLITE_DONE)
        r = code == SQLITE_ROW ? row(ctx, stmt) : -EIO;
    sqlite3_finalize(stmt);
    pthread_mutex_unlock(&c->lock);
    return r;
}

typedef struct Visit {
    int (*manifest)(void *ctx, BackupInfo *info);
    int (*event)(void *ctx, const char *name, const Event *event);
    int (*pack)(void *ctx, const ObjectId *sha256);
    void *ctx;
} Visit;

static int manifest_row(void *ctx, sqlite3_stmt *stmt)
{
    Visit *v = ctx;
    BackupInfo info;
    int r = read_info(stmt, &info);
    return r < 0 ? r : v->manifest(v->ctx, &info);
}

int catalogue_manifests(Catalogue *c, int (*visit)(void *ctx, BackupInfo *info), void *ctx)
{
    Visit v = {.manifest = visit, .ctx = ctx};
    return for_each(c,
                    "SELECT ordinal, sha256, backup_id, collection, timestamp, latest_name,"
                    " archive_name, partial, size_bytes, record_count, file_count, table_count,"
                    " bytes_new, root, entries, checksum FROM manifests ORDER BY ordinal",
                    manifest_row, &v);
}

static int64_t event_checksum(const char *name, const char *type, uint64_t ordinal)
{
    uint8_t bytes[8];
    store_u64(bytes, ordinal);
    uint64_t sum = XXH64(type, strlen(type), XXH64(name, strlen(name), 0));
    return (int64_t)XXH64(bytes, sizeof(bytes), sum);
}

static int event_row(void *ctx, sqlite3_stmt *stmt)
{
    Visit *v = ctx;
    const char *name = (const char *)sqlite3_column_text(stmt, 0);
    const char *type = (const char *)sqlite3_column_text(stmt, 1);
    if (!name || !type)
        return -EIO;
    Event event = {.type = event_type_parse(type),
                   .ordinal = (uint64_t)sqlite3_column_int64(stmt, 2)};
    if (sqlite3_column_int64(stmt, 3) != event_checksum(name, type, event.ordinal))
        return -EIO;
    return v->event(v->ctx, name, &event);
}

int catalogue_events(Catalogue *c, int (*visit)(void *ctx, const char *name, const Event *event),
                     void *ctx)
{
    Visit v = {.event = visit, .ctx = ctx};
    return for_each(c, "SELECT name, type, ordinal, checksum FROM events ORDER BY name", event_row,
                    &v);
}

static int ordinal_row(void *ctx, sqlite3_stmt *stmt)
{
    sqlite3_int64 n = sqlite3_column_int64(stmt, 0);
    *(uint64_t *)ctx = n > 0 ? (uint64_t)n : 0;
    return 0;
}

int catalogue_last_ordinal(Catalogue *c, uint64_t *ret_ordinal)
{
    return for_each(c, "SELECT max(ordinal) FROM events", ordinal_row, ret_ordinal);
}

static int pack_row(void *ctx, sqlite3_stmt *stmt)
{
    Visit *v = ctx;
    ObjectId sha256;
    return catalogue_column_id(stmt, 0, &sha256) ? v->pack(v->ctx, &sha256) : -EIO;
}

int catalogue_packs(Catalogue *c, int (*visit)(void *ctx, const ObjectId *sha256), void *ctx)
{
    Visit v = {.pack = visit, .ctx = ctx};
    return for_each(c, "SELECT sha256 FROM packs", pack_row, &v);
}

int catalogue_begin(Catalogue *c, Error *e)
{
    pthread_mutex_lock(&c->lock);
    int r = catalogue_run(c, "BEGIN IMMEDIATE", e);
    c->n_added = 0;
    pthread_mutex_unlock(&c->lock);
    return r;
}

int catalogue_commit(Catalogue *c, Error *e)
{
    pthread_mutex_lock(&c->lock);
    int r = catalogue_run(c, "COMMIT", e);
    pthread_mutex_unlock(&c->lock);
    return r;
}

void catalogue_rollback(Catalogue *c)
{
    pthread_mutex_lock(&c->lock);
    catalogue_run(c, "ROLLBACK", NULL);
    pthread_mutex_unlock(&c->lock);
}

static int add_backup_row(Catalogue *c, const Manifest *m, Error *e)
{
    const BackupInfo *b = &m->info;
    char path[MANIFEST_NAME_SIZE];
    manifest_name(b, path);
    json_t *map = manifest_metadata(m);
    _cleanup_free_ char *metadata = json_dumps(map, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(map);
    const char *slash = strchr(b->collection, '/');
    sqlite3_stmt *stmt;
    int r = catalogue_prepare(
        c,
        "INSERT OR REPLACE INTO backups SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
        " 'local', ?10, ?11 WHERE NOT EXISTS"
        " (SELECT 1 FROM events WHERE type = 'deleted' AND ordinal = ?12)",
        &stmt, e);
    if (r < 0)
        return r;
    sqlite3_bind_text(stmt, 1, b->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, b->collection, (int)(slash - b->collection), SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, slash + 1, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, b->timestamp);
    sqlite3_bind_int64(stmt, 5, (sqlite3_int64)b->size_bytes);
    sqlite3_bind_int64(stmt, 6, (sqlite3_int64)b->record_count);
    sqlite3_bind_int64(stmt, 7, (sqlite3_int64)b->file_count);
    sqlite3_bind_int(stmt, 8, json_is_true(json_object_get(m->doc, "includes_files")));
    sqlite3_bind_text(stmt, 9, path, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 10, metadata, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 11, json_integer_value(json_object_get(m->doc, "finished")));
    sqlite3_bind_int64(stmt, 12, (sqlite3_int64)b->ordinal);
    return catalogue_step_done(c, stmt, e);
}

static int add_manifest_row(Catalogue *c, const BackupInfo *b, Error *e)
{
    sqlite3_stmt *stmt;
    int r = catalogue_prepare(
        c,
        "INSERT OR REPLACE INTO manifests VALUES"
        " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        &stmt, e);
    if (r < 0)
        return r;
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)b->ordinal);
    catalogue_bind_id(stmt, 2, &b->manifest_sha256);
    sqlite3_bind_text(stmt, 3, b->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 4, b->collection, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 5, b->timestamp);
    sqlite3_bind_text(stmt, 6, b->latest_name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 7, b->archive_name, -1, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 8, b->partial);
    sqlite3_bind_int64(stmt, 9, (sqlite3_int64)b->size_bytes);
    sqlite3_bind_int64(stmt, 10, (sqlite3_int64)b->record_count);
    sqlite3_bind_int64(stmt, 11, (sqlite3_int64)b->file_count);
    sqlite3_bind_int64(stmt, 12, (sqlite3_int64)b->table_count);
    sqlite3_bind_int64(stmt, 13, (sqlite3_int64)b->bytes_new);
    catalogue_bind_id(stmt, 14, &b->root);
    sqlite3_bind_int64(stmt, 15, (sqlite3_int64)b->entries);
    sqlite3_bind_int64(stmt, 16, checksum(b));
    return catalogue_step_done(c, stmt, e);
}

int catalogue_add_manifest(Catalogue *c, const Manifest *m, Error *e)
{
    pthread_mutex_lock(&c->lock);
    int r = add_manifest_row(c, &m->info, e);
    if (r == 0)
        r = add_backup_row(c, m, e);
    pthread_mutex_unlock(&c->lock);
    return r;
}

int catalogue_add_event(Catalogue *c, const char *name, const Event *event, Error *e)
{
    sqlite3_stmt *stmt;
    pthread_mutex_lock(&c->lock);
    int r = catalogue_prepare(c, "INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3, ?4)", &stmt, e);
    if (r == 0) {
        const char *type = event_type_name(event->type);
        sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, type, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 3, (sqlite3_int64)event->ordinal);
        sqlite3_bind_int64(stmt, 4, event_checksum(name, type, event->ordinal));
        r = catalogue_step_done(c, stmt, e);
    }
    if (r == 0 && event->type == EVENT_DELETED &&
        (r = catalogue_prepare(c,
                               "DELETE FROM backups WHERE backup_id ="
                               " (SELECT backup_id FROM manifests WHERE ordinal = ?1)",
                               &stmt, e)) == 0) {
        sqlite3_bind_int64(stmt, 1, (sqlite3_int64)event->ordinal);
        r = catalogue_step_done(c, stmt, e);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}
