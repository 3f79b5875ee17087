/* Rights: what of the database the role can't read. */
#pragma once

#include "source/postgres/archive.h"
#include "source/postgres/conn.h"
#include "source/postgres/scope.h"
#include "source/source.h"

typedef enum UnreadableKind {
    UNREADABLE_SCHEMA, /* no USAGE: nothing in it can be read */
    UNREADABLE_TABLE,
    UNREADABLE_SEQUENCE,
    UNREADABLE_BLOB, /* a large object */
} UnreadableKind;

typedef struct Unreadable {
    UnreadableKind kind;
    bool in_closed_schema;
    char *schema, *name; /* owned; one of them NULL for a schema, both for a large object */
    uint32_t oid;        /* of a large object */
    const char *why;
} Unreadable;

typedef struct UnreadableList {
    size_t n;
    Unreadable *items; /* sorted by kind and name, large objects by oid; owned */
} UnreadableList;
void unreadable_list_release(UnreadableList *l); /* NULL is allowed */

/* Look through all that `scope` asks for. Rows that row security would hide count as unreadable. */
int rights_find(Conn *c, const SourceScope *scope, UnreadableList *ret_list, Error *e);

/* The list as an error, -EACCES with a hint. */
int rights_refuse(Conn *c, const UnreadableList *l, Error *e);

/* Tell pg_dump to leave these out: of sequences the value, of the others all; large objects it
 * can't: see rights_drop_blobs. `by_table`: only tables were asked for, which schemas don't limit.
 * -ENOMEM. */
int rights_arguments(const UnreadableList *l, bool by_table, ArgList *args, Error *e);

bool unreadable_has_blobs(const UnreadableList *l);

/* Take the large objects among them out of the TOC, with all that belongs to them. 0 or -ENOMEM. */
int rights_drop_blobs(const UnreadableList *l, Archive *toc);

/* Append {what, why} of each to `left_out`. 0 or -1. */
int rights_json(const UnreadableList *l, json_t *left_out);

/* What the role can't have however much it is granted: subscriptions, which pg_dump gives to
 * superusers alone. A new array of {what, why}, empty when nothing lacks. */
int rights_hidden(Conn *c, const SourceScope *scope, json_t **ret_hidden, Error *e);
