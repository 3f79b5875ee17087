#include "restore/postgres/database.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

static int set_dbname(ConnInfo *ci, const char *name, Error *e)
{
    for (PQconninfoOption *o = ci->options; o->keyword; o++) {
        if (strcmp(o->keyword, "dbname") != 0)
            continue;
        char *value = strdup(name);
        if (!value)
            return error_oom(e);
        free(o->val); /* as libpq will */
        o->val = value;
        return 0;
    }
    return error_set(e, EINVAL, "libpq knows no dbname");
}

int database_open_admin(const char *conninfo, const RestoreOptions *o, Session *ret_session,
                        Error *e)
{
    static const char *const names[] = {"postgres", "template1"};
    int r = -ENOENT;
    for (size_t i = 0; r == -ENOENT && i < 2; i++) {
        _cleanup_(conninfo_release) ConnInfo ci = {0};
        error_release(e);
        r = conninfo_parse(conninfo, &ci, e);
        if (r == 0)
            r = set_dbname(&ci, names[i], e);
        if (r == 0)
            r = session_open(&ci, o, ret_session, e);
    }
    return r;
}

int database_exists(Session *admin, const char *name, bool *ret_exists, Error *e)
{
    int64_t n = 0;
    TRY(session_number(admin, "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = $1",
                       name, NULL, &n, e));
    *ret_exists = n > 0;
    return 0;
}

int database_count_objects(Session *s, int64_t *ret_n, Error *e)
{
    /* Objects of template1's making count too: whatever a restore might run into. */
    return session_number(
        s,
        "SELECT (SELECT count(*) FROM pg_catalog.pg_class WHERE oid >= 16384 AND relkind IN"
        " ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't')"
        " + (SELECT count(*) FROM pg_catalog.pg_proc WHERE oid >= 16384)"
        " + (SELECT count(*) FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_')"
        " + (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)",
        NULL, NULL, ret_n, e);
}

/* Run "<before><name><after>". */
static int run_on(Session *s, const char *before, const char *name, const char *after, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    if (buf_add_str(&sql, before) < 0 || session_add_name(s, &sql, name, NULL) < 0 ||
        buf_add_str(&sql, after) < 0 || !buf_cstr(&sql))
        return error_oom(e);
    return session_run(s, (const char *)sql.data, e);
}

int database_drop(Session *admin, const char *name, Error *e)
{
    /* WITH (FORCE) is as old as PostgreSQL 13. */
    return run_on(admin, "DROP DATABASE IF EXISTS ", name,
                  admin->o->force && conn_major(admin->conn) >= 13 ? " WITH (FORCE)" : "", e);
}

static const TocEntry *find_entry(const Archive *a, const char *desc)
{
    for (size_t i = 0; i < a->n; i++)
        if (toc_is(&a->entries[i], desc))
            return &a->entries[i];
    return NULL;
}

/* The end of the identifier at `p`, perhaps quoted. */
static const char *skip_name(const char *p)
{
    if (*p != '"')
        return p + strcspn(p, " ;\n");
    for (p++; *p; p++) {
        if (*p == '"' && p[1] != '"')
            return p + 1;
        p += *p == '"';
    }
    return p;
}

/* How the archive spells its database's name, in "CREATE DATABASE <name> WITH ...;": where that
 * begins, or NULL. */
static const char *spelled_name(const Archive *a)
{
    static const char begin[] = "CREATE DATABASE ";
    const TocEntry *t = find_entry(a, "DATABASE");
    bool found = t && t->defn && strncmp(t->defn, begin, strlen(begin)) == 0;
    return found ? t->defn + strlen(begin) : NULL;
}

int database_create(Session *admin, const Archive *a, const char *name, Error *e)
{
    const char *old = spelled_name(a);
    int r =
        run_on(admin, "CREATE DATABASE ", name, old ? skip_name(old) : " TEMPLATE template0", e);
    if (r < 0) {
        error_prefix(e, "making database %s", name);
        return r;
    }
    const TocEntry *t = find_entry(a, "DATABASE");
    if (!t || !t->owner || !*t->owner || admin->o->no_owner)
        return 0;
    _cleanup_(buf_release) Buf owner = BUF_INIT;
    if (buf_add_str(&owner, " OWNER TO ") < 0 ||
        session_add_name(admin, &owner, t->owner, NULL) < 0 || !buf_cstr(&owner))
        return error_oom(e);
    r = run_on(admin, "ALTER DATABASE ", name, (const char *)owner.data, e);
    if (r < 0) {
        error_prefix(e, "giving database %s to %s", name, t->owner);
        Error ignored = ERROR_INIT;
        (void)run_on(admin, "DROP DATABASE ", name, "", &ignored);
        error_release(&ignored);
    }
    return r;
}

int database_rewrite(const char *sql, const char *from, const char *to, Buf *out)
{
    static const char word[] = " DATABASE ";
    const char *p = sql;
    while (*p) {
        size_t n = strlen(word), m = strlen(from);
        if (strncmp(p, word, n) == 0 && strncmp(p + n, from, m) == 0 && strchr(" ;\n", p[n + m])) {
            TRY(buf_add_str(out, word));
            TRY(buf_add_str(out, to));
            p += n + m;
            continue;
        }
        /* Texts and names stay as they are, whatever they hold. */
        const char *end = p + 1;
        if (*p == '\'' || *p == '"')
            end += strcspn(end, *p == '"' ? "\"" : "'");
        end += end > p + 1 && *end ? 1 : 0;
        TRY(buf_add(out, p, (size_t)(end - p)));
        p = end;
    }
    return 0;
}

static bool is_about_database(const RestoreOptions *o, const TocEntry *t)
{
    if (toc_is(t, "DATABASE PROPERTIES"))
        return true;
    if (!t->tag || strncmp(t->tag, "DATABASE ", 9) != 0)
        return false;
    return toc_is(t, "COMMENT") || toc_is(t, "SECURITY LABEL") || (toc_is(t, "ACL") && !o->no_acl);
}

int database_describe(Session *s, const Archive *a, const char *name, Error *e)
{
    const char *spelled = spelled_name(a);
    _cleanup_free_ char *old =
        spelled ? strndup(spelled, (size_t)(skip_name(spelled) - spelled)) : NULL;
    _cleanup_(buf_release) Buf to = BUF_INIT;
    if ((spelled && !old) || session_add_name(s, &to, name, NULL) < 0 || !buf_cstr(&to))
        return error_oom(e);
    for (size_t i = 0; old && i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        _cleanup_(buf_release) Buf sql = BUF_INIT;
        if (!is_about_database(s->o, t) || !t->defn)
            continue;
        if (database_rewrite(t->defn, old, (const char *)to.data, &sql) < 0 || !buf_cstr(&sql))
            return error_oom(e);
        int r = session_run(s, (const char *)sql.data, e);
        if (r < 0) {
            error_prefix(e, "%s of database %s", t->desc, name);
            return r;
        }
    }
    return 0;
}
