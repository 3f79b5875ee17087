/* Child: one of PostgreSQL's programs, run without a shell, its messages kept for our own. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/error.h"

typedef struct Child Child;

typedef struct ChildSpec {
    const char *const *argv;   /* argv[0] is the program's path; never holds a secret */
    char *const *env;          /* the whole environment; NULL for ours */
    int stdin_fd;              /* borrowed; -1 for /dev/null */
    size_t pipe_size;          /* wanted size of the output pipe, 0 for the default */
    const atomic_bool *cancel; /* reads and waits end with -EINTR when it becomes true; or NULL */
} ChildSpec;

/* Start it, its output in a pipe. 0 or -errno. */
int child_start(const ChildSpec *spec, Child **ret_child, Error *e);

/* Read its output: bytes, 0 at the end, -EINTR when cancelled, other negative errno. Blocks. */
ssize_t child_read(Child *c, void *data, size_t len, Error *e);

/* Read all that is left of its output; -EFBIG beyond `limit` bytes. */
int child_read_all(Child *c, size_t limit, Buf *out, Error *e);

/* Close its output, wait for its end, and judge it: 0 when it exited with 0. Else -EIO with a
 * message that ends in what it printed. */
int child_finish(Child *c, Error *e);

/* Close its output, end it with SIGTERM (SIGKILL when that does not help), and reap it. */
void child_stop(Child *c);

/* What it wrote to stderr so far, in lines without control bytes; of more than a few kilobytes the
 * beginning and the end, with "..." between. Valid until the next call or child_free. */
const char *child_messages(Child *c);

/* The program's file name. */
const char *child_name(const Child *c);

/* child_stop, if need be, and free. NULL is allowed. */
void child_free(Child *c);
static inline void child_freep(Child **c)
{
    child_free(*c);
}
