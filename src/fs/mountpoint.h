/* Mountpoint: the directory a mount is made on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fs/unmounter.h"

/* The absolute path of `path` (free it), after checking that something can be mounted there: it is
 * a directory, and nothing is mounted on it but an automount trap. -EBUSY when something is. */
int mountpoint_check(const char *path, char **ret_absolute, Error *e);

/* The device number of what is mounted on `path`; asks no driver for it. 0 when unknown. */
uint64_t mountpoint_device(const char *path);

/* Whether something other than `device` is mounted on `path`. */
bool mountpoint_is_foreign(const char *path, uint64_t device);

/* Unmount `path`, unless something else than `device` (0: whatever it is) is mounted there:
 * -ESTALE. -EBUSY when it is in use and `lazy` is false; a lazy unmount takes it out of the tree
 * and lets its users finish. `unmounter` (may be NULL) does it where this process may not. */
int mountpoint_unmount(const char *path, uint64_t device, bool lazy, Unmounter *unmounter,
                       Error *e);
