#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/io.h"

#define POLL_SECONDS 0.1

struct Lock {
    int fd;
    char *path;
};

/* "host db1, pid 4711, since 2026-01-15T14:30:45Z"; a text for people in any case. */
static void describe_holder(int fd, char out[256])
{
    char text[1024];
    ssize_t n = io_pread_full(fd, text, sizeof(text), 0);
    json_t *doc = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
    const char *host = "?", *program = "?";
    json_int_t pid = 0, since = 0;
    if (json_unpack(doc, "{s:s, s:I, s:I, s:s}", "host", &host, "pid", &pid, "since", &since,
                    "program", &program) == 0) {
        char when[CLOCK_ISO_SIZE];
        clock_format_iso(since, when);
        snprintf(out, 256, "%.60s on host %.80s, pid %lld, since %s", program, host, (long long)pid,
                 when);
    } else {
        snprintf(out, 256, "another writer");
    }
    json_decref(doc);
}

static void sign(int fd)
{
    char host[HOST_NAME_MAX + 1] = "?";
    gethostname(host, sizeof(host) - 1);
    char text[512];
    int n =
        snprintf(text, sizeof(text),
                 "{\"host\": \"%.200s\", \"pid\": %d, \"since\": %lld, \"program\": \"%.60s\"}\n",
                 host, (int)getpid(), (long long)clock_now(), program_invocation_short_name);
    /* Only a message for others: that it could not be written is no reason to fail. */
    if (ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0)
        (void)!io_write_all(fd, text, (size_t)n);
}

static int try_lock(int fd)
{
    struct flock f = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &f) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

/* As io_adopt, for a file by its path. */
static int adopt(const char *path, int fd)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", path);
    _cleanup_close_ int dirfd = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd < 0 ? -errno : io_adopt(dirfd, fd, NULL);
}

static int open_file(const char *path, Error *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : adopt(path, fd);
    if (r == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    r = error_errno(e, -r, "cannot lock the store: %s", path);
    error_hint(e, "the store belongs to the owner of its directory: run this as that user, or as "
                  "root, on a file system that is writable");
    return r;
}

static bool is_at(int fd, const char *path)
{
    struct stat ours, theirs;
    return fstat(fd, &ours) == 0 && lstat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino;
}

int lock_acquire(const char *dir, double wait, const atomic_bool *cancel,
                 void (*on_wait)(void *ctx, const char *holder), void *ctx, Lock **ret_lock,
                 Error *e)
{
    char path[PATH_MAX], holder[256];
    if (snprintf(path, sizeof(path), "%s/lock", dir) >= (int)sizeof(path))
        return error_set(e, ENAMETOOLONG, "the store's path is too long");
    _cleanup_close_ int fd = open_file(path, e);
    if (fd < 0)
        return fd;
    double deadline = clock_monotonic() + wait;
    for (bool waiting = false;; waiting = true) {
        int r = try_lock(fd);
        if (r == 0 && is_at(fd, path))
            break;
        if (r == 0) { /* deleted meanwhile: lock the file that others see */
            close(fd);
            fd = open_file(path, e);
            if (fd < 0)
                return fd;
            continue;
        }
        if (r != -EAGAIN)
            return error_errno(e, -r, "cannot lock the store: %s", path);
        describe_holder(fd, holder);
        if (clock_monotonic() >= deadline) {
            r = error_set(e, EAGAIN, "the store is locked by %s", holder);
            error_hint(e, "wait until it is done, or let --lock-wait wait longer");
            error_exit_code(e, BK_EXIT_LOCKED);
            return r;
        }
        if (!waiting && on_wait)
            on_wait(ctx, holder);
        if (cancel && atomic_load(cancel)) {
            r = error_set(e, EINTR, "interrupted while waiting for %s", holder);
            error_exit_code(e, BK_EXIT_INTERRUPTED);
            return r;
        }
        usleep((useconds_t)(POLL_SECONDS * 1e6));
    }
    Lock *l = malloc(sizeof(*l));
    char *copy = strdup(path);
    if (!l || !copy) {
        free(l);
        free(copy);
        return error_oom(e);
    }
    sign(fd);
    l->fd = take_fd(&fd);
    l->path = copy;
    *ret_lock = l;
    return 0;
}

bool lock_is_effective(const Lock *l)
{
    return is_at(l->fd, l->path);
}

void lock_release(Lock *l)
{
    if (!l)
        return;
    close(l->fd);
    free(l->path);
    free(l);
}
