/* A store with its writer in a scratch directory, and a source dumped into it. */
#pragma once

#include <sqlite3.h>

#include "source/source.h"
#include "util/buf.h"

typedef struct Fixture {
    char *dir;
    Store *store;
    StoreWriter *writer;
    SourceOptions options;
    SourceResult result; /* of the last dump */
    Error error;         /* of the last dump */
    Buf notes;           /* all notes, one a line */
} Fixture;

/* cmocka's setup and teardown: *state is the Fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* `name` in the scratch directory; valid until the next but three calls. */
const char *fixture_path(Fixture *f, const char *name);

/* Run SQL on a file of the scratch directory, in a connection of its own. Fails the test on an
 * error. */
void fixture_sql(Fixture *f, const char *name, const char *sql);

/* The first column of all rows, a newline after each. The caller frees. */
char *fixture_query(Fixture *f, const char *name, const char *sql);

/* Dump a file of the scratch directory: open and read. 0 or -errno, with f->error. */
int fixture_dump(Fixture *f, const char *name);

/* A file of the dumped tree, e.g. "main/tables/t/data.sql". The caller releases. */
void fixture_read(Fixture *f, const char *path, Buf *ret_bytes);

/* Write a file of the dumped tree into the scratch directory. */
void fixture_extract(Fixture *f, const char *path, const char *name);

/* Load restore.sql of the dumped tree into a new database in the scratch directory. */
void fixture_restore(Fixture *f, const char *name);

/* A file of the scratch directory, byte for byte. The caller releases. */
void fixture_slurp(Fixture *f, const char *name, Buf *ret_bytes);
