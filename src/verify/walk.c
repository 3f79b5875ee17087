#include "verify/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tree/dir_node.h"
#include "tree/rope_node.h"
#include "util/cleanup.h"
#include "verify/nodes.h"

/* What a bad directory holds is looked at again wherever it appears in a backup, so that all its
 * files are named; but in a crafted store that has no end. */
#define AGAIN_MAX 10000 /* nodes and files a backup */

/* So are bad nodes in further files and backups; beyond so many only the first of them is named. */
#define BAD_MAX 10000000

/* A node is entered again below a lower parent than before, or where something else is said of its
 * length: heights are 33, and after something else was said the file is bad. */
#define ENTERED_MAX 40

/* Above all heights that nodes have. */
#define HEIGHT_FILE (ROPE_MAX_HEIGHT + 1)

/* A node on the way from a file's or backup's root. */
typedef struct Frame {
    uint64_t findings; /* when it was entered */
    bool again;        /* it is bad, and was entered before */
} Frame;

typedef struct Walk {
    Inventory *inventory;
    ObjectSource *objects;
    const WalkOptions *options;
    DamageList *damage;
    NodeSet ropes, dirs; /* nodes that were met */
    uint64_t findings;   /* grows with everything wrong that is met */
    uint64_t bad;        /* bad nodes that were entered once more */

    size_t backup; /* the one being walked */
    uint32_t backup_round;
    Frame dir_frames[(DIR_MAX_DEPTH + 2) * (DIR_MAX_HEIGHT + 1)];
    size_t n_dir_frames, n_again; /* so many of them are entered again */
    unsigned again;               /* nodes and files looked at again */

    const char *path; /* the file being walked */
    uint32_t file_round;
    uint64_t rope_frames[HEIGHT_FILE + 1]; /* findings when each node was entered */
    size_t n_rope_frames;
} Walk;

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
    w->findings++;
    if (o && o->sound != INVENTORY_NONE)
        o = &w->inventory->objects[o->sound];
    if (o)
        pack_name(&w->inventory->packs[o->pack].sha256, name);
    int r = damage_add(w->damage, kind, o ? name : NULL, id, message);
    return r < 0 ? r : damage_touch(w->damage, id, w->backup, path);
}

static int report_missing(Walk *w, const ObjectId *id, const char *path, const char *message)
{
    w->findings++;
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
    w->findings++;
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

/* Whether to look into a node that is bad, or new, once more than before: 1, or 0 after reporting
 * it, or -ENOMEM. */
static int look_again(Walk *w, const Node *node, const char *path)
{
    if (node->round == 0 || node->good || w->bad++ < BAD_MAX)
        return 1;
    int r = report(w, DAMAGE_TREE, &node->id, path, "something below it is damaged");
    return r < 0 ? r : 0;
}

/* Enter a rope node, unless it is known to be good or has been entered for this file: 0, or 1 to
 * skip it, or -ENOMEM. */
static int enter_rope(Walk *w, const RopeVisit *v)
{
    Node *node = nodes_put(&w->ropes, &v->id);
    if (!node)
        return -ENOMEM;
    bool is_new = node->round == 0, here = node->round == w->file_round;
    bool same = !is_new && node->length == v->len && v->height >= node->height;
    if ((same && (node->good || here)) || (here && node->entered == ENTERED_MAX))
        return 1;
    int r = look_again(w, node, w->path);
    if (r <= 0)
        return r < 0 ? r : 1;
    if (is_new) {
        node->length = v->len;
        node->height = (int8_t)v->height;
    }
    node->entered = here ? (uint8_t)(node->entered + 1) : 1;
    node->round = w->file_round;
    w->rope_frames[w->n_rope_frames++] = w->findings;
    return 0;
}

static int leave_rope(void *ctx, const RopeVisit *v)
{
    Walk *w = ctx;
    Node *node = nodes_get(&w->ropes, &v->id);
    bool good = w->rope_frames[--w->n_rope_frames] == w->findings;
    if (!good && node->good)
        return 0; /* it is, only not what was said of it here */
    node->height = (int8_t)v->height;
    node->length = v->len;
    node->good = good;
    return 0;
}

static int visit_rope(void *ctx, const RopeVisit *v)
{
    Walk *w = ctx;
    if (is_cancelled(w))
        return -EINTR;
    if (!v->is_node)
        return visit_object(w, v);
    int r = enter_rope(w, v);
    if (r != 0)
        return r;
    r = check_presence(w, &v->id, w->path);
    if (r > 0)
        return 0;
    leave_rope(w, v);
    return r < 0 ? r : 1;
}

/* A rope node that can't be read: go on with the others. */
static int rope_damage(void *ctx, const RopeVisit *v, const Error *why)
{
    Walk *w = ctx;
    if (is_fatal(-why->errnum))
        return -why->errnum;
    return report(w, DAMAGE_OBJECT, &v->id, w->path,
                  why->message ? why->message : "the rope node can't be read");
}

/* The file's rope as the entry has it: checked against the entry's size, then walked. */
static int check_file(Walk *w, const DirEntry *entry, Error *e)
{
    static const RopeWalk walk = {.visit = visit_rope, .damage = rope_damage, .leave = leave_rope};
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
        r = rope_walk_all(w->objects, node, len, &walk, w, e);
    object_unref(holder);
    return r;
}

static int visit_file(void *ctx, const char *path, const DirEntry *entry)
{
    Walk *w = ctx;
    _cleanup_(error_release) Error why = ERROR_INIT;
    if (entry->kind != ENTRY_FILE) /* a symbolic link is its target's name, read with the entry */
        return 0;
    if (w->n_again > 0 && w->again++ >= AGAIN_MAX)
        return 0;
    w->path = path;
    w->file_round++;
    /* Its root, where that is an object: a node below the file. */
    const RopeVisit root = {
        .id = entry->rope_id, .is_node = true, .height = HEIGHT_FILE, .len = entry->size};
    int r = entry->node_inline ? 0 : visit_rope(w, &root);
    if (r != 0)
        return r < 0 ? r : 0;
    r = check_file(w, entry, &why);
    if (is_fatal(r))
        return r;
    if (r < 0) {
        const char *message = why.message ? why.message : "the file's rope can't be read";
        r = entry->node_inline
                ? report(w, DAMAGE_TREE, &w->options->roots[w->backup], path, message)
                : report(w, DAMAGE_OBJECT, &entry->rope_id, path, message);
    }
    return r == 0 && !entry->node_inline ? leave_rope(w, &root) : r;
}

static const char *shown(const char *path)
{
    return *path ? path : "/";
}

static int leave_dir(void *ctx, const ObjectId *id, int height)
{
    Walk *w = ctx;
    Node *node = nodes_get(&w->dirs, id);
    const Frame *frame = &w->dir_frames[--w->n_dir_frames];
    w->n_again -= frame->again;
    if (frame->findings == w->findings) {
        node->good = true;
        if (height >= 0)
            node->height = (int8_t)height;
    }
    return 0;
}

static int visit_dir_node(void *ctx, const char *path, const ObjectId *id, int height)
{
    Walk *w = ctx;
    if (is_cancelled(w))
        return -EINTR;
    Node *node = nodes_put(&w->dirs, id);
    if (!node)
        return -ENOMEM;
    if (node->round == 0)
        node->height = -1;
    if (node->good && (height < 0 || height == node->height))
        return 1;
    bool again = !node->good && node->round == w->backup_round;
    if (again && w->again++ >= AGAIN_MAX)
        return 1;
    int r = look_again(w, node, shown(path));
    if (r <= 0)
        return r < 0 ? r : 1;
    node->round = w->backup_round;
    w->dir_frames[w->n_dir_frames++] = (Frame){.findings = w->findings, .again = again};
    w->n_again += again;
    r = check_presence(w, id, shown(path));
    if (r > 0)
        return 0;
    leave_dir(w, id, height);
    return r < 0 ? r : 1;
}

/* A directory node that can't be read: go on with the others. */
static int dir_damage(void *ctx, const char *path, const ObjectId *id, const Error *why)
{
    Walk *w = ctx;
    if (is_fatal(-why->errnum))
        return -why->errnum;
    return report(w, DAMAGE_OBJECT, id, shown(path),
                  why->message ? why->message : "the directory node can't be read");
}

static int walk_backup(Walk *w, size_t i, Error *e)
{
    static const DirWalk callbacks = {
        .node = visit_dir_node, .file = visit_file, .damage = dir_damage, .leave = leave_dir};
    _cleanup_(error_release) Error why = ERROR_INIT;
    const ObjectId *root = &w->options->roots[i];
    w->backup = i;
    w->backup_round++;
    w->again = 0;
    w->n_dir_frames = w->n_rope_frames = w->n_again = 0;
    int r = dir_walk(w->objects, root, &callbacks, w, &why);
    if (r < 0 && !is_fatal(r))
        r = report(w, DAMAGE_TREE, root, "/",
                   why.message ? why.message : "its directories can't be read");
    return r < 0 ? fail(e, &why, r) : 0;
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
    nodes_release(&w.ropes);
    nodes_release(&w.dirs);
    if (r < 0 && e && !e->message)
        return r == -EINTR ? error_set(e, EINTR, "interrupted") : error_oom(e);
    return r;
}
