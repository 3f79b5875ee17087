#include "source/postgres/table_script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

void buckets_release(Buckets *b)
{
    free(b->first);
    free(b->parts);
}

int buckets_make(const Script *s, const size_t *of, size_t n, Buckets *ret_buckets)
{
    Buckets b = {.first = calloc(n + 2, sizeof(size_t)), .parts = calloc(s->n + 1, sizeof(size_t))};
    if (!b.first || !b.parts) {
        buckets_release(&b);
        return -ENOMEM;
    }
    for (size_t i = 0; i < s->n; i++)
        if (of[s->parts[i].index] != MODEL_NONE)
            b.first[of[s->parts[i].index] + 2]++;
    for (size_t t = 2; t < n + 2; t++)
        b.first[t] += b.first[t - 1];
    for (size_t i = 0; i < s->n; i++)
        if (of[s->parts[i].index] != MODEL_NONE)
            b.parts[b.first[of[s->parts[i].index] + 1]++] = i;
    *ret_buckets = b;
    return 0;
}

int script_add_part(Composer *c, const ScriptPart *p, const Rope *rows, const Rope *blob)
{
    TRY(composer_part(c, p));
    if (toc_is(p->entry, "BLOBS")) {
        TRY(composer_rope(c, blob));
    } else if (p->has_data) {
        TRY(composer_rope(c, rows));
        TRY(composer_text(c, COPY_END, sizeof(COPY_END) - 1));
    }
    return composer_text(c, p->after.p, p->after.len);
}

void table_scripts_release(TableScripts *s)
{
    partitions_release(&s->partitions);
    buckets_release(&s->by_root);
}

int table_scripts_make(const Model *m, const Script *script, TableScripts *ret_scripts)
{
    _cleanup_(table_scripts_release) TableScripts s = {.model = m, .script = script};
    TRY(partitions_find(m, &s.partitions));
    _cleanup_free_ size_t *root = calloc(m->toc->n + 1, sizeof(size_t));
    if (!root)
        return -ENOMEM;
    for (size_t i = 0; i < m->toc->n; i++) {
        size_t owner = s.partitions.owner[i];
        root[i] = owner == MODEL_NONE ? MODEL_NONE : partitions_root(&s.partitions, owner);
    }
    TRY(buckets_make(script, root, m->n_tables, &s.by_root));
    *ret_scripts = s;
    s = (TableScripts){0};
    return 0;
}

/* The next part of the table's or its partitions' from the bucket's place `*at` on, or NULL. */
static const ScriptPart *next_part(const TableScripts *s, size_t table, size_t *at)
{
    size_t end = s->by_root.first[partitions_root(&s->partitions, table) + 1];
    while (*at < end) {
        const ScriptPart *p = &s->script->parts[s->by_root.parts[(*at)++]];
        if (partitions_is_below(&s->partitions, s->partitions.owner[p->index], table))
            return p;
    }
    return NULL;
}

static size_t first_place(const TableScripts *s, size_t table)
{
    return s->by_root.first[partitions_root(&s->partitions, table)];
}

static bool has_keys(const TableScripts *s, size_t table)
{
    size_t at = first_place(s, table);
    for (const ScriptPart *p; (p = next_part(s, table, &at));)
        if (toc_is(p->entry, "FK CONSTRAINT"))
            return true;
    return false;
}

/* A name within a comment line, which it must not leave. */
static int add_name(Buf *out, const char *name)
{
    size_t start = out->len;
    TRY(buf_add_str(out, name));
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] < 0x20 || out->data[i] == 0x7f)
            out->data[i] = ' ';
    return 0;
}

static int add_table_name(Buf *out, const ModelTable *t)
{
    TRY(add_name(out, t->schema));
    TRY(buf_add_str(out, "."));
    return add_name(out, t->name);
}

static const char schema_keys[] = "-- This table has foreign keys. The commands that add them, "
                                  "near the end, need the tables that\n"
                                  "-- they refer to, and fail without those.\n\n";

static int add_about_parent(const TableScripts *s, size_t table, Composer *c)
{
    size_t parent = s->partitions.parent[table];
    _cleanup_(buf_release) Buf text = BUF_INIT;
    if (parent == MODEL_NONE)
        return 0;
    TRY(buf_add_str(&text, "-- This table is a partition. It is made here on its own; what attaches"
                           " it is in schema.sql of\n-- its parent "));
    TRY(add_table_name(&text, &s->model->tables[parent]));
    TRY(buf_add_str(&text, ".\n\n"));
    return composer_text(c, (const char *)text.data, text.len);
}

int table_schema_compose(const TableScripts *s, size_t table, Composer *c)
{
    TRY(add_about_parent(s, table, c));
    if (has_keys(s, table))
        TRY(composer_text(c, schema_keys, strlen(schema_keys)));
    size_t at = first_place(s, table);
    for (const ScriptPart *p; (p = next_part(s, table, &at));)
        if (model_is_schema(p->entry))
            TRY(script_add_part(c, p, NULL, NULL));
    return 0;
}

/* One table's rows. Where pg_dump sends them through the root of the partitions, they go to `into`,
 * the table whose script this is: it may stand alone. */
static int add_rows(Composer *c, const ModelTable *into, const ScriptPart *p, const Rope *rows)
{
    static const char via_root[] = "\n-- load via partition root ", to[] = " TO STDOUT";
    static const char from[] = " FROM stdin;\n";
    const TocEntry *t = p->entry;
    const char *at =
        p->body.len ? memmem(p->body.p, p->body.len, via_root, strlen(via_root)) : NULL;
    if (!at || !t->defn || strncmp(t->defn, via_root + 1, strlen(via_root + 1)) != 0)
        return script_add_part(c, p, rows, NULL);
    TocEntry own_entry = *t;
    own_entry.namespace = (char *)into->schema; /* never written through */
    own_entry.tag = (char *)into->name;
    _cleanup_free_ char *sql = NULL;
    TRY(model_copy_sql(&own_entry, NULL, &sql, NULL));
    ScriptPart own = *p;
    own.body.len = (size_t)(at + 1 - p->body.p);
    TRY(composer_part(c, &own));
    TRY(composer_text(c, sql, strlen(sql) - strlen(to)));
    TRY(composer_text(c, from, strlen(from)));
    TRY(composer_rope(c, rows));
    TRY(composer_text(c, COPY_END, strlen(COPY_END)));
    return composer_text(c, p->after.p, p->after.len);
}

static const char data_keys[] =
    "-- This table has foreign keys. Where the tables they refer to do not hold their rows yet, a\n"
    "-- superuser can load it without checking keys and without firing triggers:\n"
    "--     PGOPTIONS='-c session_replication_role=replica' psql -1 -f data.sql ...\n\n";

static bool is_rows(const ScriptPart *p)
{
    return p->has_data && toc_is(p->entry, "TABLE DATA");
}

int table_data_compose(const TableScripts *s, size_t table, bool places_only, Composer *c,
                       bool *ret_any)
{
    const Model *m = s->model;
    bool has_rows = false, has_values = false;
    size_t at = first_place(s, table);
    for (const ScriptPart *p; (p = next_part(s, table, &at));) {
        has_rows |= is_rows(p);
        has_values |= toc_is(p->entry, "SEQUENCE SET");
    }
    if (has_rows && has_keys(s, table))
        TRY(composer_text(c, data_keys, strlen(data_keys)));
    at = first_place(s, table);
    for (const ScriptPart *p; (p = next_part(s, table, &at));) {
        if (is_rows(p)) {
            const ModelTable *t = &m->tables[m->table_of[p->index]];
            TRY(add_rows(c, &m->tables[table], p, places_only ? NULL : &t->rows_rope));
        } else if (toc_is(p->entry, "SEQUENCE SET")) {
            TRY(script_add_part(c, p, NULL, NULL));
        }
    }
    *ret_any = has_rows || has_values;
    return 0;
}

int table_extension_text(const ModelTable *t, Buf *out)
{
    TRY(buf_add_str(out, "-- Table "));
    TRY(add_table_name(out, t));
    TRY(buf_add_str(out, " is made by "));
    TRY(buf_add_str(out, t->extension ? "CREATE EXTENSION " : "an extension"));
    if (t->extension)
        TRY(add_name(out, t->extension));
    return buf_add_str(out,
                       ".\n-- This backup has those of its rows that the extension says are the"
                       " user's.\n");
}
