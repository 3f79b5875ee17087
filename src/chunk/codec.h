/* Codec: how an object's plain bytes are stored. A codec keeps zstd contexts between calls; one
 * codec serves one thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

typedef enum Encoding {
    ENCODING_RAW = 0,
    ENCODING_ZSTD = 1,
    ENCODING_DELTA = 2, /* zstd with another object's bytes as prefix */
} Encoding;

typedef struct Codec Codec;

int codec_new(Codec **ret_codec);
void codec_free(Codec *c); /* NULL is allowed */

/* Compress at zstd level `level` into `out` (replaced); raw when that is not smaller, then `out`
 * stays empty and the plain bytes are to be stored. 0 or -ENOMEM, -EIO. */
int codec_compress(Codec *c, int level, const void *plain, size_t len, Buf *out,
                   Encoding *ret_encoding);

/* Compress against the bytes of `base` into `out` (replaced). 0 or -ENOMEM, -EIO. */
int codec_compress_delta(Codec *c, int level, const void *base, size_t base_len, const void *plain,
                         size_t len, Buf *out);

/* Decode `stored` into exactly `plain_len` bytes at `plain`. `base` is what a delta was compressed
 * against, else NULL. -EBADMSG when the bytes are not that. */
int codec_decompress(Codec *c, Encoding encoding, const void *base, size_t base_len,
                     const void *stored, size_t stored_len, void *plain, size_t plain_len);
