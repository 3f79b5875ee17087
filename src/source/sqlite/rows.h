/* The rows of one table as INSERT statements, one a line, in the order of rowid or primary key. */
#pragma once

#include <stdint.h>

#include "source/sqlite/db.h"
#include "source/sqlite/schema.h"
#include "tree/stream.h"

typedef struct RowsOptions {
    TextEncoding encoding;
    uint64_t bytes_before; /* for progress */
} RowsOptions;

/* Append the rows of `table` (KIND_TABLE) to `stream`. Generated columns are left out, as INSERT
 * wants. Memory: twice the largest row. */
int sqlite_rows_write(SqliteDb *db, const SchemaObject *table, const RowsOptions *options,
                      Stream *stream, uint64_t *ret_rows, Error *e);
