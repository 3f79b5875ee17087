/* Sandbox: what the driver gives up once the mount is made. */
#pragma once

#include "util/error.h"

/* Drop the capabilities but those for reading the store and unmounting, and the system calls that
 * serving a mount does not need: from here on no program is started and no file opened for
 * writing. For this thread and those it starts. What is not allowed fails with ENOSYS. Without
 * seccomp in the kernel or the build only capabilities are dropped; root in a container then still
 * has CAP_DAC_OVERRIDE, which lets it write. */
int sandbox_enter(Error *e);
