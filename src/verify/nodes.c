#include "verify/nodes.h"

#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

void nodes_release(NodeSet *s)
{
    free(s->slots);
    *s = (NodeSet){0};
}

/* Crafted ids need not look random: hence the seed. */
static Node *find_slot(const NodeSet *s, const ObjectId *id)
{
    size_t mask = s->capacity - 1;
    size_t i = (size_t)XXH64(id->b, ID_SIZE, s->seed) & mask;
    while (s->slots[i].used && id_compare(&s->slots[i].id, id) != 0)
        i = (i + 1) & mask;
    return &s->slots[i];
}

Node *nodes_get(const NodeSet *s, const ObjectId *id)
{
    Node *node = s->count ? find_slot(s, id) : NULL;
    return node && node->used ? node : NULL;
}

static bool grow(NodeSet *s)
{
    NodeSet bigger = {
        .capacity = s->capacity ? s->capacity * 2 : 256, .count = s->count, .seed = s->seed};
    if (!s->capacity && getrandom(&bigger.seed, sizeof(bigger.seed), GRND_NONBLOCK) < 0)
        bigger.seed = (uintptr_t)s;
    bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < s->capacity; i++)
        if (s->slots[i].used)
            *find_slot(&bigger, &s->slots[i].id) = s->slots[i];
    free(s->slots);
    *s = bigger;
    return true;
}

Node *nodes_put(NodeSet *s, const ObjectId *id)
{
    if (s->count >= s->capacity / 4 * 3 && !grow(s))
        return NULL;
    Node *node = find_slot(s, id);
    if (!node->used) {
        s->count++;
        *node = (Node){.id = *id, .used = true};
    }
    return node;
}
