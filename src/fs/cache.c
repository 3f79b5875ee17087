#include "fs/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "util/buf.h"

#define SHARDS_MAX      16u
#define SHARD_BYTES_MIN (8u << 20) /* below, one large object would push out all others */
#define BUCKETS_MIN     64u
#define BUCKET_BYTES    (32u << 10) /* bytes of cache a bucket stands for: a typical object */

/* Bytes of objects that were passed by: at most so many, and so large a part of the cache. Enough
 * for a second reader that follows close behind, as diff's does, and small enough for the memory
 * to be used again while it is still in the processor's caches: fresh memory costs as much as
 * decompressing into it. */
#define PASSED_MAX   (16u << 20)
#define PASSED_SHARE 4u

/* One object, loaded or being loaded. `refs` counts the table's hold and every get that waits;
 * guarded by the shard's lock. */
typedef struct Entry {
    ObjectId id;
    struct Entry *chain;         /* next in the bucket */
    struct List *list;           /* where it is, once loaded */
    struct Entry *newer, *older; /* in that list */
    Object *object;              /* NULL until loaded, and when the load failed */
    uint64_t charge;
    unsigned refs;
    bool loading;
    Error error; /* why the load failed */
} Entry;

/* In the order of their last use. */
typedef struct List {
    Entry *newest, *oldest;
    uint64_t bytes, limit;
} List;

typedef struct Shard {
    pthread_mutex_t lock;
    pthread_cond_t loaded; /* some load of this shard has ended */
    Entry **buckets;
    size_t n_buckets;  /* a power of two */
    List kept, passed; /* kept.limit is that of both together */
    CacheStats stats;
} Shard;

/* What somebody who gets an object wants of the cache. */
typedef enum Use {
    USE_KEEPING,
    USE_PASSING,
    USE_AHEAD,
    USE_END,
} Use;

/* The cache as a source. */
typedef struct View {
    ObjectSource source; /* first: a source pointer is a view pointer */
    Cache *cache;
    Use use;
} View;

struct Cache {
    View views[USE_END];
    ObjectSource *below;
    unsigned n_shards; /* a power of two */
    Shard shards[SHARDS_MAX];
};

static void entry_unref(Entry *e)
{
    if (--e->refs > 0)
        return;
    object_unref(e->object);
    error_release(&e->error);
    free(e);
}

static Entry **bucket_of(Shard *s, const ObjectId *id)
{
    return &s->buckets[load_u64(id->b) & (s->n_buckets - 1)];
}

static Entry *find(Shard *s, const ObjectId *id)
{
    for (Entry *e = *bucket_of(s, id); e; e = e->chain)
        if (id_compare(&e->id, id) == 0)
            return e;
    return NULL;
}

static void table_remove(Shard *s, Entry *e)
{
    Entry **p = bucket_of(s, &e->id);
    while (*p != e)
        p = &(*p)->chain;
    *p = e->chain;
    s->stats.bytes -= e->charge;
}

static void list_remove(Entry *e)
{
    List *l = e->list;
    *(e->newer ? &e->newer->older : &l->newest) = e->older;
    *(e->older ? &e->older->newer : &l->oldest) = e->newer;
    e->newer = e->older = NULL;
    e->list = NULL;
    l->bytes -= e->charge;
}

static void list_add(List *l, Entry *e)
{
    e->older = l->newest;
    *(l->newest ? &l->newest->newer : &l->oldest) = e;
    l->newest = e;
    e->list = l;
    l->bytes += e->charge;
}

/* What is to go next, or NULL. */
static Entry *surplus(const Shard *s)
{
    bool is_over = s->stats.bytes > s->kept.limit;
    if (s->passed.oldest && (is_over || s->passed.bytes > s->passed.limit))
        return s->passed.oldest;
    return is_over ? s->kept.oldest : NULL;
}

/* Take out what was used longest ago until the shard keeps its limits; returns it as a chain, to be
 * freed without the lock. Loads under way stay. */
static Entry *shrink(Shard *s)
{
    Entry *out = NULL;
    for (Entry *e; (e = surplus(s));) {
        list_remove(e);
        table_remove(s, e);
        s->stats.objects--;
        if (e->refs > 1) { /* a waiter has yet to wake: it frees the entry */
            e->refs--;
            continue;
        }
        e->chain = out;
        out = e;
    }
    return out;
}

static void free_chain(Entry *e)
{
    while (e) {
        Entry *next = e->chain;
        entry_unref(e);
        e = next;
    }
}

/* The answer of a loaded or failed entry. With the shard's lock. */
static int answer(Entry *entry, Object **ret_object, Error *e)
{
    if (entry->object) {
        *ret_object = object_ref(entry->object);
        return 0;
    }
    int r = error_set(e, entry->error.errnum, "%s",
                      entry->error.message ? entry->error.message : "out of memory");
    if (entry->error.hint)
        error_hint(e, "%s", entry->error.hint);
    return r;
}

static List *list_for(Shard *s, Use use)
{
    return use == USE_PASSING ? &s->passed : &s->kept;
}

/* A reader that uses `use` came by. With the shard's lock. */
static void touch(Shard *s, Entry *entry, Use use)
{
    if (!entry->list || use == USE_AHEAD) /* no list: it failed, or had to go meanwhile */
        return;
    list_remove(entry);
    list_add(list_for(s, use), entry);
}

static int wait_for(Shard *s, Entry *entry, Use use, Object **ret_object, Error *e)
{
    s->stats.waits++;
    entry->refs++;
    while (entry->loading)
        pthread_cond_wait(&s->loaded, &s->lock);
    touch(s, entry, use);
    int r = answer(entry, ret_object, e);
    entry_unref(entry);
    return r;
}

/* Enter `id` as being loaded. With the shard's lock. NULL when out of memory. */
static Entry *start_load(Shard *s, const ObjectId *id)
{
    Entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    entry->id = *id;
    entry->loading = true;
    entry->refs = 2; /* the table's and the loader's */
    entry->charge = OBJECT_MAX + sizeof(*entry);
    Entry **bucket = bucket_of(s, id);
    entry->chain = *bucket;
    *bucket = entry;
    s->stats.bytes += entry->charge;
    s->stats.loads++;
    return entry;
}

/* With the shard's lock. `error` moves into the entry. */
static void end_load(Shard *s, Entry *entry, Use use, int r, Object *object, Error *error)
{
    entry->loading = false;
    if (r < 0) {
        error->errnum = r == -ENOENT ? ESTALE : -r; /* the source's word, not its error's, counts */
        error_move(&entry->error, error);
        table_remove(s, entry);
        s->stats.failures++;
        entry->refs--; /* the table's; the loader holds another */
    } else {
        entry->object = object;
        s->stats.bytes -= entry->charge;
        entry->charge = object->len + sizeof(*object) + sizeof(*entry);
        s->stats.bytes += entry->charge;
        s->stats.objects++;
        list_add(list_for(s, use), entry);
    }
    pthread_cond_broadcast(&s->loaded);
}

static Shard *shard_of(Cache *c, const ObjectId *id)
{
    /* The last bytes choose the shard, the first ones the bucket. */
    return &c->shards[id->b[ID_SIZE - 1] & (c->n_shards - 1)];
}

static int get(Cache *c, const ObjectId *id, Use use, Object **ret_object, Error *e)
{
    Shard *s = shard_of(c, id);
    pthread_mutex_lock(&s->lock);
    Entry *entry = find(s, id);
    if (entry) {
        int r;
        if (entry->loading) {
            r = wait_for(s, entry, use, ret_object, e);
        } else {
            s->stats.hits++;
            touch(s, entry, use);
            r = answer(entry, ret_object, e);
        }
        Entry *out = shrink(s);
        pthread_mutex_unlock(&s->lock);
        free_chain(out);
        return r;
    }
    entry = start_load(s, id);
    Entry *out = shrink(s);
    pthread_mutex_unlock(&s->lock);
    free_chain(out);
    if (!entry)
        return error_oom(e);

    Error error = ERROR_INIT;
    Object *object = NULL;
    int r = object_get(c->below, id, &object, &error);

    pthread_mutex_lock(&s->lock);
    end_load(s, entry, use, r, object, &error);
    r = answer(entry, ret_object, e);
    out = shrink(s);
    entry_unref(entry);
    pthread_mutex_unlock(&s->lock);
    free_chain(out);
    return r;
}

static int source_get(ObjectSource *source, const ObjectId *id, Object **ret_object, Error *e)
{
    const View *v = (const View *)source;
    return get(v->cache, id, v->use, ret_object, e);
}

int cache_new(ObjectSource *below, uint64_t limit, Cache **ret_cache)
{
    Cache *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    for (Use use = 0; use < USE_END; use++)
        c->views[use] = (View){.source.get = source_get, .cache = c, .use = use};
    c->below = below;
    c->n_shards = 1;
    while (c->n_shards < SHARDS_MAX && limit / (c->n_shards * 2) >= SHARD_BYTES_MIN)
        c->n_shards *= 2;
    size_t n_buckets = BUCKETS_MIN;
    while (n_buckets < limit / c->n_shards / BUCKET_BYTES && n_buckets < SIZE_MAX / 64)
        n_buckets *= 2;

    for (unsigned i = 0; i < c->n_shards; i++) {
        Shard *s = &c->shards[i];
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->loaded, NULL);
        uint64_t passed = limit / PASSED_SHARE;
        s->kept.limit = limit / c->n_shards;
        s->passed.limit = (passed < PASSED_MAX ? passed : PASSED_MAX) / c->n_shards;
        s->n_buckets = n_buckets;
        s->buckets = calloc(n_buckets, sizeof(*s->buckets));
        if (!s->buckets) {
            c->n_shards = i + 1;
            cache_free(c);
            return -ENOMEM;
        }
    }
    *ret_cache = c;
    return 0;
}

void cache_free(Cache *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->n_shards; i++) {
        Shard *s = &c->shards[i];
        s->kept.limit = 0;
        free_chain(shrink(s));
        free(s->buckets);
        pthread_cond_destroy(&s->loaded);
        pthread_mutex_destroy(&s->lock);
    }
    free(c);
}

ObjectSource *cache_objects(Cache *c)
{
    return &c->views[USE_KEEPING].source;
}

ObjectSource *cache_passing(Cache *c)
{
    return &c->views[USE_PASSING].source;
}

ObjectSource *cache_ahead(Cache *c)
{
    return &c->views[USE_AHEAD].source;
}

void cache_stats(Cache *c, CacheStats *ret_stats)
{
    CacheStats sum = {0};
    for (unsigned i = 0; i < c->n_shards; i++) {
        Shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        sum.hits += s->stats.hits;
        sum.loads += s->stats.loads;
        sum.waits += s->stats.waits;
        sum.failures += s->stats.failures;
        sum.bytes += s->stats.bytes;
        sum.objects += s->stats.objects;
        pthread_mutex_unlock(&s->lock);
    }
    *ret_stats = sum;
}
