/* Scope: which objects a dump is about: pg_dump's patterns, in the forms that pg_dump and the
 * server understand. */
#pragma once

#include "source/postgres/conn.h"
#include "source/source.h"
#include "util/buf.h"

/* Texts for a child's argv; owned. */
typedef struct ArgList {
    char **items;
    size_t n;
} ArgList;
void arg_list_release(ArgList *l); /* NULL is allowed */

/* Append "--option=value", or "--option" when `value` is NULL. 0 or -ENOMEM. */
int arg_list_add(ArgList *l, const char *option, const char *value);

/* What pg_dump is to be told of the options. -ENOMEM. */
int scope_arguments(const SourceOptions *o, ArgList *l, Error *e);

/* A pattern that matches this very name: quoted. `schema` may be NULL. 0 or -ENOMEM. */
int scope_quote(const char *schema, const char *name, Buf *out);

/* Turn a pattern into regular expressions for the server's operator ~: of the last part of the name
 * in `ret_name`, of the one before it in `ret_schema`, which stays empty when there is none.
 * 0 or -ENOMEM. Exported for tests. */
int scope_regexes(const char *pattern, Buf *ret_schema, Buf *ret_name);

/* The scope as parameters of a query. */
enum {
    SCOPE_TABLE_SCHEMAS, /* text[]; where it holds '', the table must be visible */
    SCOPE_TABLES,        /* text[] */
    SCOPE_EXCLUDE_TABLE_SCHEMAS,
    SCOPE_EXCLUDE_TABLES,
    SCOPE_EXCLUDE_DATA_SCHEMAS,
    SCOPE_EXCLUDE_DATA,
    SCOPE_SCHEMAS,
    SCOPE_EXCLUDE_SCHEMAS,
    SCOPE_VISIBLE, /* oid[] of what names without a schema may mean */
    SCOPE_N,
};
typedef struct ScopeParams {
    char *values[SCOPE_N]; /* owned */
} ScopeParams;
void scope_params_release(ScopeParams *p);
int scope_params(Conn *c, const SourceScope *s, ScopeParams *ret_params, Error *e);

/* The scope for the manifest (a new reference), or NULL when out of memory. */
json_t *scope_json(const SourceOptions *o);
