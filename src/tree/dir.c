#include "tree/dir.h"

#include <errno.h>
#include <string.h>

#include "tree/dir_node.h"
#include "util/cleanup.h"
#include "util/name.h"

void dir_entry_release(DirEntry *e)
{
    if (!e)
        return;
    object_unref(e->holder);
    *e = (DirEntry){0};
}

static void unref_object(Object **o)
{
    object_unref(*o);
}

#define _cleanup_object_ _cleanup_(unref_object)

/* Replace the node in hand by its child. */
static int descend(ObjectSource *s, const ObjectId *child, Object **object, DirNode *node, Error *e)
{
    Object *o;
    int r = dir_node_get(s, child, (int)node->height - 1, &o, node, e);
    if (r < 0)
        return r;
    object_unref(*object);
    *object = o;
    return 0;
}

static int no_entry(Error *e)
{
    return error_set(e, ENOENT, "no such entry");
}

int dir_lookup(ObjectSource *s, const DirRef *dir, const char *name, size_t name_len,
               DirEntry *ret_entry, Error *e)
{
    _cleanup_object_ Object *o = NULL;
    DirNode node;
    uint64_t index = dir->index + 1;
    int r = dir_node_get(s, &dir->id, -1, &o, &node, e);
    while (r == 0 && node.height > 0) {
        DirChild child, chosen = {0};
        uint64_t skipped = 0, below = 0;
        while (node.n > 0) {
            r = dir_node_next_child(&node, &child, e);
            if (r < 0)
                return r;
            if (chosen.first && dir_name_compare(child.first, child.first_len, name, name_len) > 0)
                break;
            below += skipped;
            skipped = child.below;
            chosen = child;
        }
        index += below;
        r = descend(s, &chosen.id, &o, &node, e);
    }
    while (r == 0 && node.n > 0) {
        DirEntry x;
        r = dir_node_next_entry(&node, &x, e);
        if (r < 0)
            return r;
        int order = dir_name_compare(x.name, x.name_len, name, name_len);
        if (order > 0)
            break;
        if (order == 0) {
            x.index = index;
            x.holder = TAKE_PTR(o);
            *ret_entry = x;
            return 0;
        }
        index += dir_entry_span(&x);
    }
    return r < 0 ? r : no_entry(e);
}

typedef struct ListState {
    ObjectSource *source;
    uint64_t position, from; /* of the next entry; of the first one wanted */
    uint64_t index;
    int (*visit)(void *ctx, uint64_t position, const DirEntry *entry);
    void *ctx;
    Error *error;
} ListState;

static int list_node(ListState *l, const ObjectId *id, int height)
{
    _cleanup_object_ Object *o = NULL;
    DirNode node;
    int r = dir_node_get(l->source, id, height, &o, &node, l->error);
    while (r == 0 && node.n > 0) {
        if (node.height > 0) {
            DirChild child;
            r = dir_node_next_child(&node, &child, l->error);
            if (r == 0 && l->position + child.entries <= l->from) {
                l->position += child.entries;
                l->index += child.below;
            } else if (r == 0) {
                uint64_t position = l->position + child.entries, index = l->index + child.below;
                r = list_node(l, &child.id, (int)node.height - 1);
                /* Else crafted nodes that hold nothing could lead on for ever. */
                if (r == 0 && (l->position != position || l->index != index))
                    r = error_set(l->error, EBADMSG, "a directory holds not what it says");
            }
            continue;
        }
        DirEntry x;
        r = dir_node_next_entry(&node, &x, l->error);
        if (r < 0)
            break;
        x.index = l->index;
        x.holder = o;
        if (l->position >= l->from)
            r = l->visit(l->ctx, l->position, &x);
        l->position++;
        l->index += dir_entry_span(&x);
    }
    return r;
}

int dir_list(ObjectSource *s, const DirRef *dir, uint64_t from,
             int (*visit)(void *ctx, uint64_t position, const DirEntry *entry), void *ctx, Error *e)
{
    ListState l = {
        .source = s, .from = from, .index = dir->index + 1, .visit = visit, .ctx = ctx, .error = e};
    return list_node(&l, &dir->id, -1);
}

/* Find in one directory the entry whose span covers `index`; `at` is the first entry's index. */
static int find_span(ObjectSource *s, const ObjectId *dir, uint64_t at, uint64_t index,
                     DirEntry *ret_entry, Error *e)
{
    _cleanup_object_ Object *o = NULL;
    DirNode node;
    int r = dir_node_get(s, dir, -1, &o, &node, e);
    while (r == 0 && node.n > 0) {
        if (node.height > 0) {
            DirChild child;
            r = dir_node_next_child(&node, &child, e);
            if (r == 0 && index - at < child.below)
                r = descend(s, &child.id, &o, &node, e);
            else if (r == 0)
                at += child.below;
            continue;
        }
        DirEntry x;
        r = dir_node_next_entry(&node, &x, e);
        if (r < 0)
            break;
        if (index - at < dir_entry_span(&x)) {
            x.index = at;
            x.holder = TAKE_PTR(o);
            *ret_entry = x;
            return 0;
        }
        at += dir_entry_span(&x);
    }
    return r < 0 ? r : no_entry(e);
}

int dir_by_index(ObjectSource *s, const ObjectId *root, uint64_t index, DirEntry *ret_entry,
                 Error *e)
{
    ObjectId dir = *root;
    uint64_t at = 1;
    if (index == 0)
        return error_set(e, EINVAL, "index 0 is the root directory");
    for (int depth = 0; depth < DIR_MAX_DEPTH; depth++) {
        DirEntry x;
        int r = find_span(s, &dir, at, index, &x, e);
        if (r < 0)
            return r;
        if (x.index == index) {
            *ret_entry = x;
            return 0;
        }
        dir = x.dir.id;
        at = x.index + 1;
        dir_entry_release(&x);
    }
    return error_set(e, EBADMSG, "directories are nested too deep");
}

int dir_resolve(ObjectSource *s, const ObjectId *root, const char *path, DirEntry *ret_entry,
                Error *e)
{
    DirRef dir = {.id = *root};
    for (;;) {
        size_t len = strcspn(path, "/");
        DirEntry x;
        if (!name_is_valid(path, len))
            return error_set(e, EINVAL, "bad path");
        int r = dir_lookup(s, &dir, path, len, &x, e);
        if (r < 0)
            return r;
        if (!path[len]) {
            *ret_entry = x;
            return 0;
        }
        bool is_dir = x.kind == ENTRY_DIR;
        dir = (DirRef){.id = x.dir.id, .index = x.index};
        dir_entry_release(&x);
        if (!is_dir)
            return error_set(e, ENOTDIR, "not a directory");
        path += len + 1;
    }
}

int dir_entry_rope(ObjectSource *s, const DirEntry *entry, const uint8_t **ret_node,
                   size_t *ret_len, Object **ret_holder, Error *e)
{
    if (entry->node_inline) {
        *ret_node = entry->node;
        *ret_len = entry->node_len;
        *ret_holder = NULL;
        return 0;
    }
    Object *o;
    int r = object_get(s, &entry->rope_id, &o, e);
    if (r < 0)
        return r;
    *ret_node = o->data;
    *ret_len = o->len;
    *ret_holder = o;
    return 0;
}

typedef struct WalkState {
    ObjectSource *source;
    const DirWalk *walk;
    void *ctx;
    Buf path;
    Error *error;
} WalkState;

static int walk_dir(WalkState *w, const ObjectId *id, int height, int depth);

static int walk_entry(WalkState *w, const DirEntry *x, int depth)
{
    size_t len = w->path.len;
    if ((len && buf_add_u8(&w->path, '/') < 0) || buf_add(&w->path, x->name, x->name_len) < 0)
        return error_oom(w->error);
    const char *path = buf_cstr(&w->path);
    int r = path ? 0 : error_oom(w->error);
    if (r == 0 && x->kind == ENTRY_DIR)
        r = walk_dir(w, &x->dir.id, -1, depth + 1);
    else if (r == 0 && w->walk->file)
        r = w->walk->file(w->ctx, path, x);
    w->path.len = len;
    return r;
}

static int walk_nodes(WalkState *w, DirNode *node, int depth, Error *e)
{
    int r = 0;
    while (r == 0 && node->n > 0) {
        DirEntry x;
        DirChild child;
        if (node->height > 0) {
            r = dir_node_next_child(node, &child, e);
            if (r == 0 && (r = walk_dir(w, &child.id, (int)node->height - 1, depth)) < 0)
                return r;
        } else {
            r = dir_node_next_entry(node, &x, e);
            if (r == 0 && (r = walk_entry(w, &x, depth)) < 0)
                return r;
        }
    }
    return r;
}

static int walk_into(WalkState *w, const ObjectId *id, int height, int depth, Error *e)
{
    _cleanup_object_ Object *o = NULL;
    DirNode node;
    if (depth > DIR_MAX_DEPTH)
        return error_set(e, EBADMSG, "directories are nested too deep");
    int r = dir_node_get(w->source, id, height, &o, &node, e);
    return r < 0 ? r : walk_nodes(w, &node, depth, e);
}

/* Walk one node and all below it. What the callbacks return goes straight up; damage is reported
 * to the callback for it and ends only this node. */
static int walk_dir(WalkState *w, const ObjectId *id, int height, int depth)
{
    _cleanup_(error_release) Error why = ERROR_INIT;
    const char *path = buf_cstr(&w->path);
    if (!path)
        return error_oom(w->error);
    int r = w->walk->node ? w->walk->node(w->ctx, path, id, height) : 0;
    if (r != 0)
        return r < 0 ? r : 0;
    r = walk_into(w, id, height, depth, &why);
    if (r < 0 && why.errnum) {
        path = buf_cstr(&w->path); /* what was below may have moved it */
        r = w->walk->damage && path ? w->walk->damage(w->ctx, path, id, &why)
                                    : error_move(w->error, &why);
    }
    return r == 0 && w->walk->leave ? w->walk->leave(w->ctx, id, height) : r;
}

int dir_walk(ObjectSource *s, const ObjectId *root, const DirWalk *walk, void *ctx, Error *e)
{
    WalkState w = {.source = s, .walk = walk, .ctx = ctx, .error = e};
    int r = walk_dir(&w, root, -1, 0);
    buf_release(&w.path);
    return r;
}
