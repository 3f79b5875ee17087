#include "verify/scrub.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

/* A pack is checked in pieces by several threads: its digest, and stretches of its records. */
#define STRETCH (8u << 20) /* bytes of a pack */
#define PIECE   (1u << 20) /* bytes read at once for the digest */

typedef struct Job {
    uint32_t pack;
    bool digest; /* the whole file's SHA-256, else records that start in [from, to) */
    uint32_t from, to;
} Job;

typedef struct Scrub {
    Inventory *inventory;
    Backend *backend;
    PackSet *packs;
    const ScrubOptions *options;
    DamageList *damage;
    Job *jobs;
    size_t n_jobs;
    atomic_size_t next_job;
    atomic_uint_least64_t bytes, plain_bytes, objects;
    atomic_bool stop;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t finished;
    unsigned running;
    int result;
    Error error;
} Scrub;

/* What one thread keeps between records. */
typedef struct Worker {
    Scrub *scrub;
    Codec *codec;
    uint8_t *buffer; /* one record */
} Worker;

static bool is_cancelled(const Scrub *s)
{
    return s->options->cancel && atomic_load(s->options->cancel);
}

/* A finding about pack `pack`. */
static int report_pack(Scrub *s, uint32_t pack, const char *message)
{
    char name[PACK_NAME_SIZE];
    pack_name(&s->inventory->packs[pack].sha256, name);
    return damage_add(s->damage, DAMAGE_PACK, name, NULL, message);
}

/* A finding about object number `i`, caused by pack `pack`. Every object is marked by one thread
 * only: the one that walks the delta tree it is in. */
static int report_object(Scrub *s, uint32_t i, uint32_t pack, DamageKind kind, const char *message)
{
    InventoryObject *o = &s->inventory->objects[i];
    char name[PACK_NAME_SIZE];
    pack_name(&s->inventory->packs[pack].sha256, name);
    o->damaged = 1;
    return damage_add(s->damage, kind, name, &o->id, message);
}

static void count_object(Scrub *s, const InventoryObject *o)
{
    atomic_fetch_add(&s->bytes, PACK_RECORD_SIZE + o->stored_len);
    atomic_fetch_add(&s->objects, 1);
}

/* Object number `i` was read with the result `r`: note what that means. 0, or -ENOMEM. */
static int note_object(Scrub *s, uint32_t i, int r, const Error *why)
{
    InventoryObject *o = &s->inventory->objects[i];
    count_object(s, o);
    if (r == -ENOMEM)
        return r;
    o->adrift = 0;
    if (r == 0)
        atomic_fetch_add(&s->plain_bytes, o->plain_len);
    else
        r = report_object(s, i, o->pack, DAMAGE_OBJECT, why->message ? why->message : "damaged");
    return r;
}

static int check_digest(Worker *w, uint32_t pack, BackendFile *f)
{
    Scrub *s = w->scrub;
    Backend *b = s->backend;
    _cleanup_(error_release) Error why = ERROR_INIT;
    Hasher *h = NULL;
    ObjectId digest;
    uint64_t size = b->ops->size(f);
    int r = hasher_new(&h);
    for (uint64_t at = 0; r == 0 && at < size && !atomic_load(&s->stop); at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        r = b->ops->read(f, at, w->buffer, n, &why);
        if (r == 0)
            r = hasher_add(h, w->buffer, n);
    }
    if (r == 0)
        r = hasher_finish(h, &digest);
    hasher_free(h);
    if (r == -ENOMEM || atomic_load(&s->stop))
        return r;
    if (r < 0)
        return report_pack(s, pack, why.message ? why.message : "can't be read");
    if (id_compare(&digest, &s->inventory->packs[pack].sha256) != 0)
        return report_pack(s, pack, "its bytes do not match its name (SHA-256)");
    return 0;
}

/* Whether the record says of itself what the inventory, from the pack's index, says of it. */
static bool is_same(const Inventory *v, const InventoryObject *o, const PackRecord *r)
{
    return id_compare(&o->id, &r->entry.id) == 0 && o->stored_len == r->entry.stored_len &&
           o->plain_len == r->entry.plain_len && o->encoding == r->entry.encoding &&
           o->depth == r->entry.depth &&
           (o->base == INVENTORY_NONE || id_compare(&v->objects[o->base].id, &r->base) == 0);
}

/* Read object number `i`, a delta of `base` unless that is NULL, and check it. 0, a finding in
 * `why`, or -ENOMEM. */
static int read_object(Worker *w, uint32_t i, const Object *base, Object **ret_object, Error *why)
{
    Scrub *s = w->scrub;
    const InventoryObject *o = &s->inventory->objects[i];
    size_t len = PACK_RECORD_SIZE + (size_t)o->stored_len;
    PackRecord record;
    Object *object = NULL;
    int r = packset_read(s->packs, &s->inventory->packs[o->pack].sha256, o->offset, w->buffer, len,
                         why);
    if (r == 0)
        r = pack_parse_record(w->buffer, len, &record, why);
    if (r == 0 && !is_same(s->inventory, o, &record))
        r = error_set(why, EBADMSG, "a record is not what the pack's index says of it");
    if (r == 0)
        r = pack_decompress(w->codec, &record, base, &object, why);
    if (r == 0)
        r = pack_check_id(&o->id, object, why);
    if (r < 0) {
        object_unref(object);
        return r;
    }
    *ret_object = object;
    return 0;
}

/* Check an object and all that are linked to it as deltas, so that each is decoded once. Those of a
 * damaged one stay adrift. At most 8 deep. */
static int check_tree(Worker *w, uint32_t i, const Object *base)
{
    Scrub *s = w->scrub;
    _cleanup_(error_release) Error why = ERROR_INIT;
    Object *object = NULL;
    size_t n = 0;
    int r = note_object(s, i, read_object(w, i, base, &object, &why), &why);
    const uint32_t *deltas = object ? inventory_deltas(s->inventory, i, &n) : NULL;
    for (size_t k = 0; r == 0 && k < n && !atomic_load(&s->stop); k++)
        if (s->inventory->objects[deltas[k]].wanted)
            r = check_tree(w, deltas[k], object);
    object_unref(object);
    return r;
}

/* The objects that stand alone and begin in the job's stretch, with their deltas, wherever these
 * lie. */
static int check_records(Worker *w, const Job *job, BackendFile *f)
{
    Scrub *s = w->scrub;
    _cleanup_(pack_index_release) PackIndex x = {0};
    int r = pack_read_index(s->backend, f, &x, NULL);
    if (r == -EBADMSG) /* reported by the inventory */
        r = pack_scan(s->backend, f, &x, NULL, NULL);
    if (r == -ENOMEM)
        return r;
    r = 0;
    for (size_t i = 0; r == 0 && i < x.n && !atomic_load(&s->stop); i++) {
        const PackEntry *p = &x.entries[i];
        if (p->offset < job->from || p->offset >= job->to || p->encoding == ENCODING_DELTA)
            continue;
        const InventoryObject *o = inventory_find_record(s->inventory, p, job->pack);
        if (o && o->wanted)
            r = check_tree(w, (uint32_t)(o - s->inventory->objects), NULL);
    }
    return r;
}

static int run_job(Worker *w, const Job *job)
{
    Scrub *s = w->scrub;
    Backend *b = s->backend;
    _cleanup_(error_release) Error why = ERROR_INIT;
    BackendFile *f = NULL;
    char name[PACK_NAME_SIZE];
    pack_name(&s->inventory->packs[job->pack].sha256, name);
    int r = b->ops->open(b, name, &f, &why);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return report_pack(s, job->pack, why.message ? why.message : "can't be opened");
    r = job->digest ? check_digest(w, job->pack, f) : check_records(w, job, f);
    b->ops->close(f);
    return r;
}

static int worker_init(Worker *w, Scrub *s)
{
    *w = (Worker){.scrub = s, .buffer = malloc(PACK_RECORD_SIZE + OBJECT_MAX)};
    return w->buffer ? codec_new(&w->codec) : -ENOMEM;
}

static void worker_release(Worker *w)
{
    codec_free(w->codec);
    free(w->buffer);
}

static int run_jobs(Scrub *s)
{
    Worker w;
    int r = worker_init(&w, s);
    while (r == 0 && !atomic_load(&s->stop)) {
        size_t i = atomic_fetch_add(&s->next_job, 1);
        if (i >= s->n_jobs)
            break;
        r = run_job(&w, &s->jobs[i]);
    }
    worker_release(&w);
    return r;
}

static void *worker_main(void *arg)
{
    Scrub *s = arg;
    int r = run_jobs(s);
    pthread_mutex_lock(&s->lock);
    if (r < 0 && s->result == 0) {
        s->result = error_oom(&s->error);
        atomic_store(&s->stop, true);
    }
    s->running--;
    pthread_cond_signal(&s->finished);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Packs and stretches in order of falling size, so that no thread is left with a long one. */
static int compare_packs(const void *x, const void *y, void *ctx)
{
    const InventoryPack *packs = ctx;
    uint64_t a = packs[*(const uint32_t *)x].size, b = packs[*(const uint32_t *)y].size;
    return (a < b) - (a > b);
}

static uint64_t wanted_bytes(const Inventory *v)
{
    uint64_t total = 0;
    for (size_t i = 0; i < v->n_objects; i++)
        if (v->objects[i].wanted)
            total += PACK_RECORD_SIZE + v->objects[i].stored_len;
    return total;
}

static int make_jobs(Scrub *s, Error *e)
{
    Inventory *v = s->inventory;
    _cleanup_free_ uint32_t *order = calloc(v->n_packs + 1, sizeof(*order));
    size_t n = 0, capacity = 0;
    if (!order)
        return error_oom(e);
    for (size_t i = 0; i < v->n_packs; i++) {
        const InventoryPack *p = &v->packs[i];
        if (!p->wanted || p->unreadable)
            continue;
        order[n++] = (uint32_t)i;
        capacity += 2 + p->size / STRETCH;
    }
    qsort_r(order, n, sizeof(*order), compare_packs, v->packs);
    s->jobs = calloc(capacity + 1, sizeof(*s->jobs));
    if (!s->jobs)
        return error_oom(e);
    for (size_t i = 0; i < n; i++) {
        uint64_t size = v->packs[order[i]].size;
        s->jobs[s->n_jobs++] = (Job){.pack = order[i], .digest = true};
        if (v->packs[order[i]].scanned) { /* one job: its index costs a scan of the file */
            s->jobs[s->n_jobs++] = (Job){.pack = order[i], .to = UINT32_MAX};
            continue;
        }
        for (uint64_t at = 0; at < size; at += STRETCH)
            s->jobs[s->n_jobs++] =
                (Job){.pack = order[i], .from = (uint32_t)at, .to = (uint32_t)(at + STRETCH)};
    }
    return 0;
}

static void read_progress(Scrub *s, ScrubProgress *p)
{
    p->bytes = atomic_load(&s->bytes);
    p->plain_bytes = atomic_load(&s->plain_bytes);
    p->objects = atomic_load(&s->objects);
}

/* Wait for the workers, telling about progress ten times a second. */
static void wait_for_workers(Scrub *s, ScrubProgress *progress)
{
    pthread_mutex_lock(&s->lock);
    while (s->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&s->finished, &s->lock, &until);
        if (is_cancelled(s))
            atomic_store(&s->stop, true);
        pthread_mutex_unlock(&s->lock);
        read_progress(s, progress);
        if (s->options->progress)
            s->options->progress(s->options->ctx, progress);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Signals are for the program's own thread. */
static int start_thread(pthread_t *t, Scrub *s)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(t, NULL, worker_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -r;
}

static int run_threads(Scrub *s, ScrubProgress *progress, Error *e)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = s->options->threads ? s->options->threads : cpus > 0 ? (unsigned)cpus : 1;
    if (n > s->n_jobs)
        n = (unsigned)s->n_jobs;
    _cleanup_free_ pthread_t *threads = calloc(n + 1, sizeof(*threads));
    if (!threads)
        return error_oom(e);
    unsigned started = 0;
    int r = 0;
    for (; started < n; started++) {
        pthread_mutex_lock(&s->lock);
        s->running++;
        pthread_mutex_unlock(&s->lock);
        r = start_thread(&threads[started], s);
        if (r < 0) {
            pthread_mutex_lock(&s->lock);
            s->running--;
            pthread_mutex_unlock(&s->lock);
            break;
        }
    }
    if (started > 0) { /* fewer threads than wanted do the work all the same */
        r = 0;
        wait_for_workers(s, progress);
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return r < 0 ? error_errno(e, -r, "can't start a thread") : 0;
}

/* The bytes of object number `i`, a sound copy, by sound copies of its bases. */
static int load_object(Worker *w, uint32_t i, Object **ret_object, Error *why)
{
    const Inventory *v = w->scrub->inventory;
    const InventoryObject *o = &v->objects[i];
    Object *base = NULL;
    int r = 0;
    if (o->base != INVENTORY_NONE)
        r = load_object(w, v->objects[o->base].sound, &base, why);
    if (r == 0)
        r = read_object(w, i, base, ret_object, why);
    object_unref(base);
    return r;
}

/* No copy of what delta number `i` is a delta of can be read. Where one is damaged that pack is to
 * blame; where all are missing is of interest only when a backup needs this one. */
static int report_fallen(Scrub *s, uint32_t i)
{
    const InventoryObject *objects = s->inventory->objects, *o = &objects[objects[i].base];
    count_object(s, &objects[i]);
    while (o->adrift && o->base != INVENTORY_NONE)
        o = &objects[o->base];
    return o->damaged
               ? report_object(s, i, o->pack, DAMAGE_BASE, "the chunk it is a delta of is damaged")
               : 0;
}

/* Check delta number `i`, which the first copy of its base did not serve, with another copy. What
 * is less deep is settled. */
static int check_adrift(Worker *w, uint32_t i)
{
    Scrub *s = w->scrub;
    Inventory *v = s->inventory;
    const InventoryObject *o = &v->objects[i];
    uint32_t sound = v->objects[o->base].sound;
    if (sound == INVENTORY_NONE || v->objects[sound].depth >= o->depth)
        return report_fallen(s, i);
    _cleanup_(error_release) Error why = ERROR_INIT;
    Object *base = NULL, *object = NULL;
    int r = load_object(w, sound, &base, &why);
    if (r == 0)
        r = read_object(w, i, base, &object, &why);
    object_unref(base);
    object_unref(object);
    r = note_object(s, i, r, &why);
    InventoryObject *first = inventory_find(v, &o->id);
    if (!o->damaged &&
        (first->sound == INVENTORY_NONE || v->objects[first->sound].depth > o->depth))
        first->sound = i;
    return r;
}

/* Deltas that no thread came to: the first copy of their base is damaged or adrift itself. Few
 * objects have several copies, so one thread will do. */
static int check_rest(Scrub *s, Error *e)
{
    Inventory *v = s->inventory;
    Worker w;
    int r = worker_init(&w, s);
    inventory_settle(v);
    for (unsigned depth = 1; depth <= DELTA_MAX_DEPTH; depth++)
        for (size_t k = 0; r == 0 && k < v->n_deltas && !is_cancelled(s); k++) {
            const InventoryObject *o = &v->objects[v->deltas[k]];
            if (o->depth == depth && o->wanted && o->adrift)
                r = check_adrift(&w, v->deltas[k]);
        }
    worker_release(&w);
    inventory_settle(v);
    return r < 0 ? error_oom(e) : 0;
}

/* What is wanted is adrift until it was read. */
static void cast_off(Inventory *v)
{
    for (size_t i = 0; i < v->n_objects; i++)
        if (v->objects[i].wanted && !v->objects[i].damaged)
            v->objects[i].adrift = 1;
}

int scrub_packs(Inventory *v, Backend *backend, PackSet *packs, const ScrubOptions *o,
                DamageList *damage, ScrubProgress *ret_progress, Error *e)
{
    Scrub s = {.inventory = v, .backend = backend, .packs = packs, .options = o, .damage = damage};
    ScrubProgress progress = {.total_bytes = wanted_bytes(v)};
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.finished, NULL);
    int r = make_jobs(&s, e);
    cast_off(v);
    if (r == 0 && s.n_jobs > 0)
        r = run_threads(&s, &progress, e);
    if (r == 0 && s.result < 0)
        r = error_move(e, &s.error);
    if (r == 0)
        r = check_rest(&s, e);
    if (r == 0 && is_cancelled(&s))
        r = error_set(e, EINTR, "interrupted");
    read_progress(&s, &progress);
    error_release(&s.error);
    free(s.jobs);
    pthread_cond_destroy(&s.finished);
    pthread_mutex_destroy(&s.lock);
    if (r == 0)
        *ret_progress = progress;
    return r;
}
