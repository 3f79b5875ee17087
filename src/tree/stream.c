#include "tree/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/idmap.h"
#include "util/cleanup.h"

#define LITERAL_FILE 512         /* bytes: so little stands in the rope, without an object */
#define WINDOW       16          /* chunks under way at once */
#define STEP         (64u << 10) /* bytes looked at between two questions to the cutter */
#define FOLLOW_CHUNK 4096        /* bytes: a previous version with more chunks than so is none */
#define FOLLOW_SPARE 1000        /* chunks and nodes beyond that */
#define FOLLOW_ALL   (1u << 17)  /* chunks: from there on a node that comes again is passed over */

struct Stream {
    StoreWriter *writer;
    RopeBuilder *rope;
    Cutter cutter;
    CutRule rule;
    Hasher *hasher;
    Object *chunk; /* being filled; `len` counts what is in it; CUT_MAX bytes long */
    uint64_t bytes;
    PutTicket tickets[WINDOW]; /* a ring: submitted, in the order of the file */
    uint32_t lengths[WINDOW];
    size_t head, under_way;
    uint64_t submitted; /* bytes in chunks sent off */
    Bases *bases;       /* the previous version, or NULL */
};

int stream_new(StoreWriter *w, CutRule rule, Stream **ret_stream, Error *e)
{
    Stream *s = calloc(1, sizeof(*s));
    if (!s)
        return error_oom(e);
    s->writer = w;
    s->rule = rule;
    cutter_init(&s->cutter, rule);
    if (rope_builder_new(w, &s->rope) < 0 || hasher_new(&s->hasher) < 0) {
        stream_free(s);
        return error_oom(e);
    }
    *ret_stream = s;
    return 0;
}

/* Wait for the oldest chunk and add it to the rope. */
static int collect(Stream *s, Error *e)
{
    PutTicket *t = &s->tickets[s->head];
    uint32_t len = s->lengths[s->head];
    s->head = (s->head + 1) % WINDOW;
    s->under_way--;
    int r = writer_wait(s->writer, t, e);
    return r < 0 ? r : rope_builder_object(s->rope, &t->id, len, e);
}

void stream_free(Stream *s)
{
    if (!s)
        return;
    while (s->under_way > 0) {
        writer_wait(s->writer, &s->tickets[s->head], NULL);
        s->head = (s->head + 1) % WINDOW;
        s->under_way--;
    }
    object_unref(s->chunk);
    bases_free(s->bases);
    hasher_free(s->hasher);
    rope_builder_free(s->rope);
    free(s);
}

static Object *new_chunk(void)
{
    Object *o = object_new(CUT_MAX);
    if (o)
        o->len = 0;
    return o;
}

/* Send the first `n` bytes of the chunk off; the rest begins the next one. */
static int submit(Stream *s, size_t n, Error *e)
{
    int r = 0;
    if (s->under_way == WINDOW)
        r = collect(s, e);
    if (r < 0)
        return r;
    size_t rest = s->chunk->len - n;
    Object *next = new_chunk();
    if (!next)
        return error_oom(e);
    memcpy(next->data, s->chunk->data + n, rest);
    next->len = (uint32_t)rest;

    size_t i = (s->head + s->under_way) % WINDOW;
    s->chunk->len = (uint32_t)n;
    s->tickets[i] = (PutTicket){.object = s->chunk,
                                .type = OBJECT_DATA,
                                .kind = s->rule.kind,
                                .offset = s->submitted,
                                .bases = s->bases};
    s->submitted += n;
    s->lengths[i] = (uint32_t)n;
    s->chunk = next;
    r = writer_submit(s->writer, &s->tickets[i]);
    if (r < 0) {
        object_unref(s->tickets[i].object);
        return error_set(e, EPIPE, "the store's writer has stopped");
    }
    s->under_way++;
    return 0;
}

int stream_write(Stream *s, const void *data, size_t len, Error *e)
{
    const uint8_t *p = data;
    if (!s->chunk && !(s->chunk = new_chunk()))
        return error_oom(e);
    if (hasher_add(s->hasher, data, len) < 0)
        return error_oom(e);
    s->bytes += len;
    while (len > 0) {
        size_t n = len < STEP ? len : STEP;
        if (n > CUT_MAX - s->chunk->len)
            n = CUT_MAX - s->chunk->len;
        memcpy(s->chunk->data + s->chunk->len, p, n);
        s->chunk->len += (uint32_t)n;
        p += n;
        len -= n;
        size_t cut;
        while ((cut = cutter_next(&s->cutter, s->chunk->data, s->chunk->len, 0)) > 0) {
            int r = submit(s, cut, e);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int stream_finish(Stream *s, Rope *ret_rope, ObjectId *ret_sha256, Error *e)
{
    int r = 0;
    if (s->chunk && s->chunk->len > 0) {
        if (s->bytes <= LITERAL_FILE) {
            r = rope_builder_literal(s->rope, s->chunk->data, s->chunk->len, e);
        } else {
            size_t cut;
            while (r == 0 && (cut = cutter_next(&s->cutter, s->chunk->data, s->chunk->len, 1)) > 0)
                r = submit(s, cut, e);
        }
        s->chunk->len = 0;
    }
    while (r == 0 && s->under_way > 0)
        r = collect(s, e);
    ObjectId digest;
    if (r == 0 && hasher_finish(s->hasher, &digest) < 0)
        r = error_oom(e);
    if (r == 0)
        r = rope_builder_finish(s->rope, ret_rope, e);
    if (r < 0)
        return r;
    if (ret_sha256)
        *ret_sha256 = digest;
    s->bytes = s->submitted = 0;
    bases_free(s->bases);
    s->bases = NULL;
    cutter_init(&s->cutter, s->rule);
    return 0;
}

typedef struct Follow {
    Bases *bases;
    IdMap seen; /* nodes */
    uint64_t offset, visits, max;
} Follow;

static int add_base(void *ctx, const RopeVisit *v)
{
    static const Location nowhere;
    Follow *f = ctx;
    if (++f->visits > f->max)
        return -E2BIG;
    if (!v->is_node) {
        int r = bases_add(f->bases, &v->id, f->offset);
        f->offset += v->len;
        return r;
    }
    if (f->visits > FOLLOW_ALL && idmap_get(&f->seen, &v->id)) {
        f->offset += v->len; /* its chunks are known */
        return 1;
    }
    return idmap_put(&f->seen, &v->id, &nowhere);
}

/* Chunks have 32 KiB at least, but for the last ones of what was put together. */
static uint64_t max_visits(const void *node, size_t len)
{
    uint64_t length;
    unsigned height;
    uint32_t n;
    return rope_node_check(node, len, &length, &height, &n, NULL) < 0
               ? 0
               : length / FOLLOW_CHUNK + FOLLOW_SPARE;
}

int stream_follow(Stream *s, ObjectSource *source, const void *node, size_t len, Error *e)
{
    Follow f = {.max = max_visits(node, len)};
    if (bases_new(writer_store(s->writer), &f.bases) < 0)
        return error_oom(e);
    int r = rope_walk(source, node, len, add_base, &f, NULL);
    idmap_release(&f.seen);
    if (r == -E2BIG) { /* no program wrote this */
        bases_free(f.bases);
        if (bases_new(writer_store(s->writer), &f.bases) < 0)
            return error_oom(e);
    }
    bases_free(s->bases);
    s->bases = f.bases;
    cutter_follow(&s->cutter, bases_marks(s->bases));
    return r == -ENOMEM ? error_oom(e) : 0;
}

int stream_hash_extra(Stream *s, const void *data, size_t len, Error *e)
{
    return hasher_add(s->hasher, data, len) < 0 ? error_oom(e) : 0;
}

uint64_t stream_bytes(const Stream *s)
{
    return s->bytes;
}
