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

static int compress(Codec *c, int level, const void *base, size_t base_len, const void *plain,
                    size_t len, Buf *out)
{
    if (!c->cctx && !(c->cctx = ZSTD_createCCtx()))
        return -ENOMEM;
    size_t bound = ZSTD_compressBound(len);
    buf_clear(out);
    if (ZSTD_isError(bound))
        return -EIO;
    if (buf_reserve(out, bound) < 0)
        return -ENOMEM;
    ZSTD_CCtx_setParameter(c->cctx, ZSTD_c_compressionLevel, level);
    if (base) /* holds for one frame */
        ZSTD_CCtx_refPrefix(c->cctx, base, base_len);
    size_t n = ZSTD_compress2(c->cctx, out->data, out->cap, plain, len);
    if (ZSTD_isError(n))
        return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    out->len = n;
    return 0;
}

int codec_compress(Codec *c, int level, const void *plain, size_t len, Buf *out,
                   Encoding *ret_encoding)
{
    int r = compress(c, level, NULL, 0, plain, len, out);
    if (r < 0)
        return r;
    bool smaller = out->len < len;
    if (!smaller)
        buf_clear(out);
    *ret_encoding = smaller ? ENCODING_ZSTD : ENCODING_RAW;
    return 0;
}

int codec_compress_delta(Codec *c, int level, const void *base, size_t base_len, const void *plain,
                         size_t len, Buf *out)
{
    return compress(c, level, base, base_len, plain, len, out);
}

int codec_decompress(Codec *c, Encoding encoding, const void *base, size_t base_len,
                     const void *stored, size_t stored_len, void *plain, size_t plain_len)
{
    if ((encoding == ENCODING_DELTA) != (base != NULL) || encoding > ENCODING_DELTA)
        return -EBADMSG;
    if (encoding == ENCODING_RAW) {
        if (stored_len != plain_len)
            return -EBADMSG;
        memcpy(plain, stored, plain_len);
        return 0;
    }
    if (!c->dctx && !(c->dctx = ZSTD_createDCtx()))
        return -ENOMEM;
    if (base)
        ZSTD_DCtx_refPrefix(c->dctx, base, base_len);
    size_t n = ZSTD_decompressDCtx(c->dctx, plain, plain_len, stored, stored_len);
    if (base) /* a frame that failed early would leave it for the next */
        ZSTD_DCtx_reset(c->dctx, ZSTD_reset_session_only);
    return !ZSTD_isError(n) && n == plain_len ? 0 : -EBADMSG;
}
