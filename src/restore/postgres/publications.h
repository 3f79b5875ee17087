/* Publications: a table that is dropped and restored, or a publication, loses what was said of the
 * other: remembered before, and put back after. */
#pragma once

#include "restore/postgres/plan.h"

typedef struct Publications {
    size_t n;
    char **commands; /* ALTER PUBLICATION ... ADD ...; owned */
} Publications;

void publications_release(Publications *p);

/* Before anything is dropped, in its transaction: which of the plan's tables and schemas are in
 * publications that are not restored, and which others in those that are. */
int publications_remember(const Plan *plan, Session *s, Publications *ret, Error *e);

/* Put them back, in a transaction, and forget them. What the server refuses is noted in `result`.
 */
int publications_put_back(Publications *p, Session *s, RestoreResult *result, Error *e);

/* After the failure `e` of a restore that dropped something for good: say what was not put back. */
void publications_tell(Publications *p, Error *e);
