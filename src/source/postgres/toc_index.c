#include "source/postgres/toc_index.h"

#include <errno.h>
#include <stdlib.h>

void toc_index_release(TocIndex *x)
{
    free(x->items);
    *x = (TocIndex){0};
}

static int compare(const void *x, const void *y)
{
    const struct TocIndexItem *a = x, *b = y;
    return a->dump_id < b->dump_id ? -1 : a->dump_id > b->dump_id;
}

int toc_index_make(const Archive *a, TocIndex *ret_index)
{
    TocIndex x = {.n = a->n, .items = calloc(a->n + 1, sizeof(*x.items))};
    if (!x.items)
        return -ENOMEM;
    for (size_t i = 0; i < a->n; i++)
        x.items[i] = (struct TocIndexItem){a->entries[i].dump_id, i};
    qsort(x.items, x.n, sizeof(*x.items), compare);
    *ret_index = x;
    return 0;
}

size_t toc_index_find(const TocIndex *x, int32_t dump_id)
{
    const struct TocIndexItem key = {.dump_id = dump_id};
    const struct TocIndexItem *found = bsearch(&key, x->items, x->n, sizeof(key), compare);
    return found ? found->index : TOC_NONE;
}
