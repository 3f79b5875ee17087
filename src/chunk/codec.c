#include "chunk/codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

struct Codec {
    ZSTD_CCtx *cctx; /* made when first needed: readers never compress */
    ZSTD_DCtx *dctx;
};

int codec_new(Codec **ret_codec)
{
    Codec *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *ret_codec = c;
    return 0;
}

void codec_free(Codec *c)
{
    if (!c)
        return;
    ZSTD_freeCCtx(c->cctx);
    ZSTD_freeDCtx(c->dctx);
    free(c);
}

int codec_compress(Codec *c, int level, const void *plain, size_t len, Buf *out,
                   Encoding *ret_encoding)
{
    if (!c->cctx && !(c->cctx = ZSTD_createCCtx()))
        return -ENOMEM;
    size_t bound = ZSTD_compressBound(len);
    buf_clear(out);
    if (ZSTD_isError(bound))
        return -EIO;
    if (buf_reserve(out, bound) < 0)
        return -ENOMEM;
    size_t n = ZSTD_compressCCtx(c->cctx, out->data, out->cap, plain, len, level);
    if (ZSTD_isError(n))
        return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    bool smaller = n < len;
    out->len = smaller ? n : 0;
    *ret_encoding = smaller ? ENCODING_ZSTD : ENCODING_RAW;
    return 0;
}

int codec_decompress(Codec *c, Encoding encoding, const void *stored, size_t stored_len,
                     void *plain, size_t plain_len)
{
    switch (encoding) {
    case ENCODING_RAW:
        if (stored_len != plain_len)
            return -EBADMSG;
        memcpy(plain, stored, plain_len);
        return 0;
    case ENCODING_ZSTD: {
        if (!c->dctx && !(c->dctx = ZSTD_createDCtx()))
            return -ENOMEM;
        size_t n = ZSTD_decompressDCtx(c->dctx, plain, plain_len, stored, stored_len);
        return !ZSTD_isError(n) && n == plain_len ? 0 : -EBADMSG;
    }
    case ENCODING_DELTA:
        return -ENOTSUP;
    }
    return -EBADMSG;
}
