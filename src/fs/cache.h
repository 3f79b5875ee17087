/* Cache: objects kept in memory above a slower ObjectSource, bounded in bytes. Sharded, least
 * recently used first out; however many threads want an object, one loads it. Thread-safe. */
#pragma once

#include <stdint.h>

#include "store/object.h"

typedef struct Cache Cache;

typedef struct CacheStats {
    uint64_t hits;
    uint64_t loads;    /* objects asked of the source below */
    uint64_t waits;    /* gets that waited for another thread's load */
    uint64_t failures; /* loads that failed; they are not remembered */
    uint64_t bytes;    /* in use now, loads under way and book-keeping included */
    uint64_t objects;  /* held now */
} CacheStats;

/* A cache of `limit` bytes above `below`, which must outlive it. A load under way counts as
 * OBJECT_MAX bytes. Objects that are still referred to after they left the cache don't count.
 * 0 or -ENOMEM. */
int cache_new(ObjectSource *below, uint64_t limit, Cache **ret_cache);

/* No get may be under way. NULL is allowed. */
void cache_free(Cache *c);

/* The cache as a source. Errors are those of the source below, but for -ENOENT (an object that no
 * pack holds), which becomes -ESTALE: above a cache -ENOENT means that there is no such name. */
ObjectSource *cache_objects(Cache *c);

/* The same cache for a reader that passes by and is not expected back: what it gets is kept for a
 * short while, until a get through cache_objects. */
ObjectSource *cache_passing(Cache *c);

/* The same cache for loading what a reader is about to want: what is there stays as it is. */
ObjectSource *cache_ahead(Cache *c);

void cache_stats(Cache *c, CacheStats *ret_stats);
