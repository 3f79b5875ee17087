/* read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "fs/file.h"
#include "util/cleanup.h"

#define PIECES_MAX 64u /* a reply of more pieces is copied together */

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

/* The leaf at `off`, from where the last read was unless another reader is there just now. */
static int find_leaf(Fs *fs, OpenFile *f, uint64_t off, RopeLeaf *ret_leaf, Error *e)
{
    if (pthread_mutex_trylock(&f->lock) != 0)
        return rope_find(fs->objects, f->node, f->node_len, off, ret_leaf, e);
    int r = 0;
    if (!f->cursor)
        r = rope_cursor_new(fs->objects, f->node, f->node_len, &f->cursor, e);
    if (r == 0)
        r = rope_cursor_find(f->cursor, off, ret_leaf, e);
    pthread_mutex_unlock(&f->lock);
    return r;
}

/* The bytes of the leaf at `off`: `ret_data` points into `ret_holder`, or into the root node when
 * that is NULL. */
static int leaf_bytes(Fs *fs, OpenFile *f, uint64_t off, const uint8_t **ret_data, size_t *ret_len,
                      Object **ret_holder, Error *e)
{
    RopeLeaf leaf = {0};
    Object *holder = NULL;
    const uint8_t *data;
    int r = find_leaf(fs, f, off, &leaf, e);
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
        bool is_passing = atomic_load_explicit(&f->is_passing, memory_order_relaxed);
        r = object_get(is_passing ? cache_passing(fs->cache) : fs->objects, &leaf.id, &holder, e);
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
static int collect(Fs *fs, OpenFile *f, uint64_t off, size_t size, Pieces *p, Error *e)
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

static void reply_read(Fs *fs, fuse_req_t req, OpenFile *f, size_t size, off_t off)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(pieces_release) Pieces pieces;
    pieces.n = 0; /* the arrays are filled as they are used */
    uint64_t from = (uint64_t)off;

    if (off < 0 || from >= f->size)
        size = 0;
    else if (size > f->size - from)
        size = (size_t)(f->size - from);
    if (f->text) {
        fuse_reply_buf(req, (const char *)f->text->data + (size ? from : 0), size);
        return;
    }
    file_read_ahead(fs, f, from, size); /* first: the others load while this thread does */
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

void fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    Fs *fs = fuse_req_userdata(req);
    OpenFile *f = open_file(fi);
    /* Who has the answer may close the file before this thread is through with its bytes. */
    atomic_fetch_add(&f->refs, 1);
    reply_read(fs, req, f, size, off);
    file_unref(fs, f);
}
