#include "source/postgres/blobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define WRITE_SIZE 16384             /* bytes of one lowrite, as pg_restore's */
#define READ_SIZE  (64 * WRITE_SIZE) /* bytes of one lo_get */
#define BATCH      32                /* objects whose beginnings one query reads */

typedef struct Numbers {
    size_t n;
    uint32_t *oids; /* owned */
} Numbers;

static void numbers_release(Numbers *l)
{
    free(l->oids);
}

static void stream_freep(Stream **s)
{
    stream_free(*s);
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

static int write_text(Stream *s, Text t, Error *e)
{
    return t.len ? stream_write(s, t.p, t.len, e) : 0;
}

/* The bytes as lowrite commands. All calls but an object's last bring multiples of WRITE_SIZE. */
static int write_bytes(Stream *s, const BlobTemplate *b, const uint8_t *data, size_t len, Error *e)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * WRITE_SIZE];
    while (len > 0) {
        size_t n = len < WRITE_SIZE ? len : WRITE_SIZE;
        for (size_t i = 0; i < n; i++) {
            hex[2 * i] = digits[data[i] >> 4];
            hex[2 * i + 1] = digits[data[i] & 15];
        }
        TRY(write_text(s, b->write_a, e));
        TRY(stream_write(s, hex, 2 * n, e));
        TRY(write_text(s, b->write_b, e));
        data += n;
        len -= n;
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

/* What follows the first READ_SIZE bytes of a long object. */
static int write_rest(Conn *c, Stream *s, const BlobTemplate *b, uint32_t oid, uint64_t *bytes,
                      const SourceOptions *o, Error *e)
{
    char number[16], offset[24], size[16];
    snprintf(number, sizeof(number), "%u", oid);
    snprintf(size, sizeof(size), "%d", READ_SIZE);
    for (uint64_t at = READ_SIZE;; at += READ_SIZE) {
        if (o->cancel && atomic_load(o->cancel))
            return error_set(e, EINTR, "interrupted");
        snprintf(offset, sizeof(offset), "%llu", (unsigned long long)at);
        _cleanup_(result_clear) PGresult *res = NULL;
        TRY(query_bytes(c, "SELECT lo_get($1::oid, $2::int8, $3::int4)", 3,
                        (const char *[]){number, offset, size}, &res, e));
        size_t n = (size_t)PQgetlength(res, 0, 0);
        TRY(write_bytes(s, b, (const uint8_t *)PQgetvalue(res, 0, 0), n, e));
        *bytes += n;
        if (n < READ_SIZE)
            return 0;
    }
}

static int write_batch(Conn *c, Stream *s, const BlobTemplate *b, const uint32_t *oids, size_t n,
                       uint64_t *bytes, const SourceOptions *o, Error *e)
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
        snprintf(number, sizeof(number), "%u", oids[i]);
        TRY(write_text(s, b->open_a, e));
        TRY(stream_write(s, number, strlen(number), e));
        TRY(write_text(s, b->open_b, e));
        TRY(write_bytes(s, b, (const uint8_t *)PQgetvalue(res, (int)i, 0), len, e));
        *bytes += len;
        if (len == READ_SIZE)
            TRY(write_rest(c, s, b, oids[i], bytes, o, e));
        TRY(write_text(s, b->close, e));
    }
    return 0;
}

int blobs_read(Conn *coordinator, const Archive *toc, const ScriptPart *part, SinkShared *shared,
               Rope *ret_rope, uint64_t *ret_bytes, Error *e)
{
    _cleanup_(numbers_release) Numbers l = {0};
    _cleanup_(stream_freep) Stream *s = NULL;
    uint64_t bytes = 0;
    if (toc->minor >= 16)
        TRY(numbers_of_metadata(toc, part->entry, &l, e));
    else
        TRY(all_numbers(coordinator, &l, e));
    TRY(stream_new(shared->run->writer, (CutRule){.kind = CUT_ROWS}, &s, e));
    for (size_t i = 0; i < l.n; i += BATCH) {
        const SourceOptions *o = shared->options;
        size_t n = l.n - i < BATCH ? l.n - i : BATCH;
        if (o->cancel && atomic_load(o->cancel))
            return error_set(e, EINTR, "interrupted");
        TRY(write_batch(coordinator, s, &part->blob, l.oids + i, n, &bytes, o, e));
        if (o->progress)
            o->progress(o->ctx, atomic_load(&shared->bytes) + bytes, "large objects");
    }
    TRY(stream_finish(s, ret_rope, NULL, e));
    atomic_fetch_add(&shared->bytes, bytes);
    *ret_bytes = bytes;
    return 0;
}
