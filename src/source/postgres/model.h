/* Model: the TOC's entries sorted by the schemas and tables whose directories they go into. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/postgres/archive.h"
#include "source/postgres/catalog.h"
#include "tree/rope.h"
#include "util/buf.h"

#define MODEL_NONE SIZE_MAX

typedef struct ModelTable {
    const char *schema, *name; /* point into the TOC */
    size_t schema_index;
    uint32_t oid;
    size_t def;      /* TOC index of TABLE or FOREIGN TABLE; MODEL_NONE for an extension's table */
    size_t data;     /* TOC index of TABLE DATA, or MODEL_NONE */
    uint64_t size;   /* bytes on disk, roughly */
    char *extension; /* that makes a table without a definition; owned; NULL: not known */
    char *copy_sql;  /* reads the rows; owned; NULL without data */
    uint64_t blocks;
    char *range_sql; /* "SELECT ..." to which a WHERE can be added; owned; NULL where a range of
                      * blocks can't be read alone */

    /* data.sql, filled before the rows are read: its text, empty when there is no such file, and
     * where in it the rows stand. */
    Buf data_text;
    size_t data_at;

    /* Filled by reading. */
    Rope rows_rope;
    uint64_t rows, bytes;
    ObjectId data_sha256; /* of data.sql */
    bool done;
} ModelTable;

typedef struct ModelSchema {
    const char *name; /* points into the TOC */
} ModelSchema;

typedef struct ModelOid {
    uint32_t oid;
    size_t table;
} ModelOid;

typedef struct Model {
    const Archive *toc; /* borrowed */
    size_t n_schemas;
    ModelSchema *schemas; /* sorted by name, owned */
    size_t n_tables;
    ModelTable *tables; /* sorted by schema and name, owned */
    ModelOid *oids;     /* of all tables, sorted, owned */
    size_t *table_of;   /* for each TOC entry: the table it is a part of, or MODEL_NONE; owned */
    size_t *schema_of;  /* for each TOC entry: the schema it is a part of, or MODEL_NONE; owned */
} Model;

void model_release(Model *m);

/* Sort out the TOC. `toc` must outlive the model. The COPY statements name exactly the columns that
 * the TOC's do. */
int model_build(const Archive *toc, const BelongsList *belongs, const TableFactsList *facts,
                Model *ret_model, Error *e);

/* The table with this oid, or NULL. */
const ModelOid *model_find_oid(const Model *m, uint32_t oid);

/* Whether the entry belongs to the definition of the database, not to its contents: what
 * `pg_dump --schema-only` prints. */
bool model_is_schema(const TocEntry *t);

/* Derive "COPY ... TO STDOUT" from a TABLE DATA entry. `clause` (may be NULL) says which rows
 * and in what order: "WHERE ... ORDER BY ...". -EBADMSG when its COPY statement is not understood.
 * Exported for tests. */
int model_copy_sql(const TocEntry *t, const char *clause, char **ret_sql, Error *e);

/* Derive "SELECT columns FROM ONLY table" from the same entry; NULL when it names no columns.
 * Exported for tests. */
int model_range_sql(const TocEntry *t, char **ret_sql, Error *e);
