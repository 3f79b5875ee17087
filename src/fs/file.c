/* open and release. */
#include "fs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/rendered.h"
#include "util/cleanup.h"

static void files_add(Fs *fs, OpenFile *f)
{
    pthread_mutex_lock(&fs->lock);
    f->next = fs->files;
    if (f->next)
        f->next->prev = f;
    fs->files = f;
    pthread_mutex_unlock(&fs->lock);
}

void file_unref(Fs *fs, OpenFile *f)
{
    if (atomic_fetch_sub(&f->refs, 1) > 1)
        return;
    rope_cursor_free(f->cursor);
    rope_cursor_free(f->reading.scout);
    rendered_put(fs->rendered, f->text);
    object_unref(f->holder);
    dir_entry_release(&f->entry);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void files_remove(Fs *fs, OpenFile *f)
{
    pthread_mutex_lock(&fs->lock);
    *(f->prev ? &f->prev->next : &fs->files) = f->next;
    if (f->next)
        f->next->prev = f->prev;
    pthread_mutex_unlock(&fs->lock);
    file_unref(fs, f);
}

void fs_files_free(Fs *fs)
{
    while (fs->files)
        files_remove(fs, fs->files);
}

/* Make `f` what `node` is. Its entry moves into `f`. */
static int open_node(Fs *fs, FsNode *node, OpenFile *f, Error *e)
{
    int r = 0;
    if (fs_node_is_status(node)) {
        r = fs_status_text(fs, &f->text);
        f->size = r == 0 ? f->text->len : 0;
        return r;
    }
    if (node->inode.view != INODE_FILE)
        return -EISDIR;
    if (node->rendered) {
        r = rendered_get(fs->rendered, node->backup, node->rendered, &f->text, e);
        f->size = r == 0 ? f->text->len : 0;
    } else if (node->entry.kind != ENTRY_FILE) {
        return -EISDIR;
    } else {
        r = dir_entry_rope(fs->objects, &node->entry, &f->node, &f->node_len, &f->holder, e);
        f->size = node->entry.size;
    }
    if (r == 0) {
        f->inode = node->inode;
        f->entry = node->entry;
        node->entry = (DirEntry){0};
    }
    return r;
}

void fs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    Fs *fs = fuse_req_userdata(req);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(fs_node_release) FsNode node;
    OpenFile *f = calloc(1, sizeof(*f));
    if (f) {
        atomic_init(&f->refs, 1);
        pthread_mutex_init(&f->lock, NULL);
    }
    fs_first_open(fs);
    int r = fs_node_get(fs, ino, &node, &e);
    if (r == 0 && (fi->flags & O_ACCMODE) != O_RDONLY)
        r = -EROFS;
    if (r == 0)
        r = f ? open_node(fs, &node, f, &e) : -ENOMEM;
    if (r < 0) {
        fuse_reply_err(req, fs_failure(fs, node.backup, node.inode.index, r, &e));
        if (f)
            file_unref(fs, f);
        return;
    }
    files_add(fs, f);
    fi->fh = (uintptr_t)f;
    fi->direct_io = fs_node_is_status(&node); /* its size and text are this open's */
    fi->keep_cache = !fi->direct_io;
    if (fuse_reply_open(req, fi) < 0) /* the opener was interrupted: there will be no release */
        files_remove(fs, f);
}

void fs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    files_remove(fuse_req_userdata(req), open_file(fi));
    fuse_reply_err(req, 0);
}
