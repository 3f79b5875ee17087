/* Mountpoint: the directory a mount is made on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fs/unmounter.h"

/* Enter a mount namespace, named by a process id or by a file that stands for it; before any thread
 * is started. The working directory becomes the root there. */
int mountpoint_enter(const char *in_namespace, Error *e);

/* The absolute path of `path` (free it), after checking that the store in `store` (absolute) can be
 * mounted there: it is a directory, and nothing is mounted on it but an automount trap (-EBUSY
 * when something is), and the mount would not hide the store (-EINVAL). */
int mountpoint_check(const char *path, const char *store, char **ret_absolute, Error *e);

/* The device number of what is mounted on `path`; asks no driver for it. 0 when unknown. */
uint64_t mountpoint_device(const char *path);

/* Whether something other than `device` is mounted on `path`. */
bool mountpoint_is_foreign(const char *path, uint64_t device);

/* Where `device` is mounted (free it): on `path`, or else where the mount was moved to, itself or
 * by renaming a directory above it. `path` where `device` is 0. -ESTALE when nowhere, -EEXIST when
 * another mount hides it. */
int mountpoint_find(const char *path, uint64_t device, char **ret_path);

/* Unmount `device` from where mountpoint_find has it; without a message -ESTALE when nowhere, and
 * -EBUSY when it is in use and `lazy` is false. A lazy unmount takes it out of the tree and lets
 * its users finish. `unmounter` (may be NULL) does it where this process may not. */
int mountpoint_unmount(const char *path, uint64_t device, bool lazy, Unmounter *unmounter,
                       Error *e);
