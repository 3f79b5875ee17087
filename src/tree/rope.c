#include "tree/rope.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include "tree/rope_node.h"
#include "util/cleanup.h"

void rope_release(Rope *r)
{
    if (!r)
        return;
    buf_release(&r->node);
    *r = ROPE_INIT;
}

int rope_copy(const Rope *from, Rope *ret_copy)
{
    Rope r = *from;
    r.node = BUF_INIT;
    if (buf_add(&r.node, from->node.data, from->node.len) < 0)
        return -ENOMEM;
    *ret_copy = r;
    return 0;
}

static int bad(Error *e)
{
    return error_set(e, EBADMSG, "damaged rope node");
}

int rope_node_open(const void *data, size_t len, RopeNode *ret_node, Error *e)
{
    RopeNode node = {.c = cursor_init(data, len)};
    uint8_t version = cursor_u8(&node.c);
    node.height = cursor_u8(&node.c);
    uint64_t n = cursor_varint(&node.c);
    node.length = cursor_varint(&node.c);
    /* An entry takes at least three bytes: a count beyond that is not even tried. */
    if (node.c.failed || version != ROPE_VERSION || node.height > ROPE_MAX_HEIGHT ||
        n > ROPE_MAX_ENTRIES || n > cursor_left(&node.c) / 3 || node.length > INT64_MAX ||
        (n == 0) != (node.length == 0))
        return bad(e);
    node.n = (uint32_t)n;
    *ret_node = node;
    return 0;
}

int rope_node_next(RopeNode *node, RopeEntry *ret_entry, Error *e)
{
    uint8_t kind = cursor_u8(&node->c);
    RopeEntry entry = {.kind = kind, .length = cursor_varint(&node->c)};
    uint64_t max = kind == ROPE_OBJECT    ? OBJECT_MAX
                   : kind == ROPE_LITERAL ? ROPE_MAX_LITERAL
                   : kind == ROPE_NODE    ? INT64_MAX
                   : kind == ROPE_HEX     ? ROPE_MAX_HEX
                                          : 0;
    if (node->c.failed || entry.length < 1 || entry.length > max ||
        (kind == ROPE_NODE && node->height == 0) || (kind == ROPE_HEX && entry.length % 2))
        return bad(e);
    const uint8_t *p = cursor_bytes(&node->c, kind == ROPE_LITERAL ? entry.length : ID_SIZE);
    if (!p)
        return bad(e);
    if (kind == ROPE_LITERAL)
        entry.literal = p;
    else
        memcpy(entry.id.b, p, ID_SIZE);
    if (kind == ROPE_HEX)
        entry.offset = cursor_varint(&node->c);
    if (node->c.failed || entry.offset > OBJECT_MAX)
        return bad(e);
    node->n--;
    *ret_entry = entry;
    return 0;
}

int rope_node_check(const void *data, size_t len, uint64_t *ret_length, unsigned *ret_height,
                    uint32_t *ret_n, Error *e)
{
    RopeNode node;
    RopeEntry entry = {0};
    int r = rope_node_open(data, len, &node, e);
    if (r < 0)
        return r;
    uint32_t n = node.n;
    uint64_t sum = 0;
    while (node.n > 0) {
        r = rope_node_next(&node, &entry, e);
        if (r < 0)
            return r;
        if (__builtin_add_overflow(sum, entry.length, &sum))
            return bad(e);
    }
    if (sum != node.length || cursor_left(&node.c))
        return bad(e);
    *ret_length = sum;
    *ret_height = node.height;
    *ret_n = n;
    return 0;
}

void rope_leaf_release(RopeLeaf *l)
{
    object_unref(l->holder);
    *l = (RopeLeaf){0};
}

/* The entry of `node` that holds `offset` (relative to the node), which becomes relative to it. */
static int find_entry(RopeNode *node, uint64_t *offset, RopeEntry *ret_entry, Error *e)
{
    while (node->n > 0) {
        int r = rope_node_next(node, ret_entry, e);
        if (r < 0)
            return r;
        if (*offset < ret_entry->length)
            return 0;
        *offset -= ret_entry->length;
    }
    return bad(e); /* the entries are shorter than the node says */
}

int rope_node_child(ObjectSource *s, const RopeEntry *entry, unsigned parent_height,
                    Object **ret_object, RopeNode *ret_node, Error *e)
{
    Object *o;
    int r = object_get(s, &entry->id, &o, e);
    if (r < 0)
        return r;
    r = rope_node_open(o->data, o->len, ret_node, e);
    if (r == 0 && (ret_node->height >= parent_height || ret_node->length != entry->length))
        r = bad(e);
    if (r < 0) {
        object_unref(o);
        return r;
    }
    *ret_object = o;
    return 0;
}

int rope_print_hex(ObjectSource *s, const RopeEntry *entry, Object **ret_text, Error *e)
{
    static const char digits[] = "0123456789abcdef";
    Object *o, *text = NULL;
    size_t n = entry->length / 2;
    int r = object_get(s, &entry->id, &o, e);
    if (r < 0)
        return r;
    if (entry->offset > o->len || n > o->len - entry->offset)
        r = bad(e);
    else if (!(text = object_new((uint32_t)entry->length)))
        r = error_oom(e);
    for (size_t i = 0; r == 0 && i < n; i++) {
        uint8_t byte = o->data[entry->offset + i];
        text->data[2 * i] = (uint8_t)digits[byte >> 4];
        text->data[2 * i + 1] = (uint8_t)digits[byte & 15];
    }
    object_unref(o);
    if (r == 0)
        *ret_text = text;
    return r;
}

int rope_find(ObjectSource *s, const void *root, size_t root_len, uint64_t offset,
              RopeLeaf *ret_leaf, Error *e)
{
    RopeNode node;
    RopeEntry entry;
    Object *holder = NULL;
    uint64_t rest = offset;
    int r = rope_node_open(root, root_len, &node, e);
    if (r == 0 && offset >= node.length)
        return error_set(e, ERANGE, "offset past the end");
    while (r == 0) {
        r = find_entry(&node, &rest, &entry, e);
        if (r < 0 || entry.kind != ROPE_NODE)
            break;
        Object *child = NULL;
        r = rope_node_child(s, &entry, node.height, &child, &node, e);
        object_unref(holder);
        holder = child;
    }
    if (r == 0 && entry.kind == ROPE_HEX) {
        Object *text = NULL;
        r = rope_print_hex(s, &entry, &text, e);
        object_unref(holder);
        holder = text;
        entry.literal = text ? text->data : NULL;
    }
    if (r < 0) {
        object_unref(holder);
        return r;
    }
    *ret_leaf = (RopeLeaf){.start = offset - rest,
                           .len = (uint32_t)entry.length,
                           .is_literal = entry.kind != ROPE_OBJECT,
                           .id = entry.id,
                           .holder = holder,
                           .literal = entry.literal};
    return 0;
}

typedef struct WalkState {
    ObjectSource *source;
    const RopeWalk *walk;
    void *ctx;
} WalkState;

static int walk_node(const WalkState *w, RopeNode *node, Error *e);

/* What the callbacks return goes straight up; damage is reported to the callback for it and ends
 * only this node. */
static int walk_child(const WalkState *w, const RopeEntry *entry, const RopeVisit *v, Error *e)
{
    _cleanup_(error_release) Error why = ERROR_INIT;
    Object *o = NULL;
    RopeNode child;
    int r = rope_node_child(w->source, entry, v->height, &o, &child, &why);
    if (r == 0)
        r = walk_node(w, &child, &why); /* heights fall: at most 32 deep */
    object_unref(o);
    if (r < 0 && why.errnum)
        r = w->walk->damage ? w->walk->damage(w->ctx, v, &why) : error_move(e, &why);
    return r == 0 && w->walk->leave ? w->walk->leave(w->ctx, v) : r;
}

static int walk_node(const WalkState *w, RopeNode *node, Error *e)
{
    RopeEntry entry;
    uint64_t rest = node->length;
    while (node->n > 0) {
        int r = rope_node_next(node, &entry, e);
        if (r < 0)
            return r;
        if (entry.length > rest)
            return bad(e);
        rest -= entry.length;
        if (entry.kind == ROPE_LITERAL)
            continue;
        RopeVisit v = {.id = entry.id,
                       .is_node = entry.kind == ROPE_NODE,
                       .height = (uint8_t)node->height,
                       .len = entry.kind == ROPE_HEX ? 0 : entry.length};
        r = w->walk->visit(w->ctx, &v);
        if (r == 0 && v.is_node)
            r = walk_child(w, &entry, &v, e);
        if (r < 0)
            return r;
    }
    return rest || cursor_left(&node->c) ? bad(e) : 0;
}

int rope_walk_all(ObjectSource *s, const void *root, size_t root_len, const RopeWalk *walk,
                  void *ctx, Error *e)
{
    const WalkState w = {.source = s, .walk = walk, .ctx = ctx};
    RopeNode node;
    int r = rope_node_open(root, root_len, &node, e);
    return r < 0 ? r : walk_node(&w, &node, e);
}

int rope_walk(ObjectSource *s, const void *root, size_t root_len,
              int (*visit)(void *ctx, const RopeVisit *v), void *ctx, Error *e)
{
    const RopeWalk walk = {.visit = visit};
    return rope_walk_all(s, root, root_len, &walk, ctx, e);
}
