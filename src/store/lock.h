/* Lock: one writer at a time, by an open-file-description lock that a crash leaves nothing of. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "util/error.h"

typedef struct Lock Lock;

/* Take the lock in store directory `dir`, waiting up to `wait` seconds. `on_wait` (may be NULL) is
 * called once with who holds it when waiting starts. -EAGAIN with exit code BK_EXIT_LOCKED when
 * the wait ends; -EINTR when `cancel` (may be NULL) becomes true. */
int lock_acquire(const char *dir, double wait, const atomic_bool *cancel,
                 void (*on_wait)(void *ctx, const char *holder), void *ctx, Lock **ret_lock,
                 Error *e);

/* Whether others still see the file that is locked: one that was deleted keeps nobody out. */
bool lock_is_effective(const Lock *l);
void lock_release(Lock *l); /* NULL is allowed */
