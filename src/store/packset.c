#include "store/packset.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define HASH_FUNCTION HASH_FNV /* the default one falls through its cases, which clang warns of */
#include <uthash.h>
#include <utlist.h>

#include "util/cleanup.h"

/* Open files and kept indexes (30 KiB each for full packs of 128 KiB objects) are bounded. */
#define MAX_OPEN    200
#define MAX_INDEXES 512

typedef struct Pack {
    ObjectId sha256;
    BackendFile *file; /* NULL until used */
    unsigned refs;     /* readers of `file` right now */
    PackIndex index;   /* when `has_index` */
    bool has_index;
    bool listed;                          /* seen by the refresh under way */
    struct Pack *open_prev, *open_next;   /* among those with a file */
    struct Pack *index_prev, *index_next; /* among those with an index */
    UT_hash_handle hh;
} Pack;

struct PackSet {
    Backend *backend;
    pthread_mutex_t lock; /* guards everything below */
    Pack *packs;
    uint64_t generation;
    Pack *open, *indexed; /* lists; used longest ago first */
    size_t n_open, n_indexes;
};

int packset_new(Backend *b, PackSet **ret_set, Error *e)
{
    PackSet *s = calloc(1, sizeof(*s));
    if (!s)
        return error_oom(e);
    s->backend = b;
    pthread_mutex_init(&s->lock, NULL);
    *ret_set = s;
    return 0;
}

static void close_pack(PackSet *s, Pack *p)
{
    if (p->file) {
        s->backend->ops->close(p->file);
        p->file = NULL;
        DL_DELETE2(s->open, p, open_prev, open_next);
        s->n_open--;
    }
}

static void drop_index(PackSet *s, Pack *p)
{
    if (p->has_index) {
        pack_index_release(&p->index);
        p->has_index = false;
        DL_DELETE2(s->indexed, p, index_prev, index_next);
        s->n_indexes--;
    }
}

static void forget(PackSet *s, Pack *p)
{
    HASH_DEL(s->packs, p);
    s->generation++;
    close_pack(s, p);
    drop_index(s, p);
    free(p);
}

void packset_free(PackSet *s)
{
    if (!s)
        return;
    Pack *p, *next;
    HASH_ITER (hh, s->packs, p, next)
        forget(s, p);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static Pack *find(PackSet *s, const ObjectId *sha256)
{
    Pack *p;
    HASH_FIND(hh, s->packs, sha256->b, ID_SIZE, p);
    return p;
}

static Pack *find_or_add(PackSet *s, const ObjectId *sha256)
{
    Pack *p = find(s, sha256);
    if (p)
        return p;
    p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->sha256 = *sha256;
    HASH_ADD(hh, s->packs, sha256.b, ID_SIZE, p);
    s->generation++;
    return p;
}

typedef struct Shards {
    PackSet *set;
    Error *error;
    const char *name; /* of the directory being listed: its packs' first two digits */
} Shards;

static int list_pack(void *ctx, const char *name)
{
    const Shards *shard = ctx;
    char hex[ID_HEX_SIZE];
    ObjectId sha256;
    if (strlen(name) != 64 + 5 || strcmp(name + 64, ".pack") != 0 ||
        strncmp(name, shard->name, 2) != 0)
        return 0;
    memcpy(hex, name, 64);
    hex[64] = 0;
    if (id_from_hex(hex, &sha256) < 0)
        return 0;
    Pack *p = find_or_add(shard->set, &sha256);
    if (!p)
        return -ENOMEM;
    p->listed = true;
    return 0;
}

static int list_shard(void *ctx, const char *name)
{
    Shards *x = ctx;
    char dir[16];
    if (strlen(name) != 2)
        return 0;
    snprintf(dir, sizeof(dir), "packs/%s", name);
    x->name = name;
    return x->set->backend->ops->list(x->set->backend, dir, list_pack, x, x->error);
}

int packset_refresh(PackSet *s, Error *e)
{
    pthread_mutex_lock(&s->lock);
    Pack *p, *next;
    HASH_ITER (hh, s->packs, p, next)
        p->listed = false;
    Shards shards = {.set = s, .error = e};
    int r = s->backend->ops->list(s->backend, "packs", list_shard, &shards, e);
    if (r == 0)
        HASH_ITER (hh, s->packs, p, next)
            if (!p->listed && p->refs == 0)
                forget(s, p);
    pthread_mutex_unlock(&s->lock);
    return r;
}

int packset_add(PackSet *s, const ObjectId *sha256, Error *e)
{
    pthread_mutex_lock(&s->lock);
    Pack *p = find_or_add(s, sha256);
    pthread_mutex_unlock(&s->lock);
    return p ? 0 : error_oom(e);
}

bool packset_has(PackSet *s, const ObjectId *sha256)
{
    pthread_mutex_lock(&s->lock);
    bool has = find(s, sha256) != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}

size_t packset_count(PackSet *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = HASH_COUNT(s->packs);
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t packset_generation(PackSet *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t generation = s->generation;
    pthread_mutex_unlock(&s->lock);
    return generation;
}

int packset_names(PackSet *s, ObjectId **ret_names, size_t *ret_n)
{
    pthread_mutex_lock(&s->lock);
    size_t n = 0;
    ObjectId *names = calloc(HASH_COUNT(s->packs) + 1, sizeof(*names));
    Pack *p, *next;
    if (names)
        HASH_ITER (hh, s->packs, p, next)
            names[n++] = p->sha256;
    pthread_mutex_unlock(&s->lock);
    if (!names)
        return -ENOMEM;
    *ret_names = names;
    *ret_n = n;
    return 0;
}

/* Close the pack unused for longest when too many are open. */
static void bound_open(PackSet *s)
{
    Pack *p = s->open;
    if (s->n_open < MAX_OPEN)
        return;
    while (p && p->refs > 0)
        p = p->open_next;
    if (p)
        close_pack(s, p);
}

/* Take the pack's open file; give it back with put_file. */
static int take_file(PackSet *s, const ObjectId *sha256, Pack **ret_pack, Error *e)
{
    int r = 0;
    pthread_mutex_lock(&s->lock);
    Pack *p = find(s, sha256);
    if (!p) {
        char name[PACK_NAME_SIZE];
        pack_name(sha256, name);
        r = error_set(e, ENOENT, "%s is missing", name);
    } else if (!p->file) {
        char name[PACK_NAME_SIZE];
        pack_name(sha256, name);
        bound_open(s);
        r = s->backend->ops->open(s->backend, name, &p->file, e);
        if (r == 0) {
            DL_APPEND2(s->open, p, open_prev, open_next);
            s->n_open++;
        }
    }
    if (r == 0) {
        DL_DELETE2(s->open, p, open_prev, open_next);
        DL_APPEND2(s->open, p, open_prev, open_next);
        p->refs++;
        *ret_pack = p;
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

static void put_file(PackSet *s, Pack *p)
{
    pthread_mutex_lock(&s->lock);
    p->refs--;
    pthread_mutex_unlock(&s->lock);
}

int packset_read(PackSet *s, const ObjectId *sha256, uint64_t offset, void *data, size_t len,
                 Error *e)
{
    Pack *p;
    int r = take_file(s, sha256, &p, e);
    if (r < 0)
        return r;
    r = s->backend->ops->read(p->file, offset, data, len, e);
    put_file(s, p);
    return r;
}

int packset_load_index(PackSet *s, const ObjectId *sha256, PackIndex *ret_index, uint64_t *ret_size,
                       Error *e)
{
    Pack *p;
    int r = take_file(s, sha256, &p, e);
    if (r < 0)
        return r;
    if (ret_size)
        *ret_size = s->backend->ops->size(p->file);
    r = pack_read_index(s->backend, p->file, ret_index, e);
    if (r == -EBADMSG)
        r = pack_scan(s->backend, p->file, ret_index, NULL, e);
    put_file(s, p);
    return r;
}

static void keep_index(PackSet *s, Pack *p, const PackIndex *x)
{
    if (s->n_indexes >= MAX_INDEXES)
        drop_index(s, s->indexed);
    p->index = *x;
    p->has_index = true;
    DL_APPEND2(s->indexed, p, index_prev, index_next);
    s->n_indexes++;
}

/* The index's entry at `offset`, if that is the object `id`. */
static const PackEntry *find_entry(const PackIndex *x, uint32_t offset, const ObjectId *id)
{
    size_t lo = 0, hi = x->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (x->entries[mid].offset < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    bool found =
        lo < x->n && x->entries[lo].offset == offset && id_compare(&x->entries[lo].id, id) == 0;
    return found ? &x->entries[lo] : NULL;
}

static int answer(const PackIndex *x, uint32_t offset, const ObjectId *id, PackEntry *ret_entry,
                  ObjectId *ret_base)
{
    const PackEntry *entry = find_entry(x, offset, id);
    if (!entry)
        return -ENOENT;
    *ret_entry = *entry;
    if (entry->encoding == ENCODING_DELTA)
        *ret_base = x->bases[entry->base];
    return 0;
}

int packset_describe(PackSet *s, const ObjectId *sha256, uint32_t offset, const ObjectId *id,
                     PackEntry *ret_entry, ObjectId *ret_base)
{
    int r = -ENOENT;
    pthread_mutex_lock(&s->lock);
    Pack *p = find(s, sha256);
    bool known = p && p->has_index;
    if (known) {
        r = answer(&p->index, offset, id, ret_entry, ret_base);
        DL_DELETE2(s->indexed, p, index_prev, index_next);
        DL_APPEND2(s->indexed, p, index_prev, index_next);
    }
    pthread_mutex_unlock(&s->lock);
    if (known)
        return r;

    _cleanup_(pack_index_release) PackIndex x = {0};
    r = packset_load_index(s, sha256, &x, NULL, NULL);
    if (r < 0)
        return r;
    r = answer(&x, offset, id, ret_entry, ret_base);
    pthread_mutex_lock(&s->lock);
    p = find(s, sha256);
    if (p && !p->has_index) {
        keep_index(s, p, &x);
        x = (PackIndex){0};
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}
