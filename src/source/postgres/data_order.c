#include "source/postgres/data_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

/* pg_dump --data-only sorts so: by schema and name, then from the back, always taking the last
 * table that nothing left refers to; circles are broken at their oldest table. We do the same, that
 * the scripts be the same. Tables are indices into the model, keys indices into the references. */
typedef struct Sorter {
    const Model *model;
    const ReferenceList *references;
    size_t *part_of;  /* for each table: the part with its rows, or MODEL_NONE */
    size_t *first;    /* for each table: its first key */
    size_t *to;       /* for each key: the table referred to; MODEL_NONE: does not count */
    size_t *blockers; /* for each table: keys of tables left that refer to it */
    size_t *heap, n_heap;
    size_t *out, n; /* tables in their order */
    /* Search for circles. */
    size_t *path, *next; /* tables on the way, and for each table the next key to follow */
    size_t *failed;      /* for each table: the start from which the search ended there, plus one */
    bool *processed, *on_path;
} Sorter;

static void sorter_release(Sorter *s)
{
    size_t **const arrays[] = {&s->part_of, &s->first, &s->to,   &s->blockers, &s->heap,
                               &s->out,     &s->path,  &s->next, &s->failed};
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        free(*arrays[i]);
    free(s->processed);
    free(s->on_path);
}

static bool is_key_of(const Sorter *s, size_t key, size_t table)
{
    return key < s->references->n && s->references->items[key].table == s->model->tables[table].oid;
}

static size_t first_key(const Sorter *s, uint32_t oid)
{
    size_t lo = 0, hi = s->references->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->references->items[mid].table < oid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int sorter_init(Sorter *s, const Model *m, const Script *script,
                       const ReferenceList *references)
{
    size_t room = m->n_tables + 1;
    size_t **const arrays[] = {&s->part_of, &s->first, &s->blockers, &s->heap,
                               &s->out,     &s->path,  &s->next,     &s->failed};
    s->model = m;
    s->references = references;
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        if (!(*arrays[i] = calloc(room, sizeof(size_t))))
            return -ENOMEM;
    s->to = calloc(references->n + 1, sizeof(size_t));
    s->processed = calloc(room, sizeof(bool));
    s->on_path = calloc(room, sizeof(bool));
    if (!s->to || !s->processed || !s->on_path)
        return -ENOMEM;

    for (size_t t = 0; t < m->n_tables; t++) {
        s->part_of[t] = MODEL_NONE;
        s->first[t] = first_key(s, m->tables[t].oid);
    }
    for (size_t i = 0; i < script->n; i++) {
        size_t t = m->table_of[script->parts[i].index];
        if (toc_is(script->parts[i].entry, "TABLE DATA") && t != MODEL_NONE)
            s->part_of[t] = i;
    }
    for (size_t k = 0; k < references->n; k++) {
        const ModelOid *from = model_find_oid(m, references->items[k].table);
        const ModelOid *to = model_find_oid(m, references->items[k].referenced);
        bool counts = from && to && s->part_of[from->table] != MODEL_NONE &&
                      s->part_of[to->table] != MODEL_NONE;
        s->to[k] = counts ? to->table : MODEL_NONE;
    }
    return 0;
}

static void heap_push(Sorter *s, size_t table)
{
    size_t i = s->n_heap++;
    for (; i > 0 && s->heap[(i - 1) / 2] < table; i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = table;
}

/* The largest. */
static size_t heap_pop(Sorter *s)
{
    size_t top = s->heap[0], last = s->heap[--s->n_heap], i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < s->n_heap && s->heap[child + 1] > s->heap[child])
            child++;
        if (child >= s->n_heap || s->heap[child] <= last)
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

/* Fill `out` from the back. False when circles leave tables over. */
static bool sort_once(Sorter *s)
{
    const Model *m = s->model;
    size_t all = 0;
    memset(s->blockers, 0, m->n_tables * sizeof(size_t));
    for (size_t k = 0; k < s->references->n; k++)
        if (s->to[k] != MODEL_NONE)
            s->blockers[s->to[k]]++;
    s->n_heap = 0;
    for (size_t t = 0; t < m->n_tables; t++) {
        if (s->part_of[t] == MODEL_NONE)
            continue;
        all++;
        if (s->blockers[t] == 0)
            heap_push(s, t);
    }
    s->n = all;
    while (s->n_heap > 0) {
        size_t t = heap_pop(s);
        s->out[--all] = t;
        for (size_t k = s->first[t]; is_key_of(s, k, t); k++)
            if (s->to[k] != MODEL_NONE && --s->blockers[s->to[k]] == 0)
                heap_push(s, s->to[k]);
    }
    return all == 0;
}

/* The key by which `table` refers to `to`, or MODEL_NONE. */
static size_t key_to(const Sorter *s, size_t table, size_t to)
{
    for (size_t k = s->first[table]; is_key_of(s, k, table); k++)
        if (s->to[k] == to)
            return k;
    return MODEL_NONE;
}

static void enter(Sorter *s, size_t table, size_t *depth)
{
    s->path[(*depth)++] = table;
    s->next[table] = s->first[table];
    s->on_path[table] = true;
}

/* A circle through `start`, as tables of `path`. Its length, 0 for none. */
static size_t find_circle(Sorter *s, size_t start)
{
    size_t depth = 0, found = 0;
    if (!s->processed[start])
        enter(s, start, &depth);
    while (depth > 0 && !found) {
        size_t t = s->path[depth - 1], k = s->next[t];
        if (k == s->first[t] && key_to(s, t, start) != MODEL_NONE) {
            found = depth;
        } else if (is_key_of(s, k, t)) {
            size_t to = s->to[k];
            s->next[t]++;
            if (to != MODEL_NONE && !s->processed[to] && s->failed[to] != start + 1 &&
                !s->on_path[to])
                enter(s, to, &depth);
        } else {
            s->failed[t] = start + 1;
            s->on_path[t] = false;
            depth--;
        }
    }
    for (size_t i = 0; i < depth; i++)
        s->on_path[s->path[i]] = false;
    return found;
}

/* Break every circle among what sort_once left over, oldest tables (by oid) first. */
static void break_circles(Sorter *s)
{
    memset(s->processed, 0, s->model->n_tables * sizeof(bool));
    memset(s->failed, 0, s->model->n_tables * sizeof(size_t));
    for (size_t i = 0; i < s->model->n_tables; i++) {
        size_t t = s->model->oids[i].table;
        if (s->part_of[t] == MODEL_NONE || s->blockers[t] == 0)
            continue;
        size_t n = find_circle(s, t);
        if (n > 0)
            for (size_t k; (k = key_to(s, t, s->path[n > 1 ? 1 : 0])) != MODEL_NONE;)
                s->to[k] = MODEL_NONE;
        for (size_t j = 0; j < n; j++)
            s->processed[s->path[j]] = true;
        s->processed[t] = true;
    }
}

int data_order(const Model *m, const Script *script, const ReferenceList *references,
               size_t **ret_parts, size_t *ret_n)
{
    _cleanup_(sorter_release) Sorter s = {0};
    TRY(sorter_init(&s, m, script, references));
    while (!sort_once(&s)) /* each round takes at least one key away */
        break_circles(&s);
    for (size_t i = 0; i < s.n; i++)
        s.out[i] = s.part_of[s.out[i]];
    *ret_parts = TAKE_PTR(s.out);
    *ret_n = s.n;
    return 0;
}
