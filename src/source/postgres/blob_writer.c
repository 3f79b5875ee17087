#include "source/postgres/blob_writer.h"

#include <errno.h>
#include <stdlib.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define COMMAND_SIZE 16384               /* bytes of one lowrite, as pg_restore's */
#define PIECE_SIZE   (64 * COMMAND_SIZE) /* bytes of one stored object */
#define SMALL_MAX    4096                /* up to so many bytes several are stored together */
#define POOL_SIZE    (256u << 10)        /* bytes of one object of several */
#define POOL_ONE_IN  1024                /* numbers after which a pool ends, to meet again */

_Static_assert(PIECE_SIZE <= OBJECT_MAX, "a piece is one stored object");
_Static_assert(SMALL_MAX <= COMMAND_SIZE, "a small one is written at once");

/* A large object in the pool. */
typedef struct Small {
    uint32_t oid, at, len;
} Small;

struct BlobWriter {
    StoreWriter *writer;
    const BlobTemplate *template;
    RopeBuilder *script, *archive;
    uint64_t bytes;
    uint32_t oid;
    bool is_open; /* its beginning is written */
    Buf piece;    /* bytes of it that are not */
    Buf pool;     /* small ones as they stand in an archive, not stored yet */
    Buf small;    /* of Small: what the pool holds */
};

void blob_data_release(BlobData *d)
{
    if (!d)
        return;
    rope_release(&d->script);
    rope_release(&d->archive);
    *d = (BlobData){0};
}

int blob_writer_new(StoreWriter *w, const BlobTemplate *t, BlobWriter **ret_writer)
{
    _cleanup_(blob_writer_freep) BlobWriter *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->writer = w;
    b->template = t;
    TRY(rope_builder_new(w, &b->script));
    TRY(rope_builder_new(w, &b->archive));
    *ret_writer = TAKE_PTR(b);
    return 0;
}

void blob_writer_free(BlobWriter *b)
{
    if (!b)
        return;
    rope_builder_free(b->script);
    rope_builder_free(b->archive);
    buf_release(&b->piece);
    buf_release(&b->pool);
    buf_release(&b->small);
    free(b);
}

uint64_t blob_writer_bytes(const BlobWriter *b)
{
    return b->bytes;
}

static int script_text(BlobWriter *b, Text t, Error *e)
{
    return t.len ? rope_builder_literal(b->script, t.p, t.len, e) : 0;
}

static int script_open(BlobWriter *b, uint32_t oid, Error *e)
{
    char number[16];
    int digits = snprintf(number, sizeof(number), "%u", oid);
    TRY(script_text(b, b->template->open_a, e));
    TRY(rope_builder_literal(b->script, number, (size_t)digits, e));
    return script_text(b, b->template->open_b, e);
}

static int script_write(BlobWriter *b, const ObjectId *id, uint32_t at, uint32_t len, Error *e)
{
    TRY(script_text(b, b->template->write_a, e));
    TRY(rope_builder_hex(b->script, id, at, len, e));
    return script_text(b, b->template->write_b, e);
}

/* `r` is of the encoding into `bytes`, which becomes empty. */
static int archive_bytes(BlobWriter *b, int r, Buf *bytes, Error *e)
{
    if (r == 0)
        r = rope_builder_literal(b->archive, bytes->data, bytes->len, e);
    else
        r = error_oom(e);
    buf_clear(bytes);
    return r;
}

static int flush_pool(BlobWriter *b, Error *e)
{
    const Small *small = (const Small *)(const void *)b->small.data;
    ObjectId id;
    if (b->pool.len == 0)
        return 0;
    TRY(writer_put(b->writer, OBJECT_DATA, b->pool.data, b->pool.len, &id, e));
    TRY(rope_builder_object(b->archive, &id, (uint32_t)b->pool.len, e));
    for (size_t i = 0; i < b->small.len / sizeof(Small); i++) {
        TRY(script_open(b, small[i].oid, e));
        if (small[i].len > 0)
            TRY(script_write(b, &id, small[i].at, small[i].len, e));
        TRY(script_text(b, b->template->close, e));
    }
    buf_clear(&b->pool);
    buf_clear(&b->small);
    return 0;
}

static int add_to_pool(BlobWriter *b, Error *e)
{
    Small s = {.oid = b->oid, .len = (uint32_t)b->piece.len};
    int r = archive_encode_oid(&b->pool, b->oid);
    if (r == 0 && s.len > 0)
        r = archive_encode_bytes(&b->pool, b->piece.data, s.len);
    s.at = (uint32_t)b->pool.len - s.len;
    if (r == 0)
        r = archive_encode_end(&b->pool);
    if (r == 0)
        r = buf_add(&b->small, &s, sizeof(s));
    if (r < 0)
        return error_oom(e);
    bool ends = b->pool.len >= POOL_SIZE || b->oid * 2654435761u < UINT32_MAX / POOL_ONE_IN;
    return ends ? flush_pool(b, e) : 0;
}

/* Up to PIECE_SIZE bytes of a large object that is not small. All pieces but its last are full. */
static int write_piece(BlobWriter *b, const uint8_t *data, size_t len, Error *e)
{
    _cleanup_(buf_release) Buf bytes = BUF_INIT;
    ObjectId id;
    if (!b->is_open) {
        TRY(flush_pool(b, e));
        TRY(script_open(b, b->oid, e));
        TRY(archive_bytes(b, archive_encode_oid(&bytes, b->oid), &bytes, e));
        b->is_open = true;
    }
    if (len == 0)
        return 0;
    TRY(writer_put(b->writer, OBJECT_DATA, data, len, &id, e));
    TRY(archive_bytes(b, archive_encode_length(&bytes, (uint32_t)len), &bytes, e));
    TRY(rope_builder_object(b->archive, &id, (uint32_t)len, e));
    for (size_t at = 0; at < len; at += COMMAND_SIZE) {
        size_t n = len - at < COMMAND_SIZE ? len - at : COMMAND_SIZE;
        TRY(script_write(b, &id, (uint32_t)at, (uint32_t)n, e));
    }
    return 0;
}

int blob_writer_begin(BlobWriter *b, uint32_t oid, Error *e)
{
    if (oid == 0) /* it would end the block */
        return error_set(e, EBADMSG, "a large object has the number 0");
    b->oid = oid;
    b->is_open = false;
    return 0;
}

int blob_writer_write(BlobWriter *b, const void *data, size_t len, Error *e)
{
    const uint8_t *p = data;
    b->bytes += len;
    while (len > 0) {
        size_t room = PIECE_SIZE - b->piece.len, n = len < room ? len : room;
        if (n == PIECE_SIZE) {
            TRY(write_piece(b, p, n, e));
        } else {
            if (buf_add(&b->piece, p, n) < 0)
                return error_oom(e);
            if (b->piece.len == PIECE_SIZE) {
                TRY(write_piece(b, b->piece.data, b->piece.len, e));
                buf_clear(&b->piece);
            }
        }
        p += n;
        len -= n;
    }
    return 0;
}

int blob_writer_end(BlobWriter *b, Error *e)
{
    _cleanup_(buf_release) Buf bytes = BUF_INIT;
    int r;
    if (!b->is_open && b->piece.len <= SMALL_MAX) {
        r = add_to_pool(b, e);
        buf_clear(&b->piece);
        return r;
    }
    r = write_piece(b, b->piece.data, b->piece.len, e);
    buf_clear(&b->piece);
    TRY(r);
    TRY(script_text(b, b->template->close, e));
    return archive_bytes(b, archive_encode_end(&bytes), &bytes, e);
}

int blob_writer_finish(BlobWriter *b, BlobData *ret_data, Error *e)
{
    _cleanup_(buf_release) Buf bytes = BUF_INIT;
    _cleanup_(blob_data_release) BlobData d = {.bytes = b->bytes};
    TRY(flush_pool(b, e));
    TRY(archive_bytes(b, archive_encode_end(&bytes), &bytes, e));
    TRY(rope_builder_finish(b->script, &d.script, e));
    TRY(rope_builder_finish(b->archive, &d.archive, e));
    *ret_data = d;
    d = (BlobData){0};
    return 0;
}
