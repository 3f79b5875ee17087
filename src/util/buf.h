/* Buf: a growable run of bytes, and Cursor: a bounded reader over bytes that came from outside.
 * Integers are little-endian; varints are LEB128 (7 bits a byte, low first, at most 10 bytes). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Buf {
    uint8_t *data; /* owned; NULL when nothing was ever added */
    size_t len;    /* bytes in use */
    size_t cap;    /* bytes allocated */
} Buf;

#define BUF_INIT ((Buf){0})

/* Free the bytes and make it empty. NULL is allowed. */
void buf_release(Buf *b);

/* Forget the bytes, keep the allocation. */
void buf_clear(Buf *b);

/* Make room for `extra` more bytes. 0 or -ENOMEM. */
int buf_reserve(Buf *b, size_t extra);

/* Append; 0 or -ENOMEM. `buf_add_str` adds no terminating zero. */
int buf_add(Buf *b, const void *data, size_t len);
int buf_add_str(Buf *b, const char *text);
int buf_add_u8(Buf *b, uint8_t v);
int buf_add_u16(Buf *b, uint16_t v);
int buf_add_u32(Buf *b, uint32_t v);
int buf_add_u64(Buf *b, uint64_t v);
int buf_add_varint(Buf *b, uint64_t v);
int buf_addf(Buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Zero-terminate without counting the zero, and return the text; NULL when out of memory.
 * The pointer is valid until the next change of `b`. */
char *buf_cstr(Buf *b);

/* Hand the bytes to the caller, zero-terminated (free with free()); `b` ends empty. */
char *buf_take_cstr(Buf *b);

/* A bounded reader. After any read past the end `failed` stays true and reads give 0 or NULL. */
typedef struct Cursor {
    const uint8_t *p, *end;
    bool failed;
} Cursor;

static inline Cursor cursor_init(const void *data, size_t len)
{
    const uint8_t *p = data;
    return (Cursor){.p = p, .end = p ? p + len : p, .failed = false};
}

static inline size_t cursor_left(const Cursor *c)
{
    return (size_t)(c->end - c->p);
}

uint8_t cursor_u8(Cursor *c);
uint16_t cursor_u16(Cursor *c);
uint32_t cursor_u32(Cursor *c);
uint64_t cursor_u64(Cursor *c);
uint64_t cursor_varint(Cursor *c); /* refuses encodings longer than needed */

/* The next `len` bytes in place, or NULL. */
const uint8_t *cursor_bytes(Cursor *c, size_t len);

/* Explicit little-endian loads and stores. */
static inline uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load_u64(const uint8_t *p)
{
    return (uint64_t)load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

static inline void store_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static inline void store_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
