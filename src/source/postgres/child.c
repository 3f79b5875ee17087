#include "source/postgres/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/io.h"

#define MESSAGES_END 2048 /* bytes of the messages' beginning and end that are kept */
#define GAP          "\n...\n"
#define POLL_MS      200 /* how soon a cancel is noticed */
#define TERM_SECONDS 5.0 /* between SIGTERM and SIGKILL */

struct Child {
    pid_t pid; /* 0 when reaped */
    int status;
    int out;    /* our end of its stdout, -1 when closed */
    int err;    /* memory file that is its stderr: nobody has to read it in time */
    char *name; /* file name of the program */
    const atomic_bool *cancel;
    char messages[2 * MESSAGES_END + sizeof(GAP)];
};

static bool is_cancelled(const Child *c)
{
    return c->cancel && atomic_load(c->cancel);
}

static int spawn(Child *c, const ChildSpec *spec, int stdin_fd, int stdout_fd)
{
    extern char **environ;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, defaults;

    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    r = posix_spawnattr_init(&attr);
    if (r != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* a closed pipe has to end it */
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGINT);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    r = posix_spawn_file_actions_adddup2(&actions, stdin_fd, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, stdout_fd, 1);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, c->err, 2);
    if (r == 0)
        r = posix_spawn(&c->pid, spec->argv[0], &actions, &attr, (char *const *)spec->argv,
                        spec->env ? spec->env : environ);
    if (r != 0)
        c->pid = 0;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

int child_start(const ChildSpec *spec, Child **ret_child, Error *e)
{
    _cleanup_(child_freep) Child *c = calloc(1, sizeof(*c));
    if (!c)
        return error_oom(e);
    c->out = c->err = -1;
    c->cancel = spec->cancel;
    const char *slash = strrchr(spec->argv[0], '/');
    c->name = strdup(slash ? slash + 1 : spec->argv[0]);
    if (!c->name)
        return error_oom(e);

    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(e, errno, "can't make a pipe");
    c->out = fds[0];
    _cleanup_close_ int child_out = fds[1];
    if (spec->pipe_size > 0)
        (void)fcntl(child_out, F_SETPIPE_SZ, (int)spec->pipe_size); /* best effort */
    c->err = memfd_create("stderr", MFD_CLOEXEC);
    if (c->err < 0)
        return error_errno(e, errno, "can't make a memory file");
    _cleanup_close_ int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0)
        return error_errno(e, errno, "can't open /dev/null");

    int r = spawn(c, spec, spec->stdin_fd >= 0 ? spec->stdin_fd : null_fd, child_out);
    if (r < 0)
        return error_errno(e, -r, "can't run %s", spec->argv[0]);
    *ret_child = TAKE_PTR(c);
    return 0;
}

ssize_t child_read(Child *c, void *data, size_t len, Error *e)
{
    for (;;) {
        if (is_cancelled(c))
            return error_set(e, EINTR, "interrupted");
        struct pollfd p = {.fd = c->out, .events = POLLIN};
        int ready = poll(&p, 1, POLL_MS);
        if (ready < 0 && errno != EINTR)
            return error_errno(e, errno, "can't wait for %s", c->name);
        if (ready <= 0)
            continue;
        ssize_t n = read(c->out, data, len);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return error_errno(e, errno, "can't read from %s", c->name);
    }
}

int child_read_all(Child *c, size_t limit, Buf *out, Error *e)
{
    size_t start = out->len;
    for (;;) {
        if (buf_reserve(out, 64 * 1024) < 0)
            return error_oom(e);
        ssize_t n = child_read(c, out->data + out->len, out->cap - out->len, e);
        if (n <= 0)
            return (int)n;
        out->len += (size_t)n;
        if (out->len - start > limit)
            return error_set(e, EFBIG, "%s printed more than %zu bytes", c->name, limit);
    }
}

static void close_out(Child *c)
{
    if (c->out >= 0)
        close(c->out);
    c->out = -1;
}

/* Wait up to `seconds` (< 0: as long as it takes, or until cancelled). Whether it is reaped. */
static bool reap(Child *c, double seconds)
{
    double until = clock_monotonic() + seconds;
    while (c->pid > 0) {
        pid_t r = waitpid(c->pid, &c->status, WNOHANG);
        if (r == c->pid || (r < 0 && errno != EINTR)) {
            c->pid = 0;
            break;
        }
        if (seconds >= 0 ? clock_monotonic() >= until : is_cancelled(c))
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2 * 1000 * 1000}, NULL);
    }
    return true;
}

/* The messages on one line. */
static char *one_line(const char *text)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    int r = 0;
    for (const char *p = text; r == 0 && *p; p++)
        r = *p == '\n' ? buf_add_str(&b, "; ") : buf_add_u8(&b, (uint8_t)*p);
    return r == 0 ? buf_take_cstr(&b) : NULL;
}

int child_finish(Child *c, Error *e)
{
    close_out(c);
    if (!reap(c, -1)) {
        child_stop(c);
        return error_set(e, EINTR, "interrupted");
    }
    if (WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0)
        return 0;
    if (is_cancelled(c))
        return error_set(e, EINTR, "interrupted");
    _cleanup_free_ char *said = one_line(child_messages(c));
    if (!said)
        return error_oom(e);
    if (*said)
        return error_set(e, EIO, "%s failed: %s", c->name, said);
    if (WIFSIGNALED(c->status))
        return error_set(e, EIO, "%s was ended by signal %d", c->name, WTERMSIG(c->status));
    return error_set(e, EIO, "%s failed with status %d", c->name, WEXITSTATUS(c->status));
}

void child_stop(Child *c)
{
    close_out(c);
    if (c->pid <= 0)
        return;
    kill(c->pid, SIGTERM);
    if (reap(c, TERM_SECONDS))
        return;
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
}

const char *child_name(const Child *c)
{
    return c->name;
}

const char *child_messages(Child *c)
{
    struct stat st;
    size_t size = fstat(c->err, &st) == 0 ? (size_t)st.st_size : 0, len = 0;
    ssize_t n = io_pread_full(c->err, c->messages, 2 * MESSAGES_END, 0);
    len = n > 0 ? (size_t)n : 0;
    if (size > 2 * MESSAGES_END && len == 2 * MESSAGES_END) { /* the reason often stands last */
        len = MESSAGES_END;
        memcpy(c->messages + len, GAP, strlen(GAP));
        len += strlen(GAP);
        n = io_pread_full(c->err, c->messages + len, MESSAGES_END, (off_t)(size - MESSAGES_END));
        len += n > 0 ? (size_t)n : 0;
    }
    while (len > 0 && (c->messages[len - 1] == '\n' || c->messages[len - 1] == ' '))
        len--;
    c->messages[len] = 0;
    for (size_t i = 0; i < len; i++) /* nothing that moves a terminal's cursor */
        if (((unsigned char)c->messages[i] < 0x20 && c->messages[i] != '\n') ||
            c->messages[i] == 0x7f)
            c->messages[i] = ' ';
    return c->messages;
}

void child_free(Child *c)
{
    if (!c)
        return;
    child_stop(c);
    if (c->err >= 0)
        close(c->err);
    free(c->name);
    free(c);
}
