#include "source/postgres/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/layout.h"
#include "source/postgres/script.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

#define BATCH_SIZE  (128u << 10) /* rows are short: hash and cut them by the batch */
#define REPORT_EACH (4u << 20)   /* bytes between two calls of progress */

struct Sink {
    SinkShared *shared;
    Stream *stream;
    ModelTable *table;
    char *name; /* schema.table, for progress */
    uint64_t newlines, bytes, unreported;
    uint64_t credited; /* of the table's size, as done */
    size_t fill;
    uint8_t batch[BATCH_SIZE];
};

int sink_new(SinkShared *shared, Sink **ret_sink, Error *e)
{
    _cleanup_(sink_freep) Sink *s = malloc(sizeof(*s));
    if (!s)
        return error_oom(e);
    memset(s, 0, offsetof(Sink, batch));
    s->shared = shared;
    TRY(stream_new(shared->run->writer, (CutRule){.kind = CUT_ROWS}, &s->stream, e));
    *ret_sink = TAKE_PTR(s);
    return 0;
}

void sink_free(Sink *s)
{
    if (!s)
        return;
    stream_free(s->stream);
    free(s->name);
    free(s);
}

int sink_begin(Sink *s, ModelTable *t, Error *e)
{
    s->table = t;
    s->newlines = s->bytes = s->credited = 0;
    s->fill = 0;
    free(s->name);
    s->name = NULL;
    if (asprintf(&s->name, "%s.%s", t->schema, t->name) < 0)
        return error_oom(e);
    _cleanup_(buf_release) Buf path = BUF_INIT;
    TRY(layout_data_path(t, &path, e));
    TRY(source_follow(s->shared->run, s->stream, (const char *)path.data, e));
    return stream_hash_extra(s->stream, t->data_text.data, t->data_at, e);
}

void sink_shared_done(SinkShared *s, uint64_t size)
{
    const SourceOptions *o = s->options;
    uint64_t done = atomic_fetch_add(&s->done, size) + size;
    if (o->share && s->total > 0)
        o->share(o->ctx, done < s->total ? done : s->total, s->total);
}

/* How many bytes of text a byte on disk becomes is not known: a table that turns out longer than on
 * disk stays at its size, a shorter one gets the rest at its end. */
static void credit(Sink *s, bool ended)
{
    uint64_t size = s->table->size;
    uint64_t now = ended || s->bytes > size ? size : s->bytes;
    if (now > s->credited)
        sink_shared_done(s->shared, now - s->credited);
    s->credited = now;
}

static void report(Sink *s, uint64_t n)
{
    const SourceOptions *o = s->shared->options;
    s->unreported += n;
    if (s->unreported < REPORT_EACH && n > 0)
        return;
    uint64_t all = atomic_fetch_add(&s->shared->bytes, s->unreported) + s->unreported;
    s->unreported = 0;
    credit(s, n == 0);
    if (o->progress)
        o->progress(o->ctx, all, s->name);
}

static int pass_on(Sink *s, const uint8_t *data, size_t len, Error *e)
{
    for (const uint8_t *p = data, *end = data + len; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        s->newlines++;
    s->bytes += len;
    report(s, len);
    return stream_write(s->stream, data, len, e);
}

static int flush_batch(Sink *s, Error *e)
{
    size_t n = s->fill;
    s->fill = 0;
    return n ? pass_on(s, s->batch, n, e) : 0;
}

int sink_write(Sink *s, const void *data, size_t len, Error *e)
{
    if (len > BATCH_SIZE - s->fill)
        TRY(flush_batch(s, e));
    if (len > BATCH_SIZE)
        return pass_on(s, data, len, e);
    memcpy(s->batch + s->fill, data, len);
    s->fill += len;
    return 0;
}

int sink_end(Sink *s, int64_t rows, Error *e)
{
    ModelTable *t = s->table;
    TRY(flush_batch(s, e));
    report(s, 0);
    rope_release(&t->rows_rope);
    TRY(stream_hash_extra(s->stream, t->data_text.data + t->data_at, t->data_text.len - t->data_at,
                          e));
    TRY(stream_finish(s->stream, &t->rows_rope, &t->data_sha256, e));
    t->rows = rows < 0 ? s->newlines : (uint64_t)rows;
    t->bytes = s->bytes;
    t->done = true;
    return 0;
}
