/* Dump: the backup's archive, database.dump: its table of contents, and the data behind it. */
#pragma once

#include "restore/content.h"
#include "source/postgres/archive.h"

#define DUMP_NAME "database.dump"

/* Read the table of contents. -ENOENT with a hint when the backup has no archive. */
int dump_toc(const Content *c, Archive *ret_toc, Error *e);

/* Bytes of each entry's data, roughly, from the distances between their offsets, in an array of
 * toc->n that the caller frees. */
int dump_sizes(const Content *c, const Archive *toc, uint64_t **ret_sizes, Error *e);

/* One entry's data. Not thread-safe; one Reader a thread. */
typedef struct DumpData {
    Reader *reader; /* of the archive; borrowed */
    uint32_t left;  /* of the current chunk */
    bool ended;     /* of the table or large object */
} DumpData;

/* Go to the data of `t`, a block of type `type` (BLOCK_DATA, BLOCK_BLOBS). */
int dump_data_begin(Reader *archive, const TocEntry *t, int type, DumpData *ret_data, Error *e);

/* The next large object of a BLOCK_BLOBS; 0 as its number: no more. */
int dump_data_blob(DumpData *d, uint32_t *ret_oid, Error *e);

/* The next bytes of the table or large object: 1, or 0 at its end. */
int dump_data_next(DumpData *d, const uint8_t **ret_data, size_t *ret_len, Error *e);
