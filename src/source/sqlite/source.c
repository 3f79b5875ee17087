/* sqlite:PATH as a Source: the file's pages, and the same rows as SQL text, in one transaction. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "source/source.h"
#include "source/sqlite/db.h"
#include "source/sqlite/pages.h"
#include "source/sqlite/schema.h"
#include "source/sqlite/text.h"
#include "util/cleanup.h"
#include "util/name.h"

#define DB_ENDING         ".db"
#define CUT_SUFFIX        18   /* what name_encode puts behind a cut: "%~" and 16 hex digits */
#define PAGE_SIZE_DEFAULT 4096 /* cutting rule of an empty file */

typedef struct SqliteSource {
    Source base;
    SqliteDb *db;
} SqliteSource;

/* A trial only: nothing of the database is held while the store's lock is waited for, and a file
 * that is replaced meanwhile is read as it then is. */
static int source_open(Source *source, Error *e)
{
    const SqliteSource *s = (const SqliteSource *)source;
    SqliteDb *db = NULL;
    int r = sqlite_db_open(s->base.file, s->base.options, &db, e);
    sqlite_db_close(db);
    return r;
}

static void note_waiting(const SqliteSource *s, const SqliteInfo *info)
{
    const SourceOptions *o = s->base.options;
    _cleanup_free_ char *text = NULL;
    if (!o->note || info->has_wal || info->page_count == 0 || s->db->read_only)
        return;
    if (asprintf(&text,
                 "%s is not in WAL mode: its writers wait while it is read "
                 "(`PRAGMA journal_mode=WAL` would spare them that)",
                 s->base.file) < 0) {
        text = NULL;
        return;
    }
    o->note(o->ctx, text);
}

/* Where to cut the encoded `name` so that at most `max` bytes are left: neither within a character
 * nor within a %XX. */
static size_t cut_at(const Buf *name, size_t max)
{
    size_t len = max;
    while (len > 0 && (name->data[len] & 0xc0) == 0x80)
        len--;
    for (size_t back = 1; back <= 2 && back <= len; back++)
        if (name->data[len - back] == '%')
            return len - back;
    return len;
}

/* The file for `plain`, which ends in ".db"; so does it, also where it is cut: that is how it is
 * found again. docs/format.md, "Names". */
static int pages_name(const Buf *plain, Buf *name, bool *ret_cut)
{
    char hash[CUT_SUFFIX];
    const size_t max = NAME_MAX_BYTES - CUT_SUFFIX - strlen(DB_ENDING);
    if (name_encode((const char *)plain->data, plain->len, NULL, name, ret_cut) < 0)
        return -ENOMEM;
    if (*ret_cut) {
        name->len -= CUT_SUFFIX;
        memcpy(hash, name->data + name->len, CUT_SUFFIX);
        if (name->len > max)
            name->len = cut_at(name, max);
        if (buf_add(name, hash, CUT_SUFFIX) < 0 || buf_add_str(name, DB_ENDING) < 0)
            return -ENOMEM;
    }
    return buf_cstr(name) ? 0 : -ENOMEM;
}

/* <name>.db */
static int add_pages(SqliteSource *s, const SqliteInfo *info, const SourceRun *run,
                     DirBuilder *root, Error *e)
{
    _cleanup_(buf_release) Buf plain = BUF_INIT, name = BUF_INIT;
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    CutRule rule = {
        .kind = CUT_PAGES,
        .page_size = info->page_size ? info->page_size : PAGE_SIZE_DEFAULT,
    };
    DirEntry entry = {.kind = ENTRY_FILE, .mode = 0444, .has_sha256 = true};
    Stream *stream = NULL;
    bool cut = false;
    if (buf_addf(&plain, "%s" DB_ENDING, s->base.name) < 0 || pages_name(&plain, &name, &cut) < 0)
        return error_oom(e);
    entry.name = (const char *)name.data;
    entry.name_len = name.len;
    if (cut) {
        entry.object_name = (const char *)plain.data;
        entry.object_name_len = plain.len;
    }
    int r = stream_new(run->writer, rule, &stream, e);
    if (r >= 0)
        r = source_follow(run, stream, entry.name, e);
    if (r >= 0)
        r = sqlite_pages_copy(s->db, info, stream, s->base.name, e);
    if (r >= 0)
        r = stream_finish(stream, &rope, &entry.sha256, e);
    if (r >= 0)
        r = dir_builder_entry(root, &entry, &rope, e);
    stream_free(stream);
    return r;
}

/* Without the text the rows are only counted; a damaged table, which is what one may be saving the
 * pages for, counts as none. */
static int count_rows(SqliteDb *db, const SqliteSchema *schema, SourceResult *result, Error *e)
{
    for (size_t i = 0; i < schema->n; i++) {
        const SchemaObject *o = &schema->items[i];
        if (o->internal || o->kind == KIND_OTHER)
            continue;
        result->table_count++;
        if (o->kind != KIND_TABLE)
            continue;
        _cleanup_(buf_release) Buf sql = BUF_INIT;
        int64_t rows = 0;
        if (buf_add_str(&sql, "SELECT count(*) FROM main.") < 0 ||
            sql_quote_name(&sql, o->name) < 0 || !buf_cstr(&sql))
            return error_oom(e);
        int r = sqlite_db_integer(db, (const char *)sql.data, &rows, e);
        if (r < 0 && r != -EBADMSG)
            return r;
        error_release(e);
        result->record_count += (uint64_t)rows;
    }
    return 0;
}

/* `ret_schemas`: what the manifest says of main/, an empty array when there is none. */
static int read_schema_and_text(SqliteSource *s, const SqliteInfo *info, const SourceRun *run,
                                DirBuilder *root, SourceResult *result, json_t **ret_schemas,
                                Error *e)
{
    _cleanup_(sqlite_schema_release) SqliteSchema schema = {0};
    bool no_text = s->base.options->no_text;
    uint64_t bytes = 0;
    int r = sqlite_schema_load(s->db, &schema, e);
    if (r < 0)
        return r;
    r = no_text ? count_rows(s->db, &schema, result, e)
                : sqlite_text_write(s->db, info, &schema, run, root, result, &bytes, e);
    if (r < 0)
        return r;
    *ret_schemas = no_text
                       ? json_array()
                       : json_pack("[{s:s, s:s, s:I, s:I, s:I}]", "name", "main", "path", "main",
                                   "tables", (json_int_t)result->table_count, "rows",
                                   (json_int_t)result->record_count, "bytes", (json_int_t)bytes);
    return *ret_schemas ? 0 : error_oom(e);
}

/* The manifest's entry; takes `schemas`. "path" is the caller's to set. */
static json_t *describe(const SqliteSource *s, const SqliteInfo *info, const SourceResult *result,
                        json_t *schemas)
{
    static const char *const encodings[] = {
        [TEXT_UTF8] = "UTF-8",
        [TEXT_UTF16LE] = "UTF-16le",
        [TEXT_UTF16BE] = "UTF-16be",
    };
    return json_pack(
        "{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:o,"
        " s:I, s:I, s:s, s:b, s:s, s:I, s:I}",
        "type", "sqlite", "name", source_json_name(s->base.name), "connection",
        source_json_name(s->base.masked), "server_version", sqlite3_libversion(), "size_bytes",
        (json_int_t)result->size_bytes, "record_count", (json_int_t)result->record_count,
        "table_count", (json_int_t)result->table_count, "schemas", schemas, "page_size",
        (json_int_t)info->page_size, "page_count", (json_int_t)info->page_count, "journal_mode",
        info->has_wal ? "wal" : "delete", "has_wal", (int)info->has_wal, "encoding",
        encodings[info->encoding], "user_version", (json_int_t)info->user_version, "application_id",
        (json_int_t)info->application_id);
}

static int read_all(SqliteSource *s, const SourceRun *run, DirBuilder *root, SourceResult *result,
                    Error *e)
{
    SqliteInfo info;
    json_t *schemas = NULL;
    int r = sqlite_db_begin(s->db, &info, e);
    if (r < 0)
        return r;
    note_waiting(s, &info);
    result->size_bytes = info.page_count * info.page_size;
    result->file_count = 1;
    /* Pages first: they are all that rollback mode needs, and page 1 is fresh in the guard. */
    r = add_pages(s, &info, run, root, e);
    if (r >= 0)
        r = read_schema_and_text(s, &info, run, root, result, &schemas, e);
    if (r >= 0)
        r = sqlite_db_check_unchanged(s->db, e);
    if (r >= 0 && run->files)
        r = dir_builder_dir(root, SOURCE_FILES, run->files, e);
    if (r >= 0)
        r = dir_builder_finish(root, &result->root, e);
    if (r < 0) {
        json_decref(schemas);
        return r;
    }
    result->database = describe(s, &info, result, schemas);
    return result->database ? 0 : error_oom(e);
}

static int source_read(Source *source, const SourceRun *run, SourceResult *ret_result, Error *e)
{
    SqliteSource *s = (SqliteSource *)source;
    SourceResult result = {0};
    DirBuilder *root = NULL;
    int r = sqlite_db_open(s->base.file, s->base.options, &s->db, e);
    if (r < 0)
        return r;
    if (dir_builder_new(run->writer, &root) < 0)
        return error_oom(e);
    r = read_all(s, run, root, &result, e);
    dir_builder_free(root);
    /* Whatever comes now, writers need not wait for it. */
    sqlite_db_close(s->db);
    s->db = NULL;
    if (r < 0)
        return r;
    *ret_result = result;
    return 0;
}

static void source_release(Source *source)
{
    SqliteSource *s = (SqliteSource *)source;
    sqlite_db_close(s->db);
    free(s->base.file);
    free(s->base.name);
    free(s->base.masked);
    free(s);
}

static const SourceOps sqlite_ops = {
    .scheme = "sqlite",
    .open = source_open,
    .read = source_read,
    .free = source_release,
};

/* The last component of `path` without the usual endings. */
static char *name_of(const char *path)
{
    static const char *const endings[] = {".db", ".sqlite", ".sqlite3"};
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    size_t len = name ? strlen(name) : 0;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t n = strlen(endings[i]);
        if (len > n && strcasecmp(name + len - n, endings[i]) == 0) {
            name[len - n] = '\0';
            break;
        }
    }
    return name;
}

/* `path` from the root, symlinks resolved where it exists. */
static char *absolute_path(const char *path)
{
    char *resolved = realpath(path, NULL);
    if (resolved || path[0] == '/')
        return resolved ? resolved : strdup(path);
    _cleanup_free_ char *cwd = getcwd(NULL, 0);
    char *joined = NULL;
    return cwd && asprintf(&joined, "%s/%s", cwd, path) >= 0 ? joined : NULL;
}

int sqlite_source_new(const char *path, const SourceOptions *options, Source **ret_source, Error *e)
{
    if (path[0] == '\0') {
        int r = error_set(e, EINVAL, "the source sqlite: names no file");
        error_hint(e, "write sqlite:PATH");
        error_exit_code(e, BK_EXIT_USAGE);
        return r;
    }
    SqliteSource *s = calloc(1, sizeof(*s));
    if (!s)
        return error_oom(e);
    s->base.ops = &sqlite_ops;
    s->base.options = options;
    s->base.name = name_of(path);
    s->base.file = absolute_path(path);
    if (s->base.file && asprintf(&s->base.masked, "sqlite:%s", s->base.file) < 0)
        s->base.masked = NULL;
    if (!s->base.name || !s->base.masked) {
        source_release(&s->base);
        return error_oom(e);
    }
    *ret_source = &s->base;
    return 0;
}
