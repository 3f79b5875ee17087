/* Holder: who has a file open, as far as /proc tells: not what other users' processes do, unless we
 * are root, and not those in other containers. */
#pragma once

#include "util/error.h"

typedef struct Holder {
    int pid; /* 0: nobody that can be seen */
    char name[32];
} Holder;

/* Another process than this one that has `path` open. A missing file is nobody's. 0 or -errno. */
int holder_find(const char *path, Holder *ret_holder, Error *e);
