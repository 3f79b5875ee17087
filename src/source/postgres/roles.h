/* Roles: roles and tablespaces of the whole cluster, as pg_dumpall prints them. */
#pragma once

#include <stdatomic.h>

#include "source/postgres/conn.h"
#include "source/postgres/tool_notes.h"
#include "source/postgres/tools.h"
#include "util/buf.h"

/* The script, with a stable \restrict key. Without `passwords` it is made without them and says so
 * in its first lines. `no_acl`: without privileges on tablespaces and settings.
 * `notes` (may be NULL) gets what pg_dumpall warns of. */
int roles_read(const PgTools *tools, const ConnInfo *pinned, Conn *coordinator, bool passwords,
               bool no_acl, const uint8_t secret[32], const atomic_bool *cancel, ToolNotes *notes,
               Buf *out, Error *e);
