/* Blobs: reads large objects. */
#pragma once

#include "source/postgres/blob_writer.h"
#include "source/postgres/conn.h"
#include "source/postgres/script.h"
#include "source/postgres/sink.h"

/* Read the objects of the TOC entry BLOBS that `part` was printed for, in the coordinator's
 * snapshot. The caller releases the data. */
int blobs_read(Conn *coordinator, const Archive *toc, const ScriptPart *part, SinkShared *shared,
               BlobData *ret_data, Error *e);

/* The same from the BLOCK_BLOBS block that the reader stands in. */
int blobs_read_block(ArchiveReader *r, const ScriptPart *part, SinkShared *shared,
                     BlobData *ret_data, Error *e);
