/* What the driver's operations share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "fs/ahead.h"
#include "fs/cache.h"
#include "fs/fs.h"
#include "fs/layout.h"
#include "fs/rendered.h"
#include "tree/dir.h"

/* Seconds that the kernel may keep what it was told. What lies in a backup never changes. The
 * names of backups last until the driver takes them back; they are asked for again now and then
 * because that message can cross a look-up under way. */
#define FS_FOREVER      1e9
#define FS_BACKUP_NAMES 60.0
#define FS_LISTING      1.0 /* attributes of virtual directories, and names missing from them */

/* A file in the root that no listing shows. */
#define FS_STATUS_NAME ".bakfs-status"

struct Fs {
    Store *store;
    FsOptions options;
    int store_fd; /* its directory: a path may lead to the mount itself one day */
    Cache *cache;
    ObjectSource *objects; /* the cache's */
    Ahead *ahead;          /* NULL: nothing is read ahead */
    uint64_t ahead_max;    /* bytes ahead of one reader */
    Rendered *rendered;
    atomic_bool opened; /* some file was opened */
    bool opens_dirs;    /* the kernel (before 5.1) knows no file system without opendir */
    uid_t uid;
    gid_t gid;
    atomic_bool failed;   /* a read failed since fs_failed was asked */
    pthread_mutex_t lock; /* guards what follows; nothing that waits is called with it held */
    Layout *layout;
    struct OpenFile *files; /* open ones: the kernel does not release all before the end */
    uint64_t said[1024];    /* hashes of failures already logged */
    size_t n_said;
    uint64_t n_failures;      /* requests answered with an error of the store */
    char *last_failure;       /* the last one logged, or NULL */
    uint64_t generation;      /* lists of backups read, the first included */
    int64_t started, scanned; /* seconds since 1970: the mount, the newest list */
};

/* What an inode number stands for. */
typedef struct FsNode {
    Layout *layout; /* a reference: keeps `backup` */
    Inode inode;
    const LayoutBackup *backup; /* NULL for a virtual directory */
    RenderedFile rendered;      /* else RENDERED_NONE */
    DirEntry entry;             /* with a backup, an index above 0, and not rendered */
} FsNode;

Layout *fs_layout(Fs *fs);

/* Find what `ino` stands for. -ESTALE when nothing does (any more); other negative errno when the
 * store can't be read. Release with fs_node_release, also after a failure. */
int fs_node_get(Fs *fs, fuse_ino_t ino, FsNode *ret_node, Error *e);
void fs_node_release(FsNode *n);

static inline bool fs_node_is_status(const FsNode *n)
{
    return n->inode.view == INODE_VIRTUAL && n->inode.kind == INODE_STATUS;
}

static inline bool fs_node_is_dir(const FsNode *n)
{
    return n->inode.view != INODE_FILE && !fs_node_is_status(n);
}

/* The directory that a node in a backup is. */
DirRef fs_node_dir(const FsNode *n);

/* The number of an entry of directory `n`; -EBADMSG when it can't have one. */
int fs_entry_inode(const FsNode *n, const DirEntry *entry, uint64_t *ret_ino, Error *e);

/* Attributes: of a node, of an entry in `n`, of a child of a virtual directory. Only a node that is
 * a rendered file can fail. */
int fs_node_attr(Fs *fs, const FsNode *n, struct stat *ret_stat, Error *e);
void fs_entry_attr(const Fs *fs, const LayoutBackup *backup, uint64_t ino, const DirEntry *entry,
                   struct stat *ret_stat);
void fs_child_attr(const Fs *fs, const Layout *l, const LayoutChild *child, struct stat *ret_stat);

/* How the kernel is told about an entry in a backup, and a child of a virtual directory. */
void fs_entry_param(const Fs *fs, const LayoutBackup *backup, uint64_t ino, const DirEntry *entry,
                    struct fuse_entry_param *ret_param);
void fs_child_param(const Fs *fs, const Layout *l, const LayoutChild *child,
                    struct fuse_entry_param *ret_param);

/* A rendered file, given its size. */
void fs_rendered_param(const Fs *fs, const LayoutBackup *backup, RenderedFile file, uint64_t size,
                       struct fuse_entry_param *ret_param);

/* The status file: how the kernel is told about it, and its text, which the caller unrefs. 0 or
 * -ENOMEM. */
void fs_status_param(const Fs *fs, struct fuse_entry_param *ret_param);
int fs_status_text(Fs *fs, Object **ret_text);

/* Turn a failure into the errno (positive) that the caller of the system call gets, and log it
 * once when it means damage. `backup` (may be NULL) and `index` say what was being read. */
int fs_failure(Fs *fs, const LayoutBackup *backup, uint32_t index, int r, const Error *e);

/* Fill in the operations that write: with EROFS. */
void fs_refuse_writes(struct fuse_lowlevel_ops *ops);

/* Call the options' `first_open`, once. */
void fs_first_open(Fs *fs);

/* Free the files that were open when the session ended. */
void fs_files_free(Fs *fs);

/* The operations of listing.c, file.c, read.c and xattr.c. */
void fs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                   struct fuse_file_info *fi);
void fs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi);
void fs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
