#include "fs/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/io.h"

#define PROBE_FLAGS   (AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC)
#define MOUNTINFO_MAX (64u << 20) /* bytes */

int mountpoint_enter(const char *in_namespace, Error *e)
{
    char of_process[64];
    const char *path = in_namespace;
    if (*path && strspn(path, "0123456789") == strlen(path)) {
        snprintf(of_process, sizeof(of_process), "/proc/%.20s/ns/mnt", path);
        path = of_process;
    }
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNS) < 0)
        return error_errno(e, errno, "cannot enter the mount namespace %s", path);
    return 0;
}

static int unusable(const char *path, int errnum, Error *e)
{
    int r = error_errno(e, errnum, "cannot mount on %s", path);
    if (errnum == ENOENT)
        error_hint(e, "make the directory first: mkdir -p %s", path);
    else if (errnum == ENOTDIR)
        error_hint(e, "a mount point is a directory");
    else if (errnum == ENOTCONN || errnum == ECONNABORTED)
        error_hint(e, "a driver died there; clean up with: fusermount3 -u %s", path);
    return r;
}

static bool is_mount_root(const struct statx *st)
{
    return st->stx_attributes_mask & st->stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

static bool is_same(const struct statx *x, const struct statx *y)
{
    return x->stx_ino == y->stx_ino && x->stx_dev_major == y->stx_dev_major &&
           x->stx_dev_minor == y->stx_dev_minor;
}

/* Whether `path` (absolute), or a directory above it, is `dir`. By number, as a directory has other
 * paths where it is bound to. */
static bool is_within(const char *path, const struct statx *dir)
{
    struct statx st;
    _cleanup_free_ char *p = strdup(path);
    for (char *end = p ? p + strlen(p) : NULL; end; end = strrchr(p, '/')) {
        *end = 0;
        if (statx(AT_FDCWD, *p ? p : "/", PROBE_FLAGS, STATX_INO, &st) == 0 && is_same(&st, dir))
            return true;
    }
    return false;
}

/* A mount on the store, in it or above it would hide it: from those who write it, and from the
 * driver, which would wait for its own answers. */
static int check_apart(const char *path, const struct statx *st, const char *store, Error *e)
{
    struct statx of_store;
    if (statx(AT_FDCWD, store, PROBE_FLAGS, STATX_INO, &of_store) < 0)
        return error_errno(e, errno, "cannot look at %s", store);
    if (!is_within(path, &of_store) && !is_within(store, st))
        return 0;
    int r = error_set(e, EINVAL, "cannot mount on %s: it would hide the store %s", path, store);
    error_hint(e, "name a directory outside the store, and not above it");
    return r;
}

int mountpoint_check(const char *path, const char *store, char **ret_absolute, Error *e)
{
    struct statx st;
    struct statfs fs;
    _cleanup_free_ char *absolute = realpath(path, NULL);
    if (!absolute)
        return unusable(path, errno, e);
    if (statx(AT_FDCWD, absolute, PROBE_FLAGS, STATX_TYPE | STATX_INO, &st) < 0)
        return unusable(path, errno, e);
    if (!S_ISDIR(st.stx_mode))
        return unusable(path, ENOTDIR, e);
    bool is_mounted = is_mount_root(&st);
    /* systemd's automount unit stands at the mount point itself and expects the mount above it. */
    if (is_mounted && statfs(absolute, &fs) < 0)
        return unusable(path, errno, e);
    if (is_mounted && fs.f_type != AUTOFS_SUPER_MAGIC) {
        int r = error_set(e, EBUSY, "%s is in use: something is mounted there already", path);
        error_hint(e, "unmount it (umount %s) or name another directory", path);
        return r;
    }
    int r = check_apart(absolute, &st, store, e);
    if (r == 0)
        *ret_absolute = TAKE_PTR(absolute);
    return r;
}

uint64_t mountpoint_device(const char *path)
{
    struct statx st;
    if (statx(AT_FDCWD, path, PROBE_FLAGS | AT_SYMLINK_NOFOLLOW, 0, &st) < 0)
        return 0;
    return makedev(st.stx_dev_major, st.stx_dev_minor);
}

bool mountpoint_is_foreign(const char *path, uint64_t device)
{
    struct statx st;
    return statx(AT_FDCWD, path, PROBE_FLAGS | AT_SYMLINK_NOFOLLOW, 0, &st) == 0 &&
           is_mount_root(&st) && makedev(st.stx_dev_major, st.stx_dev_minor) != device;
}

/* Turn mountinfo's \040 into blanks, and so on. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p; to++) {
        if (p[0] == '\\' && strspn(p + 1, "01234567") >= 3) {
            *to = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    }
    *to = 0;
}

/* The path in a line of mountinfo that is about `device`, or NULL; `line` is changed. */
static char *path_in_line(char *line, uint64_t device)
{
    unsigned int of_major, of_minor;
    int at = 0;
    if (sscanf(line, "%*d %*d %u:%u %*s %n", &of_major, &of_minor, &at) != 2 || at == 0 ||
        makedev(of_major, of_minor) != device)
        return NULL;
    line[at + (int)strcspn(line + at, " ")] = 0;
    unescape(line + at);
    return line + at;
}

/* Where mountinfo, read into `text`, has `device`. */
static int find_moved(uint64_t device, Buf *text, const char **ret_path)
{
    char *rest = NULL;
    int r = io_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, text);
    if (r < 0)
        return r;
    char *line = buf_cstr(text);
    if (!line)
        return -ENOMEM;
    r = -ESTALE;
    for (line = strtok_r(line, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *path = path_in_line(line, device);
        if (path && mountpoint_device(path) == device) {
            *ret_path = path;
            return 0;
        }
        if (path)
            r = -EEXIST;
    }
    return r;
}

int mountpoint_find(const char *path, uint64_t device, char **ret_path)
{
    _cleanup_(buf_release) Buf text = BUF_INIT;
    const char *found = path;
    int r = 0;
    if (device && mountpoint_device(path) != device)
        r = find_moved(device, &text, &found);
    if (r < 0)
        return r;
    char *copy = strdup(found);
    if (!copy)
        return -ENOMEM;
    *ret_path = copy;
    return 0;
}

int mountpoint_unmount(const char *path, uint64_t device, bool lazy, Unmounter *unmounter, Error *e)
{
    _cleanup_free_ char *found = NULL;
    int r = mountpoint_find(path, device, &found);
    if (r == -ESTALE)
        return r;
    if (r == -EEXIST)
        return error_set(e, EEXIST, "cannot unmount %s: something else is mounted over it", path);
    if (r < 0)
        return error_errno(e, -r, "cannot find where the mount on %s is now", path);
    if (umount2(found, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EPERM && unmounter)
        return unmounter_run(unmounter, lazy, e);
    if (errno == EBUSY && !lazy)
        return -EBUSY;
    return error_errno(e, errno, "cannot unmount %s", found);
}
