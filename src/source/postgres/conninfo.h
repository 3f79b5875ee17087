/* ConnInfo: where a PostgreSQL database is and how to log in: a SOURCE argument joined with the
 * PG* variables and libpq's defaults. Holds the password; what is shown comes from `masked`. */
#pragma once

#include <libpq-fe.h>

#include "util/buf.h"
#include "util/error.h"

typedef struct ConnInfo {
    PQconninfoOption *options; /* every keyword with its value or NULL; owned */
    char *dbname;              /* owned */
    char *masked;              /* a URI without password, for messages; owned */
} ConnInfo;

void conninfo_release(ConnInfo *ci); /* NULL is allowed */

/* Parse a URI or keyword string; NULL or "" takes everything from the environment. -EINVAL with
 * exit code 2 when it is malformed; the message never quotes the string. */
int conninfo_parse(const char *spec, ConnInfo *ret_ci, Error *e);

/* Refuse hosts that are known to hand every transaction to another server session, which no
 * snapshot survives. -EOPNOTSUPP with a hint that names the way round. */
int conninfo_check_pooler(const ConnInfo *ci, Error *e);

/* Refuse secrets for which there is no variable: programs could have them by argv only, which is
 * public. -EOPNOTSUPP with a hint. */
int conninfo_check_secrets(const ConnInfo *ci, Error *e);

/* The value of a keyword, or NULL. */
const char *conninfo_get(const ConnInfo *ci, const char *keyword);

/* The same database on exactly the server that `conn` reached (of several hosts or addresses),
 * with the password that worked. */
int conninfo_pin(const ConnInfo *ci, PGconn *conn, ConnInfo *ret_ci, Error *e);

/* The environment for PostgreSQL's programs: ours without PG* and the variables that hold a SOURCE,
 * then these connection parameters and the time zone UTC, dates in ISO style. `pgoptions` (may be
 * NULL) is appended to the PGOPTIONS. `ci` may be NULL: for programs that connect to nothing. The
 * caller frees with conninfo_env_free. */
int conninfo_env(const ConnInfo *ci, const char *pgoptions, char ***ret_env, Error *e);
void conninfo_env_free(char **env); /* NULL is allowed */

/* Append a keyword string with the parameters that have no variable and are no secret, e.g.
 * keepalives; nothing when there are none. With `dbname`, that too. */
int conninfo_keywords(const ConnInfo *ci, bool dbname, Buf *out, Error *e);
