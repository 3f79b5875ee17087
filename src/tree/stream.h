/* Stream: bytes in, a rope of content-defined chunks out. One per table or file being read; the
 * cutting happens on the caller's thread, hashing and compressing on the writer's. */
#pragma once

#include "chunk/cutter.h"
#include "tree/rope.h"

typedef struct Stream Stream;

/* `rule` says where cuts may fall. 0 or -errno. Not thread-safe; many may run at once. */
int stream_new(StoreWriter *w, CutRule rule, Stream **ret_stream, Error *e);
void stream_free(Stream *s); /* waits for what is under way; NULL is allowed */

/* Any number of bytes, in any pieces. Blocks while the writer's queue is full. */
int stream_write(Stream *s, const void *data, size_t len, Error *e);

/* Name the file's previous version (an encoded rope node, from a committed backup): new chunks are
 * then stored as deltas of its chunks where that pays. Before the first write. Failing to read it
 * is no failure. -ENOMEM. */
int stream_follow(Stream *s, ObjectSource *source, const void *node, size_t len, Error *e);

/* Bytes that belong to the file but come from elsewhere: they count for the digest only. A header
 * goes here before the first write, a trailer after the last. */
int stream_hash_extra(Stream *s, const void *data, size_t len, Error *e);

/* End the stream and give its rope (release it). `ret_sha256` (may be NULL) gets the digest of all
 * bytes. The stream then starts anew; after a failure it can only be freed. */
int stream_finish(Stream *s, Rope *ret_rope, ObjectId *ret_sha256, Error *e);

/* Bytes written since the start. */
uint64_t stream_bytes(const Stream *s);
