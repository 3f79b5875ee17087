#include "restore/holder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"

static void cleanup_closedir(DIR **d)
{
    if (*d)
        closedir(*d);
}

static DIR *open_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d && fd >= 0)
        close(fd);
    return d;
}

/* Of what the kernel knows already: a descriptor may be on a file server that does not answer. */
static bool identify(int at, const char *name, struct statx *ret)
{
    return statx(at, name, AT_STATX_DONT_SYNC, STATX_INO, ret) == 0;
}

static bool has_open(int proc, const char *pid, const struct statx *file)
{
    char name[64];
    snprintf(name, sizeof(name), "%.32s/fd", pid);
    _cleanup_(cleanup_closedir) DIR *d = open_dir(proc, name);
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        struct statx x;
        if (entry->d_name[0] != '.' && identify(dirfd(d), entry->d_name, &x) &&
            x.stx_ino == file->stx_ino && x.stx_dev_major == file->stx_dev_major &&
            x.stx_dev_minor == file->stx_dev_minor)
            return true;
    }
    return false;
}

static void read_name(int proc, const char *pid, Holder *h)
{
    char name[64];
    snprintf(name, sizeof(name), "%.32s/comm", pid);
    _cleanup_close_ int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, h->name, sizeof(h->name) - 1) : 0;
    h->name[n > 0 ? n : 0] = 0;
    h->name[strcspn(h->name, "\n")] = 0;
}

int holder_find(const char *path, Holder *ret_holder, Error *e)
{
    Holder h = {0};
    struct statx file;
    if (statx(AT_FDCWD, path, 0, STATX_INO, &file) < 0) {
        if (errno != ENOENT)
            return error_errno(e, errno, "can't look at %s", path);
        *ret_holder = h;
        return 0;
    }
    _cleanup_(cleanup_closedir) DIR *proc = open_dir(AT_FDCWD, "/proc");
    struct dirent *entry;
    while (proc && h.pid == 0 && (entry = readdir(proc))) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end || pid <= 0 || pid == getpid() || !has_open(dirfd(proc), entry->d_name, &file))
            continue;
        h.pid = (int)pid;
        read_name(dirfd(proc), entry->d_name, &h);
    }
    *ret_holder = h;
    return 0;
}
