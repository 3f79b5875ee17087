/* Blob writer: large objects as the commands of a script and as the blocks of an archive. Both
 * refer to the same stored bytes. */
#pragma once

#include "source/postgres/script.h"
#include "store/writer.h"
#include "tree/rope.h"

/* The large objects of one TOC entry BLOBS. */
typedef struct BlobData {
    Rope script;    /* commands */
    Rope archive;   /* what stands in the entry's block after its head */
    uint64_t bytes; /* of large objects */
} BlobData;
void blob_data_release(BlobData *d); /* NULL is allowed */

typedef struct BlobWriter BlobWriter;

/* `t` must outlive the writer. 0 or -ENOMEM. Not thread-safe. */
int blob_writer_new(StoreWriter *w, const BlobTemplate *t, BlobWriter **ret_writer);
void blob_writer_free(BlobWriter *b); /* NULL is allowed */
static inline void blob_writer_freep(BlobWriter **b)
{
    blob_writer_free(*b);
}

/* One large object: its number, its bytes in any pieces, its end. */
int blob_writer_begin(BlobWriter *b, uint32_t oid, Error *e);
int blob_writer_write(BlobWriter *b, const void *data, size_t len, Error *e);
int blob_writer_end(BlobWriter *b, Error *e);

/* Bytes written so far. */
uint64_t blob_writer_bytes(const BlobWriter *b);

/* The result, which the caller releases. The writer can only be freed then. */
int blob_writer_finish(BlobWriter *b, BlobData *ret_data, Error *e);
