/* TOC index: finds the entries of a TOC by their dump ids. */
#pragma once

#include "source/postgres/archive.h"

#define TOC_NONE SIZE_MAX

typedef struct TocIndex {
    size_t n;
    struct TocIndexItem {
        int32_t dump_id;
        size_t index; /* in the TOC */
    } * items;        /* sorted, owned */
} TocIndex;

void toc_index_release(TocIndex *x);                       /* a zeroed one is allowed */
int toc_index_make(const Archive *a, TocIndex *ret_index); /* 0 or -ENOMEM */

/* The place in the TOC, or TOC_NONE. */
size_t toc_index_find(const TocIndex *x, int32_t dump_id);
