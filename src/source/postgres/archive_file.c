#include "source/postgres/archive_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "source/postgres/try.h"
#include "tree/rope_node.h"
#include "util/cleanup.h"

#define FRAME_BYTES   (4u << 20)  /* bytes after which a frame ends */
#define FRAME_MAX     (16u << 20) /* bytes of one frame; pg_restore keeps a whole one in memory */
#define FRAME_ENTRIES 256

static void rope_builder_freep(RopeBuilder **b)
{
    rope_builder_free(*b);
}

/* The frame under construction. */
typedef struct Framer {
    RopeBuilder *out;
    ObjectSource *objects;
    uint64_t length;
    unsigned height; /* at least that of every node among the entries */
    size_t n;
    RopeEntry entries[FRAME_ENTRIES];
} Framer;

static int add_encoded(RopeBuilder *b, int r, const Buf *bytes, Error *e)
{
    return r < 0 ? error_oom(e) : rope_builder_literal(b, bytes->data, bytes->len, e);
}

static int end_frame(Framer *f, Error *e)
{
    _cleanup_(buf_release) Buf head = BUF_INIT;
    if (f->n == 0)
        return 0;
    TRY(add_encoded(f->out, archive_encode_length(&head, (uint32_t)f->length), &head, e));
    for (size_t i = 0; i < f->n; i++)
        TRY(rope_builder_part(f->out, &f->entries[i], f->height, e));
    f->n = 0;
    f->length = 0;
    f->height = 0;
    return 0;
}

static int frame_entry(Framer *f, const RopeEntry *entry, unsigned height, Error *e)
{
    if (f->n == FRAME_ENTRIES || f->length + entry->length > FRAME_BYTES)
        TRY(end_frame(f, e));
    f->entries[f->n++] = *entry;
    f->length += entry->length;
    f->height = height > f->height ? height : f->height;
    return 0;
}

static int frame_node(Framer *f, RopeNode *node, Error *e) /* NOLINT(misc-no-recursion) */
{
    while (node->n > 0) {
        RopeEntry entry;
        TRY(rope_node_next(node, &entry, e));
        if (entry.kind != ROPE_NODE || entry.length <= FRAME_MAX) {
            /* How far the child's height is below its parent's is not known here. */
            unsigned height = entry.kind == ROPE_NODE ? node->height - 1 : 0;
            TRY(frame_entry(f, &entry, height, e));
            continue;
        }
        Object *holder = NULL;
        RopeNode child;
        int r = rope_node_child(f->objects, &entry, node->height, &holder, &child, e);
        if (r == 0)
            r = frame_node(f, &child, e); /* heights fall: at most 32 deep */
        if (r == 0)
            r = end_frame(f, e); /* its literals live in the holder */
        object_unref(holder);
        TRY(r);
    }
    return 0;
}

int archive_frame_rows(StoreWriter *w, const Rope *rows, const char *after, Rope *ret_framed,
                       Error *e)
{
    _cleanup_free_ Framer *f = calloc(1, sizeof(*f));
    _cleanup_(rope_builder_freep) RopeBuilder *b = NULL;
    _cleanup_(buf_release) Buf tail = BUF_INIT;
    if (!f || rope_builder_new(w, &b) < 0)
        return error_oom(e);
    f->out = b;
    f->objects = writer_objects(w);
    if (rows->length > 0) {
        RopeNode node;
        TRY(rope_node_open(rows->node.data, rows->node.len, &node, e));
        TRY(frame_node(f, &node, e));
        TRY(end_frame(f, e));
    }
    int r = archive_encode_bytes(&tail, after, strlen(after));
    if (r == 0)
        r = archive_encode_end(&tail);
    TRY(add_encoded(b, r, &tail, e));
    return rope_builder_finish(b, ret_framed, e);
}

/* A copy of the TOC's chosen entries, which borrows everything but the list itself, and for each
 * its data. */
typedef struct Selection {
    Archive archive;
    const Rope **data;
} Selection;

static void selection_release(Selection *s)
{
    free(s->archive.entries);
    free(s->data);
}

static int block_head(const TocEntry *t, Buf *out)
{
    buf_clear(out);
    return archive_encode_block(out, toc_is(t, "BLOBS") ? BLOCK_BLOBS : BLOCK_DATA, t->dump_id);
}

static void set_time(Archive *a, int64_t timestamp)
{
    time_t time = timestamp;
    struct tm tm;
    if (!localtime_r(&time, &tm)) /* as pg_dump; pg_restore takes it so */
        return;
    const int32_t created[7] = {tm.tm_sec, tm.tm_min,  tm.tm_hour, tm.tm_mday,
                                tm.tm_mon, tm.tm_year, tm.tm_isdst};
    memcpy(a->created, created, sizeof(created));
}

static int make_selection(const Archive *toc, const Rope *const *data, const bool *chosen,
                          int64_t timestamp, Selection *ret)
{
    size_t n = 0; /* of a schema among thousands: few */
    for (size_t i = 0; i < toc->n; i++)
        n += !chosen || chosen[i];
    Selection s = {.archive = *toc, .data = calloc(n + 1, sizeof(*s.data))};
    s.archive.entries = calloc(n + 1, sizeof(TocEntry));
    s.archive.n = 0;
    s.archive.compression = 0;
    if (!s.archive.entries || !s.data) {
        selection_release(&s);
        return -ENOMEM;
    }
    for (size_t i = 0; i < toc->n; i++) {
        if (chosen && !chosen[i])
            continue;
        TocEntry *t = &s.archive.entries[s.archive.n];
        *t = toc->entries[i];
        t->data_state = t->had_dumper ? DATA_POS_SET : DATA_NONE;
        t->data_offset = 0;
        s.data[s.archive.n++] = t->had_dumper ? data[i] : NULL;
    }
    set_time(&s.archive, timestamp);
    *ret = s;
    return 0;
}

/* Header and TOC with the offsets of the blocks, which follow it in its order. */
static int encode_toc(Selection *s, Buf *out)
{
    _cleanup_(buf_release) Buf head = BUF_INIT, end = BUF_INIT;
    TRY(archive_encode(&s->archive, out));
    TRY(archive_encode_end(&end));
    uint64_t at = out->len; /* which does not depend on the offsets */
    for (size_t i = 0; i < s->archive.n; i++) {
        TocEntry *t = &s->archive.entries[i];
        if (!t->had_dumper)
            continue;
        t->data_offset = at;
        TRY(block_head(t, &head));
        at += head.len + (s->data[i] ? s->data[i]->length : end.len);
    }
    buf_clear(out);
    return archive_encode(&s->archive, out);
}

/* Where in the encoded TOC the first entry with data begins and the last one ends. */
static int find_data_entries(const Selection *s, size_t toc_len, size_t *ret_from, size_t *ret_to)
{
    _cleanup_(buf_release) Buf entry = BUF_INIT;
    size_t at = toc_len, from = toc_len, to = toc_len;
    for (size_t i = s->archive.n; i-- > 0;) { /* from the back: the header's length is not known */
        const TocEntry *t = &s->archive.entries[i];
        buf_clear(&entry);
        TRY(archive_encode_entry(&s->archive, t, &entry));
        if (t->had_dumper && from == toc_len)
            to = at;
        at -= entry.len;
        if (t->had_dumper)
            from = at;
    }
    *ret_from = from;
    *ret_to = to;
    return 0;
}

static int write_stretch(const SourceRun *run, const Buf *toc, size_t from, size_t to,
                         RopeBuilder *b, Error *e)
{
    _cleanup_(rope_builder_freep) RopeBuilder *own = NULL;
    _cleanup_(rope_release) Rope rope = ROPE_INIT;
    if (to == from)
        return 0;
    if (rope_builder_new(run->writer, &own) < 0)
        return error_oom(e);
    TRY(rope_builder_literal(own, toc->data + from, to - from, e));
    TRY(rope_builder_finish(own, &rope, e));
    return rope_builder_rope(b, &rope, e);
}

/* The TOC in stretches of their own: the time, which is always new; the entries with data, whose
 * offsets change with the tables' lengths; and what stands around those and mostly stays. */
static int write_toc(const SourceRun *run, const Selection *s, const Buf *toc, RopeBuilder *b,
                     Error *e)
{
    size_t head = archive_head_size(&s->archive), from, to;
    RopeEntry time = {.kind = ROPE_LITERAL, .length = head, .literal = toc->data};
    if (find_data_entries(s, toc->len, &from, &to) < 0)
        return error_oom(e);
    TRY(rope_builder_part(b, &time, 0, e));
    TRY(write_stretch(run, toc, head, from, b, e));
    TRY(write_stretch(run, toc, from, to, b, e));
    return write_stretch(run, toc, to, toc->len, b, e);
}

int archive_file_write(const SourceRun *run, const Archive *toc, const Rope *const *data,
                       const bool *chosen, Rope *ret_rope, Error *e)
{
    _cleanup_(selection_release) Selection s = {0};
    _cleanup_(rope_builder_freep) RopeBuilder *b = NULL;
    _cleanup_(buf_release) Buf encoded = BUF_INIT, head = BUF_INIT;
    int r = make_selection(toc, data, chosen, run->timestamp, &s);
    if (r == 0)
        r = encode_toc(&s, &encoded);
    if (r == 0)
        r = rope_builder_new(run->writer, &b);
    if (r < 0)
        return error_oom(e);
    TRY(write_toc(run, &s, &encoded, b, e));
    for (size_t i = 0; i < s.archive.n; i++) {
        if (!s.archive.entries[i].had_dumper)
            continue;
        r = block_head(&s.archive.entries[i], &head);
        if (r == 0 && !s.data[i])
            r = archive_encode_end(&head);
        TRY(add_encoded(b, r, &head, e));
        if (s.data[i])
            TRY(rope_builder_rope(b, s.data[i], e));
    }
    return rope_builder_finish(b, ret_rope, e);
}
