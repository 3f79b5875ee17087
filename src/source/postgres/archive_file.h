/* Archive files: pg_dump's custom format made of stored bytes, so that any number of archives of
 * the same tables cost little more than their tables of contents. */
#pragma once

#include "source/postgres/archive.h"
#include "source/source.h"
#include "tree/rope.h"

/* Divide rows into frames, as they stand in a data block after its head: (length, bytes) ..., then
 * `after` as a frame, then 0. Frames hold up to 16 MiB. The caller releases the rope. */
int archive_frame_rows(StoreWriter *w, const Rope *rows, const char *after, Rope *ret_framed,
                       Error *e);

/* Write an archive of the entries of `toc` for which `chosen` (NULL: all) is true. `data`: for each
 * entry of `toc` that has data what stands in its block after the head; an entry without one gets
 * an empty block. The time in it is the backup's. */
int archive_file_write(const SourceRun *run, const Archive *toc, const Rope *const *data,
                       const bool *chosen, Rope *ret_rope, Error *e);
