/* The file system's life, and the operations on names and attributes. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs_internal.h"
#include "util/cleanup.h"
#include "util/name.h"

#define STATFS_BLOCK 4096u

/* Bytes read ahead of one reader: at most so many, and so large a part of the cache; nothing where
 * that is too little to be of use. */
#define AHEAD_MAX   (8u << 20)
#define AHEAD_SHARE 16u
#define AHEAD_MIN   (512u << 10)

#define BACKGROUND_MAX 64 /* requests that the kernel sends for reading ahead; 12 by default */

static void tell_left_out(Fs *fs, const LayoutLeftOut *left_out)
{
    if (left_out->unfit > 0)
        fs_log(fs, LOG_WARNING, "%zu backups have names or sizes that can't be shown",
               left_out->unfit);
    if (left_out->replaced == 0)
        return;
    _cleanup_(error_release) Error e = ERROR_INIT;
    error_set(&e, EEXIST,
              "%zu of them took the numbers of others: the store was set back to an older state "
              "while it was mounted; unmount and mount it again",
              left_out->replaced);
    fs_log_error(fs, "cannot show all backups", &e);
}

static int new_layout(Fs *fs, const Layout *before, Layout **ret_layout, Error *e)
{
    const char *shown = fs->options.collection ? fs->options.collection
                                               : store_config(fs->store)->default_collection;
    struct timespec now;
    LayoutLeftOut left_out;
    clock_gettime(CLOCK_REALTIME, &now);
    BackupList *list = store_backups(fs->store);
    if (!list)
        return error_oom(e);
    int r = layout_new(list, shown, before, now, ret_layout, &left_out);
    backup_list_unref(list);
    if (r < 0)
        return error_oom(e);
    pthread_mutex_lock(&fs->lock);
    fs->generation++;
    fs->scanned = now.tv_sec;
    pthread_mutex_unlock(&fs->lock);
    tell_left_out(fs, &left_out);
    return 0;
}

static int new_caches(Fs *fs, Error *e)
{
    if (cache_new(store_objects(fs->store), fs->options.cache_size, &fs->cache) < 0)
        return error_oom(e);
    fs->objects = cache_objects(fs->cache);
    return rendered_new(fs->store, fs->objects, &fs->rendered) < 0 ? error_oom(e) : 0;
}

int fs_new(Store *store, const FsOptions *o, Fs **ret_fs, Error *e)
{
    Fs *fs = calloc(1, sizeof(*fs));
    if (!fs)
        return error_oom(e);
    *fs = (Fs){.store = store, .options = *o, .uid = getuid(), .gid = getgid()};
    fs->started = time(NULL);
    pthread_mutex_init(&fs->lock, NULL);
    int r = 0;
    fs->store_fd = open(store_path(store), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fs->store_fd < 0)
        r = error_errno(e, errno, "cannot open %s", store_path(store));
    if (r == 0)
        r = new_caches(fs, e);
    if (r == 0)
        r = new_layout(fs, NULL, &fs->layout, e);
    if (r == 0 && o->collection && !layout_shows(fs->layout))
        fs_log(fs, LOG_WARNING, "there is no backup of the collection %s yet", o->collection);
    if (r < 0) {
        fs_free(fs);
        return r;
    }
    *ret_fs = fs;
    return 0;
}

void fs_free(Fs *fs)
{
    if (!fs)
        return;
    ahead_free(fs->ahead);
    fs_files_free(fs);
    rendered_free(fs->rendered);
    layout_unref(fs->layout);
    cache_free(fs->cache);
    if (fs->store_fd >= 0)
        close(fs->store_fd);
    pthread_mutex_destroy(&fs->lock);
    free(fs->last_failure);
    free(fs);
}

/* Objects come and go by the thousand, in all threads. Their memory is to be used again at once:
 * fresh pages cost more than decompressing into them, and glibc would give objects of this size
 * back each time, or keep some for every thread. */
static void tune_malloc(void)
{
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 4 * OBJECT_MAX);
    mallopt(M_TRIM_THRESHOLD, 64 * OBJECT_MAX);
#endif
}

int fs_start(Fs *fs, Error *e)
{
    tune_malloc();
    uint64_t ahead = fs->options.cache_size / AHEAD_SHARE;
    fs->ahead_max = ahead < AHEAD_MAX ? ahead : AHEAD_MAX;
    if (fs->options.threads == 0 || fs->ahead_max < AHEAD_MIN)
        return 0;
    return ahead_new(cache_ahead(fs->cache), fs->options.threads, &fs->ahead, e);
}

void fs_first_open(Fs *fs)
{
    if (fs->options.first_open && !atomic_load_explicit(&fs->opened, memory_order_relaxed) &&
        !atomic_exchange(&fs->opened, true))
        fs->options.first_open(fs->options.ctx);
}

bool fs_changed(Fs *fs)
{
    return store_changed(fs->store);
}

/* Only after the new layout is in place: what the kernel forgets now it asks for anew. A name that
 * it does not know gives -ENOENT, which is fine. */
static void tell_kernel(void *ctx, uint64_t dir, const char *name)
{
    struct fuse_session *session = ctx;
    if (name)
        fuse_lowlevel_notify_inval_entry(session, dir, name, strlen(name));
    else
        fuse_lowlevel_notify_inval_inode(session, dir, 0, 0);
}

int fs_rescan(Fs *fs, struct fuse_session *session, Error *e)
{
    int r = store_refresh(fs->store, e);
    if (r < 0)
        return r;
    Layout *before = fs_layout(fs), *after;
    r = new_layout(fs, before, &after, e);
    if (r == 0) {
        pthread_mutex_lock(&fs->lock);
        Layout *old = fs->layout;
        fs->layout = layout_ref(after);
        pthread_mutex_unlock(&fs->lock);
        layout_unref(old);
        layout_changes(before, after, tell_kernel, session);
        layout_unref(after);
    }
    layout_unref(before);
    return r;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    Fs *fs = userdata;
    /* readdirplus always: when the kernel chooses, it looks up one by one what it did not expect
     * to be wanted, 9,796 times for `ls` and then `ls -l` of 10,000 names. */
    conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
    conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS |
                                   FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
    fs->opens_dirs = !(conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT);
    conn->max_background = BACKGROUND_MAX;
    conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
    if (fs->options.ready)
        fs->options.ready(fs->options.ctx);
}

static int lookup_virtual(Fs *fs, const FsNode *n, const char *name,
                          struct fuse_entry_param *ret_param)
{
    LayoutChild child;
    if (n->inode.kind == INODE_ROOT && strcmp(name, FS_STATUS_NAME) == 0)
        fs_status_param(fs, ret_param);
    else if (layout_lookup(n->layout, n->inode.kind, n->inode.number, name, &child))
        fs_child_param(fs, n->layout, &child, ret_param);
    else
        *ret_param = (struct fuse_entry_param){.entry_timeout = FS_LISTING};
    return 0;
}

static int lookup_backup(Fs *fs, const FsNode *n, const char *name,
                         struct fuse_entry_param *ret_param, Error *e)
{
    DirRef dir = fs_node_dir(n);
    DirEntry entry = {0};
    uint64_t ino;
    size_t len = strlen(name);
    if (len > NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    int r = dir_lookup(fs->objects, &dir, name, len, &entry, e);
    RenderedFile file = RENDERED_NONE;
    if (r == -ENOENT && n->inode.index == 0)
        file = rendered_by_name(name);
    if (file) {
        uint64_t size;
        r = rendered_size(fs->rendered, n->backup, file, &size, e);
        if (r == 0)
            fs_rendered_param(fs, n->backup, file, size, ret_param);
        return r;
    }
    if (r == -ENOENT) {
        /* A backup may only seem deleted, while its store's disk is away. */
        *ret_param = (struct fuse_entry_param){.entry_timeout = file ? FS_LISTING : FS_FOREVER};
        return 0;
    }
    if (r < 0)
        return r;
    r = fs_entry_inode(n, &entry, &ino, e);
    if (r == 0)
        fs_entry_param(fs, n->backup, ino, &entry, ret_param);
    dir_entry_release(&entry);
    return r;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    Fs *fs = fuse_req_userdata(req);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(fs_node_release) FsNode node;
    struct fuse_entry_param param;
    int r = fs_node_get(fs, parent, &node, &e);
    if (r == 0 && !fs_node_is_dir(&node))
        r = -ENOTDIR;
    if (r == 0)
        r = node.backup ? lookup_backup(fs, &node, name, &param, &e)
                        : lookup_virtual(fs, &node, name, &param);
    if (r < 0)
        fuse_reply_err(req, fs_failure(fs, node.backup, node.inode.index, r, &e));
    else
        fuse_reply_entry(req, &param);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    Fs *fs = fuse_req_userdata(req);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(fs_node_release) FsNode node;
    struct stat attr;
    int r = fs_node_get(fs, ino, &node, &e);
    if (r == 0)
        r = fs_node_attr(fs, &node, &attr, &e);
    if (r < 0)
        fuse_reply_err(req, fs_failure(fs, node.backup, node.inode.index, r, &e));
    else
        fuse_reply_attr(req, &attr, node.backup ? FS_FOREVER : FS_LISTING);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    Fs *fs = fuse_req_userdata(req);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(fs_node_release) FsNode node;
    _cleanup_free_ char *target = NULL;
    int r = fs_node_get(fs, ino, &node, &e);
    if (r == 0 &&
        (node.inode.view != INODE_FILE || node.rendered || node.entry.kind != ENTRY_SYMLINK))
        r = -EINVAL;
    if (r == 0) {
        target = strndup(node.entry.target, (size_t)node.entry.size);
        r = target ? 0 : -ENOMEM;
    }
    if (r < 0)
        fuse_reply_err(req, fs_failure(fs, node.backup, node.inode.index, r, &e));
    else
        fuse_reply_readlink(req, target);
}

/* Space is that of the file system on which the store lies: what `df` is asked for is how full
 * that gets. Files are those of the backups listed. */
static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    Fs *fs = fuse_req_userdata(req);
    struct statvfs st;
    LayoutTotals totals;
    Layout *l = fs_layout(fs);
    layout_totals(l, &totals);
    layout_unref(l);
    if (fstatvfs(fs->store_fd, &st) < 0)
        st = (struct statvfs){
            .f_bsize = STATFS_BLOCK,
            .f_frsize = STATFS_BLOCK,
            .f_blocks = totals.bytes / STATFS_BLOCK + (totals.bytes % STATFS_BLOCK != 0),
        };
    st.f_files = totals.files;
    st.f_ffree = st.f_favail = 0;
    st.f_namemax = NAME_MAX_BYTES;
    fuse_reply_statfs(req, &st);
}

/* Nothing is counted, so there is nothing to forget: libfuse answers that itself. No getxattr
 * unless asked for: its mere presence costs two requests a file in every `ls -l`. */
void fs_operations(struct fuse_lowlevel_ops *ret_ops, bool xattr)
{
    *ret_ops = (struct fuse_lowlevel_ops){
        .init = op_init,
        .lookup = op_lookup,
        .getattr = op_getattr,
        .readlink = op_readlink,
        .statfs = op_statfs,
        .opendir = fs_op_opendir,
        .readdir = fs_op_readdir,
        .readdirplus = fs_op_readdirplus,
        .open = fs_op_open,
        .read = fs_op_read,
        .release = fs_op_release,
    };
    if (xattr) {
        ret_ops->getxattr = fs_op_getxattr;
        ret_ops->listxattr = fs_op_listxattr;
    }
    fs_refuse_writes(ret_ops);
}
