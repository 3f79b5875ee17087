#include "restore/postgres/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "restore/postgres/owners.h"

void lookup_release(Lookup *l)
{
    free(l->entries);
    *l = (Lookup){0};
}

static int compare(const TocEntry *t, const char *schema, const char *name)
{
    int r = strcmp(t->namespace ? t->namespace : "", schema);
    return r ? r : strcmp(t->tag, name);
}

static int compare_entries(const void *x, const void *y)
{
    const TocEntry *const *a = x, *const *b = y;
    return compare(*a, (*b)->namespace ? (*b)->namespace : "", (*b)->tag);
}

int lookup_make(const Archive *a, const bool *chosen, const char *const *kinds, Lookup *ret_lookup,
                Error *e)
{
    Lookup l = {.entries = calloc(a->n + 1, sizeof(*l.entries))};
    if (!l.entries)
        return error_oom(e);
    for (size_t i = 0; i < a->n; i++)
        if ((!chosen || chosen[i]) && a->entries[i].tag && toc_is_any(&a->entries[i], kinds))
            l.entries[l.n++] = &a->entries[i];
    if (l.n)
        qsort(l.entries, l.n, sizeof(*l.entries), compare_entries);
    *ret_lookup = l;
    return 0;
}

const TocEntry *lookup_find(const Lookup *l, const char *schema, const char *name)
{
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int r = compare(l->entries[mid], schema, name);
        if (r == 0)
            return l->entries[mid];
        if (r > 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}
