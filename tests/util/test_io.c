#include "util/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "util/cleanup.h"

static char dir[] = "/tmp/bakfs-test-io-XXXXXX";
static int dirfd_ = -1;

static int make_dir(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd_ < 0 ? -1 : 0;
}

static int remove_dir(void **state)
{
    unlinkat(dirfd_, "file", 0);
    close(dirfd_);
    return rmdir(dir);
}

static void write_file(const void *data, size_t len)
{
    _cleanup_close_ int fd = openat(dirfd_, "file", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, data, len), 0);
}

static void test_read_file(void **state)
{
    char data[100000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7);
    write_file(data, sizeof(data));

    _cleanup_(buf_release) Buf b = BUF_INIT;
    assert_int_equal(buf_add_str(&b, "ab"), 0);
    assert_int_equal(io_read_file(dirfd_, "file", sizeof(data), &b), 0);
    assert_int_equal(b.len, sizeof(data) + 2);
    assert_memory_equal(b.data, "ab", 2);
    assert_memory_equal(b.data + 2, data, sizeof(data));

    buf_clear(&b);
    assert_int_equal(io_read_file(dirfd_, "file", sizeof(data) - 1, &b), -EFBIG);
    assert_int_equal(io_read_file(dirfd_, "absent", 10, &b), -ENOENT);
}

static void test_pread_stops_at_the_end(void **state)
{
    write_file("0123456789", 10);
    _cleanup_close_ int fd = openat(dirfd_, "file", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char out[16];
    assert_int_equal(io_pread_full(fd, out, 4, 3), 4);
    assert_memory_equal(out, "3456", 4);
    assert_int_equal(io_pread_full(fd, out, sizeof(out), 8), 2);
    assert_int_equal(io_pread_full(fd, out, sizeof(out), 10), 0);
    assert_int_equal(io_pread_full(fd, out, sizeof(out), 1000), 0);

    /* The position has not moved. */
    assert_int_equal(io_read_full(fd, out, sizeof(out)), 10);
    assert_memory_equal(out, "0123456789", 10);
    assert_int_equal(io_read_full(fd, out, sizeof(out)), 0);
}

static void *write_in_pieces(void *arg)
{
    int fd = *(int *)arg;
    for (int i = 0; i < 100; i++)
        if (io_write_all(fd, "0123456789", 10) < 0)
            break;
    close(fd);
    return NULL;
}

static void test_pieces_are_put_together(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_in_pieces, &ends[1]), 0);
    char out[1000];
    assert_int_equal(io_read_full(ends[0], out, sizeof(out)), 1000);
    assert_memory_equal(out + 990, "0123456789", 10);
    pthread_join(thread, NULL);
    close(ends[0]);
}

static void test_errors_are_negative_errno(void **state)
{
    char out[4];
    assert_int_equal(io_read_full(-1, out, sizeof(out)), -EBADF);
    assert_int_equal(io_pread_full(-1, out, sizeof(out), 0), -EBADF);
    assert_int_equal(io_write_all(-1, out, sizeof(out)), -EBADF);
    assert_int_equal(io_sync_dir(dirfd_, "absent"), -ENOENT);
    write_file("", 0);
    assert_int_equal(io_sync_dir(dirfd_, "file"), -ENOTDIR);
    assert_int_equal(io_sync_dir(AT_FDCWD, dir), 0);
    _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(io_write_all(full, "x", 1), -ENOSPC);
}

/* In a process of its own: cmocka prints. The exit code tells which step failed. */
static void test_closed_standard_descriptors(void **state)
{
    for (unsigned closed = 0; closed < 8; closed++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (int fd = 0; fd < 3; fd++)
                if (closed & 1u << fd)
                    close(fd);
            if (io_fill_standard() != 0)
                _exit(1);
            int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
            char byte = 0;
            if (next < 3)
                _exit(2);
            if ((closed & 1) && (read(0, &byte, 1) != -1 || errno != EBADF))
                _exit(3);
            for (int fd = 1; fd < 3; fd++)
                if ((closed & 1u << fd) && (write(fd, &byte, 1) != -1 || errno != EBADF))
                    _exit(4);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_file),
        cmocka_unit_test(test_pread_stops_at_the_end),
        cmocka_unit_test(test_pieces_are_put_together),
        cmocka_unit_test(test_errors_are_negative_errno),
        cmocka_unit_test(test_closed_standard_descriptors),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
