/* Changes: whether other sessions changed definitions while pg_dump read them. It takes its lists
 * from the snapshot, but what the server's functions print for it (pg_get_indexdef, format_type) is
 * as of now: of both, a backup may be made that nothing accepts. */
#pragma once

#include <stdatomic.h>

#include "source/postgres/archive.h"
#include "source/postgres/conn.h"

/* Once in a transaction, after pg_dump printed `toc`: -ESTALE when a definition in it is not as the
 * snapshot of `c` has it. A second connection is made only when something changed. */
int changes_check(Conn *c, const ConnInfo *pinned, const atomic_bool *cancel, const Archive *toc,
                  Error *e);

/* Once in a transaction, after the roles were read: -ESTALE when one that has to do with the
 * database was dropped or renamed since the snapshot. */
int changes_check_roles(Conn *c, Error *e);
