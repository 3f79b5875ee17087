/* Database: the target as a whole: whether it is there, what is in it, making and dropping it. */
#pragma once

#include "restore/postgres/session.h"
#include "source/postgres/archive.h"
#include "source/postgres/conninfo.h"

/* `conninfo` with another database. Messages name the one it was given with. */
int database_conninfo(const char *conninfo, const char *name, ConnInfo *ret_ci, Error *e);

/* Connect to a database of the same server that is always there, to look at or make others. */
int database_open_admin(const char *conninfo, const RestoreOptions *o, Session *ret_session,
                        Error *e);

int database_exists(Session *admin, const char *name, bool *ret_exists, Error *e);

/* Objects in the session's database that PostgreSQL itself did not make. */
int database_count_objects(Session *s, int64_t *ret_n, Error *e);

/* Drop it; with the session's options->force its sessions are ended. */
int database_drop(Session *admin, const char *name, Error *e);

/* Make it as the archive's was: encoding and locale, and owner unless options->no_owner. Where the
 * archive does not tell (of a part only) by the server's defaults. `ret_made` is set once it is
 * there, perhaps without its owner. */
int database_create(Session *admin, const Archive *a, const char *name, bool *ret_made, Error *e);

/* That it can be dropped, and renamed to `other`, which no database is called: nothing uses it that
 * database_drop would not end, and the role may do so. */
int database_check_drop(Session *admin, const char *name, const char *other, Error *e);
int database_rename(Session *admin, const char *name, const char *new_name, Error *e);

/* Settings, comments and privileges of the archive's database, for the session's, which will be
 * called `name`. What the server refuses, e.g. because a role is missing, is noted in `result`. */
int database_describe(Session *s, const Archive *a, const char *name, RestoreResult *result,
                      Error *e);

/* The options of the archive's CREATE DATABASE made to those of a server of the major version
 * `server_major`. -EOPNOTSUPP with a hint where it has nothing like them. Exported for tests. */
int database_options(const char *options, int server_major, Buf *out, Error *e);

/* The value, as a literal, that the archive's database sets for its sessions, and its length; NULL
 * when it sets none. */
const char *database_setting(const Archive *a, const char *name, size_t *ret_len);

/* The length of the first command of `sql`, with the semicolon and what space follows; 0 at the
 * end. As pg_dump spells commands: quotes are doubled in texts and names. Exported for tests. */
size_t database_command(const char *sql);

/* `sql`'s commands on the database `from` (as spelled in them) made to name `to` (as it is to be
 * spelled). Exported for tests. */
int database_rewrite(const char *sql, const char *from, const char *to, Buf *out);
