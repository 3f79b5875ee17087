/* A directory tree of our own making, taken away again. */
#pragma once

#include <stdbool.h>

/* Whether the directory `path` can be read and holds nothing. */
bool tree_is_empty(const char *path);

/* Remove `path` and all below it, read-only directories too. Symbolic links are not followed. Best
 * effort: what can't be removed stays. */
void tree_remove(const char *path);
