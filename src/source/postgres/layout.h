/* Layout: the files of a PostgreSQL backup and the directories they stand in. */
#pragma once

#include "source/postgres/blob_writer.h"
#include "source/postgres/model.h"
#include "source/postgres/script.h"
#include "source/source.h"

typedef struct LayoutInput {
    const SourceRun *run;
    const Script *script;
    Model *model;
    const Buf *roles; /* roles.sql */
    const ReferenceList *references;
    const BlobData *blobs; /* one for each script part; empty but for entries BLOBS */
} LayoutInput;

/* Compose every table's data.sql, before its rows are read. */
int layout_prepare(Model *m, const Script *s, const uint8_t secret[32], Error *e);

/* Append the path of a table's data.sql in the backup's directory, zero-terminated. */
int layout_data_path(const ModelTable *t, Buf *ret_path, Error *e);

/* Write everything. Fills `root`, `file_count` and `table_count` of the result, and gives the
 * "schemas" of the manifest (a new reference) and the size of database.dump. */
int layout_write(const LayoutInput *in, SourceResult *result, json_t **ret_schemas,
                 uint64_t *ret_archive_bytes, Error *e);
