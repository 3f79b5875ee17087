/* Partitions: which table is a partition of which. */
#pragma once

#include "source/postgres/model.h"

typedef struct Partitions {
    size_t *parent; /* for each table: the one it is a partition of, or MODEL_NONE; owned */
    bool *has;      /* for each table: whether it has partitions; owned */
    /* For each TOC entry: the table it is a part of, as Model.table_of, or the parent where it
     * attaches a partition or a partition's index; else MODEL_NONE. Owned. */
    size_t *owner;
} Partitions;

void partitions_release(Partitions *p); /* NULL is allowed */

/* Read it from the TOC, where attaching is an entry of its own. 0 or -ENOMEM. */
int partitions_find(const Model *m, Partitions *ret_partitions);

/* The table at the top of the tree of partitions that `table` stands in. */
size_t partitions_root(const Partitions *p, size_t table);

/* Whether `table` is `top` or a partition of it at any level. */
bool partitions_is_below(const Partitions *p, size_t table, size_t top);
