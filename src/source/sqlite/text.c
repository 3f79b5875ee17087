#include "source/sqlite/text.h"

#include <errno.h>
#include <string.h>

#include "source/sqlite/rows.h"
#include "util/cleanup.h"
#include "util/name.h"

#define MODE_FILE 0444
#define MODE_DIR  0555

#define DATA_BEGIN "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
#define DATA_END   "COMMIT;\n"

static const char VIRTUAL_DATA[] =
    "-- A virtual table: its rows are in its shadow tables, which restore.sql restores with it.\n";

typedef struct Text {
    SqliteDb *db;
    const SqliteInfo *info;
    const SqliteSchema *schema;
    const SourceRun *run;
    SourceResult *result;
    RopeBuilder *restore; /* restore.sql so far */
    RopeBuilder *small;   /* for one small file at a time */
    DirBuilder *tables;
    Stream *rows;
    uint64_t bytes;       /* of all rows */
    bool schema_writable; /* restore.sql has said PRAGMA writable_schema=ON */
} Text;

static void text_release(Text *t)
{
    rope_builder_free(t->restore);
    rope_builder_free(t->small);
    dir_builder_free(t->tables);
    stream_free(t->rows);
}

static int literal(RopeBuilder *b, const char *text, Error *e)
{
    return rope_builder_literal(b, text, strlen(text), e);
}

/* `sql` and what ends it: a newline too where a trailing comment would swallow the semicolon. */
static int add_statement(Buf *b, const char *sql, Error *e)
{
    size_t start = b->len;
    if (buf_add_str(b, sql) < 0 || buf_add_str(b, ";") < 0 || !buf_cstr(b))
        return error_oom(e);
    if (!sqlite3_complete((const char *)b->data + start)) {
        b->len--;
        if (buf_add_str(b, "\n;") < 0)
            return error_oom(e);
    }
    return buf_add_str(b, "\n") < 0 ? error_oom(e) : 0;
}

static int restore_statement(Text *t, const char *sql, Error *e)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    int r = add_statement(&b, sql, e);
    return r < 0 ? r : rope_builder_literal(t->restore, b.data, b.len, e);
}

static int add_small_file(Text *t, DirBuilder *dir, const char *name, const void *data, size_t len,
                          Error *e)
{
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    ObjectId digest;
    int r = rope_builder_literal(t->small, data, len, e);
    if (r >= 0)
        r = rope_builder_finish(t->small, &rope, e);
    if (r >= 0 && id_of(data, len, &digest) < 0)
        r = error_oom(e);
    return r < 0 ? r : dir_builder_file(dir, name, MODE_FILE, &rope, &digest, e);
}

static int add_schema_file(Text *t, DirBuilder *dir, const SchemaObject *table, Error *e)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    int r = add_statement(&b, table->sql, e);
    size_t first, n = sqlite_schema_dependents(t->schema, table->name, &first);
    for (size_t i = first; r >= 0 && i < first + n; i++)
        r = add_statement(&b, t->schema->items[t->schema->by_table[i]].sql, e);
    return r < 0 ? r : add_small_file(t, dir, "schema.sql", b.data, b.len, e);
}

/* Add the finished directory of `table` to main/tables/. */
static int add_table_dir(Text *t, const SchemaObject *table, DirBuilder *dir, uint64_t rows,
                         Error *e)
{
    _cleanup_(buf_release) Buf name = BUF_INIT;
    bool cut = false;
    DirEntry entry = {
        .kind = ENTRY_DIR,
        .mode = MODE_DIR,
        .has_rows = table->kind == KIND_TABLE,
        .rows = rows,
    };
    int r = dir_builder_finish(dir, &entry.dir, e);
    if (r < 0)
        return r;
    if (name_encode(table->name, strlen(table->name), NULL, &name, &cut) < 0 || !buf_cstr(&name))
        return error_oom(e);
    entry.name = (const char *)name.data;
    entry.name_len = name.len;
    if (cut) {
        entry.object_name = table->name;
        entry.object_name_len = strlen(table->name);
    }
    t->result->table_count++;
    t->result->record_count += rows;
    t->result->file_count += 2;
    return dir_builder_entry(t->tables, &entry, NULL, e);
}

/* The previous backup's rows of this table. */
static int follow_previous(Text *t, const char *table, Error *e)
{
    _cleanup_(buf_release) Buf path = BUF_INIT;
    if (buf_add_str(&path, "main/tables/") < 0 ||
        name_encode(table, strlen(table), NULL, &path, NULL) < 0 ||
        buf_add_str(&path, "/data.sql") < 0 || !buf_cstr(&path))
        return error_oom(e);
    return source_follow(t->run, t->rows, (const char *)path.data, e);
}

/* What ends a table's data.sql: its highest key so far, which AUTOINCREMENT never gives out again,
 * where a row of it was deleted too. */
static int data_end(Text *t, const SchemaObject *table, Buf *out, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT, name = BUF_INIT;
    int64_t seq = -1;
    if (sql_quote_string(&name, table->name) < 0 || !buf_cstr(&name) ||
        buf_addf(&sql,
                 "SELECT coalesce(max(seq), -1) FROM sqlite_sequence"
                 " WHERE name=%s AND typeof(seq)='integer'",
                 (const char *)name.data) < 0 ||
        !buf_cstr(&sql))
        return error_oom(e);
    int r = table->autoincrement ? sqlite_db_integer(t->db, (const char *)sql.data, &seq, e) : 0;
    if (r < 0)
        return r;
    if (seq > 0)
        r = buf_addf(out,
                     "INSERT INTO sqlite_sequence(name,seq) SELECT %s,0 WHERE NOT EXISTS"
                     "(SELECT 1 FROM sqlite_sequence WHERE name=%s);\n"
                     "UPDATE sqlite_sequence SET seq=%lld WHERE name=%s AND seq<%lld;\n",
                     (const char *)name.data, (const char *)name.data, (long long)seq,
                     (const char *)name.data, (long long)seq);
    return r < 0 || buf_add_str(out, DATA_END) < 0 ? error_oom(e) : 0;
}

/* Read the table's rows, once for restore.sql and, when `digest` is not NULL, for its data.sql,
 * which ends with `end`. */
static int add_rows(Text *t, const SchemaObject *table, const Buf *end, Rope *ret_rows,
                    ObjectId *digest, uint64_t *ret_n, Error *e)
{
    RowsOptions options = {.encoding = t->info->encoding,
                           .bytes_before = t->result->size_bytes + t->bytes};
    int r = follow_previous(t, table->name, e);
    if (r >= 0 && digest)
        r = stream_hash_extra(t->rows, DATA_BEGIN, strlen(DATA_BEGIN), e);
    if (r >= 0)
        r = sqlite_rows_write(t->db, table, &options, t->rows, ret_n, e);
    if (r >= 0 && digest)
        r = stream_hash_extra(t->rows, end->data, end->len, e);
    if (r < 0)
        return r;
    t->bytes += stream_bytes(t->rows);
    _cleanup_(rope_release) Rope rows = ROPE_INIT;
    r = stream_finish(t->rows, &rows, digest, e);
    if (r >= 0)
        r = rope_builder_rope(t->restore, &rows, e);
    if (r < 0)
        return r;
    *ret_rows = rows;
    rows = ROPE_INIT;
    return 0;
}

/* data.sql: `rows` in a transaction of their own. */
static int add_data_file(Text *t, DirBuilder *dir, const Rope *rows, const Buf *end,
                         const ObjectId *digest, Error *e)
{
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    int r = literal(t->small, DATA_BEGIN, e);
    if (r >= 0)
        r = rope_builder_rope(t->small, rows, e);
    if (r >= 0)
        r = rope_builder_literal(t->small, end->data, end->len, e);
    if (r >= 0)
        r = rope_builder_finish(t->small, &rope, e);
    return r < 0 ? r : dir_builder_file(dir, "data.sql", MODE_FILE, &rope, digest, e);
}

static int add_table(Text *t, const SchemaObject *table, Error *e)
{
    _cleanup_(rope_release) Rope rows = ROPE_INIT;
    _cleanup_(buf_release) Buf end = BUF_INIT;
    ObjectId digest;
    DirBuilder *dir = NULL;
    uint64_t n = 0;
    int r = dir_builder_new(t->run->writer, &dir);
    if (r < 0)
        return error_oom(e);
    r = restore_statement(t, table->sql, e);
    if (r >= 0)
        r = data_end(t, table, &end, e);
    if (r >= 0)
        r = add_rows(t, table, &end, &rows, &digest, &n, e);
    if (r >= 0)
        r = add_data_file(t, dir, &rows, &end, &digest, e);
    if (r >= 0)
        r = add_schema_file(t, dir, table, e);
    if (r >= 0)
        r = add_table_dir(t, table, dir, n, e);
    dir_builder_free(dir);
    return r;
}

/* Its module may be missing here and must not make new shadow tables there: only its row in the
 * schema is restored, and its shadow tables like any others. */
static int add_virtual_table(Text *t, const SchemaObject *table, Error *e)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    if (!t->schema_writable && buf_add_str(&b, "PRAGMA writable_schema=ON;\n") < 0)
        return error_oom(e);
    t->schema_writable = true;
    if (buf_add_str(&b, "INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql)"
                        "VALUES('table',") < 0 ||
        sql_quote_string(&b, table->name) < 0 || buf_add_str(&b, ",") < 0 ||
        sql_quote_string(&b, table->name) < 0 || buf_add_str(&b, ",0,") < 0 ||
        sql_quote_string(&b, table->sql) < 0 || buf_add_str(&b, ");\n") < 0)
        return error_oom(e);
    DirBuilder *dir = NULL;
    int r = rope_builder_literal(t->restore, b.data, b.len, e);
    if (r < 0)
        return r;
    if (dir_builder_new(t->run->writer, &dir) < 0)
        return error_oom(e);
    r = add_small_file(t, dir, "data.sql", VIRTUAL_DATA, strlen(VIRTUAL_DATA), e);
    if (r >= 0)
        r = add_schema_file(t, dir, table, e);
    if (r >= 0)
        r = add_table_dir(t, table, dir, 0, e);
    dir_builder_free(dir);
    return r;
}

/* SQLite's own tables can't be created, only filled. Of those only sqlite_sequence and sqlite_stat1
 * exist in every build; other statistics would make the text fail elsewhere, and are not data. The
 * former comes with the first AUTOINCREMENT table and stays when the last has gone. */
static int add_internal_table(Text *t, const SchemaObject *table, Error *e)
{
    _cleanup_(rope_release) Rope rows = ROPE_INIT;
    uint64_t n;
    int r;
    if (strcmp(table->name, "sqlite_stat1") == 0)
        r = literal(t->restore, "ANALYZE sqlite_master;\nDELETE FROM sqlite_stat1;\n", e);
    else if (strcmp(table->name, "sqlite_sequence") == 0 && t->schema->has_autoincrement)
        r = literal(t->restore, "DELETE FROM sqlite_sequence;\n", e);
    else
        return 0;
    return r < 0 ? r : add_rows(t, table, NULL, &rows, NULL, &n, e);
}

static int add_header(Text *t, Error *e)
{
    static const char *const encodings[] = {
        [TEXT_UTF8] = "",
        [TEXT_UTF16LE] = "PRAGMA encoding='UTF-16le';\n",
        [TEXT_UTF16BE] = "PRAGMA encoding='UTF-16be';\n",
    };
    int r = literal(t->restore, encodings[t->info->encoding], e);
    return r < 0 ? r : literal(t->restore, DATA_BEGIN, e);
}

static int add_trailer(Text *t, Error *e)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    int r = 0;
    if (t->schema_writable)
        r = buf_add_str(&b, "PRAGMA writable_schema=OFF;\n");
    if (r >= 0 && t->info->application_id != 0)
        r = buf_addf(&b, "PRAGMA application_id=%lld;\n", (long long)t->info->application_id);
    if (r >= 0 && t->info->user_version != 0)
        r = buf_addf(&b, "PRAGMA user_version=%lld;\n", (long long)t->info->user_version);
    if (r >= 0)
        r = buf_add_str(&b, DATA_END);
    return r < 0 ? error_oom(e) : rope_builder_literal(t->restore, b.data, b.len, e);
}

/* Tables in the order of the schema, SQLite's own last (their rows would change under the inserts
 * into others), then what refers to tables. */
static int add_objects(Text *t, Error *e)
{
    const SqliteSchema *s = t->schema;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < s->n; i++) {
        const SchemaObject *o = &s->items[i];
        if (o->internal || o->kind == KIND_OTHER)
            continue;
        r = o->kind == KIND_VIRTUAL ? add_virtual_table(t, o, e) : add_table(t, o, e);
    }
    for (size_t i = 0; r >= 0 && i < s->n; i++)
        if (s->items[i].internal && s->items[i].kind == KIND_TABLE)
            r = add_internal_table(t, &s->items[i], e);
    for (size_t i = 0; r >= 0 && i < s->n; i++)
        if (s->items[i].kind == KIND_OTHER)
            r = restore_statement(t, s->items[i].sql, e);
    return r;
}

/* main/ with tables/ in it, and restore.sql. */
static int add_to_root(Text *t, DirBuilder *root, Error *e)
{
    _cleanup_(rope_release) Rope restore = ROPE_INIT;
    DirBuilder *main_dir = NULL;
    Dir tables, all;
    int r = rope_builder_finish(t->restore, &restore, e);
    if (r >= 0)
        r = dir_builder_file(root, "restore.sql", MODE_FILE, &restore, NULL, e);
    if (r >= 0)
        r = dir_builder_finish(t->tables, &tables, e);
    if (r < 0)
        return r;
    if (dir_builder_new(t->run->writer, &main_dir) < 0)
        return error_oom(e);
    r = dir_builder_dir(main_dir, "tables", &tables, e);
    if (r >= 0)
        r = dir_builder_finish(main_dir, &all, e);
    if (r >= 0)
        r = dir_builder_dir(root, "main", &all, e);
    dir_builder_free(main_dir);
    t->result->file_count++;
    return r;
}

int sqlite_text_write(SqliteDb *db, const SqliteInfo *info, const SqliteSchema *schema,
                      const SourceRun *run, DirBuilder *root, SourceResult *result,
                      uint64_t *ret_bytes, Error *e)
{
    _cleanup_(text_release) Text t = {
        .db = db,
        .info = info,
        .schema = schema,
        .run = run,
        .result = result,
    };
    if (rope_builder_new(run->writer, &t.restore) < 0 ||
        rope_builder_new(run->writer, &t.small) < 0 || dir_builder_new(run->writer, &t.tables) < 0)
        return error_oom(e);
    int r = stream_new(run->writer, (CutRule){.kind = CUT_ROWS}, &t.rows, e);
    if (r >= 0)
        r = add_header(&t, e);
    if (r >= 0)
        r = add_objects(&t, e);
    if (r >= 0)
        r = add_trailer(&t, e);
    if (r >= 0)
        r = add_to_root(&t, root, e);
    if (r >= 0)
        *ret_bytes = t.bytes;
    return r;
}
