#include "util/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_release(Buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = BUF_INIT;
}

void buf_clear(Buf *b)
{
    b->len = 0;
}

int buf_reserve(Buf *b, size_t extra)
{
    if (extra > SIZE_MAX / 2 - b->len)
        return -ENOMEM;
    size_t need = b->len + extra;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    uint8_t *data = realloc(b->data, cap);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_add(Buf *b, const void *data, size_t len)
{
    int r = buf_reserve(b, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

int buf_add_str(Buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

static int add_le(Buf *b, uint64_t v, size_t width)
{
    uint8_t bytes[8];
    store_u64(bytes, v);
    return buf_add(b, bytes, width);
}

int buf_add_u8(Buf *b, uint8_t v)
{
    return add_le(b, v, 1);
}

int buf_add_u16(Buf *b, uint16_t v)
{
    return add_le(b, v, 2);
}

int buf_add_u32(Buf *b, uint32_t v)
{
    return add_le(b, v, 4);
}

int buf_add_u64(Buf *b, uint64_t v)
{
    return add_le(b, v, 8);
}

int buf_add_varint(Buf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    while (v >= 0x80) {
        bytes[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[n++] = (uint8_t)v;
    return buf_add(b, bytes, n);
}

int buf_addf(Buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *text = NULL;
    int n = vasprintf(&text, format, ap);
    va_end(ap);
    if (n < 0)
        return -ENOMEM;
    int r = buf_add(b, text, (size_t)n);
    free(text);
    return r;
}

char *buf_cstr(Buf *b)
{
    if (buf_reserve(b, 1) < 0)
        return NULL;
    b->data[b->len] = 0;
    return (char *)b->data;
}

char *buf_take_cstr(Buf *b)
{
    char *text = buf_cstr(b);
    if (text)
        *b = BUF_INIT;
    return text;
}

const uint8_t *cursor_bytes(Cursor *c, size_t len)
{
    if (c->failed || cursor_left(c) < len) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += len;
    return p;
}

static uint64_t read_le(Cursor *c, size_t width)
{
    const uint8_t *p = cursor_bytes(c, width);
    uint64_t v = 0;
    for (size_t i = 0; p && i < width; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t cursor_u8(Cursor *c)
{
    return (uint8_t)read_le(c, 1);
}

uint16_t cursor_u16(Cursor *c)
{
    return (uint16_t)read_le(c, 2);
}

uint32_t cursor_u32(Cursor *c)
{
    return (uint32_t)read_le(c, 4);
}

uint64_t cursor_u64(Cursor *c)
{
    return read_le(c, 8);
}

uint64_t cursor_varint(Cursor *c)
{
    uint64_t v = 0;
    for (int i = 0; i < 10; i++) {
        uint8_t byte = cursor_u8(c);
        if (c->failed)
            return 0;
        if ((i == 9 && byte > 1) || (i > 0 && byte == 0))
            break; /* does not fit 64 bits, or is longer than needed */
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80))
            return v;
    }
    c->failed = true;
    return 0;
}
