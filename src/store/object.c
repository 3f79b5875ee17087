#include "store/object.h"

#include <stdlib.h>

Object *object_new(uint32_t len)
{
    Object *o = malloc(sizeof(*o) + len);
    if (!o)
        return NULL;
    atomic_init(&o->refs, 1);
    o->len = len;
    return o;
}

Object *object_ref(Object *o)
{
    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

void object_unref(Object *o)
{
    if (o && atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) == 1)
        free(o);
}
