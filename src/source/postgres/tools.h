/* Tools: PostgreSQL's own pg_dump, pg_restore and pg_dumpall that fit a server. */
#pragma once

#include "util/error.h"

typedef struct PgTools {
    int major;                               /* of the tools */
    char *pg_dump, *pg_restore, *pg_dumpall; /* paths, owned */
} PgTools;

void pg_tools_release(PgTools *t);

/* Find the tools for a server of the major version `server_major`: that major's, else those of the
 * lowest newer one, which can read older servers too. Looked for in `bindir` alone when it is not
 * NULL; else below `root` (NULL: /usr/lib/postgresql) in <major>/bin, and in $PATH.
 * -ENOENT with the name of the package to install when there are none that fit. */
int pg_tools_find(const char *bindir, const char *root, int server_major, PgTools *ret_tools,
                  Error *e);

/* The major version that `program --version` tells, e.g. 15; 0 when it can't be told. Exported for
 * tests. */
int pg_tools_parse_version(const char *line);
