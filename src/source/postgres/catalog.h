/* Catalog: what the system catalogues tell beyond pg_dump's TOC. All functions read through the
 * session's transaction snapshot. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/postgres/archive.h"
#include "source/postgres/conn.h"

/* Facts about the whole database. Strings are owned. */
typedef struct DatabaseInfo {
    char *server_version; /* "15.20 (Debian ...)" */
    char *encoding;
    char *collation;
    char *lsn;                /* WAL position of the snapshot, or NULL where it can't be had */
    uint64_t size, blob_size; /* bytes on disk, of all and of large objects */
    bool may_read_passwords;  /* pg_authid is readable */
} DatabaseInfo;
void database_info_release(DatabaseInfo *d);
int catalog_database(Conn *c, DatabaseInfo *ret_info, Error *e);

/* Fail with -ESTALE when a table whose data `a` holds was truncated or rewritten after the
 * snapshot, so that its rows of then are gone, or when its name leads to another one now. To be
 * called while the tables are locked. */
int catalog_check_tables(Conn *c, const Archive *a, Error *e);

/* Once in a transaction, after the rows were read by name: -ESTALE when a name leads elsewhere now.
 * Tables can't be renamed while they are locked, but their schemas can. */
int catalog_check_names(Conn *c, const Archive *a, Error *e);

/* Which table an index, constraint, trigger, rule, policy, default, statistics object or owned
 * sequence belongs to. */
typedef struct Belongs {
    uint32_t catalog, oid; /* the object, as in TocEntry */
    uint32_t table;
} Belongs;
typedef struct BelongsList {
    size_t n;
    Belongs *items; /* sorted, owned */
} BelongsList;
void belongs_release(BelongsList *l);
int catalog_belongs(Conn *c, BelongsList *ret_list, Error *e);
/* The table's oid, or 0. */
uint32_t belongs_find(const BelongsList *l, uint32_t catalog, uint32_t oid);

/* Foreign keys between different tables. */
typedef struct Reference {
    uint32_t table, referenced;
} Reference;
typedef struct ReferenceList {
    size_t n;
    Reference *items; /* sorted by table, owned */
} ReferenceList;
void references_release(ReferenceList *l);
int catalog_references(Conn *c, ReferenceList *ret_list, Error *e);

/* What is to be known about a table before its rows are read. */
typedef struct TableFacts {
    uint32_t oid;
    uint64_t size;   /* bytes on disk, to read large ones first */
    uint64_t blocks; /* where the server can read a range of them alone, else 0 */
    /* "WHERE ...", of an extension's configuration table, and "ORDER BY ..."; NULL: all rows as
     * they lie; owned */
    char *clause;
} TableFacts;
typedef struct TableFactsList {
    size_t n;
    TableFacts *items; /* sorted by oid, owned */
} TableFactsList;
void table_facts_release(TableFactsList *l);
/* `locked`: the session holds the tables' locks. Else sizes are what VACUUM last saw. `by_key`:
 * tables with a primary key are to be read in its order. */
int catalog_table_facts(Conn *c, const Archive *a, bool locked, bool by_key,
                        TableFactsList *ret_list, Error *e);
const TableFacts *table_facts_find(const TableFactsList *l, uint32_t oid);
