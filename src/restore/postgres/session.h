/* Session: a connection to the target whose commands can be interrupted, and whose failures say
 * what a person who restores can do about them. Not thread-safe. */
#pragma once

#include "restore/restore.h"
#include "source/postgres/conn.h"
#include "util/buf.h"

typedef struct Session {
    Conn *conn;              /* owned */
    const RestoreOptions *o; /* borrowed */
    size_t unflushed;        /* bytes given to COPY since the last look whether they were sent */
} Session;

/* Connect, and pin settings that would change what is restored. */
int session_open(const ConnInfo *ci, const RestoreOptions *o, Session *ret_session, Error *e);
void session_close(Session *s);

/* What pg_restore's own sessions need in PGOPTIONS to be like this one: what the caller frees, or
 * left as it is when they need nothing. */
int session_child_options(Session *s, char **ret_options, Error *e);

/* Run one or more commands. Errors as conn_error; -EINTR. */
int session_exec(Session *s, const char *sql, size_t len, Error *e);
int session_run(Session *s, const char *sql, Error *e);

/* The first column of the first row of a query with up to two text parameters (NULL: none), as a
 * number; 0 when there is no row or it is null. */
int session_number(Session *s, const char *sql, const char *p1, const char *p2, int64_t *ret,
                   Error *e);

/* The same of a query without parameters that may take long: it can be interrupted. */
int session_query_number(Session *s, const char *sql, int64_t *ret, Error *e);

/* Append "a"."b" (or "a" alone when `b` is NULL). */
int session_add_name(Session *s, Buf *out, const char *a, const char *b);

/* COPY ... FROM stdin: begin, any number of pieces, end. `ret_rows`: what the server counted. After
 * a failure of ours session_copy_abort. */
int session_copy_begin(Session *s, const char *copy_stmt, Error *e);
int session_copy_data(Session *s, const void *data, size_t len, Error *e);
int session_copy_end(Session *s, uint64_t *ret_rows, Error *e);
void session_copy_abort(Session *s);

/* The failure of a large object call. */
int session_error(Session *s, Error *e);
