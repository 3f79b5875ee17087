#include "verify/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/idmap.h"
#include "tree/dir.h"
#include "util/cleanup.h"

/* Nodes met and not yet known to be good. */
typedef struct IdList {
    ObjectId *items;
    size_t n, capacity;
} IdList;

typedef struct Walk {
    Inventory *inventory;
    ObjectSource *objects;
    const WalkOptions *options;
    DamageList *damage;
    IdMap good; /* nodes with nothing wrong in or below them */
    IdMap bad;  /* nodes that can't be read or hold nonsense */

    size_t backup;    /* the one being walked */
    IdList dir_nodes; /* its directory nodes; good when all of the backup is */
    bool backup_is_good;

    const char *path;  /* the file being walked */
    IdList file_nodes; /* its rope nodes; good when all of the file is */
    bool file_is_good;
} Walk;

static int list_add(IdList *l, const ObjectId *id)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        ObjectId *items = reallocarray(l->items, capacity, sizeof(*items));
        if (!items)
            return -ENOMEM;
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->n++] = *id;
    return 0;
}

static int remember(IdMap *set, const ObjectId *id)
{
    static const Location nowhere;
    return idmap_put(set, id, &nowhere);
}

static bool is_in(const IdMap *set, const ObjectId *id)
{
    return idmap_get(set, id) != NULL;
}

/* Every node of `l` is good; `l` ends empty. */
static int settle(Walk *w, IdList *l, bool good)
{
    int r = 0;
    for (size_t i = 0; good && r == 0 && i < l->n; i++)
        r = remember(&w->good, &l->items[i]);
    l->n = 0;
    return r;
}

static bool is_cancelled(const Walk *w)
{
    return w->options->cancel && atomic_load(w->options->cancel);
}

/* Errors that end the verify; others are findings. */
static bool is_fatal(int r)
{
    return r == -ENOMEM || r == -EINTR || r == -EMFILE || r == -ENFILE;
}

/* Give `why` and `r` to the caller as the error to end with. */
static int fail(Error *e, Error *why, int r)
{
    return why->errnum ? error_move(e, why) : r;
}

/* A finding about object `id`, which is in some pack, met on the way to `path`. */
static int report(Walk *w, DamageKind kind, const ObjectId *id, const char *path,
                  const char *message)
{
    char name[PACK_NAME_SIZE];
    const InventoryObject *o = inventory_find(w->inventory, id);
    w->backup_is_good = false;
    w->file_is_good = false;
    if (o && o->sound != INVENTORY_NONE)
        o = &w->inventory->objects[o->sound];
    if (o)
        pack_name(&w->inventory->packs[o->pack].sha256, name);
    int r = damage_add(w->damage, kind, o ? name : NULL, id, message);
    return r < 0 ? r : damage_touch(w->damage, id, w->backup, path);
}

static int report_missing(Walk *w, const ObjectId *id, const char *path, const char *message)
{
    w->backup_is_good = false;
    w->file_is_good = false;
    int r = damage_add(w->damage, DAMAGE_MISSING, NULL, id, message);
    return r < 0 ? r : damage_touch(w->damage, id, w->backup, path);
}

/* No copy of an object is sound: `first` is its first one, or NULL. Where all are damaged there are
 * findings about that. */
static int report_unsound(Walk *w, const ObjectId *id, const InventoryObject *first,
                          const char *path)
{
    if (!first)
        return report_missing(w, id, path, "in no pack of the store");
    if (first->lacking)
        return report_missing(w, id, path,
                              first->encoding == ENCODING_DELTA
                                  ? "what it is a delta of is missing or damaged"
                                  : "its pack can't be read");
    w->backup_is_good = false;
    w->file_is_good = false;
    return damage_touch(w->damage, id, w->backup, path);
}

/* Whether a copy of object `id` is there and sound, as far as the inventory knows: 1, or 0 after
 * reporting it, or -ENOMEM. */
static int check_presence(Walk *w, const ObjectId *id, const char *path)
{
    const InventoryObject *first = inventory_find(w->inventory, id);
    if (first)
        inventory_want(w->inventory, first);
    if (first && first->sound != INVENTORY_NONE)
        return 1;
    int r = report_unsound(w, id, first, path);
    return r < 0 ? r : 0;
}

static int visit_object(Walk *w, const RopeVisit *v)
{
    int r = check_presence(w, &v->id, w->path);
    if (r <= 0)
        return r;
    const InventoryObject *first = inventory_find(w->inventory, &v->id);
    if (v->len == 0 || w->inventory->objects[first->sound].plain_len == v->len)
        return 0;
    return report(w, DAMAGE_TREE, &v->id, w->path, "its length is not the one its rope says");
}

static int visit_rope(void *ctx, const RopeVisit *v)
{
    Walk *w = ctx;
    if (is_cancelled(w))
        return -EINTR;
    if (!v->is_node)
        return visit_object(w, v);
    if (is_in(&w->good, &v->id))
        return 1;
    int r = check_presence(w, &v->id, w->path);
    if (r < 0)
        return r;
    if (r > 0 && is_in(&w->bad, &v->id)) {
        w->file_is_good = w->backup_is_good = false;
        r = damage_touch(w->damage, &v->id, w->backup, w->path);
        return r < 0 ? r : 1;
    }
    if (r == 0)
        return 1;
    return list_add(&w->file_nodes, &v->id);
}

/* Walk a file's rope. A node that turns out to be unreadable is reported, and the walk begins anew
 * without it: the last node visited is the one that failed. */
static int walk_rope(Walk *w, const void *node, size_t len, Error *e)
{
    for (;;) {
        _cleanup_(error_release) Error why = ERROR_INIT;
        size_t before = w->file_nodes.n;
        int r = rope_walk(w->objects, node, len, visit_rope, w, &why);
        if (r >= 0)
            return 0;
        if (is_fatal(r) || w->file_nodes.n == before)
            return fail(e, &why, r);
        ObjectId failed = w->file_nodes.items[w->file_nodes.n - 1];
        w->file_nodes.n = 0;
        r = remember(&w->bad, &failed);
        if (r == 0)
            r = report(w, DAMAGE_OBJECT, &failed, w->path,
                       why.message ? why.message : "the rope node can't be read");
        if (r < 0)
            return r;
    }
}

/* The file's rope as the entry has it: checked against the entry's size, then walked. */
static int check_file(Walk *w, const DirEntry *entry, Error *e)
{
    const uint8_t *node = NULL;
    size_t len = 0;
    Object *holder = NULL;
    uint64_t length;
    unsigned height;
    uint32_t n;
    int r = dir_entry_rope(w->objects, entry, &node, &len, &holder, e);
    if (r == 0)
        r = rope_node_check(node, len, &length, &height, &n, e);
    if (r == 0 && length != entry->size)
        r = error_set(e, EBADMSG, "the file's size is not its rope's length");
    if (r == 0)
        r = walk_rope(w, node, len, e);
    object_unref(holder);
    return r;
}

static int visit_file(void *ctx, const char *path, const DirEntry *entry)
{
    Walk *w = ctx;
    _cleanup_(error_release) Error why = ERROR_INIT;
    if (entry->kind != ENTRY_FILE) /* a symbolic link is its target's name, read with the entry */
        return 0;
    w->path = path;
    w->file_is_good = true;
    if (!entry->node_inline) {
        if (is_in(&w->good, &entry->rope_id))
            return 0;
        int r = check_presence(w, &entry->rope_id, path);
        if (r <= 0)
            return r;
    }
    int r = check_file(w, entry, &why);
    if (is_fatal(r))
        return r;
    if (r < 0) {
        const char *message = why.message ? why.message : "the file's rope can't be read";
        r = entry->node_inline
                ? report(w, DAMAGE_TREE, &w->options->roots[w->backup], path, message)
                : report(w, DAMAGE_OBJECT, &entry->rope_id, path, message);
    }
    if (r == 0 && !entry->node_inline)
        r = list_add(&w->file_nodes, &entry->rope_id);
    if (r == 0)
        r = settle(w, &w->file_nodes, w->file_is_good);
    return r;
}

static int visit_dir_node(void *ctx, const ObjectId *id)
{
    Walk *w = ctx;
    if (is_cancelled(w))
        return -EINTR;
    if (is_in(&w->good, id))
        return 1;
    InventoryObject *o = inventory_find(w->inventory, id);
    if (o)
        inventory_want(w->inventory, o);
    return list_add(&w->dir_nodes, id);
}

/* A directory node that can't be read: go on with the others. */
static int dir_damage(void *ctx, const char *path, const ObjectId *id, const Error *why)
{
    Walk *w = ctx;
    if (is_fatal(-why->errnum))
        return -why->errnum;
    const char *shown = *path ? path : "/";
    const InventoryObject *first = inventory_find(w->inventory, id);
    if (!first || first->sound == INVENTORY_NONE)
        return report_unsound(w, id, first, shown);
    return report(w, DAMAGE_OBJECT, id, shown,
                  why->message ? why->message : "the directory node can't be read");
}

static int walk_backup(Walk *w, size_t i, Error *e)
{
    static const DirWalk callbacks = {
        .node = visit_dir_node, .file = visit_file, .damage = dir_damage};
    _cleanup_(error_release) Error why = ERROR_INIT;
    const ObjectId *root = &w->options->roots[i];
    w->backup = i;
    w->backup_is_good = true;
    w->dir_nodes.n = w->file_nodes.n = 0;
    int r = dir_walk(w->objects, root, &callbacks, w, &why);
    if (r < 0 && !is_fatal(r))
        r = report(w, DAMAGE_TREE, root, "/",
                   why.message ? why.message : "its directories can't be read");
    return r < 0 ? fail(e, &why, r) : settle(w, &w->dir_nodes, w->backup_is_good);
}

int walk_backups(Inventory *v, ObjectSource *objects, const WalkOptions *o, DamageList *damage,
                 Error *e)
{
    Walk w = {.inventory = v, .objects = objects, .options = o, .damage = damage};
    size_t done = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < o->backups->n; i++) {
        if (!o->selected[i])
            continue;
        r = walk_backup(&w, i, e);
        done++;
        if (r == 0 && o->progress)
            o->progress(o->ctx, done);
    }
    free(w.dir_nodes.items);
    free(w.file_nodes.items);
    idmap_release(&w.good);
    idmap_release(&w.bad);
    if (r < 0 && e && !e->message)
        return r == -EINTR ? error_set(e, EINTR, "interrupted") : error_oom(e);
    return r;
}
