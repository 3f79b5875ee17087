#include "store/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/config.h"
#include "store/store_private.h"
#include "store/writer_private.h"
#include "util/cleanup.h"

/* Deltas at level 1 look for matches in too few places of the base. docs/performance.md has the
 * figures. */
#define DEFAULT_LEVEL 3
#define DELTA_LEVEL   3

/* Compress against `choice`'s base, of `bases`, into the codec's buffer, if that pays. 1 when it
 * did. */
static int try_delta(StoreWriter *w, StoreCodec *c, Bases *bases, const BaseChoice *choice,
                     const void *data, size_t len, Error *e)
{
    Object *base;
    int r = object_get(store_objects(w->store), &choice->id, &base, NULL);
    if (r < 0)
        return 0; /* a damaged base is no reason to fail: the chunk is stored whole */
    r = codec_compress_delta(c->codec, w->level > DELTA_LEVEL ? w->level : DELTA_LEVEL, base->data,
                             base->len, data, len, &c->record);
    object_unref(base);
    if (r < 0)
        return error_errno(e, -r, "cannot compress");
    return bases_pays(bases, len, c->record.len);
}

/* Compress a new object and append it to the open pack of its kind. `c` is the thread's own. */
static int add_new(StoreWriter *w, StoreCodec *c, const PutTicket *t, const void *data, size_t len,
                   const ObjectId *id, Error *e)
{
    PackEntry entry = {.id = *id, .plain_len = (uint32_t)len, .type = (uint8_t)t->type};
    BaseChoice choice;
    const ObjectId *base = NULL;
    const void *stored = data;
    if (t->type == OBJECT_DATA && w->deltas) {
        sketch_of(t->kind, data, len, &entry.sketch);
        entry.head = mark_head(data, len);
        const BaseQuery query = {
            .id = *id, .sketch = entry.sketch, .head = entry.head, .offset = t->offset};
        if (t->bases && bases_choose(t->bases, &query, &choice)) {
            int paid = try_delta(w, c, t->bases, &choice, data, len, e);
            if (paid < 0)
                return paid;
            bases_learn(t->bases, &choice, paid);
            base = paid ? &choice.id : NULL;
        }
    }
    if (base) {
        entry.encoding = ENCODING_DELTA;
        entry.depth = choice.depth;
        entry.age = choice.age;
        stored = c->record.data;
        entry.stored_len = (uint32_t)c->record.len;
    } else {
        Encoding encoding;
        int r = codec_compress(c->codec, w->level, data, len, &c->record, &encoding);
        if (r < 0)
            return error_errno(e, -r, "cannot compress");
        entry.encoding = (uint8_t)encoding;
        entry.age = bases_first_age(id);
        stored = encoding == ENCODING_RAW ? data : c->record.data;
        entry.stored_len = (uint32_t)(encoding == ENCODING_RAW ? len : c->record.len);
        if (t->bases)
            bases_note_whole(t->bases, len, entry.stored_len);
    }
    int r = 0;
    pthread_mutex_lock(&w->lock);
    if (!idmap_get(&w->mine, id)) /* another thread may have been faster with the same bytes */
        r = writer_append(w, &entry, base, stored, e);
    pthread_mutex_unlock(&w->lock);
    return r;
}

static int put_object(StoreWriter *w, StoreCodec *c, const PutTicket *t, const void *data,
                      size_t len, ObjectId *ret_id, Error *e)
{
    ObjectId id;
    if (len < 1 || len > OBJECT_MAX)
        return error_set(e, EINVAL, "an object of %zu bytes", len);
    if (id_of(data, len, &id) < 0)
        return error_oom(e);
    pthread_mutex_lock(&w->lock);
    bool known = idmap_get(&w->mine, &id) != NULL;
    w->stats.objects++;
    w->stats.bytes_in += len;
    pthread_mutex_unlock(&w->lock);
    int holding = known ? HOLDS_SOUND : store_holds(w->store, &id, NULL);
    if (holding < 0)
        return error_errno(e, -holding, "cannot tell whether a chunk is stored already");
    /* What takes the place of something unusable stands alone: deltas may need it at any depth. */
    PutTicket alone = *t;
    alone.bases = holding == HOLDS_BADLY ? NULL : t->bases;
    int r = holding == HOLDS_SOUND ? 0 : add_new(w, c, &alone, data, len, &id, e);
    if (r == 0)
        *ret_id = id;
    return r;
}

/* Remember the first failure: everything after it fails the same way. */
static int note_failure(StoreWriter *w, Error *e)
{
    pthread_mutex_lock(&w->lock);
    int r = -e->errnum;
    if (!w->failure.errnum)
        error_move(&w->failure, e);
    else
        error_release(e);
    pthread_mutex_unlock(&w->lock);
    return r;
}

static int copy_failure(StoreWriter *w, Error *e)
{
    pthread_mutex_lock(&w->lock);
    int r = error_set(e, w->failure.errnum, "%s", w->failure.message);
    if (w->failure.hint)
        error_hint(e, "%s", w->failure.hint);
    error_exit_code(e, w->failure.exit_code);
    pthread_mutex_unlock(&w->lock);
    return r;
}

static void *work(void *arg)
{
    StoreWriter *w = arg;
    StoreCodec *c = store_take_codec(w->store);
    PutTicket *t;
    while ((t = queue_pop(&w->queue))) {
        _cleanup_(error_release) Error e = ERROR_INIT;
        int r =
            c ? put_object(w, c, t, t->object->data, t->object->len, &t->id, &e) : error_oom(&e);
        if (r < 0)
            note_failure(w, &e);
        object_unref(t->object);
        t->object = NULL;
        pthread_mutex_lock(&w->lock);
        t->result = r;
        t->done = true;
        pthread_cond_broadcast(&w->ticket_done);
        pthread_mutex_unlock(&w->lock);
    }
    if (c)
        store_put_codec(w->store, c);
    return NULL;
}

int writer_put(StoreWriter *w, ObjectType type, const void *data, size_t len, ObjectId *ret_id,
               Error *e)
{
    Error mine = ERROR_INIT;
    StoreCodec *c = store_take_codec(w->store);
    if (!c)
        return error_oom(e);
    int r = put_object(w, c, &(PutTicket){.type = type}, data, len, ret_id, &mine);
    store_put_codec(w->store, c);
    if (r < 0) {
        note_failure(w, &mine);
        return copy_failure(w, e);
    }
    return 0;
}

int writer_submit(StoreWriter *w, PutTicket *t)
{
    t->done = false;
    return queue_push(&w->queue, t);
}

int writer_wait(StoreWriter *w, PutTicket *t, Error *e)
{
    pthread_mutex_lock(&w->lock);
    while (!t->done)
        pthread_cond_wait(&w->ticket_done, &w->lock);
    int r = t->result;
    pthread_mutex_unlock(&w->lock);
    return r < 0 ? copy_failure(w, e) : 0;
}

/* An object this writer put, or one of the store. */
static int get_object(ObjectSource *source, const ObjectId *id, Object **ret_object, Error *e)
{
    StoreWriter *w = (StoreWriter *)source;
    pthread_mutex_lock(&w->lock);
    const Location *at = w->published ? NULL : idmap_get(&w->mine, id);
    Location mine = at ? *at : (Location){0};
    PackWriter *pack = at ? w->packs[at->pack].pack : NULL;
    pthread_mutex_unlock(&w->lock);
    if (!at)
        return object_get(store_objects(w->store), id, ret_object, e);
    _cleanup_free_ uint8_t *bytes = malloc(mine.length);
    if (!bytes)
        return error_oom(e);
    int r = pack_writer_read(pack, mine.offset, bytes, mine.length, e);
    return r < 0 ? r : store_decode(w->store, id, bytes, mine.length, ret_object, e);
}

ObjectSource *writer_objects(StoreWriter *w)
{
    return &w->objects;
}

Store *writer_store(StoreWriter *w)
{
    return w->store;
}

void writer_stats(StoreWriter *w, WriterStats *ret_stats)
{
    pthread_mutex_lock(&w->lock);
    *ret_stats = w->stats;
    pthread_mutex_unlock(&w->lock);
}

static int start_threads(StoreWriter *w, int workers, Error *e)
{
    if (workers <= 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        workers = n < 1 ? 1 : n > 16 ? 16 : (int)n;
    }
    w->threads = calloc((size_t)workers, sizeof(*w->threads));
    if (!w->threads || queue_init(&w->queue, (size_t)workers * 4) < 0)
        return error_oom(e);
    for (; w->n_threads < (size_t)workers; w->n_threads++) {
        int n = pthread_create(&w->threads[w->n_threads], NULL, work, w);
        if (n)
            return error_errno(e, n, "cannot start a thread");
    }
    return 0;
}

/* No more tickets; those queued are still done. */
static void stop_threads(StoreWriter *w)
{
    if (w->queue.items)
        queue_close(&w->queue);
    for (size_t i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    w->n_threads = 0;
    queue_release(&w->queue);
}

int writer_begin(Store *s, const WriterOptions *o, StoreWriter **ret_writer, Error *e)
{
    int r = store_check_writable(s, e);
    if (r < 0)
        return r;
    StoreWriter *w = calloc(1, sizeof(*w));
    if (!w)
        return error_oom(e);
    w->objects.get = get_object;
    w->store = s;
    w->level = o->level ? o->level : DEFAULT_LEVEL;
    w->deltas = !o->no_deltas;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->ticket_done, NULL);
    r = lock_acquire(s->path, o->lock_wait, o->cancel, o->on_wait, o->on_wait_ctx, &w->store_lock,
                     e);
    if (r == 0)
        r = s->backend->ops->sweep(s->backend, e);
    if (r == 0)
        r = store_catch_up(s, false, e);
    if (r == 0)
        s->knows_damage = catalogue_knows_damage(s->catalogue);
    if (r == 0)
        r = start_threads(w, o->workers, e);
    if (r < 0) {
        writer_end(w);
        return r;
    }
    *ret_writer = w;
    return 0;
}

void writer_end(StoreWriter *w)
{
    if (!w)
        return;
    stop_threads(w);
    free(w->threads);
    for (size_t i = 0; i < w->n_packs; i++)
        pack_writer_free(w->packs[i].pack);
    free(w->packs);
    idmap_release(&w->mine);
    error_release(&w->failure);
    lock_release(w->store_lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->ticket_done);
    free(w);
}
