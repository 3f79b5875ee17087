/* What the store keeps: immutable objects of up to OBJECT_MAX bytes, named by their SHA-256. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "chunk/id.h"
#include "util/error.h"

#define OBJECT_MAX (1u << 20) /* plain bytes of one object, format.md "Records" */

/* What an object is for. It decides which pack the record goes to; readers rely on the id alone. */
typedef enum ObjectType {
    OBJECT_DATA = 1, /* a stretch of a file's bytes */
    OBJECT_ROPE = 2, /* a rope node */
    OBJECT_DIR = 3,  /* a directory node */
} ObjectType;

/* An object's plain bytes, shared and counted. The bytes never change. Thread-safe. */
typedef struct Object {
    atomic_uint refs;
    uint32_t len;
    uint8_t data[];
} Object;

Object *object_new(uint32_t len); /* one reference; bytes uninitialised; NULL when out of memory */
Object *object_ref(Object *o);
void object_unref(Object *o); /* NULL is allowed */

/* Where ropes and directories get objects from: a store, or a cache above one. */
typedef struct ObjectSource ObjectSource;
struct ObjectSource {
    /* Fetch and verify the object `id`. Bytes that do not hash to `id` are never returned.
     * The caller unrefs. -EIO damaged, -ENOENT in no pack, other negative errno. Thread-safe. */
    int (*get)(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e);
};

static inline int object_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    return s->get(s, id, ret_object, e);
}
