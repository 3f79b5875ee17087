/* ObjectId: the SHA-256 of an object's plain bytes; the name under which the store knows it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ID_SIZE     32
#define ID_HEX_SIZE 65 /* with the terminating zero */

typedef struct ObjectId {
    uint8_t b[ID_SIZE];
} ObjectId;

static inline int id_compare(const ObjectId *x, const ObjectId *y)
{
    return memcmp(x->b, y->b, ID_SIZE);
}

/* The id of `data`. 0 or -ENOMEM. Thread-safe. */
int id_of(const void *data, size_t len, ObjectId *ret_id);

void id_to_hex(const ObjectId *id, char out[ID_HEX_SIZE]);

/* Exactly 64 lowercase hex digits, or -EINVAL. */
int id_from_hex(const char *hex, ObjectId *ret_id);

/* A SHA-256 over bytes that come in pieces. */
typedef struct Hasher Hasher;

/* 0 or -ENOMEM. */
int hasher_new(Hasher **ret_h);
void hasher_free(Hasher *h);
int hasher_add(Hasher *h, const void *data, size_t len);

/* The digest of all that was added. The hasher starts anew afterwards. 0 or -ENOMEM. */
int hasher_finish(Hasher *h, ObjectId *ret_digest);
