/* Mount: one mount from its beginning to its end. */
#pragma once

#include <stdbool.h>

#include "fs/options.h"

typedef struct MountRequest {
    const char *store;      /* path */
    const char *mountpoint; /* path */
    MountOptions *options;  /* parsed; `args` is added to */
    bool debug;             /* log every request */
    bool fake;              /* end successfully where the mount would be made */
    FsLog log;
    void (*ready)(void *ctx); /* the mount is there; called once, from a thread of the session */
    void *ready_ctx;
} MountRequest;

/* Mount the store and serve it until it is unmounted or a signal says so (see watch.h). Blocks
 * signals and starts threads: call it last, from the main thread, after any fork. 0 after a clean
 * end; -errno with a message, a hint and an exit code. */
int mount_run(const MountRequest *m, Error *e);
