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
    const ScrubOptions *options;
    DamageList *damage;
    Job *jobs;
    size_t n_jobs;
    atomic_size_t next_job;
    atomic_uint_least64_t bytes, plain_bytes, objects;
    atomic_bool stop;

    pthread_mutex_t lock; /* guards what follows, and the marks in the inventory */
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

/* A finding about pack `pack`, and about one object of it unless `id` is NULL. */
static int report(Scrub *s, uint32_t pack, const ObjectId *id, const char *message)
{
    char name[PACK_NAME_SIZE];
    pack_name(&s->inventory->packs[pack].sha256, name);
    if (id) {
        pthread_mutex_lock(&s->lock);
        inventory_mark_damaged(s->inventory, id, pack);
        pthread_mutex_unlock(&s->lock);
    }
    return damage_add(s->damage, id ? DAMAGE_OBJECT : DAMAGE_PACK, name, id, message);
}

static int check_digest(Worker *w, uint32_t pack, BackendFile *f)
{
    Scrub *s = w->scrub;
    Backend *b = s->inventory->backend;
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
        return report(s, pack, NULL, why.message ? why.message : "can't be read");
    if (id_compare(&digest, &s->inventory->packs[pack].sha256) != 0)
        return report(s, pack, NULL, "its bytes do not match its name (SHA-256)");
    return 0;
}

static bool same_entry(const PackEntry *x, const PackEntry *y)
{
    return id_compare(&x->id, &y->id) == 0 && x->stored_len == y->stored_len &&
           x->plain_len == y->plain_len && x->type == y->type && x->encoding == y->encoding &&
           x->depth == y->depth;
}

static int check_record(Worker *w, uint32_t pack, BackendFile *f, const PackEntry *entry)
{
    Scrub *s = w->scrub;
    _cleanup_(error_release) Error why = ERROR_INIT;
    size_t len = PACK_RECORD_SIZE + (size_t)entry->stored_len;
    PackRecord record;
    Object *object = NULL;
    int r = s->inventory->backend->ops->read(f, entry->offset, w->buffer, len, &why);
    if (r == 0)
        r = pack_parse_record(w->buffer, len, &record, &why);
    if (r == 0 && !same_entry(entry, &record.entry))
        r = error_set(&why, EBADMSG, "a record is not what the pack's index says of it");
    if (r == 0)
        r = pack_decode(w->codec, &record, &object, &why);
    object_unref(object);
    if (r == -ENOMEM)
        return r;
    atomic_fetch_add(&s->bytes, len);
    atomic_fetch_add(&s->plain_bytes, entry->plain_len);
    atomic_fetch_add(&s->objects, 1);
    return r < 0 ? report(s, pack, &entry->id, why.message ? why.message : "damaged") : 0;
}

static int check_records(Worker *w, const Job *job, BackendFile *f)
{
    Scrub *s = w->scrub;
    Backend *b = s->inventory->backend;
    _cleanup_(pack_index_release) PackIndex x = {0};
    int r = pack_read_index(b, f, &x, NULL);
    if (r == -EBADMSG) /* reported by the inventory */
        r = pack_scan(b, f, &x, NULL, NULL);
    if (r == -ENOMEM)
        return r;
    for (size_t i = 0; i < x.n && !atomic_load(&s->stop); i++) {
        if (x.entries[i].offset < job->from || x.entries[i].offset >= job->to)
            continue;
        r = check_record(w, job->pack, f, &x.entries[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int run_job(Worker *w, const Job *job)
{
    Scrub *s = w->scrub;
    Backend *b = s->inventory->backend;
    _cleanup_(error_release) Error why = ERROR_INIT;
    BackendFile *f = NULL;
    char name[PACK_NAME_SIZE];
    pack_name(&s->inventory->packs[job->pack].sha256, name);
    int r = b->ops->open(b, name, &f, &why);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return report(s, job->pack, NULL, why.message ? why.message : "can't be opened");
    r = job->digest ? check_digest(w, job->pack, f) : check_records(w, job, f);
    b->ops->close(f);
    return r;
}

static int run_jobs(Scrub *s)
{
    Worker w = {.scrub = s, .buffer = malloc(PACK_RECORD_SIZE + OBJECT_MAX)};
    int r = w.buffer ? codec_new(&w.codec) : -ENOMEM;
    while (r == 0 && !atomic_load(&s->stop)) {
        size_t i = atomic_fetch_add(&s->next_job, 1);
        if (i >= s->n_jobs)
            break;
        r = run_job(&w, &s->jobs[i]);
    }
    codec_free(w.codec);
    free(w.buffer);
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

static int make_jobs(Scrub *s, uint64_t *ret_total, Error *e)
{
    Inventory *v = s->inventory;
    _cleanup_free_ uint32_t *order = calloc(v->n_packs + 1, sizeof(*order));
    size_t n = 0, capacity = 0;
    uint64_t total = 0;
    if (!order)
        return error_oom(e);
    for (size_t i = 0; i < v->n_packs; i++) {
        const InventoryPack *p = &v->packs[i];
        if (!p->wanted || p->unreadable)
            continue;
        order[n++] = (uint32_t)i;
        capacity += 2 + p->size / STRETCH;
        total += p->size;
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
    *ret_total = total;
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

int scrub_packs(Inventory *v, const ScrubOptions *o, DamageList *damage,
                ScrubProgress *ret_progress, Error *e)
{
    Scrub s = {.inventory = v, .options = o, .damage = damage};
    ScrubProgress progress = {0};
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.finished, NULL);
    int r = make_jobs(&s, &progress.total_bytes, e);
    if (r == 0 && s.n_jobs > 0)
        r = run_threads(&s, &progress, e);
    if (r == 0 && s.result < 0)
        r = error_move(e, &s.error);
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
