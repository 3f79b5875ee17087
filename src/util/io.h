/* Whole reads and writes, and files that appear complete or not at all. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/error.h"

/* Open what of stdin, stdout and stderr the caller of the program closed, so that no file gets such
 * a number and what is meant for them never lands in it; reading or writing them fails as before.
 * First of all, before anything is opened. 0 or -errno. */
int io_fill_standard(void);

/* Write all of `data`; 0 or -errno. */
int io_write_all(int fd, const void *data, size_t len);

/* Read up to `len` bytes from the descriptor's position, fewer only at its end. Bytes read or
 * -errno. */
ssize_t io_read_full(int fd, void *data, size_t len);

/* As io_read_full, from `offset`; the position stays. */
ssize_t io_pread_full(int fd, void *data, size_t len, uint64_t offset);

/* Append the whole file `name` (relative to `dirfd`, which may be AT_FDCWD) to `b`; -EFBIG beyond
 * `limit` bytes, -EBADMSG when it is no regular file. 0 or -errno. */
int io_read_file(int dirfd, const char *name, size_t limit, Buf *b);

/* Give what root just made to whoever owns directory `dirfd`: a store's files belong to its owner,
 * or the owner's next job could not read them. Does nothing for other users. `fd` may be -1: then
 * the entry `name` below `dirfd`. 0 or -errno. */
int io_adopt(int dirfd, int fd, const char *name);

/* fsync the directory `name` below `dirfd`. 0 or -errno. */
int io_sync_dir(int dirfd, const char *name);
