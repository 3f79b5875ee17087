/* Finding bytes in a rope from where the last ones were. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tree/rope.h"
#include "tree/rope_node.h"

/* A node on the way from the root. */
typedef struct Level {
    Object *holder;     /* keeps the node; NULL for the root */
    RopeNode first;     /* before its first entry */
    RopeNode here;      /* before the entry at `at` */
    uint64_t start, at; /* offsets in the file */
} Level;

/* Heights fall by at least one a level, so a path never has more than these. */
#define LEVELS_MAX (ROPE_MAX_HEIGHT + 1)

struct RopeCursor {
    ObjectSource *source;
    unsigned n; /* levels in use, at least the root's */
    Level levels[LEVELS_MAX];
};

int rope_cursor_new(ObjectSource *s, const void *root, size_t root_len, RopeCursor **ret_cursor,
                    Error *e)
{
    RopeNode node;
    int r = rope_node_open(root, root_len, &node, e);
    if (r < 0)
        return r;
    RopeCursor *c = calloc(1, sizeof(*c));
    if (!c)
        return error_oom(e);
    c->source = s;
    c->n = 1;
    c->levels[0] = (Level){.first = node, .here = node};
    *ret_cursor = c;
    return 0;
}

void rope_cursor_free(RopeCursor *c)
{
    if (!c)
        return;
    while (c->n > 0)
        object_unref(c->levels[--c->n].holder);
    free(c);
}

/* The entry of a level that holds `offset`; the level then stands before it. */
static int level_find(Level *l, uint64_t offset, RopeEntry *ret_entry, Error *e)
{
    if (offset < l->at) {
        l->here = l->first;
        l->at = l->start;
    }
    while (l->here.n > 0) {
        RopeNode before = l->here;
        int r = rope_node_next(&l->here, ret_entry, e);
        if (r < 0 || offset - l->at < ret_entry->length) {
            l->here = before;
            return r;
        }
        l->at += ret_entry->length;
    }
    return error_set(e, EBADMSG, "damaged rope node"); /* its entries are shorter than it says */
}

/* Go to the leaf that holds `offset`: its entry, and the last level stands before it. */
static int go_to(RopeCursor *c, uint64_t offset, RopeEntry *ret_entry, Error *e)
{
    if (offset >= c->levels[0].first.length)
        return error_set(e, ERANGE, "offset past the end");
    while (c->n > 1) {
        const Level *l = &c->levels[c->n - 1];
        if (offset >= l->start && offset - l->start < l->first.length)
            break;
        object_unref(c->levels[--c->n].holder);
    }
    for (;;) {
        Level *l = &c->levels[c->n - 1];
        int r = level_find(l, offset, ret_entry, e);
        if (r < 0 || ret_entry->kind != ROPE_NODE)
            return r;
        if (c->n == LEVELS_MAX)
            return error_set(e, EBADMSG, "damaged rope node");
        Level below = {.start = l->at, .at = l->at};
        r = rope_node_child(c->source, ret_entry, l->first.height, &below.holder, &below.first, e);
        if (r < 0)
            return r;
        below.here = below.first;
        c->levels[c->n++] = below;
    }
}

int rope_cursor_find(RopeCursor *c, uint64_t offset, RopeLeaf *ret_leaf, Error *e)
{
    RopeEntry entry;
    int r = go_to(c, offset, &entry, e);
    if (r < 0)
        return r;
    const Level *l = &c->levels[c->n - 1];
    RopeLeaf leaf = {.start = l->at,
                     .len = (uint32_t)entry.length,
                     .is_literal = entry.kind != ROPE_OBJECT,
                     .id = entry.id,
                     .literal = entry.literal};
    if (entry.kind == ROPE_HEX) {
        r = rope_print_hex(c->source, &entry, &leaf.holder, e);
        if (r < 0)
            return r;
        leaf.literal = leaf.holder->data;
    } else if (l->holder) {
        leaf.holder = object_ref(l->holder);
    }
    *ret_leaf = leaf;
    return 0;
}

int rope_cursor_peek(RopeCursor *c, uint64_t offset, bool *ret_is_object, ObjectId *ret_id,
                     uint64_t *ret_end, Error *e)
{
    RopeEntry entry;
    int r = go_to(c, offset, &entry, e);
    if (r < 0)
        return r;
    *ret_is_object = entry.kind != ROPE_LITERAL;
    if (*ret_is_object)
        *ret_id = entry.id;
    *ret_end = c->levels[c->n - 1].at + entry.length;
    return 0;
}

/* Copy from one leaf, `skip` bytes into it. */
static int read_leaf(ObjectSource *s, const RopeLeaf *leaf, uint64_t skip, uint8_t *out, size_t n,
                     Error *e)
{
    if (leaf->is_literal) {
        memcpy(out, leaf->literal + skip, n);
        return 0;
    }
    Object *o;
    int r = object_get(s, &leaf->id, &o, e);
    if (r < 0)
        return r;
    if (o->len == leaf->len)
        memcpy(out, o->data + skip, n);
    else
        r = error_set(e, EBADMSG, "a chunk's length is not what the rope says");
    object_unref(o);
    return r;
}

ssize_t rope_read(ObjectSource *s, const void *root, size_t root_len, uint64_t offset, void *data,
                  size_t len, Error *e)
{
    RopeCursor *c = NULL;
    size_t done = 0;
    int r = rope_cursor_new(s, root, root_len, &c, e);
    while (r == 0 && done < len) {
        RopeLeaf leaf = {0};
        r = rope_cursor_find(c, offset + done, &leaf, e);
        if (r < 0)
            break;
        uint64_t skip = offset + done - leaf.start;
        size_t n = leaf.len - skip < len - done ? (size_t)(leaf.len - skip) : len - done;
        r = read_leaf(s, &leaf, skip, (uint8_t *)data + done, n, e);
        rope_leaf_release(&leaf);
        if (r == 0)
            done += n;
    }
    rope_cursor_free(c);
    if (r < 0 && r != -ERANGE)
        return r;
    if (r == -ERANGE)
        error_release(e);
    return (ssize_t)done;
}
