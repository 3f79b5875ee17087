/* Conn: a session whose settings are pinned, so that neither server, database nor role defaults
 * change what is read; and errors told in words. Not thread-safe; many may be used at once. */
#pragma once

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "source/postgres/conninfo.h"
#include "util/error.h"

typedef struct Conn Conn;

typedef struct ConnOptions {
    int retries;                               /* further attempts after a failure that may pass */
    const atomic_bool *cancel;                 /* -EINTR when it becomes true; may be NULL */
    void (*note)(void *ctx, const char *text); /* told before each retry; may be NULL */
    void *ctx;
} ConnOptions;

/* Connect and pin the settings. 0; -ECONNREFUSED (nobody answers), -EACCES (password, rights),
 * -ENOENT (no such database), -EINTR, or another negative errno; with a hint. */
int conn_open(const ConnInfo *ci, const ConnOptions *o, Conn **ret_conn, Error *e);

#define CONN_BACK_OFF 500 /* milliseconds after the first failure to connect */

/* Sleep before attempt number `attempt` + 2, the longer the more there were: from `first_ms` to 32
 * times that. Less when `cancel` (may be NULL) becomes true. */
void conn_back_off(const atomic_bool *cancel, int attempt, int first_ms);

void conn_close(Conn *c); /* NULL is allowed */
static inline void conn_closep(Conn **c)
{
    conn_close(*c);
}

PGconn *conn_pg(Conn *c);
int conn_major(const Conn *c); /* of the server, e.g. 15 */

/* Settings that children need in their PGOPTIONS, because pg_dump doesn't set them itself and the
 * server's default differs; NULL when there are none. */
const char *conn_child_options(const Conn *c);

/* Whether the server's part of children's messages is English. Else the role may not change it. */
bool conn_child_is_english(const Conn *c);

/* In a transaction: prove that the pinned settings are those of the session that works for it.
 * -EOPNOTSUPP when a pooler handed the transaction to another one. */
int conn_check_settings(Conn *c, Error *e);

/* Run one or more commands. Errors as conn_error. */
int conn_exec(Conn *c, const char *sql, Error *e);

/* Run one query and give its rows, as text; clear with PQclear. `params` are text, or NULL. */
int conn_query(Conn *c, const char *sql, int n_params, const char *const *params,
               PGresult **ret_result, Error *e);
static inline void result_clear(PGresult **r)
{
    PQclear(*r);
}

/* Turn the failure of `res` (may be NULL) into an error: -ECONNRESET the connection is lost,
 * -EWOULDBLOCK a lock was not to be had, -ENOLCK the server has no memory for another, -EACCES no
 * permission, -ESTALE an object is gone or changed, or a deadlock was broken up, -ECANCELED stopped
 * by somebody, else -EIO. */
int conn_error(Conn *c, const PGresult *res, Error *e);

/* Ask the server to stop what `c` is doing. From any thread. Best effort. */
void conn_cancel(Conn *c);
