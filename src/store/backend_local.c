#include "store/backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "util/cleanup.h"
#include "util/io.h"

#define WRITE_BEHIND (16u << 20)    /* bytes */
#define UNLOCKED_AGE (24 * 60 * 60) /* seconds */

typedef struct Local {
    Backend base;
    int dirfd;
    char *path; /* for messages */
} Local;

struct BackendFile {
    int fd;
    uint64_t size;
    char *name;
};

struct BackendTemp {
    Local *local;
    int fd;
    char name[40];     /* tmp/… */
    uint64_t unsynced; /* bytes whose way to the disk was not started yet */
};

static int fail(Error *e, int errnum, const Local *l, const char *what, const char *name)
{
    bool itself = strcmp(name, ".") == 0;
    int r = error_errno(e, errnum, "cannot %s %s%s%s", what, l->path, itself ? "" : "/",
                        itself ? "" : name);
    if (errnum == ENOSPC || errnum == EDQUOT)
        error_hint(e, "free space on the file system of %s, then run it again; nothing was lost",
                   l->path);
    else if (errnum == EROFS || errnum == EACCES || errnum == EPERM)
        error_hint(e,
                   "the store belongs to the owner of %s: run this as that user, or as root, on "
                   "a file system that is writable for what writes",
                   l->path);
    return r;
}

static void local_free(Backend *b)
{
    Local *l = (Local *)b;
    close(l->dirfd);
    free(l->path);
    free(l);
}

static void local_close(BackendFile *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    free(f->name);
    free(f);
}

static int local_open(Backend *b, const char *name, BackendFile **ret_file, Error *e)
{
    Local *l = (Local *)b;
    BackendFile *f = calloc(1, sizeof(*f));
    if (!f)
        return error_oom(e);
    f->fd = openat(l->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (f->fd < 0 || fstat(f->fd, &st) < 0) {
        int r = fail(e, errno, l, "open", name);
        local_close(f);
        return r;
    }
    f->size = (uint64_t)st.st_size;
    f->name = strdup(name);
    if (!f->name || !S_ISREG(st.st_mode)) {
        int r = f->name ? fail(e, EBADMSG, l, "open", name) : error_oom(e);
        local_close(f);
        return r;
    }
    *ret_file = f;
    return 0;
}

static int read_exactly(int fd, uint64_t offset, void *data, size_t len, const char *name, Error *e)
{
    ssize_t n = io_pread_full(fd, data, len, offset);
    if (n < 0)
        return error_errno(e, (int)-n, "cannot read %s", name);
    if ((size_t)n < len)
        return error_set(e, EBADMSG, "%s ends early", name);
    return 0;
}

static int local_read(BackendFile *f, uint64_t offset, void *data, size_t len, Error *e)
{
    return read_exactly(f->fd, offset, data, len, f->name, e);
}

static uint64_t local_size(BackendFile *f)
{
    return f->size;
}

static int local_slurp(Backend *b, const char *name, size_t limit, Buf *out, Error *e)
{
    Local *l = (Local *)b;
    int r = io_read_file(l->dirfd, name, limit, out);
    return r < 0 ? fail(e, -r, l, "read", name) : 0;
}

static int local_list(Backend *b, const char *dir, int (*visit)(void *ctx, const char *name),
                      void *ctx, Error *e)
{
    Local *l = (Local *)b;
    int fd = openat(l->dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : fail(e, errno, l, "list", dir);
    DIR *d = fdopendir(fd);
    if (!d) {
        int r = fail(e, errno, l, "list", dir);
        close(fd);
        return r;
    }
    int r = 0;
    struct dirent *entry;
    while (r == 0 && (errno = 0, entry = readdir(d)))
        if (entry->d_name[0] != '.')
            r = visit(ctx, entry->d_name);
    if (r == 0 && errno)
        r = fail(e, errno, l, "list", dir);
    closedir(d);
    return r;
}

static uint64_t local_stamp(Backend *b, const char *name)
{
    Local *l = (Local *)b;
    struct stat st;
    if (fstatat(l->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    /* Any change shows in at least one of these; multiplying keeps them from cancelling out. */
    uint64_t v = (uint64_t)st.st_ino;
    v = v * 1000003 + (uint64_t)st.st_mtim.tv_sec;
    v = v * 1000003 + (uint64_t)st.st_mtim.tv_nsec;
    v = v * 1000003 + (uint64_t)st.st_size;
    return v ? v : 1;
}

static int local_check_writable(Backend *b, Error *e)
{
    Local *l = (Local *)b;
    if (faccessat(l->dirfd, ".", W_OK | X_OK, AT_EACCESS) < 0)
        return fail(e, errno, l, "write to", ".");
    return 0;
}

static void local_discard(BackendTemp *t)
{
    if (!t)
        return;
    close(t->fd);
    unlinkat(t->local->dirfd, t->name, 0);
    free(t);
}

static int local_create(Backend *b, bool locked, BackendTemp **ret_temp, Error *e)
{
    Local *l = (Local *)b;
    BackendTemp *t = calloc(1, sizeof(*t));
    if (!t)
        return error_oom(e);
    t->local = l;
    /* Random: process numbers are no name where several containers share the store. */
    uint64_t random[2];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        free(t);
        return fail(e, errno, l, "create a file in", "tmp");
    }
    snprintf(t->name, sizeof(t->name), "tmp/%c%016" PRIx64 "%08" PRIx32, locked ? 'w' : 'u',
             random[0], (uint32_t)random[1]);
    t->fd = openat(l->dirfd, t->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int adopted = t->fd < 0 ? -errno : io_adopt(l->dirfd, t->fd, NULL);
    if (adopted < 0) {
        int r = fail(e, -adopted, l, "create", t->name);
        if (t->fd >= 0)
            local_discard(t);
        else
            free(t);
        return r;
    }
    *ret_temp = t;
    return 0;
}

static int local_append(BackendTemp *t, const void *data, size_t len, Error *e)
{
    int r = io_write_all(t->fd, data, len);
    if (r < 0)
        return fail(e, -r, t->local, "write", t->name);
    t->unsynced += len;
    if (t->unsynced >= WRITE_BEHIND) {
        /* Only a head start for the fsync to come. */
        (void)!sync_file_range(t->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        t->unsynced = 0;
    }
    return 0;
}

static int local_read_temp(BackendTemp *t, uint64_t offset, void *data, size_t len, Error *e)
{
    return read_exactly(t->fd, offset, data, len, t->name, e);
}

static int make_dir(Local *l, const char *path, Error *e)
{
    if (mkdirat(l->dirfd, path, 0700) < 0)
        return errno == EEXIST ? 0 : fail(e, errno, l, "create", path);
    int r = io_adopt(l->dirfd, -1, path);
    return r < 0 ? fail(e, -r, l, "create", path) : 0;
}

/* Make the directories above `name`. */
static int make_parents(Local *l, const char *name, Error *e)
{
    char path[256];
    if (strlen(name) >= sizeof(path))
        return fail(e, ENAMETOOLONG, l, "create", name);
    strcpy(path, name);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int r = make_dir(l, path, e);
        if (r < 0)
            return r;
        *slash = '/';
    }
    return 0;
}

static int local_publish(BackendTemp *t, const char *name, Error *e)
{
    Local *l = t->local;
    int r = make_parents(l, name, e);
    if (r == 0 && (fchmod(t->fd, 0400) < 0 || fsync(t->fd) < 0))
        r = fail(e, errno, l, "write", t->name);
    if (r == 0 && renameat(l->dirfd, t->name, l->dirfd, name) < 0)
        r = fail(e, errno, l, "rename a file to", name);
    if (r < 0) {
        local_discard(t);
        return r;
    }
    close(t->fd);
    free(t);
    return 0;
}

static int local_sync_dir(Backend *b, const char *dir, Error *e)
{
    Local *l = (Local *)b;
    int r = io_sync_dir(l->dirfd, dir);
    return r < 0 ? fail(e, -r, l, "sync", dir) : 0;
}

static int local_replace(Backend *b, const char *name, const void *data, size_t len, bool sync,
                         Error *e)
{
    Local *l = (Local *)b;
    BackendTemp *t = NULL;
    int r = local_create(b, false, &t, e);
    if (r < 0)
        return r;
    r = local_append(t, data, len, e);
    if (r == 0 && sync && fsync(t->fd) < 0)
        r = fail(e, errno, l, "write", t->name);
    if (r == 0 && renameat(l->dirfd, t->name, l->dirfd, name) < 0)
        r = fail(e, errno, l, "replace", name);
    if (r < 0) {
        local_discard(t);
        return r;
    }
    close(t->fd);
    free(t);
    return sync ? local_sync_dir(b, ".", e) : 0;
}

static int sweep_one(void *ctx, const char *name)
{
    Local *l = ctx;
    char path[NAME_MAX + 8];
    struct stat st;
    snprintf(path, sizeof(path), "tmp/%s", name);
    if (name[0] != 'w' && (fstatat(l->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                           time(NULL) - st.st_mtime < UNLOCKED_AGE))
        return 0;
    /* A directory is nobody's leftover: let it lie. */
    return unlinkat(l->dirfd, path, 0) < 0 && errno != ENOENT && errno != EISDIR ? -errno : 0;
}

static int local_sweep(Backend *b, Error *e)
{
    Local *l = (Local *)b;
    int r = make_dir(l, "tmp", e);
    if (r < 0)
        return r;
    r = local_list(b, "tmp", sweep_one, l, e);
    return r < 0 ? fail(e, -r, l, "empty", "tmp") : 0;
}

static const BackendOps local_ops = {
    .free = local_free,
    .open = local_open,
    .close = local_close,
    .read = local_read,
    .size = local_size,
    .slurp = local_slurp,
    .list = local_list,
    .stamp = local_stamp,
    .check_writable = local_check_writable,
    .create = local_create,
    .append = local_append,
    .read_temp = local_read_temp,
    .publish = local_publish,
    .discard = local_discard,
    .sync_dir = local_sync_dir,
    .replace = local_replace,
    .sweep = local_sweep,
};

int backend_local_new(const char *path, Backend **ret_backend, Error *e)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "cannot open %s", path);
    Local *l = calloc(1, sizeof(*l));
    char *copy = strdup(path);
    if (!l || !copy) {
        free(l);
        free(copy);
        return error_oom(e);
    }
    l->base.ops = &local_ops;
    l->dirfd = take_fd(&fd);
    l->path = copy;
    *ret_backend = &l->base;
    return 0;
}
