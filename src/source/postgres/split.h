/* Split: a large table read by several connections at once, each by ranges of its blocks, and put
 * together again before it is cut into chunks: what is stored does not tell the difference. */
#pragma once

#include <stdatomic.h>

#include "source/postgres/conn.h"
#include "source/postgres/joiner.h"
#include "source/postgres/model.h"
#include "source/postgres/sink.h"

typedef struct Split {
    ModelTable *table;
    Joiner *joiner;
    Sink *sink;
    uint64_t blocks; /* of one piece */
    size_t pieces;
    atomic_ullong rows;
} Split;

/* Whether a table is worth it, and can be read so: heap only, without a clause, and of servers
 * from 14 on, which find a range of blocks without reading what comes before. */
bool split_pays(const ModelTable *t, uint64_t piece_size);

/* `should_stop` as for the joiner. */
int split_new(SinkShared *shared, ModelTable *t, uint64_t piece_size,
              bool (*should_stop)(void *ctx), void *ctx, Split **ret_split, Error *e);
void split_free(Split *s); /* NULL is allowed */

/* The COPY command of one piece. The last is open: the table may have grown since it was measured.
 */
int split_sql(const Split *s, size_t piece, Buf *out, Error *e);

/* One connection's part in it. */
typedef struct SplitWriter {
    Split *split;
    size_t piece;
    size_t fill;
    uint8_t batch[128u << 10]; /* rows are short: lock for many at once */
} SplitWriter;

/* Rows of the piece that the writer was set to (fill must be 0 at its start). */
int split_write(SplitWriter *w, const void *data, size_t len, Error *e);

/* End of the piece. Whoever ends the last one also ends the table. */
int split_end(SplitWriter *w, uint64_t rows, Error *e);
