/* Reader: one file of a backup, front to back or from anywhere, in stretches as the store keeps
 * them: each object is fetched and checked once. Not thread-safe; many may be used at once. */
#pragma once

#include <stdatomic.h>

#include "tree/dir.h"

typedef struct Reader Reader;

/* `entry` is a file and may be released afterwards. `cancel` (may be NULL) makes reads end with
 * -EINTR. 0 or -errno. */
int reader_open(ObjectSource *s, const DirEntry *entry, const atomic_bool *cancel,
                Reader **ret_reader, Error *e);
void reader_close(Reader *r); /* NULL is allowed */
static inline void reader_closep(Reader **r)
{
    reader_close(*r);
}

uint64_t reader_size(const Reader *r);

/* Where the next read begins. */
uint64_t reader_offset(const Reader *r);

/* Go to `offset`, at most the file's size. */
int reader_seek(Reader *r, uint64_t offset, Error *e);

/* The bytes from here to the end of a stretch, at most `max` of them: 1, or 0 at the file's end.
 * They stay valid until the next call. */
int reader_next(Reader *r, size_t max, const uint8_t **ret_data, size_t *ret_len, Error *e);

/* Copy up to `len` bytes, fewer only at the file's end. Bytes read or -errno. */
ssize_t reader_read(Reader *r, void *data, size_t len, Error *e);

/* Exactly `len` bytes; -EBADMSG where the file ends before. */
int reader_exactly(Reader *r, void *data, size_t len, Error *e);

/* Append the rest of the file to `out`; -EFBIG when that is more than `limit` bytes. */
int reader_all(Reader *r, uint64_t limit, Buf *out, Error *e);
