#include "restore/postgres/database.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

int database_rename(ConnInfo *ci, const char *name, Error *e)
{
    char *copy = strdup(name);
    char *value = strdup(name);
    if (!copy || !value) {
        free(copy);
        free(value);
        return error_oom(e);
    }
    free(ci->dbname);
    ci->dbname = copy;
    for (PQconninfoOption *o = ci->options; o->keyword; o++) {
        if (strcmp(o->keyword, "dbname") != 0)
            continue;
        free(o->val); /* libpq frees it so too */
        o->val = value;
        return 0;
    }
    free(value);
    return error_set(e, EINVAL, "libpq knows no dbname");
}

int database_open_admin(const ConnInfo *ci, const RestoreOptions *o, Session *ret_session,
                        Error *e)
{
    static const char *const names[] = {"postgres", "template1"};
    ConnInfo admin = *ci; /* borrows all but the options and the name */
    int r = -ENOENT;
    admin.dbname = NULL;
    admin.options = NULL;
    for (size_t i = 0; r == -ENOENT && i < 2; i++) {
        error_release(e);
        r = conninfo_copy(ci, names[i], &admin, e);
        if (r == 0)
            r = session_open(&admin, o, ret_session, e);
        conninfo_release(&admin);
    }
    return r;
}
