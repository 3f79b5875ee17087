#include "store/idmap.h"

#include <errno.h>
#include <stdlib.h>

#include "util/buf.h"

struct IdMapSlot {
    ObjectId id;
    Location at;
    uint32_t used;
};

void idmap_release(IdMap *m)
{
    free(m->slots);
    *m = IDMAP_INIT;
}

/* Ids are SHA-256 values, so any 8 bytes of one are a good hash. */
static struct IdMapSlot *find_slot(const IdMap *m, const ObjectId *id)
{
    size_t mask = m->capacity - 1;
    size_t i = (size_t)load_u64(id->b) & mask;
    while (m->slots[i].used && id_compare(&m->slots[i].id, id) != 0)
        i = (i + 1) & mask;
    return &m->slots[i];
}

const Location *idmap_get(const IdMap *m, const ObjectId *id)
{
    if (!m->count)
        return NULL;
    const struct IdMapSlot *slot = find_slot(m, id);
    return slot->used ? &slot->at : NULL;
}

static int grow(IdMap *m)
{
    IdMap bigger = {.capacity = m->capacity ? m->capacity * 2 : 256, .count = m->count};
    bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
    if (!bigger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < m->capacity; i++)
        if (m->slots[i].used)
            *find_slot(&bigger, &m->slots[i].id) = m->slots[i];
    free(m->slots);
    *m = bigger;
    return 0;
}

int idmap_put(IdMap *m, const ObjectId *id, const Location *at)
{
    if (m->count >= m->capacity / 4 * 3) {
        int r = grow(m);
        if (r < 0)
            return r;
    }
    struct IdMapSlot *slot = find_slot(m, id);
    m->count += !slot->used;
    *slot = (struct IdMapSlot){.id = *id, .at = *at, .used = 1};
    return 0;
}
