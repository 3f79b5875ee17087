/* Whole reads and writes, and files that appear complete or not at all. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/error.h"

/* Write all of `data`; 0 or -errno. */
int io_write_all(int fd, const void *data, size_t len);

/* Read up to `len` bytes from the descriptor's position, fewer only at its end. Bytes read or
 * -errno. */
ssize_t io_read_full(int fd, void *data, size_t len);

/* As io_read_full, from `offset`; the position stays. */
ssize_t io_pread_full(int fd, void *data, size_t len, uint64_t offset);

/* Append the whole file `name` (relative to `dirfd`, which may be AT_FDCWD) to `b`; -EFBIG beyond
 * `limit` bytes. 0 or -errno. */
int io_read_file(int dirfd, const char *name, size_t limit, Buf *b);

/* fsync the directory `name` below `dirfd`. 0 or -errno. */
int io_sync_dir(int dirfd, const char *name);
