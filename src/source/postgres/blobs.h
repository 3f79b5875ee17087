/* Blobs: large objects as the commands of a script that write them. */
#pragma once

#include "source/postgres/conn.h"
#include "source/postgres/script.h"
#include "source/postgres/sink.h"

/* Read the objects of the TOC entry BLOBS that `part` was printed for, in the coordinator's
 * snapshot, and give the commands as a rope (release it). `ret_bytes`: of the objects. */
int blobs_read(Conn *coordinator, const Archive *toc, const ScriptPart *part, SinkShared *shared,
               Rope *ret_rope, uint64_t *ret_bytes, Error *e);
