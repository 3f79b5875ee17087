#include "util/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"

int io_fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The wrong way round, and the lowest free number is this one. */
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return -errno;
    }
    return 0;
}

int io_write_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

ssize_t io_read_full(int fd, void *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, (uint8_t *)data + done, len - done);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t io_pread_full(int fd, void *data, size_t len, uint64_t offset)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, (uint8_t *)data + done, len - done, (off_t)(offset + done));
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int io_read_file(int dirfd, const char *name, size_t limit, Buf *b)
{
    /* Who opens a pipe would wait for its other end. */
    _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EBADMSG;
    size_t start = b->len;
    for (;;) {
        int r = buf_reserve(b, 64 * 1024);
        if (r < 0)
            return r;
        ssize_t n = io_read_full(fd, b->data + b->len, b->cap - b->len);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
        b->len += (size_t)n;
        if (b->len - start > limit)
            return -EFBIG;
    }
}

int io_adopt(int dirfd, int fd, const char *name)
{
    struct stat st;
    if (geteuid() != 0)
        return 0;
    if (fstat(dirfd, &st) < 0)
        return -errno;
    if (st.st_uid == 0 && st.st_gid == getegid())
        return 0;
    int r = fd >= 0 ? fchown(fd, st.st_uid, st.st_gid)
                    : fchownat(dirfd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);
    return r < 0 ? -errno : 0;
}

int io_sync_dir(int dirfd, const char *name)
{
    _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}
