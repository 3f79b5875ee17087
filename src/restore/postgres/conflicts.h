/* Conflicts: what --overwrite finds in the target that the backup does not hold, and that would go
 * with what is replaced, or keeps it from being dropped. */
#pragma once

#include "restore/postgres/plan.h"

/* Before anything is dropped, in its transaction: refuse where partitions that are not restored
 * would be dropped with their table, or where tables that are not restored refer to one that is. */
int conflicts_check_drops(const Plan *p, Session *s, Error *e);

/* Before tables are emptied, in that transaction: refuse where partitions hold rows that are not
 * restored, while those of the other partitions would be replaced. */
int conflicts_check_rows(const Plan *p, Session *s, Error *e);

/* The partitioned tables that are restored and have foreign keys, as a list for a command. */
int conflicts_keyed(const Plan *p, Session *s, Buf *out, Error *e);

/* Of the plan's entries those that the target's table has from its parent: a partition's index,
 * key or trigger can't be dropped alone. An array of toc.n that the caller frees. */
int conflicts_inherited(const Plan *p, Session *s, bool **ret_inherited, Error *e);
