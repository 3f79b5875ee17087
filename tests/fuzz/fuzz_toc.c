#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "source/postgres/archive.h"
#include "util/cleanup.h"

typedef struct Input {
    const uint8_t *p;
    size_t left;
} Input;

static ssize_t read_input(void *ctx, void *data, size_t len, Error *e)
{
    Input *in = ctx;
    size_t n = len < in->left ? len : in->left;
    if (n)
        memcpy(data, in->p, n);
    in->p += n;
    in->left -= n;
    return (ssize_t)n;
}

static size_t count_entries(const uint8_t *data, size_t size, bool blocks, Buf *encoded)
{
    Input in = {data, size};
    ArchiveReader *reader = NULL;
    Archive a = {0};
    Error e = ERROR_INIT;
    size_t n = SIZE_MAX;
    if (archive_reader_new(read_input, &in, &reader) < 0)
        abort();
    if (archive_read_toc(reader, &a, &e) == 0) {
        int type;
        int32_t dump_id;
        while (blocks && archive_next_block(reader, &type, &dump_id, &e) > 0) {
            const uint8_t *bytes;
            size_t len;
            while (type == BLOCK_DATA && archive_next_bytes(reader, &bytes, &len, &e) > 0)
                continue;
        }
        n = a.n;
        if (encoded && archive_encode(&a, encoded) < 0)
            abort();
        archive_release(&a);
    } else if (!e.message) {
        abort();
    }
    error_release(&e);
    archive_reader_free(reader);
    return n;
}

/* Any bytes are an archive or refused with a message; what was read can be written and read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(buf_release) Buf encoded = BUF_INIT;
    size_t n = count_entries(data, size, true, &encoded);
    if (n != SIZE_MAX && count_entries(encoded.data, encoded.len, false, NULL) != n)
        abort();
    return 0;
}
