/* A database as SQL text: restore.sql and main/tables/<table>/, whose rows are stored once. */
#pragma once

#include "source/source.h"
#include "source/sqlite/db.h"
#include "source/sqlite/schema.h"
#include "tree/dir.h"

/* Add restore.sql and main/ to `root`; count tables, rows and files in `result`. `ret_bytes`: what
 * the rows take as text. */
int sqlite_text_write(SqliteDb *db, const SqliteInfo *info, const SqliteSchema *schema,
                      const SourceRun *run, DirBuilder *root, SourceResult *result,
                      uint64_t *ret_bytes, Error *e);
