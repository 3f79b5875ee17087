/* SqliteSink: a VFS whose only file is written by SQLite's pager and goes into a Stream, page by
 * page. It relies on, and checks, that the pages arrive in order. */
#pragma once

#include <stdint.h>

#include "tree/stream.h"
#include "util/error.h"

typedef struct SqliteSink SqliteSink;

/* Expect `page_count` (at least 1) pages. `page1` is copied: it becomes the first page, with its
 * bytes 18 and 19 set to 1, instead of the one the pager writes, which has counters of the copy's
 * own. 0 or -ENOMEM. */
int sqlite_sink_new(Stream *stream, const uint8_t *page1, uint32_t page_size, uint64_t page_count,
                    SqliteSink **ret_sink);

/* All connections through it must be closed. NULL is allowed. */
void sqlite_sink_free(SqliteSink *s);

/* The name for sqlite3_open_v2. */
const char *sqlite_sink_vfs(const SqliteSink *s);

/* Bytes passed on so far. */
uint64_t sqlite_sink_bytes(const SqliteSink *s);

/* The first failure of a write, which SQLite reports as a bare I/O error; 0 when there was none. */
int sqlite_sink_error(SqliteSink *s, Error *e);

/* After SQLite said that all is copied: the same, or -EIO when pages are missing. */
int sqlite_sink_finish(SqliteSink *s, Error *e);
