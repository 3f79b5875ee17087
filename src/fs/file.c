/* open, read and release. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "fs/fs_internal.h"
#include "util/cleanup.h"

#define PIECES_MAX 64u /* a reply of more pieces is copied together */

/* An open file: what its reads need, whatever becomes of its backup's name. */
typedef struct OpenFile {
    struct OpenFile *prev, *next; /* in fs->files */
    Object *holder;               /* keeps `node` when it was an object of its own */
    DirEntry entry;               /* keeps `node` when it stands in the directory */
    const uint8_t *node;
    size_t node_len;
    Inode inode;
} OpenFile;

static OpenFile *open_file(const struct fuse_file_info *fi)
{
    return (OpenFile *)(uintptr_t)fi->fh;
}

static void files_add(Fs *fs, OpenFile *f)
{
    pthread_mutex_lock(&fs->lock);
    f->next = fs->files;
    if (f->next)
        f->next->prev = f;
    fs->files = f;
    pthread_mutex_unlock(&fs->lock);
}

static void files_remove(Fs *fs, OpenFile *f)
{
    pthread_mutex_lock(&fs->lock);
    *(f->prev ? &f->prev->next : &fs->files) = f->next;
    if (f->next)
        f->next->prev = f->prev;
    pthread_mutex_unlock(&fs->lock);
    object_unref(f->holder);
    dir_entry_release(&f->entry);
    free(f);
}

void fs_files_free(Fs *fs)
{
    while (fs->files)
        files_remove(fs, fs->files);
}

void fs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    Fs *fs = fuse_req_userdata(req);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(fs_node_release) FsNode node;
    OpenFile *f = calloc(1, sizeof(*f));
    int r = fs_node_get(fs, ino, &node, &e);
    if (r == 0 && (fi->flags & O_ACCMODE) != O_RDONLY)
        r = -EROFS;
    if (r == 0 && !f)
        r = -ENOMEM;
    if (r == 0 && (node.inode.view != INODE_FILE || node.entry.kind != ENTRY_FILE))
        r = -EISDIR;
    if (r == 0)
        r = dir_entry_rope(fs->objects, &node.entry, &f->node, &f->node_len, &f->holder, &e);
    if (r < 0) {
        fuse_reply_err(req, fs_failure(fs, node.backup, node.inode.index, r, &e));
        free(f);
        return;
    }
    f->inode = node.inode;
    f->entry = node.entry;
    node.entry = (DirEntry){0};
    files_add(fs, f);
    fi->fh = (uintptr_t)f;
    fi->keep_cache = 1;
    if (fuse_reply_open(req, fi) < 0) /* the opener was interrupted: there will be no release */
        files_remove(fs, f);
}

void fs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    files_remove(fuse_req_userdata(req), open_file(fi));
    fuse_reply_err(req, 0);
}

/* The pieces of a reply, in the blocks where they lie. */
typedef struct Pieces {
    struct iovec iov[PIECES_MAX];
    Object *holders[PIECES_MAX];
    unsigned n;
} Pieces;

static void pieces_release(Pieces *p)
{
    for (unsigned i = 0; i < p->n; i++)
        object_unref(p->holders[i]);
}

/* The bytes of the leaf at `off`: `ret_data` points into `ret_holder`, or into the root node when
 * that is NULL. */
static int leaf_bytes(Fs *fs, const OpenFile *f, uint64_t off, const uint8_t **ret_data,
                      size_t *ret_len, Object **ret_holder, Error *e)
{
    RopeLeaf leaf = {0};
    Object *holder = NULL;
    const uint8_t *data;
    int r = rope_find(fs->objects, f->node, f->node_len, off, &leaf, e);
    if (r < 0)
        return r;
    if (off < leaf.start || off - leaf.start >= leaf.len) {
        rope_leaf_release(&leaf);
        return error_set(e, EBADMSG, "the arrangement of the file's bytes is damaged");
    }
    if (leaf.is_literal) {
        data = leaf.literal;
        holder = TAKE_PTR(leaf.holder);
    } else {
        r = object_get(fs->objects, &leaf.id, &holder, e);
        if (r == 0 && holder->len != leaf.len) {
            char hex[ID_HEX_SIZE];
            id_to_hex(&leaf.id, hex);
            r = error_set(e, EBADMSG, "chunk %s has %u bytes where %u are expected", hex,
                          holder->len, leaf.len);
            object_unref(holder);
        }
        data = r == 0 ? holder->data : NULL;
    }
    if (r == 0) {
        *ret_data = data + (off - leaf.start);
        *ret_len = leaf.len - (size_t)(off - leaf.start);
        *ret_holder = holder;
    }
    rope_leaf_release(&leaf);
    return r;
}

/* Collect `size` bytes at `off`. -E2BIG when they lie in too many places. */
static int collect(Fs *fs, const OpenFile *f, uint64_t off, size_t size, Pieces *p, Error *e)
{
    while (size > 0) {
        if (p->n == PIECES_MAX)
            return -E2BIG;
        const uint8_t *data = NULL;
        size_t len = 0;
        int r = leaf_bytes(fs, f, off, &data, &len, &p->holders[p->n], e);
        if (r < 0)
            return r;
        len = len < size ? len : size;
        p->iov[p->n++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
        off += len;
        size -= len;
    }
    return 0;
}

static int reply_copied(Fs *fs, fuse_req_t req, const OpenFile *f, uint64_t off, size_t size,
                        Error *e)
{
    _cleanup_free_ uint8_t *data = malloc(size);
    if (!data)
        return -ENOMEM;
    ssize_t n = rope_read(fs->objects, f->node, f->node_len, off, data, size, e);
    if (n < 0)
        return (int)n;
    if ((size_t)n != size) /* the kernel would take a short reply for the end of the file */
        return error_set(e, EBADMSG, "the file ends before its size");
    fuse_reply_buf(req, (const char *)data, size);
    return 0;
}

void fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    Fs *fs = fuse_req_userdata(req);
    const OpenFile *f = open_file(fi);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(pieces_release) Pieces pieces;
    pieces.n = 0; /* the arrays are filled as they are used */
    uint64_t length = f->entry.size, from = (uint64_t)off;

    if (off < 0 || from >= length)
        size = 0;
    else if (size > length - from)
        size = (size_t)(length - from);
    int r = collect(fs, f, from, size, &pieces, &e);
    if (r == 0)
        fuse_reply_iov(req, pieces.iov, (int)pieces.n);
    else if (r == -E2BIG)
        r = reply_copied(fs, req, f, from, size, &e);
    if (r == 0)
        return;
    Layout *l = fs_layout(fs);
    fuse_reply_err(req, fs_failure(fs, layout_backup(l, f->inode.ordinal), f->inode.index, r, &e));
    layout_unref(l);
}
