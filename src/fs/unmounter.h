/* Unmounter: a process of its own that runs fusermount3 for users without the right to unmount. It
 * is forked before the driver gives up the right to start programs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

typedef struct Unmounter Unmounter;

/* Fork it, for the mount of `device` at `path` (absolute; see mountpoint_find). Before any thread
 * is started. */
int unmounter_start(const char *path, uint64_t device, Unmounter **ret_unmounter, Error *e);

/* Unmount, lazily or not. -EBUSY when it is in use; one thread at a time. */
int unmounter_run(Unmounter *u, bool lazy, Error *e);

/* End the process. NULL is allowed. */
void unmounter_stop(Unmounter *u);
