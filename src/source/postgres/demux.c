/* Reading every table from one pg_dump stream. */
#include <errno.h>
#include <string.h>

#include "source/postgres/copy.h"
#include "source/postgres/script.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

#define END_LEN (sizeof(COPY_END) - 1)

/* The last bytes seen, kept back until it is known whether they are the end mark. */
typedef struct Tail {
    uint8_t bytes[END_LEN];
    size_t len;
} Tail;

static int write_but_tail(Sink *sink, Tail *t, const uint8_t *data, size_t len, Error *e)
{
    if (t->len + len <= END_LEN) {
        memcpy(t->bytes + t->len, data, len);
        t->len += len;
        return 0;
    }
    size_t out = t->len + len - END_LEN; /* may leave the tail now */
    size_t from_tail = out < t->len ? out : t->len;
    TRY(sink_write(sink, t->bytes, from_tail, e));
    memmove(t->bytes, t->bytes + from_tail, t->len - from_tail);
    t->len -= from_tail;
    TRY(sink_write(sink, data, out - from_tail, e));
    memcpy(t->bytes + t->len, data + (out - from_tail), len - (out - from_tail));
    t->len = END_LEN;
    return 0;
}

static int read_table(Snapshot *s, Sink *sink, ModelTable *t, Error *e)
{
    Tail tail = {.len = 0};
    TRY(sink_begin(sink, t, e));
    for (;;) {
        const uint8_t *data;
        size_t len;
        int r = archive_next_bytes(s->reader, &data, &len, e);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        TRY(write_but_tail(sink, &tail, data, len, e));
    }
    if (tail.len != END_LEN || memcmp(tail.bytes, COPY_END, END_LEN) != 0)
        return error_set(e, EBADMSG, "pg_dump's data of table %s.%s has no end", t->schema,
                         t->name);
    return sink_end(sink, -1, e);
}

static ModelTable *table_of_dump_id(Model *m, int32_t dump_id)
{
    for (size_t i = 0; i < m->n_tables; i++) {
        ModelTable *t = &m->tables[i];
        if (t->data != MODEL_NONE && m->toc->entries[t->data].dump_id == dump_id)
            return t;
    }
    return NULL;
}

/* Large objects of one entry, unless it has none or had its turn. */
static int read_blobs(const CopyOptions *o, Snapshot *s, const Script *script, int32_t dump_id,
                      BlobData *blobs, Error *e)
{
    for (size_t i = 0; i < script->n; i++)
        if (script->parts[i].entry->dump_id == dump_id && blobs[i].archive.length == 0)
            return blobs_read_block(s->reader, &script->parts[i], o->shared, &blobs[i], e);
    return error_set(e, EBADMSG, "pg_dump gave large objects that its contents don't list");
}

static int read_blocks(const CopyOptions *o, Snapshot *s, Model *m, const Script *script,
                       BlobData *blobs, Error *e)
{
    _cleanup_(sink_freep) Sink *sink = NULL;
    TRY(sink_new(o->shared, &sink, e));
    for (;;) {
        int type;
        int32_t dump_id;
        int r = archive_next_block(s->reader, &type, &dump_id, e);
        if (r <= 0)
            return r;
        ModelTable *t = type == BLOCK_DATA ? table_of_dump_id(m, dump_id) : NULL;
        if (type == BLOCK_BLOBS)
            TRY(read_blobs(o, s, script, dump_id, blobs, e));
        else if (t)
            TRY(read_table(s, sink, t, e));
    }
}

int copy_from_dump(const CopyOptions *o, Snapshot *s, Model *m, const Script *script,
                   BlobData *blobs, Error *e)
{
    Error why = ERROR_INIT;
    int r = read_blocks(o, s, m, script, blobs, &why);
    if (r < 0 && r != -EPIPE && r != -EBADMSG)
        return error_move(e, &why);
    TRY(snapshot_dump_failed(s, &why, e)); /* when the stream broke, pg_dump knows the reason */
    for (size_t i = 0; i < m->n_tables; i++)
        if (m->tables[i].data != MODEL_NONE && !m->tables[i].done)
            return error_set(e, EBADMSG, "pg_dump gave no data of table %s.%s", m->tables[i].schema,
                             m->tables[i].name);
    for (size_t i = 0; i < script->n; i++)
        if (toc_is(script->parts[i].entry, "BLOBS") && blobs[i].archive.length == 0)
            return error_set(e, EBADMSG, "pg_dump gave no data of the large objects");
    return 0;
}
