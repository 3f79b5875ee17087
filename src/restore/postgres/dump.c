#include "restore/postgres/dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

static ssize_t read_archive(void *ctx, void *data, size_t len, Error *e)
{
    return reader_read(ctx, data, len, e);
}

int dump_toc(const Content *c, Archive *ret_toc, Error *e)
{
    _cleanup_(reader_closep) Reader *r = NULL;
    ArchiveReader *archive = NULL;
    int err = content_file(c, DUMP_NAME, &r, e);
    if (err == -ENOENT) {
        error_set(e, ENOENT, "the backup holds no " DUMP_NAME);
        error_hint(e,
                   "mount the store and use psql: psql -v ON_ERROR_STOP=1 -f "
                   "MOUNT/by-id/%s/restore.sql",
                   c->backup->id);
    }
    if (err < 0)
        return err;
    if (archive_reader_new(read_archive, r, &archive) < 0)
        return error_oom(e);
    err = archive_read_toc(archive, ret_toc, e);
    archive_reader_free(archive);
    if (err < 0)
        error_prefix(e, DUMP_NAME);
    return err;
}

static int compare_offsets(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static bool has_data(const TocEntry *t)
{
    return t->had_dumper && t->data_state == DATA_POS_SET;
}

int dump_sizes(const Content *c, const Archive *toc, uint64_t **ret_sizes, Error *e)
{
    _cleanup_(reader_closep) Reader *r = NULL;
    TRY(content_file(c, DUMP_NAME, &r, e));
    _cleanup_free_ uint64_t *offsets = calloc(toc->n + 1, sizeof(*offsets));
    _cleanup_free_ uint64_t *sizes = calloc(toc->n + 1, sizeof(*sizes));
    if (!offsets || !sizes)
        return error_oom(e);
    size_t n = 0;
    for (size_t i = 0; i < toc->n; i++)
        if (has_data(&toc->entries[i]))
            offsets[n++] = toc->entries[i].data_offset;
    qsort(offsets, n, sizeof(*offsets), compare_offsets);
    offsets[n] = reader_size(r);
    for (size_t i = 0; i < toc->n; i++) {
        if (!has_data(&toc->entries[i]))
            continue;
        const uint64_t *at =
            bsearch(&toc->entries[i].data_offset, offsets, n, sizeof(*offsets), compare_offsets);
        sizes[i] = at && at[1] > at[0] ? at[1] - at[0] : 0;
    }
    *ret_sizes = TAKE_PTR(sizes);
    return 0;
}

static int damaged(Error *e)
{
    return error_set(e, EBADMSG, DUMP_NAME " is damaged: no data where it should be");
}

/* A sign byte and four bytes of magnitude. */
static int read_int(Reader *r, int64_t *ret, Error *e)
{
    uint8_t b[5];
    TRY(reader_exactly(r, b, sizeof(b), e));
    if (b[0] > 1)
        return damaged(e);
    int64_t v = load_u32(b + 1);
    *ret = b[0] ? -v : v;
    return 0;
}

int dump_data_begin(Reader *archive, const TocEntry *t, int type, DumpData *ret_data, Error *e)
{
    uint8_t is = 0;
    int64_t id = 0;
    if (!has_data(t))
        return damaged(e);
    TRY(reader_seek(archive, t->data_offset, e));
    TRY(reader_exactly(archive, &is, 1, e));
    TRY(read_int(archive, &id, e));
    if (is != type || id != t->dump_id)
        return damaged(e);
    *ret_data = (DumpData){.reader = archive};
    return 0;
}

int dump_data_blob(DumpData *d, uint32_t *ret_oid, Error *e)
{
    int64_t oid = 0;
    TRY(read_int(d->reader, &oid, e));
    *ret_oid = (uint32_t)oid; /* unsigned in PostgreSQL, but written as a signed number */
    d->left = 0;
    d->ended = false;
    return 0;
}

int dump_data_next(DumpData *d, const uint8_t **ret_data, size_t *ret_len, Error *e)
{
    if (d->ended)
        return 0;
    if (d->left == 0) {
        int64_t len = 0;
        TRY(read_int(d->reader, &len, e));
        if (len < 0 || len > ARCHIVE_STRING_MAX)
            return damaged(e);
        d->ended = len == 0;
        d->left = (uint32_t)len;
        if (d->ended)
            return 0;
    }
    int more = reader_next(d->reader, d->left, ret_data, ret_len, e);
    if (more <= 0)
        return more < 0 ? more : damaged(e);
    d->left -= (uint32_t)*ret_len;
    return 1;
}
