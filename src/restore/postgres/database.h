/* Database: the target as a whole: whether it is there, what is in it, making and dropping it. */
#pragma once

#include "restore/postgres/session.h"
#include "source/postgres/archive.h"
#include "source/postgres/conninfo.h"

/* Connect to a database of the same server that is always there, to look at or make others. */
int database_open_admin(const char *conninfo, const RestoreOptions *o, Session *ret_session,
                        Error *e);

int database_exists(Session *admin, const char *name, bool *ret_exists, Error *e);

/* Objects in the session's database that PostgreSQL itself did not make. */
int database_count_objects(Session *s, int64_t *ret_n, Error *e);

/* Drop it; with the session's options->force its sessions are ended. */
int database_drop(Session *admin, const char *name, Error *e);

/* Make it as the archive's was: encoding and locale, and owner unless options->no_owner. Where the
 * archive does not tell (of a part only) by the server's defaults. */
int database_create(Session *admin, const Archive *a, const char *name, Error *e);

/* Settings, comments and privileges of the archive's database, for the session's. */
int database_describe(Session *s, const Archive *a, const char *name, Error *e);

/* `sql`'s commands on the database `from` (as spelled in them) made to name `to` (as it is to be
 * spelled). Exported for tests. */
int database_rewrite(const char *sql, const char *from, const char *to, Buf *out);
