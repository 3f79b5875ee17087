/* The encoding of rope nodes, for rope.c (reading) and rope_builder.c (writing). */
#pragma once

#include "store/object.h"
#include "util/buf.h"

#define ROPE_VERSION     1
#define ROPE_MAX_HEIGHT  32
#define ROPE_MAX_ENTRIES 65536
#define ROPE_MAX_LITERAL 65536
#define ROPE_MAX_HEX     65536 /* digits */
#define ROPE_INLINE_NODE 4096  /* bytes of a root node that still stands in its directory entry */

typedef enum RopeKind {
    ROPE_OBJECT = 1,
    ROPE_LITERAL = 2,
    ROPE_NODE = 3,
    ROPE_HEX = 4,
} RopeKind;

typedef struct RopeEntry {
    RopeKind kind;
    uint64_t length;
    ObjectId id;            /* all but ROPE_LITERAL */
    uint64_t offset;        /* ROPE_HEX: first byte in the object */
    const uint8_t *literal; /* ROPE_LITERAL; points into the node */
} RopeEntry;

/* A node being read, entry by entry. */
typedef struct RopeNode {
    Cursor c;
    unsigned height;
    uint32_t n;      /* entries not read yet */
    uint64_t length; /* of the whole node */
} RopeNode;

/* -EBADMSG when this is no node. */
int rope_node_open(const void *data, size_t len, RopeNode *ret_node, Error *e);
/* -EBADMSG when malformed. Call at most `n` times. */
int rope_node_next(RopeNode *node, RopeEntry *ret_entry, Error *e);

/* Fetch the child that `entry` (of kind ROPE_NODE) names and check that it is what its parent says.
 * The caller unrefs the object, which `ret_node` reads from. */
int rope_node_child(ObjectSource *s, const RopeEntry *entry, unsigned parent_height,
                    Object **ret_object, RopeNode *ret_node, Error *e);

/* What a ROPE_HEX entry stands for, as an object of its own. The caller unrefs. */
int rope_print_hex(ObjectSource *s, const RopeEntry *entry, Object **ret_text, Error *e);
