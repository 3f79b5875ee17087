#include "chunk/marks.h"

#include <errno.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

void marks_release(Marks *m)
{
    free(m->slots);
    *m = MARKS_INIT;
}

/* Offsets are no good hashes of themselves: multiply (Fibonacci hashing). */
static size_t slot_of(const Marks *m, uint64_t value)
{
    size_t mask = m->capacity - 1;
    size_t i = (size_t)((value * 0x9e3779b97f4a7c15ULL) >> 20) & mask;
    while (m->slots[i] && m->slots[i] != value)
        i = (i + 1) & mask;
    return i;
}

static int grow(Marks *m)
{
    Marks bigger = {.capacity = m->capacity ? m->capacity * 2 : 64, .count = m->count};
    bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
    if (!bigger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < m->capacity; i++)
        if (m->slots[i])
            bigger.slots[slot_of(&bigger, m->slots[i])] = m->slots[i];
    free(m->slots);
    *m = bigger;
    return 0;
}

int marks_add(Marks *m, uint64_t value)
{
    if (value == 0)
        return 0;
    if (m->count >= m->capacity / 2) {
        int r = grow(m);
        if (r < 0)
            return r;
    }
    size_t i = slot_of(m, value);
    m->count += m->slots[i] == 0;
    m->slots[i] = value;
    return 0;
}

bool marks_has(const Marks *m, uint64_t value)
{
    return m->count > 0 && value != 0 && m->slots[slot_of(m, value)] == value;
}

uint64_t mark_head(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    uint64_t head = XXH64(data, len < MARK_HEAD ? len : MARK_HEAD, 0);
    return head ? head : 1;
}
