#include "source/postgres/blobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define READ_SIZE (1 << 20) /* bytes of one lo_get, an object of the store */
#define BATCH     32        /* objects whose beginnings one query reads */

/* While reading. */
typedef struct Input {
    Conn *conn;
    BlobWriter *writer;
    SinkShared *shared;
} Input;

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

static int compare_numbers(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

/* Before, each object has an entry of its own. */
static int all_numbers(const Archive *toc, Numbers *ret, Error *e)
{
    ret->oids = calloc(toc->n + 1, sizeof(uint32_t));
    if (!ret->oids)
        return error_oom(e);
    for (size_t i = 0; i < toc->n; i++)
        if (toc_is(&toc->entries[i], "BLOB"))
            ret->oids[ret->n++] = toc->entries[i].oid;
    qsort(ret->oids, ret->n, sizeof(*ret->oids), compare_numbers);
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

static int check_cancel(const SinkShared *shared, Error *e)
{
    const SourceOptions *o = shared->options;
    return o->cancel && atomic_load(o->cancel) ? error_set(e, EINTR, "interrupted") : 0;
}

static void report(const SinkShared *shared, const BlobWriter *w)
{
    const SourceOptions *o = shared->options;
    if (o->progress)
        o->progress(o->ctx, atomic_load(&shared->bytes) + blob_writer_bytes(w), "large objects");
}

/* What follows the first READ_SIZE bytes of a long object. */
static int read_rest(const Input *in, uint32_t oid, Error *e)
{
    char number[16], offset[24], size[16];
    snprintf(number, sizeof(number), "%u", oid);
    snprintf(size, sizeof(size), "%d", READ_SIZE);
    for (uint64_t at = READ_SIZE;; at += READ_SIZE) {
        TRY(check_cancel(in->shared, e));
        snprintf(offset, sizeof(offset), "%llu", (unsigned long long)at);
        _cleanup_(result_clear) PGresult *res = NULL;
        TRY(query_bytes(in->conn, "SELECT lo_get($1::oid, $2::int8, $3::int4)", 3,
                        (const char *[]){number, offset, size}, &res, e));
        size_t n = (size_t)PQgetlength(res, 0, 0);
        TRY(blob_writer_write(in->writer, PQgetvalue(res, 0, 0), n, e));
        if (n < READ_SIZE)
            return 0;
        report(in->shared, in->writer);
    }
}

static int read_batch(const Input *in, const uint32_t *oids, size_t n, Error *e)
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
    TRY(query_bytes(in->conn,
                    "SELECT lo_get(o, 0, $2::int4) FROM unnest($1::pg_catalog.oid[])"
                    " WITH ORDINALITY AS u(o, i) ORDER BY i",
                    2, (const char *[]){(const char *)list.data, size}, &res, e));
    for (size_t i = 0; i < n; i++) {
        size_t len = (size_t)PQgetlength(res, (int)i, 0);
        TRY(blob_writer_begin(in->writer, oids[i], e));
        TRY(blob_writer_write(in->writer, PQgetvalue(res, (int)i, 0), len, e));
        if (len == READ_SIZE)
            TRY(read_rest(in, oids[i], e));
        TRY(blob_writer_end(in->writer, e));
    }
    return 0;
}

int blobs_read(Conn *coordinator, const Archive *toc, const ScriptPart *part, SinkShared *shared,
               BlobData *ret_data, Error *e)
{
    _cleanup_(numbers_release) Numbers l = {0};
    _cleanup_(blob_writer_freep) BlobWriter *w = NULL;
    if (toc->minor >= 16)
        TRY(numbers_of_metadata(toc, part->entry, &l, e));
    else
        TRY(all_numbers(toc, &l, e));
    if (blob_writer_new(shared->run->writer, &part->blob, &w) < 0)
        return error_oom(e);
    const Input in = {.conn = coordinator, .writer = w, .shared = shared};
    for (size_t i = 0; i < l.n; i += BATCH) {
        TRY(check_cancel(shared, e));
        TRY(read_batch(&in, l.oids + i, l.n - i < BATCH ? l.n - i : BATCH, e));
        report(shared, w);
    }
    TRY(blob_writer_finish(w, ret_data, e));
    atomic_fetch_add(&shared->bytes, ret_data->bytes);
    return 0;
}

int blobs_read_block(ArchiveReader *r, const ScriptPart *part, SinkShared *shared,
                     BlobData *ret_data, Error *e)
{
    _cleanup_(blob_writer_freep) BlobWriter *w = NULL;
    if (blob_writer_new(shared->run->writer, &part->blob, &w) < 0)
        return error_oom(e);
    uint32_t oid;
    int more;
    while ((more = archive_next_blob(r, &oid, e)) > 0) {
        const uint8_t *data;
        size_t len;
        TRY(blob_writer_begin(w, oid, e));
        while ((more = archive_next_bytes(r, &data, &len, e)) > 0)
            TRY(blob_writer_write(w, data, len, e));
        TRY(more);
        TRY(blob_writer_end(w, e));
        report(shared, w);
    }
    TRY(more);
    TRY(blob_writer_finish(w, ret_data, e));
    atomic_fetch_add(&shared->bytes, ret_data->bytes);
    return 0;
}
