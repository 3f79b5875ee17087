/* Select: which schemas and tables the options name. */
#pragma once

#include "restore/content.h"

/* A table's name as an option gives it: [SCHEMA.]TABLE, either part perhaps in double quotes. What
 * is not quoted is taken as it is, upper and lower case included. */
typedef struct TableName {
    char *schema; /* NULL when not given; owned */
    char *name;   /* owned */
} TableName;
void table_name_release(TableName *n);

/* -EINVAL when it is malformed. */
int table_name_parse(const char *text, TableName *ret_name, Error *e);

/* For each of options->tables the index in c->tables, in an array of n_tables that the caller
 * frees. -ENOENT, or -EINVAL where a name without schema fits several. */
int select_tables(const Content *c, size_t **ret_indices, Error *e);

/* Check that options->schemas name schemas of the database. */
int select_schemas(const Content *c, Error *e);

/* Whether options->schemas holds `name`. */
bool select_has_schema(const RestoreOptions *o, const char *name);
