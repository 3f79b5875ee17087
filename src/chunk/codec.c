#include "chunk/codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Contexts are made when first needed: readers never compress. Whole objects and deltas have one
 * each, as their parameters differ. */
struct Codec {
    ZSTD_CCtx *whole, *delta;
    int whole_level, delta_level; /* what they are set to */
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
    ZSTD_freeCCtx(c->whole);
    ZSTD_freeCCtx(c->delta);
    ZSTD_freeDCtx(c->dctx);
    free(c);
}

/* For inputs of up to 256 KiB zstd takes small tables and short matches at level 3, which suits
 * rows badly: 5 % larger and slower than these, which it takes for larger ones.
 * docs/performance.md. */
static const struct {
    ZSTD_cParameter parameter;
    int value;
} level3[] = {{ZSTD_c_windowLog, 20},
              {ZSTD_c_hashLog, 17},
              {ZSTD_c_chainLog, 15},
              {ZSTD_c_minMatch, 5},
              {ZSTD_c_strategy, ZSTD_dfast}};

static ZSTD_CCtx *make_context(int level, bool tuned)
{
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    if (!cctx)
        return NULL;
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, level);
    for (size_t i = 0; tuned && level == 3 && i < sizeof(level3) / sizeof(level3[0]); i++)
        ZSTD_CCtx_setParameter(cctx, level3[i].parameter, level3[i].value);
    return cctx;
}

/* The context in `*slot`, made anew when the level changed. NULL when out of memory. */
static ZSTD_CCtx *get_context(ZSTD_CCtx **slot, int *set_level, int level, bool tuned)
{
    if (*slot && *set_level == level)
        return *slot;
    ZSTD_freeCCtx(*slot);
    *slot = make_context(level, tuned);
    *set_level = level;
    return *slot;
}

static int compress(ZSTD_CCtx *cctx, const void *plain, size_t len, Buf *out)
{
    size_t bound = ZSTD_compressBound(len);
    buf_clear(out);
    if (ZSTD_isError(bound))
        return -EIO;
    if (buf_reserve(out, bound) < 0)
        return -ENOMEM;
    size_t n = ZSTD_compress2(cctx, out->data, out->cap, plain, len);
    if (ZSTD_isError(n))
        return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    out->len = n;
    return 0;
}

int codec_compress(Codec *c, int level, const void *plain, size_t len, Buf *out,
                   Encoding *ret_encoding)
{
    ZSTD_CCtx *cctx = get_context(&c->whole, &c->whole_level, level, true);
    int r = cctx ? compress(cctx, plain, len, out) : -ENOMEM;
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
    ZSTD_CCtx *cctx = get_context(&c->delta, &c->delta_level, level, false);
    if (!cctx)
        return -ENOMEM;
    ZSTD_CCtx_refPrefix(cctx, base, base_len); /* holds for one frame */
    return compress(cctx, plain, len, out);
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
