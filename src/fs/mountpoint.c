#include "fs/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/cleanup.h"

#define PROBE_FLAGS (AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC)

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

int mountpoint_check(const char *path, char **ret_absolute, Error *e)
{
    struct statx st;
    struct statfs fs;
    _cleanup_free_ char *absolute = realpath(path, NULL);
    if (!absolute)
        return unusable(path, errno, e);
    if (statx(AT_FDCWD, absolute, PROBE_FLAGS, STATX_TYPE, &st) < 0)
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
    *ret_absolute = TAKE_PTR(absolute);
    return 0;
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

int mountpoint_unmount(const char *path, uint64_t device, bool lazy, Unmounter *unmounter, Error *e)
{
    if (device && mountpoint_device(path) != device)
        return -ESTALE;
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EPERM && unmounter)
        return unmounter_run(unmounter, lazy, e);
    if (errno == EBUSY && !lazy)
        return -EBUSY;
    return error_errno(e, errno, "cannot unmount %s", path);
}
