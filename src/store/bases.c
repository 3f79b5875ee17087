#include "store/bases.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_private.h"
#include "util/cleanup.h"

/* Revisions are grouped by sixteen. Within a group a delta's base is the revision whose number has
 * the lowest set bit cleared, as in skip lists, so that four steps lead to the group's first; that
 * one's base is the first of the group before. A base is so at most 16 revisions away, 3 on
 * average, and a chain of depth 8 lasts at least 64 revisions. */
#define GROUP 16
/* From this age on a chunk is stored whole by chance, so that not all of a table's chunks reach the
 * end of their chains together: 1 in 24 a backup, below the 1/16 a backup may store anew. */
#define REROOT_AGE    24
#define REROOT_ONE_IN 24
/* A delta is kept when it is at most this part of what the chunk takes whole, as a fraction. */
#define PAYS(delta, whole) ((delta) < (whole) / 8 * 7)
/* A guess by position is given up after so many more failures than successes. */
#define GUESS_CREDIT 8

typedef struct Base {
    ObjectId id;
    uint64_t offset;
    Sketch sketch;
    uint64_t head;
    uint32_t next[SKETCH_FEATURES]; /* chains of equal features, 1 + position; 0 ends */
} Base;

struct Bases {
    Store *store;
    Base *list;
    size_t n, cap;
    uint32_t *heads[SKETCH_FEATURES]; /* by feature; built at the first choice */
    size_t n_heads;                   /* a power of two */
    pthread_mutex_t lock;             /* guards building, and `whole_ratio` */
    bool built;
    double whole_ratio; /* what chunks of this file are compressed to when stored whole */
    Marks marks;
    atomic_int guess_credit;
};

int bases_new(Store *s, Bases **ret_bases)
{
    Bases *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->store = s;
    b->whole_ratio = 0.4;
    pthread_mutex_init(&b->lock, NULL);
    atomic_init(&b->guess_credit, GUESS_CREDIT);
    *ret_bases = b;
    return 0;
}

void bases_free(Bases *b)
{
    if (!b)
        return;
    free(b->list);
    marks_release(&b->marks);
    for (int i = 0; i < SKETCH_FEATURES; i++)
        free(b->heads[i]);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int bases_add(Bases *b, const ObjectId *id, uint64_t offset)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        Base *list = reallocarray(b->list, cap, sizeof(*list));
        if (!list)
            return -ENOMEM;
        b->list = list;
        b->cap = cap;
    }
    b->list[b->n++] = (Base){.id = *id, .offset = offset};
    return 0;
}

/* Look the chunks up in the packs' indexes and sort them by feature. */
static bool build(Bases *b)
{
    size_t n_heads = 64;
    while (n_heads < b->n)
        n_heads *= 2;
    for (int i = 0; i < SKETCH_FEATURES; i++)
        if (!(b->heads[i] = calloc(n_heads, sizeof(*b->heads[i]))))
            return false;
    b->n_heads = n_heads;
    uint64_t whole = 0, stored = 0;
    for (size_t k = 0; k < b->n; k++) {
        Base *x = &b->list[k];
        PackEntry entry;
        ObjectId base;
        if (store_describe(b->store, &x->id, &entry, &base) < 0)
            continue;
        x->head = entry.head;
        if (entry.encoding != ENCODING_DELTA) {
            whole += entry.plain_len;
            stored += entry.stored_len;
        }
        if (sketch_is_empty(&entry.sketch))
            continue;
        x->sketch = entry.sketch;
        for (int i = 0; i < SKETCH_FEATURES; i++) {
            uint32_t *head = &b->heads[i][x->sketch.feature[i] & (n_heads - 1)];
            x->next[i] = *head;
            *head = (uint32_t)k + 1;
        }
    }
    if (whole)
        b->whole_ratio = (double)stored / (double)whole;
    return true;
}

static bool ensure_built(Bases *b)
{
    pthread_mutex_lock(&b->lock);
    if (!b->built) {
        b->built = true;
        if (!build(b))
            b->n = 0; /* no memory for it: everything is stored whole */
    }
    bool any = b->n > 0;
    pthread_mutex_unlock(&b->lock);
    return any;
}

const Marks *bases_marks(Bases *b)
{
    if (!ensure_built(b))
        return &b->marks;
    for (size_t i = 0; i < b->n; i++)
        if (marks_add(&b->marks, b->list[i].head, b->list[i].offset) < 0) {
            marks_release(&b->marks); /* an empty set is always right */
            break;
        }
    return &b->marks;
}

static uint64_t distance(const Base *x, uint64_t offset)
{
    return x->offset > offset ? x->offset - offset : offset - x->offset;
}

static int shared_features(const Sketch *x, const Sketch *y)
{
    int n = 0;
    for (int i = 0; i < SKETCH_FEATURES; i++)
        n += x->feature[i] == y->feature[i];
    return n;
}

/* The chunk that shares most features, the nearest among equals. */
static const Base *find_similar(const Bases *b, const Sketch *sketch, uint64_t offset)
{
    const Base *best = NULL;
    int best_shared = 0, looked = 0;
    for (int i = 0; i < SKETCH_FEATURES; i++) {
        uint32_t k = b->heads[i][sketch->feature[i] & (b->n_heads - 1)];
        for (; k && looked < 256; k = b->list[k - 1].next[i], looked++) {
            const Base *x = &b->list[k - 1];
            int shared = shared_features(&x->sketch, sketch);
            if (shared > best_shared ||
                (shared && shared == best_shared && distance(x, offset) < distance(best, offset))) {
                best = x;
                best_shared = shared;
            }
        }
    }
    return best;
}

/* The chunk that began alike: what follows may have changed in every row. */
static const Base *find_head(const Bases *b, uint64_t head)
{
    size_t i = marks_find(&b->marks, head);
    return i == MARKS_NONE ? NULL : &b->list[i];
}

static const Base *find_at(const Bases *b, uint64_t offset)
{
    size_t lo = 0, hi = b->n;
    while (lo < hi) { /* the first that begins after `offset` */
        size_t mid = lo + (hi - lo) / 2;
        if (b->list[mid].offset <= offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? &b->list[lo - 1] : &b->list[0];
}

/* From the previous revision go back to the one that the skip scheme wants. */
static bool choose_revision(Bases *b, const ObjectId *previous, const ObjectId *id,
                            BaseChoice *ret_choice)
{
    PackEntry entry;
    ObjectId at = *previous, base;
    if (store_describe(b->store, &at, &entry, &base) < 0)
        return false;
    unsigned age = entry.age + 1u;
    if (age > UINT8_MAX || (age >= REROOT_AGE && load_u32(id->b) % REROOT_ONE_IN == 0))
        return false;
    for (unsigned bits = entry.age % GROUP; bits & 1; bits >>= 1) {
        ObjectId older = base;
        if (entry.encoding != ENCODING_DELTA)
            break;
        if (store_describe(b->store, &older, &entry, &base) < 0)
            return false;
        at = older;
    }
    /* Not on itself either: the chunk may be stored already, in a pack that can't be read now. */
    if (entry.depth >= DELTA_MAX_DEPTH || store_holds(b->store, &at, id) != HOLDS_SOUND)
        return false;
    *ret_choice = (BaseChoice){.id = at, .depth = (uint8_t)(entry.depth + 1), .age = (uint8_t)age};
    return true;
}

bool bases_choose(Bases *b, const BaseQuery *query, BaseChoice *ret_choice)
{
    if (b->n == 0 || !ensure_built(b))
        return false;
    const Base *base = find_similar(b, &query->sketch, query->offset);
    bool is_guess = !base;
    if (is_guess && atomic_load(&b->guess_credit) <= 0)
        return false;
    if (is_guess)
        base = find_head(b, query->head);
    if (!base)
        base = find_at(b, query->offset);
    if (!choose_revision(b, &base->id, &query->id, ret_choice))
        return false;
    ret_choice->is_guess = is_guess;
    return true;
}

bool bases_pays(Bases *b, size_t len, size_t stored)
{
    pthread_mutex_lock(&b->lock);
    size_t whole = (size_t)((double)len * b->whole_ratio);
    pthread_mutex_unlock(&b->lock);
    return PAYS(stored, whole);
}

void bases_note_whole(Bases *b, size_t len, size_t stored)
{
    pthread_mutex_lock(&b->lock);
    b->whole_ratio += ((double)stored / (double)len - b->whole_ratio) / 16;
    pthread_mutex_unlock(&b->lock);
}

void bases_learn(Bases *b, const BaseChoice *choice, bool paid)
{
    if (!choice->is_guess)
        return;
    int credit = atomic_load(&b->guess_credit);
    if (paid && credit < GUESS_CREDIT)
        atomic_fetch_add(&b->guess_credit, 1);
    else if (!paid)
        atomic_fetch_sub(&b->guess_credit, 1);
}

uint8_t bases_first_age(const ObjectId *id)
{
    return id->b[4] % GROUP;
}
