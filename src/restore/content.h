/* Content: one database of a backup, as its part of the manifest and its directory show it. */
#pragma once

#include "restore/reader.h"
#include "restore/restore.h"

/* A table with the directory it stands in. Names are owned and zero-terminated. */
typedef struct ContentTable {
    char *schema, *name;
    char *path; /* below the database's directory */
    bool has_rows;
    uint64_t rows;
} ContentTable;

typedef struct Content {
    const RestoreOptions *options; /* borrowed */
    ObjectSource *objects;         /* borrowed */
    Manifest *manifest;            /* owned */
    const BackupInfo *backup;      /* the manifest's */
    json_t *database;              /* its entry in the manifest; NULL for the whole backup */
    const char *name, *path;       /* of the database; in the manifest */
    ObjectId root;                 /* its directory */
    size_t n_tables;
    ContentTable *tables; /* sorted by schema and name, owned; see content_tables */
} Content;

void content_release(Content *c);

/* Find the backup's database: options->database, or the only one of type `type`. With `type` NULL
 * (a restore to files) all of the backup unless a database is named. -ENOENT, -EINVAL. */
int content_open(const RestoreOptions *o, Store *s, const BackupInfo *b, const char *type,
                 Content *ret_content, Error *e);

/* Read the list of tables. */
int content_tables(Content *c, Error *e);
const ContentTable *content_find_table(const Content *c, const char *schema, const char *name);

/* Open a file below the database's directory. -ENOENT when there is none. */
int content_file(const Content *c, const char *path, Reader **ret_reader, Error *e);

/* A member of the database's entry in the manifest, or NULL. */
const char *content_text(const Content *c, const char *member);
