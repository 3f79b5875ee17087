#include "source/postgres/partitions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/toc_index.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

void partitions_release(Partitions *p)
{
    if (!p)
        return;
    free(p->parent);
    free(p->has);
    free(p->owner);
    *p = (Partitions){0};
}

/* The table that the entry's `d`th dependency is a part of, or MODEL_NONE. */
static size_t table_of_dep(const Model *m, const TocIndex *ids, const TocEntry *t, size_t d)
{
    size_t index = toc_index_find(ids, t->deps[d]);
    return index != TOC_NONE ? m->table_of[index] : MODEL_NONE;
}

static bool is_called(const ModelTable *t, const TocEntry *entry)
{
    return entry->namespace && entry->tag && strcmp(t->schema, entry->namespace) == 0 &&
           strcmp(t->name, entry->tag) == 0;
}

/* An entry that attaches a partition bears its name, and depends on it and on its parent. */
static void attach_table(const Model *m, const TocIndex *ids, size_t index, Partitions *p)
{
    const TocEntry *t = &m->toc->entries[index];
    size_t child = MODEL_NONE, parent = MODEL_NONE;
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t table = table_of_dep(m, ids, t, d);
        if (table != MODEL_NONE)
            *(is_called(&m->tables[table], t) ? &child : &parent) = table;
    }
    if (child == MODEL_NONE || parent == MODEL_NONE ||
        partitions_is_below(p, parent, child)) /* would be a circle */
        return;
    p->parent[child] = parent;
    p->has[parent] = true;
    p->owner[index] = parent;
}

/* One that attaches an index depends on indexes of the partition, of its parent, and maybe of those
 * further up. */
static void attach_index(const Model *m, const TocIndex *ids, size_t index, Partitions *p)
{
    const TocEntry *t = &m->toc->entries[index];
    size_t lowest = MODEL_NONE;
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t table = table_of_dep(m, ids, t, d);
        if (table != MODEL_NONE && (lowest == MODEL_NONE || partitions_is_below(p, table, lowest)))
            lowest = table;
    }
    if (lowest != MODEL_NONE)
        p->owner[index] = p->parent[lowest];
}

int partitions_find(const Model *m, Partitions *ret_partitions)
{
    _cleanup_(toc_index_release) TocIndex ids = {0};
    _cleanup_(partitions_release) Partitions p = {
        .parent = calloc(m->n_tables + 1, sizeof(size_t)),
        .has = calloc(m->n_tables + 1, sizeof(bool)),
        .owner = calloc(m->toc->n + 1, sizeof(size_t)),
    };
    if (!p.parent || !p.has || !p.owner)
        return -ENOMEM;
    TRY(toc_index_make(m->toc, &ids));
    for (size_t t = 0; t < m->n_tables; t++)
        p.parent[t] = MODEL_NONE;
    memcpy(p.owner, m->table_of, m->toc->n * sizeof(size_t));
    for (size_t i = 0; i < m->toc->n; i++)
        if (toc_is(&m->toc->entries[i], "TABLE ATTACH"))
            attach_table(m, &ids, i, &p);
    for (size_t i = 0; i < m->toc->n; i++)
        if (toc_is(&m->toc->entries[i], "INDEX ATTACH"))
            attach_index(m, &ids, i, &p);
    *ret_partitions = p;
    p = (Partitions){0};
    return 0;
}

size_t partitions_root(const Partitions *p, size_t table)
{
    while (p->parent[table] != MODEL_NONE)
        table = p->parent[table];
    return table;
}

bool partitions_is_below(const Partitions *p, size_t table, size_t top)
{
    while (table != MODEL_NONE && table != top)
        table = p->parent[table];
    return table == top;
}
