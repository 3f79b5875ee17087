/* NodeSet: the nodes of ropes or directories that a walk met, and what it found. 48 bytes a slot,
 * at most 3/4 full. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunk/id.h"

typedef struct Node {
    ObjectId id;
    uint64_t length; /* bytes below it, as its parent said; ropes only */
    uint32_t round;  /* the file or backup it was entered in last */
    uint8_t entered; /* how often in that round */
    int8_t height;   /* ropes: of its lowest parent; directories: its own, or -1 where not known */
    bool good;       /* nothing is wrong with it, what was said of it, and what is below it */
    bool used;
} Node;

typedef struct NodeSet {
    Node *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    uint64_t seed;
} NodeSet;

void nodes_release(NodeSet *s);

/* NULL when not met yet. Valid until the next nodes_put. */
Node *nodes_get(const NodeSet *s, const ObjectId *id);

/* The node, added when it is new: all zeros but for its id. Valid until the next nodes_put. NULL
 * when out of memory. */
Node *nodes_put(NodeSet *s, const ObjectId *id);
