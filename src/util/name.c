#include "util/name.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

#include "util/utf8.h"

/* "%~" and 16 hex digits. '~' is no hex digit, so a cut name never decodes. */
#define CUT_SUFFIX 18

static bool is_reserved(const char *name, size_t len, const char *const *reserved)
{
    for (; reserved && *reserved; reserved++)
        if (strlen(*reserved) == len && memcmp(*reserved, name, len) == 0)
            return true;
    return false;
}

static int add_cut_suffix(const char *name, size_t len, Buf *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(name, len, digest, NULL, EVP_sha256(), NULL))
        return -ENOMEM;
    int r = buf_add_str(out, "%~");
    for (size_t i = 0; r == 0 && i < 8; i++)
        r = buf_addf(out, "%02x", digest[i]);
    return r;
}

int name_encode(const char *name, size_t len, const char *const *reserved, Buf *out, bool *ret_cut)
{
    const uint8_t *p = (const uint8_t *)name;
    size_t start = out->len, cut_at = start, i = 0;
    bool all_of_first = is_reserved(name, len, reserved), cut = false;
    int r = len == 0 ? buf_add_str(out, "%") : 0;

    while (r == 0 && i < len) {
        size_t n = utf8_char(p + i, len - i);
        bool escape = n == 0 || p[i] < 0x20 || p[i] == 0x7f || p[i] == '/' || p[i] == '\\' ||
                      p[i] == '%' || (i == 0 && (p[i] == '.' || all_of_first));
        if (n == 0 || (escape && n > 1))
            n = 1;
        r = escape ? buf_addf(out, "%%%02X", p[i]) : buf_add(out, p + i, n);
        i += n;
        if (r == 0 && out->len - start <= NAME_MAX_BYTES - CUT_SUFFIX)
            cut_at = out->len;
        if (out->len - start > NAME_MAX_BYTES) {
            cut = true;
            out->len = cut_at;
            r = add_cut_suffix(name, len, out);
            break;
        }
    }
    if (r == 0 && ret_cut)
        *ret_cut = cut;
    return r;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int name_decode(const char *encoded, size_t len, Buf *out)
{
    if (len == 0)
        return -EINVAL;
    if (len == 1 && encoded[0] == '%')
        return 0;
    size_t start = out->len;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)encoded[i];
        if (c == '%') {
            int hi = i + 2 < len ? hex_digit((uint8_t)encoded[i + 1]) : -1;
            int lo = i + 2 < len ? hex_digit((uint8_t)encoded[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                out->len = start;
                return -EINVAL;
            }
            c = (uint8_t)(hi << 4 | lo);
            i += 2;
        }
        int r = buf_add_u8(out, c);
        if (r < 0)
            return r;
    }
    return 0;
}

bool name_is_valid(const void *name, size_t len)
{
    const char *p = name;
    if (len == 0 || len > NAME_MAX_BYTES || memchr(p, '/', len) || memchr(p, 0, len))
        return false;
    return !(p[0] == '.' && (len == 1 || (len == 2 && p[1] == '.')));
}
