#include "chunk/marks.h"

#include <errno.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

void marks_release(Marks *m)
{
    free(m->list);
    free(m->slots);
    *m = MARKS_INIT;
}

/* The slot that holds `head`, or the free one where it belongs. */
static uint32_t *slot_of(const Marks *m, uint64_t head)
{
    size_t mask = m->n_slots - 1, i = (size_t)head & mask;
    while (m->slots[i] && m->list[m->slots[i] - 1].head != head)
        i = (i + 1) & mask;
    return &m->slots[i];
}

static void enter(Marks *m, size_t position)
{
    uint32_t *slot = slot_of(m, m->list[position].head);
    if (*slot) {
        m->list[*slot - 1].is_repeated = true;
        m->n_repeats++;
    } else {
        *slot = (uint32_t)position + 1;
    }
}

static int grow(Marks *m)
{
    size_t capacity = m->capacity ? m->capacity * 2 : 64;
    Mark *list = capacity < UINT32_MAX ? reallocarray(m->list, capacity, sizeof(*list)) : NULL;
    if (!list)
        return -ENOMEM;
    m->list = list;
    m->capacity = capacity;
    uint32_t *slots = calloc(capacity * 2, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    free(m->slots);
    m->slots = slots;
    m->n_slots = capacity * 2;
    m->n_repeats = 0;
    for (size_t i = 0; i < m->n; i++)
        if (list[i].head)
            enter(m, i);
    return 0;
}

int marks_add(Marks *m, uint64_t head, uint64_t offset)
{
    int r = m->n == m->capacity ? grow(m) : 0;
    if (r < 0)
        return r;
    m->list[m->n] = (Mark){.head = head, .offset = offset};
    if (head)
        enter(m, m->n);
    m->n++;
    return 0;
}

size_t marks_find(const Marks *m, uint64_t head)
{
    uint32_t found = m->n && head ? *slot_of(m, head) : 0;
    return found && !m->list[found - 1].is_repeated ? found - 1 : MARKS_NONE;
}

size_t marks_from(const Marks *m, uint64_t offset)
{
    size_t lo = 0, hi = m->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->list[mid].offset < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool marks_are_telling(const Marks *m)
{
    return m->n_repeats <= m->n / 8;
}

uint64_t mark_head(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    uint64_t head = XXH64(data, len < MARK_HEAD ? len : MARK_HEAD, 0);
    return head ? head : 1;
}
