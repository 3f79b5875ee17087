/* The schema of a database, in memory: what sqlite_master lists, in its order. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "source/sqlite/db.h"

typedef enum ObjectKind {
    KIND_TABLE,   /* with rows */
    KIND_VIRTUAL, /* virtual table: its rows are its shadow tables' or come from elsewhere */
    KIND_OTHER,   /* index, trigger or view */
} ObjectKind;

typedef struct SchemaObject {
    ObjectKind kind;
    bool internal; /* sqlite_sequence, sqlite_stat1 …: made by SQLite itself */
    bool without_rowid;
    bool autoincrement;
    char *name;
    char *table; /* the table an index or trigger belongs to; a view's own name */
    char *sql;   /* as stored, without a semicolon */
} SchemaObject;

typedef struct SqliteSchema {
    SchemaObject *items; /* owned */
    size_t n;
    bool has_autoincrement; /* some table is, hence has SQLite a sqlite_sequence */
    size_t *by_table; /* indices of the KIND_OTHER items, sorted by table, then in their order */
    size_t n_by_table;
} SqliteSchema;

/* Objects without SQL (automatic indexes) are left out. */
int sqlite_schema_load(SqliteDb *db, SqliteSchema *ret_schema, Error *e);
void sqlite_schema_release(SqliteSchema *s);

/* The indexes and triggers of `table`: where they begin in by_table, and how many. */
size_t sqlite_schema_dependents(const SqliteSchema *s, const char *table, size_t *ret_first);
