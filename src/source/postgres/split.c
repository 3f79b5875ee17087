#include "source/postgres/split.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define BUDGET     (64u << 20) /* bytes of text that wait for their turn */
#define MIN_PIECES 16          /* with fewer the table is read as it is */
#define MAX_PIECES (1u << 20)

bool split_pays(const ModelTable *t, uint64_t piece_size)
{
    return t->range_sql && t->blocks >= 2 && t->size / piece_size >= MIN_PIECES;
}

static int write_sink(void *ctx, const void *data, size_t len, Error *e)
{
    return sink_write(ctx, data, len, e);
}

int split_new(SinkShared *shared, ModelTable *t, uint64_t piece_size,
              bool (*should_stop)(void *ctx), void *ctx, Split **ret_split, Error *e)
{
    Split *s = calloc(1, sizeof(*s));
    if (!s)
        return error_oom(e);
    s->table = t;
    /* By all that a table takes, its large values included, though only blocks can be counted. */
    uint64_t pieces = t->size / piece_size;
    if (pieces > t->blocks)
        pieces = t->blocks;
    if (pieces > MAX_PIECES)
        pieces = MAX_PIECES;
    s->blocks = t->blocks / pieces;
    s->pieces = (size_t)(t->blocks / s->blocks);
    int r = sink_new(shared, &s->sink, e);
    if (r == 0 && joiner_new(&(JoinerOptions){.pieces = s->pieces,
                                              .budget = BUDGET,
                                              .write = write_sink,
                                              .should_stop = should_stop,
                                              .write_ctx = s->sink,
                                              .stop_ctx = ctx},
                             &s->joiner) < 0)
        r = error_oom(e);
    if (r == 0)
        r = sink_begin(s->sink, t, e);
    if (r < 0) {
        split_free(s);
        return r;
    }
    *ret_split = s;
    return 0;
}

void split_free(Split *s)
{
    if (!s)
        return;
    joiner_free(s->joiner);
    sink_free(s->sink);
    free(s);
}

int split_sql(const Split *s, size_t piece, Buf *out, Error *e)
{
    bool is_last = piece + 1 == s->pieces;
    unsigned long long from = piece * s->blocks, to = from + s->blocks;
    int r = buf_addf(out, "COPY (%s WHERE ctid >= '(%llu,0)'", s->table->range_sql, from);
    if (r == 0 && !is_last)
        r = buf_addf(out, " AND ctid < '(%llu,0)'", to);
    if (r == 0)
        r = buf_add_str(out, ") TO STDOUT");
    return r < 0 ? error_oom(e) : 0;
}

static int flush(SplitWriter *w, Error *e)
{
    size_t n = w->fill;
    w->fill = 0;
    return n ? joiner_write(w->split->joiner, w->piece, w->batch, n, e) : 0;
}

int split_write(SplitWriter *w, const void *data, size_t len, Error *e)
{
    if (len > sizeof(w->batch) - w->fill)
        TRY(flush(w, e));
    if (len > sizeof(w->batch))
        return joiner_write(w->split->joiner, w->piece, data, len, e);
    memcpy(w->batch + w->fill, data, len);
    w->fill += len;
    return 0;
}

int split_end(SplitWriter *w, uint64_t rows, Error *e)
{
    Split *s = w->split;
    TRY(flush(w, e));
    atomic_fetch_add(&s->rows, rows);
    int r = joiner_end(s->joiner, w->piece, e);
    return r > 0 ? sink_end(s->sink, (int64_t)atomic_load(&s->rows), e) : r;
}
