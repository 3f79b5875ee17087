#include "source/postgres/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/archive_file.h"
#include "source/postgres/data_order.h"
#include "source/postgres/table_script.h"
#include "source/postgres/toc_index.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/name.h"

#define MODE_FILE   0444
#define MODE_SECRET 0400

/* What stands in the backup's root, so that no schema may be called so. */
static const char *const root_names[] = {
    "roles.sql",   "restore.sql", "schema.sql", "data.sql",   "database.dump",
    "backup.json", "summary.txt", "SHA256SUMS", SOURCE_FILES, NULL};

static void dir_builder_freep(DirBuilder **b)
{
    dir_builder_free(*b);
}

static void rope_builder_freep(RopeBuilder **b)
{
    rope_builder_free(*b);
}

static void json_freep(json_t **j)
{
    json_decref(*j);
}

static int prepare_table(const TableScripts *s, ModelTable *t, size_t index,
                         const uint8_t secret[32])
{
    _cleanup_(composer_freep) Composer *c = NULL;
    const Buf *text;
    bool any = false;
    TRY(composer_new(s->script, false, &c));
    TRY(table_data_compose(s, index, true, c, &any));
    if (!any)
        return 0;
    TRY(composer_finish(c, secret, &text, &t->data_at));
    TRY(buf_add(&t->data_text, text->data, text->len));
    /* The digest of one with rows comes from reading them. */
    return t->data == MODEL_NONE ? id_of(text->data, text->len, &t->data_sha256) : 0;
}

int layout_prepare(Model *m, const Script *s, const uint8_t secret[32], Error *e)
{
    _cleanup_(table_scripts_release) TableScripts scripts = {0};
    int r = table_scripts_make(m, s, &scripts);
    for (size_t i = 0; r == 0 && i < m->n_tables; i++)
        if (!scripts.partitions.has[i]) /* it is made of many tables' rows */
            r = prepare_table(&scripts, &m->tables[i], i, secret);
    return r < 0 ? error_oom(e) : 0;
}

/* While writing. */
typedef struct Layout {
    const LayoutInput *in;
    StoreWriter *writer;
    TableScripts tables;
    Buckets by_schema;
    Rope *framed; /* for each table: its rows as they stand in archives */
    TocIndex ids;
    const Rope **data; /* for each TOC entry: what an archive holds of it, or NULL */
    bool *common;      /* for each TOC entry: whether an archive of any schema holds it */
    uint64_t files, archive_bytes;
} Layout;

static int add_file(Layout *l, DirBuilder *dir, const char *name, uint16_t mode, const Rope *rope,
                    const ObjectId *sha256, Error *e)
{
    l->files++;
    return dir_builder_file(dir, name, mode, rope, sha256, e);
}

/* A file that is all text. */
static int add_text_file(Layout *l, DirBuilder *dir, const char *name, uint16_t mode,
                         const Buf *text, Error *e)
{
    _cleanup_(rope_builder_freep) RopeBuilder *b = NULL;
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    ObjectId sha256;
    if (rope_builder_new(l->writer, &b) < 0 || id_of(text->data, text->len, &sha256) < 0)
        return error_oom(e);
    if (text->len)
        TRY(rope_builder_literal(b, text->data, text->len, e));
    TRY(rope_builder_finish(b, &rope, e));
    return add_file(l, dir, name, mode, &rope, &sha256, e);
}

/* data.sql: its text with the rows in their place. */
static int add_data_file(Layout *l, DirBuilder *dir, const ModelTable *t, Error *e)
{
    _cleanup_(rope_builder_freep) RopeBuilder *b = NULL;
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    if (rope_builder_new(l->writer, &b) < 0)
        return error_oom(e);
    if (t->data_at)
        TRY(rope_builder_literal(b, t->data_text.data, t->data_at, e));
    if (t->rows_rope.length)
        TRY(rope_builder_rope(b, &t->rows_rope, e));
    if (t->data_text.len > t->data_at)
        TRY(rope_builder_literal(b, t->data_text.data + t->data_at, t->data_text.len - t->data_at,
                                 e));
    TRY(rope_builder_finish(b, &rope, e));
    return add_file(l, dir, "data.sql", MODE_FILE, &rope, &t->data_sha256, e);
}

/* Finish a composed text, which has no ropes, as a file. `r` is of the composing. */
static int add_composed(Layout *l, DirBuilder *dir, const char *name, Composer *c, int r, Error *e)
{
    const Buf *text;
    if (r == 0)
        r = composer_finish(c, l->in->run->secret, &text, NULL);
    return r < 0 ? error_oom(e) : add_text_file(l, dir, name, MODE_FILE, text, e);
}

/* A schema's definitions as a script that stands alone. */
static int add_schema_file(Layout *l, DirBuilder *dir, size_t schema, Error *e)
{
    const Script *s = l->in->script;
    const Buckets *b = &l->by_schema;
    _cleanup_(composer_freep) Composer *c = NULL;
    int r = composer_new(s, false, &c);
    for (size_t i = b->first[schema]; r == 0 && i < b->first[schema + 1]; i++)
        if (model_is_schema(s->parts[b->parts[i]].entry))
            r = script_add_part(c, &s->parts[b->parts[i]], NULL, NULL);
    return add_composed(l, dir, "schema.sql", c, r, e);
}

static int add_table_schema(Layout *l, DirBuilder *dir, size_t table, Error *e)
{
    _cleanup_(composer_freep) Composer *c = NULL;
    if (l->in->model->tables[table].def == MODEL_NONE) {
        _cleanup_(buf_release) Buf text = BUF_INIT;
        if (table_extension_text(&l->in->model->tables[table], &text) < 0)
            return error_oom(e);
        return add_text_file(l, dir, "schema.sql", MODE_FILE, &text, e);
    }
    int r = composer_new(l->in->script, false, &c);
    if (r == 0)
        r = table_schema_compose(&l->tables, table, c);
    return add_composed(l, dir, "schema.sql", c, r, e);
}

/* data.sql of a table with partitions: their rows. */
static int add_partitions_data(Layout *l, DirBuilder *dir, size_t table, Error *e)
{
    _cleanup_(composer_freep) Composer *c = NULL;
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    const Buf *text;
    bool any = false;
    int r = composer_new(l->in->script, false, &c);
    if (r == 0)
        r = table_data_compose(&l->tables, table, false, c, &any);
    if (r == 0)
        r = composer_finish(c, l->in->run->secret, &text, NULL);
    if (r < 0)
        return error_oom(e);
    if (!any)
        return 0;
    TRY(composer_emit(c, l->writer, &rope, e));
    return add_file(l, dir, "data.sql", MODE_FILE, &rope, NULL, e);
}

static int add_dir(DirBuilder *parent, const char *object_name, const char *const *reserved,
                   const Dir *dir, const uint64_t *rows, Buf *ret_name, Error *e)
{
    bool cut = false;
    size_t len = strlen(object_name);
    if (name_encode(object_name, len, reserved, ret_name, &cut) < 0 || !buf_cstr(ret_name))
        return error_oom(e);
    DirEntry entry = {.name = (const char *)ret_name->data,
                      .name_len = ret_name->len,
                      .kind = ENTRY_DIR,
                      .mode = 0555,
                      .dir = *dir,
                      .has_rows = rows != NULL,
                      .rows = rows ? *rows : 0,
                      .object_name = cut ? object_name : NULL,
                      .object_name_len = cut ? len : 0};
    return dir_builder_entry(parent, &entry, NULL, e);
}

static int write_table(Layout *l, DirBuilder *tables, size_t index, Error *e)
{
    const ModelTable *t = &l->in->model->tables[index];
    _cleanup_(dir_builder_freep) DirBuilder *b = NULL;
    _cleanup_(buf_release) Buf name = BUF_INIT;
    Dir dir;
    if (dir_builder_new(l->writer, &b) < 0)
        return error_oom(e);
    TRY(add_table_schema(l, b, index, e));
    if (l->tables.partitions.has[index])
        TRY(add_partitions_data(l, b, index, e));
    else if (t->data_text.len > 0)
        TRY(add_data_file(l, b, t, e));
    TRY(dir_builder_finish(b, &dir, e));
    return add_dir(tables, t->name, NULL, &dir, t->data != MODEL_NONE ? &t->rows : NULL, &name, e);
}

int layout_data_path(const ModelTable *t, Buf *ret_path, Error *e)
{
    int r = name_encode(t->schema, strlen(t->schema), root_names, ret_path, NULL);
    if (r == 0)
        r = buf_add_str(ret_path, "/tables/");
    if (r == 0)
        r = name_encode(t->name, strlen(t->name), NULL, ret_path, NULL);
    if (r == 0)
        r = buf_add_str(ret_path, "/data.sql");
    return r < 0 || !buf_cstr(ret_path) ? error_oom(e) : 0;
}

/* Entries that an archive of anything holds. */
static bool is_of_any_archive(const TocEntry *t)
{
    static const char *const kinds[] = {"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE",
                                        "DATABASE PROPERTIES"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (toc_is(t, kinds[i]))
            return true;
    return !t->namespace && t->tag && strncmp(t->tag, "DATABASE ", strlen("DATABASE ")) == 0;
}

/* What archives hold of every entry that has data. */
static int prepare_archives(Layout *l, Error *e)
{
    const Model *m = l->in->model;
    const Script *s = l->in->script;
    l->framed = calloc(m->n_tables + 1, sizeof(*l->framed));
    l->data = calloc(m->toc->n + 1, sizeof(*l->data));
    l->common = calloc(m->toc->n + 1, sizeof(*l->common));
    if (!l->framed || !l->data || !l->common || toc_index_make(m->toc, &l->ids) < 0)
        return error_oom(e);
    for (size_t i = 0; i < m->toc->n; i++)
        l->common[i] = is_of_any_archive(&m->toc->entries[i]);
    for (size_t i = 0; i < m->n_tables; i++) {
        const ModelTable *t = &m->tables[i];
        if (t->data == MODEL_NONE)
            continue;
        TRY(archive_frame_rows(l->writer, &t->rows_rope, COPY_END, &l->framed[i], e));
        l->data[t->data] = &l->framed[i];
    }
    for (size_t i = 0; i < s->n; i++)
        if (toc_is(s->parts[i].entry, "BLOBS"))
            l->data[s->parts[i].index] = &l->in->blobs[i].archive;
    return 0;
}

static int add_archive(Layout *l, DirBuilder *dir, const char *name, const bool *chosen,
                       uint64_t *ret_bytes, Error *e)
{
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    TRY(archive_file_write(l->in->run, l->in->model->toc, l->data, chosen, &rope, e));
    *ret_bytes = rope.length;
    return add_file(l, dir, name, MODE_FILE, &rope, NULL, e);
}

/* Privileges and labels of what an extension makes: pg_dump leaves them to the extension where it
 * dumps a schema alone. */
static bool is_of_extension(const TocIndex *ids, const TocEntry *t)
{
    if (!toc_is(t, "ACL") && !toc_is(t, "SECURITY LABEL"))
        return false;
    for (size_t d = 0; d < t->n_deps; d++)
        if (toc_index_find(ids, t->deps[d]) != TOC_NONE)
            return false;
    return t->n_deps > 0;
}

/* An archive of all that is in one schema. */
static int add_schema_archive(Layout *l, DirBuilder *dir, size_t index, Buf *ret_name,
                              uint64_t *ret_bytes, Error *e)
{
    const Model *m = l->in->model;
    _cleanup_free_ bool *chosen = calloc(m->toc->n + 1, sizeof(bool));
    _cleanup_(buf_release) Buf name = BUF_INIT;
    char time[CLOCK_COMPACT_SIZE];
    clock_format_compact(l->in->run->timestamp, time);
    int r = chosen ? buf_addf(&name, "%s_schema_%s.dump", m->schemas[index].name, time) : -ENOMEM;
    if (r == 0)
        r = name_encode((const char *)name.data, name.len, NULL, ret_name, NULL);
    if (r < 0 || !buf_cstr(ret_name))
        return error_oom(e);
    for (size_t i = 0; i < m->toc->n; i++)
        chosen[i] = (m->schema_of[i] == index && !is_of_extension(&l->ids, &m->toc->entries[i])) ||
                    l->common[i];
    return add_archive(l, dir, (const char *)ret_name->data, chosen, ret_bytes, e);
}

/* A schema's directory, its entry in the manifest, and in `*next` the first table after its own. */
static int write_schema(Layout *l, DirBuilder *root, size_t index, size_t *next, json_t *schemas,
                        Error *e)
{
    const Model *m = l->in->model;
    _cleanup_(dir_builder_freep) DirBuilder *b = NULL, *tables = NULL;
    _cleanup_(buf_release) Buf name = BUF_INIT, archive = BUF_INIT;
    uint64_t n = 0, rows = 0, bytes = 0, archive_bytes = 0;
    Dir dir, tables_dir;
    if (dir_builder_new(l->writer, &b) < 0 || dir_builder_new(l->writer, &tables) < 0)
        return error_oom(e);
    TRY(add_schema_file(l, b, index, e));
    TRY(add_schema_archive(l, b, index, &archive, &archive_bytes, e));
    for (; *next < m->n_tables && m->tables[*next].schema_index == index; (*next)++, n++) {
        TRY(write_table(l, tables, *next, e));
        rows += m->tables[*next].rows;
        bytes += m->tables[*next].bytes;
    }
    if (n > 0) {
        TRY(dir_builder_finish(tables, &tables_dir, e));
        TRY(dir_builder_dir(b, "tables", &tables_dir, e));
    }
    TRY(dir_builder_finish(b, &dir, e));
    TRY(add_dir(root, m->schemas[index].name, root_names, &dir, NULL, &name, e));
    json_t *entry = json_pack(
        "{s:o, s:s, s:I, s:I, s:I, s:s, s:I}", "name", source_json_name(m->schemas[index].name),
        "path", (const char *)name.data, "tables", (json_int_t)n, "rows", (json_int_t)rows, "bytes",
        (json_int_t)bytes, "archive", (const char *)archive.data, "archive_bytes",
        (json_int_t)archive_bytes);
    return json_array_append_new(schemas, entry) < 0 ? error_oom(e) : 0;
}

/* One part of a script of the whole database. */
static int add_any_part(Layout *l, Composer *c, size_t part)
{
    const ScriptPart *p = &l->in->script->parts[part];
    const Model *m = l->in->model;
    size_t t = m->table_of[p->index];
    return script_add_part(c, p, t != MODEL_NONE ? &m->tables[t].rows_rope : NULL,
                           &l->in->blobs[part].script);
}

static int compose_all(Layout *l, Composer *c)
{
    for (size_t i = 0; i < l->in->script->n; i++)
        TRY(add_any_part(l, c, i));
    return 0;
}

static int compose_schema(Layout *l, Composer *c)
{
    for (size_t i = 0; i < l->in->script->n; i++)
        if (model_is_schema(l->in->script->parts[i].entry))
            TRY(add_any_part(l, c, i));
    return 0;
}

/* The tables' rows come where the first of them was printed, in their order. */
static int compose_data(Layout *l, Composer *c)
{
    _cleanup_free_ size_t *order = NULL;
    size_t n = 0, next = 0;
    TRY(data_order(l->in->model, l->in->script, l->in->references, &order, &n));
    for (size_t i = 0; i < l->in->script->n; i++) {
        const TocEntry *t = l->in->script->parts[i].entry;
        if (model_is_schema(t) || toc_is(t, "MATERIALIZED VIEW DATA"))
            continue;
        if (!toc_is(t, "TABLE DATA"))
            TRY(add_any_part(l, c, i));
        else
            for (; next < n; next++)
                TRY(add_any_part(l, c, order[next]));
    }
    return 0;
}

/* A script of the whole database. */
static int add_script(Layout *l, DirBuilder *root, const char *name,
                      int (*compose)(Layout *l, Composer *c), Error *e)
{
    _cleanup_(composer_freep) Composer *c = NULL;
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    const Buf *text;
    int r = composer_new(l->in->script, true, &c);
    if (r == 0)
        r = compose(l, c);
    if (r == 0)
        r = composer_finish(c, l->in->run->secret, &text, NULL);
    if (r < 0)
        return error_oom(e);
    TRY(composer_emit(c, l->writer, &rope, e));
    return add_file(l, root, name, MODE_FILE, &rope, NULL, e);
}

static int write_root(Layout *l, SourceResult *result, json_t *schemas, Error *e)
{
    const Model *m = l->in->model;
    _cleanup_(dir_builder_freep) DirBuilder *root = NULL;
    if (dir_builder_new(l->writer, &root) < 0)
        return error_oom(e);
    TRY(prepare_archives(l, e));
    size_t next = 0;
    for (size_t i = 0; i < m->n_schemas; i++)
        TRY(write_schema(l, root, i, &next, schemas, e));
    TRY(add_text_file(l, root, "roles.sql", MODE_SECRET, l->in->roles, e));
    TRY(add_script(l, root, "restore.sql", compose_all, e));
    TRY(add_script(l, root, "schema.sql", compose_schema, e));
    TRY(add_script(l, root, "data.sql", compose_data, e));
    TRY(add_archive(l, root, "database.dump", NULL, &l->archive_bytes, e));
    if (l->in->run->files)
        TRY(dir_builder_dir(root, SOURCE_FILES, l->in->run->files, e));
    return dir_builder_finish(root, &result->root, e);
}

static void layout_release(Layout *l)
{
    for (size_t i = 0; l->framed && i < l->in->model->n_tables; i++)
        rope_release(&l->framed[i]);
    free(l->framed);
    free(l->data);
    free(l->common);
    toc_index_release(&l->ids);
    table_scripts_release(&l->tables);
    buckets_release(&l->by_schema);
}

int layout_write(const LayoutInput *in, SourceResult *result, json_t **ret_schemas,
                 uint64_t *ret_archive_bytes, Error *e)
{
    _cleanup_(layout_release) Layout l = {.in = in, .writer = in->run->writer};
    _cleanup_(json_freep) json_t *schemas = json_array();
    const Model *m = in->model;
    int r = schemas ? table_scripts_make(m, in->script, &l.tables) : -ENOMEM;
    if (r == 0)
        r = buckets_make(in->script, m->schema_of, m->n_schemas, &l.by_schema);
    r = r < 0 ? error_oom(e) : write_root(&l, result, schemas, e);
    if (r < 0)
        return r;
    result->file_count = l.files;
    result->table_count = m->n_tables;
    *ret_archive_bytes = l.archive_bytes;
    *ret_schemas = TAKE_PTR(schemas);
    return 0;
}
