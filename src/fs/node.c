/* From inode numbers to what they stand for, and its attributes. */
#include <errno.h>

#include "fs/fs_internal.h"

#define BLOCK_SIZE (128 << 10) /* bytes; what a sequential read asks for */

Layout *fs_layout(Fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    Layout *l = layout_ref(fs->layout);
    pthread_mutex_unlock(&fs->lock);
    return l;
}

int fs_node_get(Fs *fs, fuse_ino_t ino, FsNode *ret_node, Error *e)
{
    FsNode *n = ret_node;
    struct timespec mtime;

    *n = (FsNode){.layout = fs_layout(fs)};
    if (!inode_parse(ino, &n->inode))
        return -ESTALE;
    if (fs_node_is_status(n))
        return 0;
    if (n->inode.view == INODE_VIRTUAL)
        return layout_stat(n->layout, n->inode.kind, n->inode.number, &mtime) ? 0 : -ESTALE;
    n->backup = layout_backup(n->layout, n->inode.ordinal);
    if (!n->backup)
        return -ESTALE;
    if (n->inode.index > INODE_RENDERED && n->inode.view == INODE_FILE) {
        n->rendered = (RenderedFile)(n->inode.index - INODE_RENDERED);
        return n->rendered < RENDERED_END ? 0 : -ESTALE;
    }
    if (n->inode.index > n->backup->entries)
        return -ESTALE;
    if (n->inode.index == 0)
        return 0;
    int r = dir_by_index(fs->objects, &n->backup->root, n->inode.index, &n->entry, e);
    if (r < 0) {
        n->entry = (DirEntry){0};
        return r == -ENOENT ? -ESTALE : r;
    }
    return (n->entry.kind == ENTRY_DIR) == fs_node_is_dir(n) ? 0 : -ESTALE;
}

void fs_node_release(FsNode *n)
{
    dir_entry_release(&n->entry);
    layout_unref(n->layout);
    *n = (FsNode){0};
}

DirRef fs_node_dir(const FsNode *n)
{
    return (DirRef){.id = n->inode.index ? n->entry.dir.id : n->backup->root,
                    .index = n->inode.index};
}

int fs_entry_inode(const FsNode *n, const DirEntry *entry, uint64_t *ret_ino, Error *e)
{
    if (entry->index == 0 || entry->index > n->backup->entries)
        return error_set(e, EBADMSG, "an entry's number is beyond the %llu of its backup",
                         (unsigned long long)n->backup->entries);
    *ret_ino = inode_of_entry(entry->kind == ENTRY_DIR ? n->inode.view : INODE_FILE,
                              n->backup->ordinal, (uint32_t)entry->index);
    return 0;
}

static void fill_attr(const Fs *fs, uint64_t ino, mode_t mode, uint64_t size, struct timespec mtime,
                      struct stat *ret_stat)
{
    *ret_stat = (struct stat){
        .st_ino = ino,
        .st_mode = mode,
        .st_nlink = 1, /* of a directory: not counted, so nobody trusts it to save a look */
        .st_uid = fs->uid,
        .st_gid = fs->gid,
        .st_size = (off_t)size,
        .st_blksize = BLOCK_SIZE,
        /* Of the plain size: with the stored one, tar --sparse would take files for holes. */
        .st_blocks = (blkcnt_t)(size / 512 + (size % 512 != 0)),
        .st_atim = mtime,
        .st_mtim = mtime,
        .st_ctim = mtime,
    };
}

static void backup_attr(const Fs *fs, const LayoutBackup *b, uint64_t ino, struct stat *ret_stat)
{
    fill_attr(fs, ino, S_IFDIR | 0555, 0, (struct timespec){.tv_sec = b->timestamp}, ret_stat);
}

void fs_entry_attr(const Fs *fs, const LayoutBackup *backup, uint64_t ino, const DirEntry *entry,
                   struct stat *ret_stat)
{
    struct timespec mtime = {.tv_sec = entry->has_mtime ? entry->mtime : backup->timestamp};
    mode_t type = entry->kind == ENTRY_DIR       ? S_IFDIR
                  : entry->kind == ENTRY_SYMLINK ? S_IFLNK
                                                 : S_IFREG;
    mode_t mode = entry->kind == ENTRY_SYMLINK ? 0777 : entry->mode & 0555;
    fill_attr(fs, ino, type | mode, entry->size, mtime, ret_stat);
}

void fs_child_attr(const Fs *fs, const Layout *l, const LayoutChild *child, struct stat *ret_stat)
{
    struct timespec mtime = {0};
    Inode inode;

    if (child->backup) {
        backup_attr(fs, child->backup, child->ino, ret_stat);
        return;
    }
    if (inode_parse(child->ino, &inode))
        layout_stat(l, inode.kind, inode.number, &mtime);
    fill_attr(fs, child->ino, S_IFDIR | 0555, 0, mtime, ret_stat);
}

int fs_node_attr(Fs *fs, const FsNode *n, struct stat *ret_stat, Error *e)
{
    const Inode *i = &n->inode;
    struct fuse_entry_param param;
    if (fs_node_is_status(n)) {
        fs_status_param(fs, &param);
        *ret_stat = param.attr;
        return 0;
    }
    if (n->rendered) {
        uint64_t size;
        int r = rendered_size(fs->rendered, n->backup, n->rendered, &size, e);
        if (r == 0) {
            fs_rendered_param(fs, n->backup, n->rendered, size, &param);
            *ret_stat = param.attr;
        }
        return r;
    }
    if (n->backup && i->index > 0) {
        fs_entry_attr(fs, n->backup, inode_of_entry(i->view, i->ordinal, i->index), &n->entry,
                      ret_stat);
        return 0;
    }
    LayoutChild self = {.ino = n->backup ? inode_of_entry(i->view, i->ordinal, 0)
                                         : inode_of_virtual(i->kind, i->number),
                        .backup = n->backup};
    fs_child_attr(fs, n->layout, &self, ret_stat);
    return 0;
}

void fs_rendered_param(const Fs *fs, const LayoutBackup *backup, RenderedFile file, uint64_t size,
                       struct fuse_entry_param *ret_param)
{
    *ret_param = (struct fuse_entry_param){
        .ino = inode_of_entry(INODE_FILE, backup->ordinal, INODE_RENDERED + file),
        .attr_timeout = FS_FOREVER,
        .entry_timeout = FS_FOREVER,
    };
    fill_attr(fs, ret_param->ino, S_IFREG | 0444, size,
              (struct timespec){.tv_sec = backup->timestamp}, &ret_param->attr);
}

/* Its size is not known before it is read, as with the files of /proc. */
void fs_status_param(const Fs *fs, struct fuse_entry_param *ret_param)
{
    *ret_param = (struct fuse_entry_param){
        .ino = inode_of_virtual(INODE_STATUS, 0),
        .entry_timeout = FS_FOREVER,
    };
    fill_attr(fs, ret_param->ino, S_IFREG | 0444, 0, (struct timespec){.tv_sec = fs->started},
              &ret_param->attr);
}

void fs_entry_param(const Fs *fs, const LayoutBackup *backup, uint64_t ino, const DirEntry *entry,
                    struct fuse_entry_param *ret_param)
{
    *ret_param = (struct fuse_entry_param){
        .ino = ino, .attr_timeout = FS_FOREVER, .entry_timeout = FS_FOREVER};
    fs_entry_attr(fs, backup, ino, entry, &ret_param->attr);
}

void fs_child_param(const Fs *fs, const Layout *l, const LayoutChild *child,
                    struct fuse_entry_param *ret_param)
{
    *ret_param = (struct fuse_entry_param){
        .ino = child->ino,
        .attr_timeout = child->backup ? FS_FOREVER : FS_LISTING,
        .entry_timeout = FS_BACKUP_NAMES,
    };
    fs_child_attr(fs, l, child, &ret_param->attr);
}
