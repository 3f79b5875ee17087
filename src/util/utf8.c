#include "util/utf8.h"

#include <string.h>

size_t utf8_char(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

int utf8_escape(const char *text, Buf *out)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strlen(text);
    int r = 0;
    while (r == 0 && left > 0) {
        size_t n = utf8_char(p, left);
        r = n ? buf_add(out, p, n) : buf_addf(out, "\\x%02x", *p);
        n = n ? n : 1;
        p += n;
        left -= n;
    }
    return r;
}
