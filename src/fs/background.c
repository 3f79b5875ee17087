#include "fs/background.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/io.h"

/* The exit code of the new process, once it is ready (0) or has ended. */
static int wait_for_child(int fd, pid_t pid)
{
    char byte;
    int status;
    if (io_read_full(fd, &byte, 1) == 1)
        return BK_EXIT_OK;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return BK_EXIT_FAILED;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : BK_EXIT_FAILED;
    return code ? code : BK_EXIT_FAILED; /* it ended without being ready: no success */
}

int background_start(Background *b, int *ret_exit, Error *e)
{
    int fds[2];
    b->pipe = -1;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(e, errno, "cannot make a pipe");
    pid_t pid = fork();
    if (pid < 0) {
        int errnum = errno;
        close(fds[0]);
        close(fds[1]);
        return error_errno(e, errnum, "cannot go to the background");
    }
    if (pid == 0) {
        close(fds[0]);
        b->pipe = fds[1];
        b->null = open("/dev/null", O_RDWR | O_CLOEXEC); /* by then nothing opens for writing */
        return 0;
    }
    close(fds[1]);
    *ret_exit = wait_for_child(fds[0], pid);
    close(fds[0]);
    return 1;
}

void background_ready(Background *b)
{
    if (b->pipe < 0)
        return;
    _cleanup_close_ int fd = take_fd(&b->pipe);
    _cleanup_close_ int null = take_fd(&b->null);
    if (null >= 0)
        for (int i = 0; i <= 2; i++)
            dup2(null, i);
    /* Not before the mount is made: where the mount point is an automount's, autofs knows by their
     * process group who may look behind it. */
    setsid();
    int r = chdir("/"); /* else the directory stays busy, which harms nobody */
    (void)r;
    io_write_all(fd, "", 1);
}
