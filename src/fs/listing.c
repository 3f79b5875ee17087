/* readdir and readdirplus. Offsets: 1 and 2 follow "." and ".."; after that a name's place in its
 * directory plus 2, so that no state is kept between calls. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs_internal.h"
#include "util/cleanup.h"
#include "util/name.h"

#define DOTS      2 /* "." and ".." */
#define REPLY_MAX (1u << 20)

typedef struct Listing {
    Fs *fs;
    fuse_req_t req;
    const FsNode *node;
    bool plus;
    char *buf;
    size_t size, used;
    unsigned before; /* places of the directory that come before the stored entries' */
    Error *error;
} Listing;

/* Add one name. 1 when the buffer is full. */
static int add(Listing *l, const char *name, const struct fuse_entry_param *param, off_t next)
{
    size_t left = l->size - l->used;
    size_t need = l->plus
                      ? fuse_add_direntry_plus(l->req, l->buf + l->used, left, name, param, next)
                      : fuse_add_direntry(l->req, l->buf + l->used, left, name, &param->attr, next);
    if (need > left)
        return 1;
    l->used += need;
    return 0;
}

/* "." and "..": the kernel takes their numbers, but enters no inodes for them (`ino` is 0). */
static int add_dots(Listing *l, fuse_ino_t ino, off_t off)
{
    const Inode *inode = &l->node->inode;
    struct fuse_entry_param param = {.attr = {.st_ino = ino, .st_mode = S_IFDIR}};
    if (off < 1 && add(l, ".", &param, 1) > 0)
        return 1;
    /* The directory above is known where it is a virtual one; FUSE's number for "unknown" else. */
    param.attr.st_ino = 0xffffffff;
    if (inode->view == INODE_VIRTUAL)
        param.attr.st_ino = layout_parent(l->node->layout, inode->kind, inode->number);
    return off < 2 ? add(l, "..", &param, 2) : 0;
}

static int list_virtual(Listing *l, off_t off)
{
    const Inode *inode = &l->node->inode;
    uint64_t from = off > DOTS ? (uint64_t)off - DOTS : 0;
    LayoutChild child;
    while (layout_next(l->node->layout, inode->kind, inode->number, from, &child)) {
        struct fuse_entry_param param;
        fs_child_param(l->fs, l->node->layout, &child, &param);
        if (add(l, child.name, &param, (off_t)child.next + DOTS) > 0)
            break;
        from = child.next;
    }
    return 0;
}

static int list_entry(void *ctx, uint64_t position, const DirEntry *entry)
{
    Listing *l = ctx;
    uint64_t ino;
    int r = fs_entry_inode(l->node, entry, &ino, l->error);
    if (r < 0)
        return r;
    if (entry->name_len > NAME_MAX_BYTES)
        return error_set(l->error, EBADMSG, "an entry's name is too long");
    char name[NAME_MAX_BYTES + 1];
    memcpy(name, entry->name, entry->name_len);
    name[entry->name_len] = 0;
    struct fuse_entry_param param;
    fs_entry_param(l->fs, l->node->backup, ino, entry, &param);
    return add(l, name, &param, (off_t)position + 1 + DOTS + l->before);
}

/* Add the rendered files of a backup's root, unless the backup has such a name itself. Sizes that
 * are not known yet would take long: the kernel asks for those that somebody wants. */
static int add_rendered(Listing *l, off_t off)
{
    DirRef dir = fs_node_dir(l->node);
    if (off >= DOTS + (off_t)RENDERED_END - 1)
        return 0;
    RenderedFile file = off > DOTS ? (RenderedFile)(off - DOTS + 1) : RENDERED_NONE + 1;
    for (; file < RENDERED_END; file++) {
        const char *name = rendered_name(file);
        struct fuse_entry_param param;
        DirEntry entry;
        uint64_t size = 0;
        int r = dir_lookup(l->fs->objects, &dir, name, strlen(name), &entry, l->error);
        if (r == 0) {
            dir_entry_release(&entry);
            continue;
        }
        error_release(l->error);
        if (r != -ENOENT)
            return r;
        bool known = rendered_known_size(l->fs->rendered, l->node->backup, file, &size);
        fs_rendered_param(l->fs, l->node->backup, file, size, &param);
        if (!known)
            param.ino = 0; /* the name only */
        if (add(l, name, &param, (off_t)file + DOTS) > 0)
            return 1;
    }
    return 0;
}

static int list_backup(Listing *l, off_t off)
{
    DirRef dir = fs_node_dir(l->node);
    int r = 0;
    if (l->node->inode.index == 0) {
        l->before = RENDERED_END - 1;
        r = add_rendered(l, off);
    }
    if (r != 0)
        return r < 0 ? r : 0;
    uint64_t from = off > DOTS + l->before ? (uint64_t)off - DOTS - l->before : 0;
    r = dir_list(l->fs->objects, &dir, from, list_entry, l, l->error);
    return r < 0 ? r : 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    Fs *fs = fuse_req_userdata(req);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(fs_node_release) FsNode node;
    int r = off < 0 ? -EINVAL : 0;
    int found = fs_node_get(fs, ino, &node, &e);
    if (r == 0)
        r = found;
    if (r == 0 && !fs_node_is_dir(&node))
        r = -ENOTDIR;

    Listing l = {.fs = fs, .req = req, .node = &node, .plus = plus, .error = &e};
    l.size = size < REPLY_MAX ? size : REPLY_MAX;
    _cleanup_free_ char *buf = malloc(l.size ? l.size : 1);
    l.buf = buf;
    if (r == 0 && !buf)
        r = -ENOMEM;
    if (r == 0)
        r = add_dots(&l, ino, off);
    if (r == 0)
        r = node.backup ? list_backup(&l, off) : list_virtual(&l, off);
    if (r < 0 && l.used == 0) /* else the failure shows when the kernel asks for the next ones */
        fuse_reply_err(req, fs_failure(fs, node.backup, node.inode.index, r, &e));
    else
        fuse_reply_buf(req, l.buf, l.used);
}

void fs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                   struct fuse_file_info *fi)
{
    list(req, ino, size, off, false);
}

void fs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    list(req, ino, size, off, true);
}

/* Listings need no state: after ENOSYS the kernel opens directories without asking, and keeps
 * their listings until it is told otherwise. Where it can't do without an answer it is to keep them
 * as well. */
void fs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const Fs *fs = fuse_req_userdata(req);
    if (!fs->opens_dirs) {
        fuse_reply_err(req, ENOSYS);
        return;
    }
    fi->cache_readdir = fi->keep_cache = 1;
    fuse_reply_open(req, fi);
}
