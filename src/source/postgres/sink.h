/* Sink: takes one table's rows and makes them a rope, counted and hashed. */
#pragma once

#include <stdatomic.h>

#include "source/postgres/model.h"
#include "source/source.h"
#include "tree/stream.h"

/* What all sinks of a run share. Thread-safe. */
typedef struct SinkShared {
    const SourceRun *run;
    const SourceOptions *options;
    atomic_ullong bytes; /* read so far */
    atomic_ullong done;  /* of `total`, in bytes on the server's disk: an estimate */
    uint64_t total;      /* 0: not known */
} SinkShared;

/* So much more is done. */
void sink_shared_done(SinkShared *s, uint64_t size);

typedef struct Sink Sink;

/* 0 or -errno. Not thread-safe; one per thread. */
int sink_new(SinkShared *shared, Sink **ret_sink, Error *e);
void sink_free(Sink *s); /* NULL is allowed */
static inline void sink_freep(Sink **s)
{
    sink_free(*s);
}

/* Begin a table; its data_text must be set. */
int sink_begin(Sink *s, ModelTable *t, Error *e);

/* Whole rows or pieces of them. */
int sink_write(Sink *s, const void *data, size_t len, Error *e);

/* End it and fill the table's results. `rows` < 0: count the newlines. */
int sink_end(Sink *s, int64_t rows, Error *e);
