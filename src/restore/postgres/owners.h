/* Owners: which entries of an archive are parts of which table. */
#pragma once

#include "source/postgres/archive.h"

#define OWNER_NONE SIZE_MAX

/* Entries by dump id. */
typedef struct DumpIds {
    int32_t max;
    size_t *index; /* owned */
} DumpIds;

/* -EBADMSG when the ids are absurd. */
int dump_ids_make(const Archive *a, DumpIds *ret_ids, Error *e);
void dump_ids_release(DumpIds *ids);
/* The entry's index, or OWNER_NONE. */
size_t dump_ids_find(const DumpIds *ids, int32_t id);

/* For each entry of `a` the index of the table, view or sequence it is a part of (itself for
 * those, a table's sequences excepted), OWNER_NONE for others; an array that the caller frees. */
int owners_find(const Archive *a, const DumpIds *ids, size_t **ret_owners, Error *e);

/* Whether the entry is one of `kinds`, a NULL-terminated list. */
bool toc_is_any(const TocEntry *t, const char *const *kinds);

/* Whether `t` attaches the index that `i` defines, perhaps as a constraint's, to a parent's. */
bool toc_attaches(const TocEntry *t, const TocEntry *i);
