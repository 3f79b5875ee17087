#include "fs/unmounter.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mountpoint.h"
#include "util/cleanup.h"
#include "util/io.h"

struct Unmounter {
    int fd;
    pid_t pid;
};

/* What is asked and answered, a byte each. */
enum { ASK_PLAIN = 'u', ASK_LAZY = 'z', ANSWER_DONE = '0', ANSWER_FAILED = '1' };

static char run_helper(const char *path, uint64_t device, bool lazy)
{
    _cleanup_free_ char *found = NULL;
    if (mountpoint_find(path, device, &found) < 0)
        return ANSWER_FAILED;
    const char *argv[] = {"fusermount3", "-u", "-q", lazy ? "-z" : "-q", found, NULL};
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ) != 0)
        return ANSWER_FAILED;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return ANSWER_FAILED;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ANSWER_DONE : ANSWER_FAILED;
}

/* The process: answers until the driver is gone. It holds nothing open but its end of the socket:
 * not the mount, which must end with the driver, nor anybody's terminal. */
static _Noreturn void serve(int fd, const char *path, uint64_t device)
{
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        _exit(1);
    if (fd != 3 && dup2(fd, 3) < 0)
        _exit(1);
    close_range(4, ~0u, 0);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    if (chdir("/") < 0)
        _exit(1);
    char ask;
    while (io_read_full(3, &ask, 1) == 1) {
        char answer = run_helper(path, device, ask == ASK_LAZY);
        if (io_write_all(3, &answer, 1) < 0)
            break;
    }
    _exit(0);
}

int unmounter_start(const char *path, uint64_t device, Unmounter **ret_unmounter, Error *e)
{
    int fds[2];
    Unmounter *u = calloc(1, sizeof(*u));
    if (!u)
        return error_oom(e);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        free(u);
        return error_errno(e, errno, "cannot make a socket");
    }
    u->fd = fds[0];
    u->pid = fork();
    if (u->pid == 0)
        serve(fds[1], path, device);
    int errnum = errno;
    close(fds[1]);
    if (u->pid < 0) {
        close(fds[0]);
        free(u);
        return error_errno(e, errnum, "cannot start a process");
    }
    *ret_unmounter = u;
    return 0;
}

int unmounter_run(Unmounter *u, bool lazy, Error *e)
{
    char byte = lazy ? ASK_LAZY : ASK_PLAIN;
    if (io_write_all(u->fd, &byte, 1) < 0 || io_read_full(u->fd, &byte, 1) != 1)
        return error_set(e, EIO, "the process that runs fusermount3 is gone");
    if (byte == ANSWER_DONE)
        return 0;
    return lazy ? error_set(e, EIO, "fusermount3 could not unmount") : -EBUSY;
}

void unmounter_stop(Unmounter *u)
{
    if (!u)
        return;
    close(u->fd);
    while (waitpid(u->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    free(u);
}
