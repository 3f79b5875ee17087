#include "source/postgres/blobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define WRITE_SIZE 16384             /* bytes of one lowrite, as pg_restore's */
#define READ_SIZE  (64 * WRITE_SIZE) /* bytes of one lo_get and of one stored object */
#define SMALL_SIZE 512               /* up to so many bytes a stored object does not pay */
#define BATCH      32                /* objects whose beginnings one query reads */

_Static_assert(READ_SIZE <= OBJECT_MAX, "what is read at once is stored at once");

/* While writing: the script's rope, which prints stored bytes in hexadecimal. */
typedef struct Output {
    StoreWriter *writer;
    RopeBuilder *rope;
    const BlobTemplate *template;
    const SourceOptions *options;
    uint64_t bytes; /* of large objects */
} Output;

typedef struct Numbers {
    size_t n;
    uint32_t *oids; /* owned */
} Numbers;

static void numbers_release(Numbers *l)
{
    free(l->oids);
}

static const TocEntry *entry_by_id(const Archive *toc, int32_t dump_id)
{
    for (size_t i = 0; i < toc->n; i++)
        if (toc->entries[i].dump_id == dump_id)
            return &toc->entries[i];
    return NULL;
}

/* From 1.16 on a BLOBS entry depends on one whose definition lists the objects, a line each. */
static int numbers_of_metadata(const Archive *toc, const TocEntry *blobs, Numbers *ret, Error *e)
{
    const TocEntry *metadata = NULL;
    for (size_t i = 0; i < blobs->n_deps && !metadata; i++) {
        const TocEntry *t = entry_by_id(toc, blobs->deps[i]);
        if (t && toc_is(t, "BLOB METADATA"))
            metadata = t;
    }
    if (!metadata || !metadata->defn)
        return error_set(e, EBADMSG, "pg_dump did not say which large objects there are");
    size_t lines = 1;
    for (const char *p = metadata->defn; *p; p++)
        lines += *p == '\n';
    ret->oids = calloc(lines, sizeof(uint32_t));
    if (!ret->oids)
        return error_oom(e);
    for (const char *p = metadata->defn; *p;) {
        char *end;
        unsigned long oid = strtoul(p, &end, 10);
        if (end == p || oid == 0 || oid > UINT32_MAX || ret->n >= lines)
            return error_set(e, EBADMSG, "pg_dump's list of large objects is not understood");
        ret->oids[ret->n++] = (uint32_t)oid;
        p = end + strspn(end, "\n");
    }
    return 0;
}

static int all_numbers(Conn *c, Numbers *ret, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(c, "SELECT oid FROM pg_largeobject_metadata ORDER BY oid", 0, NULL, &res, e));
    size_t n = (size_t)PQntuples(res);
    ret->oids = calloc(n + 1, sizeof(uint32_t));
    if (!ret->oids)
        return error_oom(e);
    for (; ret->n < n; ret->n++)
        ret->oids[ret->n] = (uint32_t)strtoul(PQgetvalue(res, (int)ret->n, 0), NULL, 10);
    return 0;
}

static int write_text(Output *o, Text t, Error *e)
{
    return t.len ? rope_builder_literal(o->rope, t.p, t.len, e) : 0;
}

static int write_small(Output *o, const uint8_t *data, size_t len, Error *e)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * SMALL_SIZE];
    for (size_t i = 0; i < len; i++) {
        hex[2 * i] = digits[data[i] >> 4];
        hex[2 * i + 1] = digits[data[i] & 15];
    }
    TRY(write_text(o, o->template->write_a, e));
    TRY(rope_builder_literal(o->rope, hex, 2 * len, e));
    return write_text(o, o->template->write_b, e);
}

/* Up to READ_SIZE bytes as lowrite commands. All calls but an object's last bring READ_SIZE. */
static int write_bytes(Output *o, const uint8_t *data, size_t len, Error *e)
{
    o->bytes += len;
    if (len == 0)
        return 0;
    if (len <= SMALL_SIZE)
        return write_small(o, data, len, e);
    ObjectId id;
    TRY(writer_put(o->writer, OBJECT_DATA, data, len, &id, e));
    for (size_t at = 0; at < len; at += WRITE_SIZE) {
        size_t n = len - at < WRITE_SIZE ? len - at : WRITE_SIZE;
        TRY(write_text(o, o->template->write_a, e));
        TRY(rope_builder_hex(o->rope, &id, (uint32_t)at, (uint32_t)n, e));
        TRY(write_text(o, o->template->write_b, e));
    }
    return 0;
}

/* Run `sql` for rows of bytes in binary. */
static int query_bytes(Conn *c, const char *sql, int n_params, const char *const *params,
                       PGresult **ret, Error *e)
{
    _cleanup_(result_clear) PGresult *res =
        PQexecParams(conn_pg(c), sql, n_params, NULL, params, NULL, NULL, 1);
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        int r = conn_error(c, res, e);
        error_prefix(e, "large objects");
        return r;
    }
    *ret = TAKE_PTR(res);
    return 0;
}

static int check_cancel(const Output *o, Error *e)
{
    const SourceOptions *so = o->options;
    return so->cancel && atomic_load(so->cancel) ? error_set(e, EINTR, "interrupted") : 0;
}

/* What follows the first READ_SIZE bytes of a long object. */
static int write_rest(Output *o, Conn *c, uint32_t oid, Error *e)
{
    char number[16], offset[24], size[16];
    snprintf(number, sizeof(number), "%u", oid);
    snprintf(size, sizeof(size), "%d", READ_SIZE);
    for (uint64_t at = READ_SIZE;; at += READ_SIZE) {
        TRY(check_cancel(o, e));
        snprintf(offset, sizeof(offset), "%llu", (unsigned long long)at);
        _cleanup_(result_clear) PGresult *res = NULL;
        TRY(query_bytes(c, "SELECT lo_get($1::oid, $2::int8, $3::int4)", 3,
                        (const char *[]){number, offset, size}, &res, e));
        size_t n = (size_t)PQgetlength(res, 0, 0);
        TRY(write_bytes(o, (const uint8_t *)PQgetvalue(res, 0, 0), n, e));
        if (n < READ_SIZE)
            return 0;
    }
}

static int write_batch(Output *o, Conn *c, const uint32_t *oids, size_t n, Error *e)
{
    _cleanup_(buf_release) Buf list = BUF_INIT;
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = buf_addf(&list, "%c%u", i ? ',' : '{', oids[i]);
    if (r == 0)
        r = buf_add_str(&list, "}");
    char size[16];
    snprintf(size, sizeof(size), "%d", READ_SIZE);
    if (r < 0 || !buf_cstr(&list))
        return error_oom(e);
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(query_bytes(c,
                    "SELECT lo_get(o, 0, $2::int4) FROM unnest($1::pg_catalog.oid[])"
                    " WITH ORDINALITY AS u(o, i) ORDER BY i",
                    2, (const char *[]){(const char *)list.data, size}, &res, e));
    for (size_t i = 0; i < n; i++) {
        size_t len = (size_t)PQgetlength(res, (int)i, 0);
        char number[16];
        int digits = snprintf(number, sizeof(number), "%u", oids[i]);
        TRY(write_text(o, o->template->open_a, e));
        TRY(rope_builder_literal(o->rope, number, (size_t)digits, e));
        TRY(write_text(o, o->template->open_b, e));
        TRY(write_bytes(o, (const uint8_t *)PQgetvalue(res, (int)i, 0), len, e));
        if (len == READ_SIZE)
            TRY(write_rest(o, c, oids[i], e));
        TRY(write_text(o, o->template->close, e));
    }
    return 0;
}

static void rope_builder_freep(RopeBuilder **b)
{
    rope_builder_free(*b);
}

int blobs_read(Conn *coordinator, const Archive *toc, const ScriptPart *part, SinkShared *shared,
               Rope *ret_rope, uint64_t *ret_bytes, Error *e)
{
    _cleanup_(numbers_release) Numbers l = {0};
    _cleanup_(rope_builder_freep) RopeBuilder *rope = NULL;
    const SourceOptions *so = shared->options;
    if (toc->minor >= 16)
        TRY(numbers_of_metadata(toc, part->entry, &l, e));
    else
        TRY(all_numbers(coordinator, &l, e));
    if (rope_builder_new(shared->run->writer, &rope) < 0)
        return error_oom(e);
    Output o = {
        .writer = shared->run->writer, .rope = rope, .template = &part->blob, .options = so};
    for (size_t i = 0; i < l.n; i += BATCH) {
        TRY(check_cancel(&o, e));
        TRY(write_batch(&o, coordinator, l.oids + i, l.n - i < BATCH ? l.n - i : BATCH, e));
        if (so->progress)
            so->progress(so->ctx, atomic_load(&shared->bytes) + o.bytes, "large objects");
    }
    TRY(rope_builder_finish(rope, ret_rope, e));
    atomic_fetch_add(&shared->bytes, o.bytes);
    *ret_bytes = o.bytes;
    return 0;
}
