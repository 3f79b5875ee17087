#include "source/postgres/data_order.h"

#include <errno.h>
#include <stdlib.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

/* A depth-first walk with a stack of its own: chains may be as long as there are tables. */
typedef struct Walk {
    const Model *model;
    const ReferenceList *references;
    size_t *part_of; /* for each table: the part with its rows, or MODEL_NONE */
    size_t *next;    /* for each table: the next reference to look at; MODEL_NONE: not met yet */
    size_t *stack;   /* tables being visited */
    size_t *out, n;
} Walk;

static void walk_release(Walk *w)
{
    free(w->part_of);
    free(w->next);
    free(w->stack);
    free(w->out);
}

static size_t first_reference(const Walk *w, uint32_t oid)
{
    size_t lo = 0, hi = w->references->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->references->items[mid].table < oid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t table_by_oid(const Walk *w, uint32_t oid)
{
    const ModelOid *found = model_find_oid(w->model, oid);
    return found ? found->table : MODEL_NONE;
}

/* Put out a table after all it refers to. */
static void visit(Walk *w, size_t table)
{
    size_t depth = 0;
    if (w->next[table] != MODEL_NONE)
        return;
    w->next[table] = first_reference(w, w->model->tables[table].oid);
    w->stack[depth++] = table;
    while (depth > 0) {
        size_t t = w->stack[depth - 1], r = w->next[t];
        if (r < w->references->n && w->references->items[r].table == w->model->tables[t].oid) {
            w->next[t]++;
            size_t to = table_by_oid(w, w->references->items[r].referenced);
            if (to == MODEL_NONE || w->next[to] != MODEL_NONE)
                continue;
            w->next[to] = first_reference(w, w->model->tables[to].oid);
            w->stack[depth++] = to;
        } else {
            depth--;
            if (w->part_of[t] != MODEL_NONE)
                w->out[w->n++] = w->part_of[t];
        }
    }
}

int data_order(const Model *m, const Script *s, const ReferenceList *references, size_t **ret_parts,
               size_t *ret_n)
{
    size_t room = m->n_tables + 1;
    _cleanup_(walk_release) Walk w = {.model = m,
                                      .references = references,
                                      .part_of = calloc(room, sizeof(size_t)),
                                      .next = calloc(room, sizeof(size_t)),
                                      .stack = calloc(room, sizeof(size_t)),
                                      .out = calloc(room, sizeof(size_t))};
    if (!w.part_of || !w.next || !w.stack || !w.out)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_tables; i++)
        w.part_of[i] = w.next[i] = MODEL_NONE;
    for (size_t i = 0; i < s->n; i++)
        if (toc_is(s->parts[i].entry, "TABLE DATA") && m->table_of[s->parts[i].index] != MODEL_NONE)
            w.part_of[m->table_of[s->parts[i].index]] = i;
    for (size_t i = 0; i < s->n; i++) {
        size_t t = m->table_of[s->parts[i].index];
        if (t != MODEL_NONE && w.part_of[t] == i)
            visit(&w, t);
    }
    *ret_parts = TAKE_PTR(w.out);
    *ret_n = w.n;
    return 0;
}
