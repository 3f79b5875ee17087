#include "tree/dir_node.h"

#include <errno.h>
#include <string.h>

#include "tree/rope_node.h"
#include "util/name.h"

int dir_name_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int r = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return r ? r : (a_len > b_len) - (a_len < b_len);
}

static int bad(Error *e)
{
    return error_set(e, EBADMSG, "damaged directory node");
}

int dir_node_open(const void *data, size_t len, DirNode *ret_node, Error *e)
{
    DirNode node = {.c = cursor_init(data, len)};
    uint8_t version = cursor_u8(&node.c);
    node.height = cursor_u8(&node.c);
    node.n = cursor_varint(&node.c);
    /* Anything in a node takes more than four bytes: a count beyond that is not even tried. */
    if (node.c.failed || version != DIR_VERSION || node.height > DIR_MAX_HEIGHT ||
        node.n > cursor_left(&node.c) / 4 || (node.height > 0 && node.n == 0))
        return bad(e);
    *ret_node = node;
    return 0;
}

static bool read_name(Cursor *c, const char **ret_name, size_t *ret_len)
{
    uint64_t len = cursor_varint(c);
    const uint8_t *p = len <= NAME_MAX_BYTES ? cursor_bytes(c, len) : NULL;
    if (!p || !name_is_valid(p, len))
        return false;
    *ret_name = (const char *)p;
    *ret_len = len;
    return true;
}

static bool read_id(Cursor *c, ObjectId *ret_id)
{
    const uint8_t *p = cursor_bytes(c, ID_SIZE);
    if (p)
        memcpy(ret_id->b, p, ID_SIZE);
    return p != NULL;
}

static bool read_file(Cursor *c, DirEntry *x)
{
    x->size = cursor_varint(c);
    uint8_t how = cursor_u8(c);
    if (c->failed || x->size > INT64_MAX || how > 1)
        return false;
    if (how == 1)
        return read_id(c, &x->rope_id);
    x->node_inline = true;
    x->node_len = cursor_varint(c);
    if (x->node_len > ROPE_INLINE_NODE)
        return false;
    x->node = cursor_bytes(c, x->node_len);
    return x->node != NULL;
}

static bool read_kind(Cursor *c, DirEntry *x)
{
    switch (x->kind) {
    case ENTRY_FILE:
        return read_file(c, x);
    case ENTRY_DIR:
        if (!read_id(c, &x->dir.id))
            return false;
        x->dir.entries = cursor_varint(c);
        return !c->failed && x->dir.entries <= DIR_MAX_ENTRIES;
    case ENTRY_SYMLINK:
        x->size = cursor_varint(c);
        if (x->size < 1 || x->size > DIR_MAX_TARGET)
            return false;
        x->target = (const char *)cursor_bytes(c, x->size);
        return x->target && !memchr(x->target, 0, x->size);
    }
    return false;
}

static bool read_attribute(uint8_t tag, const uint8_t *p, size_t len, DirEntry *x)
{
    Cursor c = cursor_init(p, len);
    switch (tag) {
    case DIR_ATTR_SHA256:
        x->has_sha256 = read_id(&c, &x->sha256) && !cursor_left(&c);
        return x->has_sha256;
    case DIR_ATTR_MTIME:
        x->mtime = (int64_t)cursor_u64(&c);
        x->has_mtime = !c.failed && !cursor_left(&c);
        return x->has_mtime;
    case DIR_ATTR_ROWS:
        x->rows = cursor_varint(&c);
        x->has_rows = !c.failed && !cursor_left(&c);
        return x->has_rows;
    case DIR_ATTR_OBJECT_NAME:
        x->object_name = (const char *)p;
        x->object_name_len = len;
        return true;
    }
    return true; /* of a later version */
}

static bool read_attributes(Cursor *c, DirEntry *x)
{
    uint8_t n = cursor_u8(c);
    int last = -1;
    while (n-- > 0) {
        uint8_t tag = cursor_u8(c);
        uint64_t len = cursor_varint(c);
        const uint8_t *p = c->failed || len > cursor_left(c) ? NULL : cursor_bytes(c, len);
        if (!p || tag <= last || !read_attribute(tag, p, len, x))
            return false;
        last = tag;
    }
    return !c->failed;
}

int dir_node_next_entry(DirNode *node, DirEntry *ret_entry, Error *e)
{
    DirEntry x = {0};
    Cursor *c = &node->c;
    if (!read_name(c, &x.name, &x.name_len))
        return bad(e);
    x.kind = cursor_u8(c);
    uint64_t mode = cursor_varint(c);
    if (c->failed || mode > 07777 || !read_kind(c, &x) || !read_attributes(c, &x))
        return bad(e);
    x.mode = (uint16_t)mode;
    node->n--;
    *ret_entry = x;
    return 0;
}

int dir_node_next_child(DirNode *node, DirChild *ret_child, Error *e)
{
    DirChild x = {0};
    Cursor *c = &node->c;
    if (!read_name(c, &x.first, &x.first_len) || !read_id(c, &x.id))
        return bad(e);
    x.entries = cursor_varint(c);
    x.below = cursor_varint(c);
    if (c->failed || x.entries < 1 || x.below > DIR_MAX_ENTRIES || x.entries > x.below)
        return bad(e);
    node->n--;
    *ret_child = x;
    return 0;
}

int dir_node_get(ObjectSource *s, const ObjectId *id, int height, Object **ret_object,
                 DirNode *ret_node, Error *e)
{
    Object *o;
    int r = object_get(s, id, &o, e);
    if (r < 0)
        return r;
    r = dir_node_open(o->data, o->len, ret_node, e);
    if (r == 0 && height >= 0 && ret_node->height != (unsigned)height)
        r = bad(e);
    if (r < 0) {
        object_unref(o);
        return r;
    }
    *ret_object = o;
    return 0;
}
