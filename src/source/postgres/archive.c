#include "source/postgres/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define READ_SIZE 16384 /* small: what is read from the pipe lets pg_dump run on */

struct ArchiveReader {
    ArchiveRead read;
    void *ctx;
    bool in_block; /* a data block's chunks follow */
    bool in_blobs; /* the block holds large objects; an oid or 0 comes next */
    bool compressed;
    uint32_t chunk_left; /* bytes of the current chunk */
    size_t start, end;
    uint8_t buf[READ_SIZE];
};

int archive_reader_new(ArchiveRead read, void *ctx, ArchiveReader **ret_reader)
{
    ArchiveReader *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->read = read;
    r->ctx = ctx;
    *ret_reader = r;
    return 0;
}

void archive_reader_free(ArchiveReader *r)
{
    free(r);
}

static void toc_entry_release(TocEntry *t)
{
    free(t->tag);
    free(t->desc);
    free(t->defn);
    free(t->drop_stmt);
    free(t->copy_stmt);
    free(t->namespace);
    free(t->tablespace);
    free(t->tableam);
    free(t->owner);
    free(t->deps);
}

void archive_release(Archive *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++)
        toc_entry_release(&a->entries[i]);
    free(a->entries);
    free(a->dbname);
    free(a->server_version);
    free(a->tool_version);
    *a = (Archive){0};
}

bool toc_is(const TocEntry *e, const char *desc)
{
    return strcmp(e->desc, desc) == 0;
}

/* 1 when bytes are there, 0 at the end. */
static int fill(ArchiveReader *r, Error *e)
{
    if (r->start < r->end)
        return 1;
    ssize_t n = r->read(r->ctx, r->buf, sizeof(r->buf), e);
    if (n < 0)
        return (int)n;
    r->start = 0;
    r->end = (size_t)n;
    return n > 0;
}

static int truncated(Error *e)
{
    return error_set(e, EPIPE, "the archive ends in the middle");
}

static int read_bytes(ArchiveReader *r, void *data, size_t len, Error *e)
{
    uint8_t *p = data;
    while (len > 0) {
        int more = fill(r, e);
        if (more <= 0)
            return more < 0 ? more : truncated(e);
        size_t n = r->end - r->start < len ? r->end - r->start : len;
        memcpy(p, r->buf + r->start, n);
        r->start += n;
        p += n;
        len -= n;
    }
    return 0;
}

static int read_u8(ArchiveReader *r, uint8_t *ret, Error *e)
{
    return read_bytes(r, ret, 1, e);
}

/* A sign byte and four bytes of magnitude. */
static int read_int(ArchiveReader *r, int64_t *ret, Error *e)
{
    uint8_t b[5];
    int err = read_bytes(r, b, sizeof(b), e);
    if (err < 0)
        return err;
    if (b[0] > 1)
        return error_set(e, EBADMSG, "damaged archive: a number's sign is %u", b[0]);
    int64_t v = load_u32(b + 1);
    *ret = b[0] ? -v : v;
    return 0;
}

static int read_int32(ArchiveReader *r, int32_t *ret, Error *e)
{
    int64_t v = 0;
    int err = read_int(r, &v, e);
    if (err < 0)
        return err;
    if (v < INT32_MIN || v > INT32_MAX)
        return error_set(e, EBADMSG, "damaged archive: a number is out of range");
    *ret = (int32_t)v;
    return 0;
}

/* Allocates as bytes arrive, so that a wrong length costs nothing. Length -1 stands for NULL. */
static int read_str(ArchiveReader *r, char **ret, Error *e)
{
    int32_t len = 0;
    int err = read_int32(r, &len, e);
    if (err < 0)
        return err;
    if (len < -1 || len > (int32_t)ARCHIVE_STRING_MAX)
        return error_set(e, EBADMSG, "damaged archive: a string of %d bytes", len);
    if (len == -1) {
        *ret = NULL;
        return 0;
    }
    _cleanup_(buf_release) Buf b = BUF_INIT;
    for (size_t left = (size_t)len; left > 0;) {
        int more = fill(r, e);
        if (more <= 0)
            return more < 0 ? more : truncated(e);
        size_t n = r->end - r->start < left ? r->end - r->start : left;
        if (memchr(r->buf + r->start, 0, n))
            return error_set(e, EBADMSG, "damaged archive: a zero byte inside a string");
        if (buf_add(&b, r->buf + r->start, n) < 0)
            return error_oom(e);
        r->start += n;
        left -= n;
    }
    char *text = buf_take_cstr(&b);
    if (!text)
        return error_oom(e);
    *ret = text;
    return 0;
}

/* A number written as text, for historical reasons. */
static int read_number(ArchiveReader *r, uint32_t *ret, bool *ret_null, Error *e)
{
    _cleanup_free_ char *text = NULL;
    int err = read_str(r, &text, e);
    if (err < 0)
        return err;
    if (!text && ret_null) {
        *ret_null = true;
        return 0;
    }
    uint64_t v = 0;
    size_t n = text ? strlen(text) : 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || n > 10)
            return error_set(e, EBADMSG, "damaged archive: a number is no number");
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    if (n == 0 || v > UINT32_MAX)
        return error_set(e, EBADMSG, "damaged archive: a number is out of range");
    *ret = (uint32_t)v;
    return 0;
}

static int read_deps(ArchiveReader *r, TocEntry *t, Error *e)
{
    size_t cap = 0;
    for (;;) {
        uint32_t id = 0;
        bool end = false;
        int err = read_number(r, &id, &end, e);
        if (err < 0 || end)
            return err;
        if (id > INT32_MAX)
            return error_set(e, EBADMSG, "damaged archive: a dependency is out of range");
        if (t->n_deps == cap) {
            cap = cap ? cap * 2 : 4;
            int32_t *deps = reallocarray(t->deps, cap, sizeof(*deps));
            if (!deps)
                return error_oom(e);
            t->deps = deps;
        }
        t->deps[t->n_deps++] = (int32_t)id;
    }
}

static int read_offset(ArchiveReader *r, TocEntry *t, Error *e)
{
    uint8_t b[9];
    int err = read_bytes(r, b, sizeof(b), e);
    if (err < 0)
        return err;
    if (b[0] < DATA_POS_NOT_SET || b[0] > DATA_NONE)
        return error_set(e, EBADMSG, "damaged archive: data state %u", b[0]);
    t->data_state = b[0];
    t->data_offset = load_u64(b + 1);
    return 0;
}

static int read_entry(ArchiveReader *r, const Archive *a, TocEntry *t, Error *e)
{
    int32_t had_dumper = 0;
    TRY(read_int32(r, &t->dump_id, e));
    if (t->dump_id <= 0)
        return error_set(e, EBADMSG, "damaged archive: dump id %d", t->dump_id);
    TRY(read_int32(r, &had_dumper, e));
    t->had_dumper = had_dumper != 0;
    TRY(read_number(r, &t->table_oid, NULL, e));
    TRY(read_number(r, &t->oid, NULL, e));
    TRY(read_str(r, &t->tag, e));
    TRY(read_str(r, &t->desc, e));
    if (!t->desc)
        return error_set(e, EBADMSG, "damaged archive: an entry without a type");
    TRY(read_int32(r, &t->section, e));
    TRY(read_str(r, &t->defn, e));
    TRY(read_str(r, &t->drop_stmt, e));
    TRY(read_str(r, &t->copy_stmt, e));
    TRY(read_str(r, &t->namespace, e));
    TRY(read_str(r, &t->tablespace, e));
    TRY(read_str(r, &t->tableam, e));
    if (a->minor >= 16)
        TRY(read_int32(r, &t->relkind, e));
    TRY(read_str(r, &t->owner, e));

    _cleanup_free_ char *with_oids = NULL;
    TRY(read_str(r, &with_oids, e));
    if (!with_oids || strcmp(with_oids, "false") != 0)
        return error_set(e, EPROTONOSUPPORT, "the archive holds a table WITH OIDS");
    TRY(read_deps(r, t, e));
    return read_offset(r, t, e);
}

static int read_head(ArchiveReader *r, Archive *a, Error *e)
{
    uint8_t h[11];
    TRY(read_bytes(r, h, sizeof(h), e));
    if (memcmp(h, "PGDMP", 5) != 0)
        return error_set(e, EBADMSG, "this is no pg_dump archive");
    if (h[5] != 1 || h[6] < ARCHIVE_MINOR_MIN || h[6] > ARCHIVE_MINOR_MAX) {
        error_set(e, EPROTONOSUPPORT, "archive version %u.%u is not supported", h[5], h[6]);
        error_hint(e, "bakfs reads the archives of pg_dump 12 to 18 (1.%d to 1.%d)",
                   ARCHIVE_MINOR_MIN, ARCHIVE_MINOR_MAX);
        return -EPROTONOSUPPORT;
    }
    a->minor = h[6];
    a->rev = h[7];
    if (h[8] != 4 || h[9] != 8)
        return error_set(e, EPROTONOSUPPORT,
                         "the archive was written on a machine with %u-byte numbers and %u-byte "
                         "offsets",
                         h[8], h[9]);
    if (h[10] != 1)
        return error_set(e, EPROTONOSUPPORT, "the archive is not in pg_dump's custom format");
    if (a->minor >= 15) {
        uint8_t algorithm = 0;
        TRY(read_u8(r, &algorithm, e));
        a->compression = algorithm;
    } else {
        TRY(read_int32(r, &a->compression, e));
    }
    for (size_t i = 0; i < 7; i++)
        TRY(read_int32(r, &a->created[i], e));
    TRY(read_str(r, &a->dbname, e));
    TRY(read_str(r, &a->server_version, e));
    return read_str(r, &a->tool_version, e);
}

int archive_read_toc(ArchiveReader *r, Archive *ret_archive, Error *e)
{
    _cleanup_(archive_release) Archive a = {0};
    TRY(read_head(r, &a, e));

    int32_t n = 0;
    TRY(read_int32(r, &n, e));
    if (n < 0 || n > (int32_t)ARCHIVE_TOC_MAX)
        return error_set(e, EBADMSG, "damaged archive: %d entries", n);
    for (size_t cap = 0; a.n < (size_t)n;) {
        if (a.n == cap) {
            cap = cap ? cap * 2 : 64;
            TocEntry *grown = reallocarray(a.entries, cap, sizeof(*grown));
            if (!grown)
                return error_oom(e);
            a.entries = grown;
        }
        TocEntry *t = &a.entries[a.n++];
        *t = (TocEntry){0};
        TRY(read_entry(r, &a, t, e));
    }
    r->compressed = a.compression != 0;
    *ret_archive = a;
    a = (Archive){0};
    return 0;
}

/* The next chunk's length; 0 ends a run of chunks. */
static int next_chunk(ArchiveReader *r, Error *e)
{
    int32_t len = 0;
    TRY(read_int32(r, &len, e));
    if (len < 0)
        return error_set(e, EBADMSG, "damaged archive: a chunk of %d bytes", len);
    r->chunk_left = (uint32_t)len;
    return 0;
}

static int skip_chunks(ArchiveReader *r, Error *e)
{
    do {
        while (r->chunk_left > 0) {
            int more = fill(r, e);
            if (more <= 0)
                return more < 0 ? more : truncated(e);
            size_t n = r->end - r->start;
            n = n < r->chunk_left ? n : r->chunk_left;
            r->start += n;
            r->chunk_left -= (uint32_t)n;
        }
        TRY(next_chunk(r, e));
    } while (r->chunk_left > 0);
    return 0;
}

int archive_next_blob(ArchiveReader *r, uint32_t *ret_oid, Error *e)
{
    if (!r->in_blobs)
        return 0;
    if (r->in_block)
        TRY(skip_chunks(r, e));
    r->in_block = false;
    int64_t oid = 0; /* unsigned in PostgreSQL, but written as a signed number */
    TRY(read_int(r, &oid, e));
    if (oid == 0) {
        r->in_blobs = false;
        return 0;
    }
    TRY(next_chunk(r, e));
    r->in_block = r->chunk_left > 0;
    *ret_oid = (uint32_t)oid;
    return 1;
}

static int skip_block(ArchiveReader *r, Error *e)
{
    uint32_t oid;
    int more = r->in_blobs;
    while (more > 0)
        more = archive_next_blob(r, &oid, e);
    if (more == 0 && r->in_block)
        more = skip_chunks(r, e);
    return more;
}

int archive_next_block(ArchiveReader *r, int *ret_type, int32_t *ret_dump_id, Error *e)
{
    TRY(skip_block(r, e));
    r->in_block = r->in_blobs = false;

    int more = fill(r, e);
    if (more <= 0)
        return more;
    uint8_t type = 0;
    int32_t id = 0;
    TRY(read_u8(r, &type, e));
    if (type != BLOCK_DATA && type != BLOCK_BLOBS)
        return error_set(e, EBADMSG, "damaged archive: data block of type %u", type);
    TRY(read_int32(r, &id, e));
    r->in_blobs = type == BLOCK_BLOBS;
    if (!r->in_blobs) {
        TRY(next_chunk(r, e));
        r->in_block = r->chunk_left > 0;
    }
    *ret_type = type;
    *ret_dump_id = id;
    return 1;
}

int archive_next_bytes(ArchiveReader *r, const uint8_t **ret_data, size_t *ret_len, Error *e)
{
    if (r->compressed)
        return error_set(e, EPROTONOSUPPORT, "the archive's data is compressed");
    if (!r->in_block)
        return 0;
    if (r->chunk_left == 0) {
        TRY(next_chunk(r, e));
        if (r->chunk_left == 0) {
            r->in_block = false;
            return 0;
        }
    }
    int more = fill(r, e);
    if (more <= 0)
        return more < 0 ? more : truncated(e);
    size_t n = r->end - r->start;
    n = n < r->chunk_left ? n : r->chunk_left;
    *ret_data = r->buf + r->start;
    *ret_len = n;
    r->start += n;
    r->chunk_left -= (uint32_t)n;
    return 1;
}
