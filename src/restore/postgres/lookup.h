/* Lookup: entries of an archive by what they are called, to tell which objects of the target they
 * are. */
#pragma once

#include "source/postgres/archive.h"

typedef struct Lookup {
    size_t n;
    const TocEntry **entries; /* sorted by schema and name; the array is owned */
} Lookup;

void lookup_release(Lookup *l);

/* Of the entries of `a`, which must outlive it, those of `kinds` (NULL-terminated) and, where
 * `chosen` is not NULL, for which that is true. */
int lookup_make(const Archive *a, const bool *chosen, const char *const *kinds, Lookup *ret_lookup,
                Error *e);

/* The entry, or NULL. Objects without a schema have "". */
const TocEntry *lookup_find(const Lookup *l, const char *schema, const char *name);
