/* Table scripts: schema.sql and data.sql of single tables, composed of the whole script's parts. */
#pragma once

#include "source/postgres/model.h"
#include "source/postgres/partitions.h"
#include "source/postgres/script.h"

/* Parts sorted out, in the order of printing: `parts[first[b]]` to `parts[first[b + 1]]` are those
 * of the bucket b. */
typedef struct Buckets {
    size_t *first, *parts; /* owned */
} Buckets;
void buckets_release(Buckets *b);

/* `of`: for each TOC entry its bucket of `n`, or MODEL_NONE. 0 or -ENOMEM. */
int buckets_make(const Script *s, const size_t *of, size_t n, Buckets *ret_buckets);

/* Append one part with its data. `rows` and `blob` are ropes, or NULL to mark the place only. */
int script_add_part(Composer *c, const ScriptPart *p, const Rope *rows, const Rope *blob);

typedef struct TableScripts {
    const Model *model; /* borrowed */
    const Script *script;
    Partitions partitions;
    Buckets by_root; /* by the table at the top of the tree of partitions, or the table itself */
} TableScripts;
void table_scripts_release(TableScripts *s); /* a zeroed one is allowed */
int table_scripts_make(const Model *m, const Script *script, TableScripts *ret_scripts);

/* Everything the table is made of, and its partitions, but not what it is itself attached to. */
int table_schema_compose(const TableScripts *s, size_t table, Composer *c);

/* The rows of the table and its partitions, whose ropes must be there unless `places_only`, and
 * sequences' values. `ret_any`: whether there is anything. */
int table_data_compose(const TableScripts *s, size_t table, bool places_only, Composer *c,
                       bool *ret_any);

/* The text of schema.sql for a table that an extension makes: it says so. */
int table_extension_text(const ModelTable *t, Buf *out);
