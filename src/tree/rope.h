/* Rope: how a file's bytes are arranged. A rope is a list of entries: object references, short
 * literals, and references to other ropes. Lists longer than one node are cut content-defined into
 * a tree, so that unchanged stretches are shared. format.md, "Ropes". */
#pragma once

#include "store/object.h"
#include "store/writer.h"
#include "util/buf.h"

/* A rope in memory: its root node's bytes. Small ones travel inside a directory entry, larger ones
 * by reference. */
typedef struct Rope {
    uint64_t length; /* plain bytes of the file */
    Buf node;        /* encoded root node, owned */
    uint32_t n;      /* entries in the root node */
    unsigned height; /* 0 when no entry refers to another node */
} Rope;

#define ROPE_INIT ((Rope){0})
void rope_release(Rope *r);
int rope_copy(const Rope *from, Rope *ret_copy);

/* Builds a rope by appending. Not thread-safe. */
typedef struct RopeBuilder RopeBuilder;
int rope_builder_new(StoreWriter *w, RopeBuilder **ret_builder);
void rope_builder_free(RopeBuilder *b);

/* Append `len` bytes that stand in the rope itself: for headers, trailers, scripts between table
 * data. Any length; long ones become objects. Neighbouring literals are joined. */
int rope_builder_literal(RopeBuilder *b, const void *data, size_t len, Error *e);

/* Append a whole object of `len` plain bytes. */
int rope_builder_object(RopeBuilder *b, const ObjectId *id, uint32_t len, Error *e);

/* Append `len` bytes of an object from `offset` on, printed as lowercase hexadecimal: 2 * `len`
 * bytes of the file. Any length the object has. */
int rope_builder_hex(RopeBuilder *b, const ObjectId *id, uint32_t offset, uint32_t len, Error *e);

/* Append all of another rope: its entries when they are few, a reference otherwise. */
int rope_builder_rope(RopeBuilder *b, const Rope *r, Error *e);

/* Append one entry of a rope's node (tree/rope_node.h) as it is; literals are not joined with their
 * neighbours. `height` is at least that of the node it refers to, or 0. */
struct RopeEntry;
int rope_builder_part(RopeBuilder *b, const struct RopeEntry *entry, unsigned height, Error *e);

/* Finish; the builder starts anew. The caller releases the rope. */
int rope_builder_finish(RopeBuilder *b, Rope *ret_rope, Error *e);

/* Reading. `root` is an encoded node (rope_node bytes from a directory entry or Rope). */

/* One leaf: `len` bytes at file offset `start`; either literal bytes or an object. */
typedef struct RopeLeaf {
    uint64_t start;
    uint32_t len;
    bool is_literal;
    ObjectId id;    /* when not literal */
    Object *holder; /* keeps `literal` alive; unref with rope_leaf_release. May be NULL */
    const uint8_t *literal;
} RopeLeaf;
void rope_leaf_release(RopeLeaf *l);

/* The leaf that holds `offset`. -ERANGE at or past the end, -EBADMSG for a malformed node. */
int rope_find(ObjectSource *s, const void *root, size_t root_len, uint64_t offset,
              RopeLeaf *ret_leaf, Error *e);

/* Read up to `len` bytes at `offset`; fewer only at the end. Bytes read or -errno. */
ssize_t rope_read(ObjectSource *s, const void *root, size_t root_len, uint64_t offset, void *data,
                  size_t len, Error *e);

/* A place in a rope that remembers the way it came, so that what lies near is found without
 * starting at the root again. One thread at a time; `root` and the source must outlive it. */
typedef struct RopeCursor RopeCursor;
int rope_cursor_new(ObjectSource *s, const void *root, size_t root_len, RopeCursor **ret_cursor,
                    Error *e);
void rope_cursor_free(RopeCursor *c); /* NULL is allowed */

/* As rope_find. After a failure the cursor can still be used. */
int rope_cursor_find(RopeCursor *c, uint64_t offset, RopeLeaf *ret_leaf, Error *e);

/* Only which object the bytes at `offset` come from, and where in the file its stretch ends. The
 * object is not loaded. `ret_id` is set unless they are literal. -ERANGE at or past the end. */
int rope_cursor_peek(RopeCursor *c, uint64_t offset, bool *ret_is_object, ObjectId *ret_id,
                     uint64_t *ret_end, Error *e);

/* Visit every node and object the rope reaches, each as often as it is met: in a crafted rope more
 * often than can be waited for. `visit` returns 0 to go on, 1 to skip what lies below (a node known
 * already), or a negative errno to stop. Nodes are visited before what they hold; a node that can't
 * be read is reported with `error` set. */
typedef struct RopeVisit {
    ObjectId id;
    bool is_node;
    uint8_t height; /* of the node that refers to it */
    uint64_t len;   /* plain bytes below the node or of the object; 0 where only part is used */
} RopeVisit;
int rope_walk(ObjectSource *s, const void *root, size_t root_len,
              int (*visit)(void *ctx, const RopeVisit *v), void *ctx, Error *e);

/* The same, going on after damage. */
typedef struct RopeWalk {
    int (*visit)(void *ctx, const RopeVisit *v);
    /* A node below the root can't be read, or is not what `v` or itself says: 0 goes on with what
     * remains. */
    int (*damage)(void *ctx, const RopeVisit *v, const Error *why);
    /* All below a node that was not skipped was visited, or it was damaged. 0 or negative. */
    int (*leave)(void *ctx, const RopeVisit *v);
} RopeWalk;
int rope_walk_all(ObjectSource *s, const void *root, size_t root_len, const RopeWalk *walk,
                  void *ctx, Error *e);

/* Check and measure an encoded node without following it. -EBADMSG with a message. */
int rope_node_check(const void *node, size_t len, uint64_t *ret_length, unsigned *ret_height,
                    uint32_t *ret_n, Error *e);
