#include "source/sqlite/literal.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <string.h>

#define FLUSH_AT (256u << 10)
#define TINY     1e-285      /* the last digits of what is smaller come near 1e-307 */
#define PIECE    (64u << 10) /* bytes of a value converted at once: bounds the buffer */

int sql_out_flush(SqlOut *o, bool all, Error *e)
{
    if (!o->stream || o->buf.len == 0 || (!all && o->buf.len < FLUSH_AT))
        return 0;
    int r = stream_write(o->stream, o->buf.data, o->buf.len, e);
    buf_clear(&o->buf);
    return r;
}

static int out_str(SqlOut *o, const char *text, Error *e)
{
    return buf_add_str(&o->buf, text) < 0 ? error_oom(e) : 0;
}

int sql_out_integer(SqlOut *o, int64_t v, Error *e)
{
    char digits[24], *p = digits + sizeof(digits);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        *--p = (char)('0' + u % 10);
    while ((u /= 10) != 0);
    if (v < 0)
        *--p = '-';
    size_t len = (size_t)(digits + sizeof(digits) - p);
    return buf_add(&o->buf, p, len) < 0 ? error_oom(e) : 0;
}

/* SQLite (3.40) divides twice for the digits of a number as small as this, and is off by one bit
 * for one in ten. So it becomes a product of three that it reads exactly, and that no
 * multiplication rounds: 53 bits, 2^-500 and the rest. */
static int out_tiny_real(SqlOut *o, double v, Error *e)
{
    char text[128];
    int exponent;
    double bits = ldexp(frexp(v, &exponent), 53);
    sqlite3_snprintf(sizeof(text), text, "%lld.0*%!.20g*%!.20g", (sqlite3_int64)bits,
                     ldexp(1, -500), ldexp(1, exponent - 53 + 500));
    return out_str(o, text, e);
}

int sql_out_real(SqlOut *o, double v, Error *e)
{
    if (isnan(v))
        return out_str(o, "NULL", e);
    if (isinf(v))
        return out_str(o, v < 0 ? "-1e999" : "1e999", e);
    if (v == 0)
        return out_str(o, signbit(v) ? "-0.0" : "0.0", e);
    if (fabs(v) < 9007199254740992.0 && v == (double)(int64_t)v) {
        int r = sql_out_integer(o, (int64_t)v, e);
        return r < 0 ? r : out_str(o, ".0", e);
    }
    if (fabs(v) < TINY)
        return out_tiny_real(o, v, e);
    char text[64];
    sqlite3_snprintf(sizeof(text), text, "%!.20g", v);
    return out_str(o, text, e);
}

static int out_hex(SqlOut *o, const uint8_t *p, size_t len, Error *e)
{
    static const char digits[] = "0123456789abcdef";
    while (len > 0) {
        size_t n = len < PIECE ? len : PIECE;
        if (buf_reserve(&o->buf, 2 * n) < 0)
            return error_oom(e);
        uint8_t *to = o->buf.data + o->buf.len;
        for (size_t i = 0; i < n; i++) {
            *to++ = (uint8_t)digits[p[i] >> 4];
            *to++ = (uint8_t)digits[p[i] & 15];
        }
        o->buf.len += 2 * n;
        p += n;
        len -= n;
        int r = sql_out_flush(o, false, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int sql_out_blob(SqlOut *o, const void *data, size_t len, Error *e)
{
    int r = out_str(o, "X'", e);
    if (r >= 0)
        r = out_hex(o, data, len, e);
    return r < 0 ? r : out_str(o, "'", e);
}

/* One code point of UTF-8 that SQLite made itself, hence well formed; other bytes stand for
 * themselves. */
static uint32_t next_code_point(const uint8_t **p, const uint8_t *end)
{
    uint32_t c = *(*p)++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    if (more > 0)
        c &= 0x3fu >> more;
    while (more-- > 0 && *p < end && (**p & 0xc0) == 0x80)
        c = c << 6 | (*(*p)++ & 0x3f);
    return c;
}

static size_t put_utf16_unit(uint8_t *to, uint32_t unit, bool big_endian)
{
    to[big_endian ? 1 : 0] = (uint8_t)unit;
    to[big_endian ? 0 : 1] = (uint8_t)(unit >> 8);
    return 2;
}

static int out_hex_utf16(SqlOut *o, const uint8_t *p, size_t len, Error *e)
{
    const uint8_t *end = p + len;
    bool be = o->encoding == TEXT_UTF16BE;
    while (p < end) {
        uint8_t units[1024];
        size_t n = 0;
        while (p < end && n + 4 <= sizeof(units)) {
            uint32_t c = next_code_point(&p, end);
            if (c < 0x10000) {
                n += put_utf16_unit(units + n, c, be);
                continue;
            }
            c -= 0x10000;
            n += put_utf16_unit(units + n, 0xd800 | (c >> 10), be);
            n += put_utf16_unit(units + n, 0xdc00 | (c & 0x3ff), be);
        }
        int r = out_hex(o, units, n, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int out_text_cast(SqlOut *o, const void *text, size_t len, Error *e)
{
    int r = out_str(o, "CAST(X'", e);
    if (r >= 0)
        r = o->encoding == TEXT_UTF8 ? out_hex(o, text, len, e) : out_hex_utf16(o, text, len, e);
    return r < 0 ? r : out_str(o, "' AS TEXT)", e);
}

/* The bytes between the quotes: quotes doubled, line breaks as their markers. */
static int out_text_bytes(SqlOut *o, const uint8_t *p, size_t len, const char *newline,
                          const char *carriage_return, Error *e)
{
    while (len > 0) {
        size_t n = len < PIECE ? len : PIECE;
        if (buf_reserve(&o->buf, 2 * n) < 0)
            return error_oom(e);
        size_t start = 0;
        for (size_t i = 0; i < n; i++) {
            const char *instead = p[i] == '\''   ? "''"
                                  : p[i] == '\n' ? newline
                                  : p[i] == '\r' ? carriage_return
                                                 : NULL;
            if (!instead)
                continue;
            if (buf_add(&o->buf, p + start, i - start) < 0 || buf_add_str(&o->buf, instead) < 0)
                return error_oom(e);
            start = i + 1;
        }
        if (buf_add(&o->buf, p + start, n - start) < 0)
            return error_oom(e);
        p += n;
        len -= n;
        int r = sql_out_flush(o, false, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What stands for a line break inside the literal: a backslash, `letter` and, when the text holds
 * that already, the first number with which it does not. A marker begins with its only backslash,
 * so none can arise between the text and a marker beside it. */
static void choose_marker(const void *text, size_t len, char letter, char out[24])
{
    snprintf(out, 24, "\\%c", letter);
    for (unsigned i = 0; memmem(text, len, out, strlen(out)); i++)
        snprintf(out, 24, "\\%c%u.", letter, i);
}

static int out_text_replace(SqlOut *o, const void *text, size_t len, bool has_lf, bool has_cr,
                            Error *e)
{
    char lf[24] = "", cr[24] = "";
    if (has_lf)
        choose_marker(text, len, 'n', lf);
    if (has_cr)
        choose_marker(text, len, 'r', cr);
    int r = out_str(o, has_lf && has_cr ? "replace(replace('" : "replace('", e);
    if (r >= 0)
        r = out_text_bytes(o, text, len, lf, cr, e);
    if (r >= 0 && buf_add_str(&o->buf, "'") < 0)
        return error_oom(e);
    if (r >= 0 && has_lf && buf_addf(&o->buf, ",'%s',char(10))", lf) < 0)
        return error_oom(e);
    if (r >= 0 && has_cr && buf_addf(&o->buf, ",'%s',char(13))", cr) < 0)
        return error_oom(e);
    return r;
}

/* Nearly all text is short and has no line break: one pass. 0 when it is another kind, with nothing
 * written; 1 when done. */
static int out_text_simple(SqlOut *o, const uint8_t *p, size_t len, Error *e)
{
    static const bool special[256] = {[0] = true, ['\n'] = true, ['\r'] = true, ['\''] = true};
    if (len > PIECE)
        return 0;
    if (buf_reserve(&o->buf, 2 * len + 2) < 0)
        return error_oom(e);
    uint8_t *to = o->buf.data + o->buf.len;
    *to++ = '\'';
    for (size_t i = 0; i < len; i++) {
        if (special[p[i]]) {
            if (p[i] != '\'')
                return 0;
            *to++ = '\'';
        }
        *to++ = p[i];
    }
    *to++ = '\'';
    o->buf.len = (size_t)(to - o->buf.data);
    return 1;
}

int sql_out_text(SqlOut *o, const void *text, size_t len, Error *e)
{
    int r = out_text_simple(o, text, len, e);
    if (r != 0)
        return r < 0 ? r : 0;
    if (memchr(text, 0, len))
        return out_text_cast(o, text, len, e);
    bool lf = memchr(text, '\n', len), cr = memchr(text, '\r', len);
    if (lf || cr)
        return out_text_replace(o, text, len, lf, cr, e);
    r = out_str(o, "'", e);
    if (r >= 0)
        r = out_text_bytes(o, text, len, "", "", e);
    return r < 0 ? r : out_str(o, "'", e);
}

static int quote(Buf *b, const char *text, char mark)
{
    int r = buf_add_u8(b, (uint8_t)mark);
    for (const char *p = text; r >= 0 && *p; p++) {
        if (*p == mark)
            r = buf_add_u8(b, (uint8_t)mark);
        if (r >= 0)
            r = buf_add_u8(b, (uint8_t)*p);
    }
    return r < 0 ? r : buf_add_u8(b, (uint8_t)mark);
}

int sql_quote_name(Buf *b, const char *name)
{
    return quote(b, name, '"');
}

int sql_quote_string(Buf *b, const char *text)
{
    return quote(b, text, '\'');
}
