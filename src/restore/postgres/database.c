#include "restore/postgres/database.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/targets.h"
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

int database_conninfo(const char *conninfo, const char *name, ConnInfo *ret_ci, Error *e)
{
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    TRY(conninfo_parse(conninfo, &ci, e));
    TRY(set_dbname(&ci, name, e));
    *ret_ci = ci;
    ci = (ConnInfo){0};
    return 0;
}

int database_open_admin(const char *conninfo, const RestoreOptions *o, Session *ret_session,
                        Error *e)
{
    static const char *const names[] = {"postgres", "template1"};
    int r = -ENOENT;
    for (size_t i = 0; r == -ENOENT && i < 2; i++) {
        _cleanup_(conninfo_release) ConnInfo ci = {0};
        error_release(e);
        r = database_conninfo(conninfo, names[i], &ci, e);
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

int database_rename(Session *admin, const char *name, const char *new_name, Error *e)
{
    _cleanup_(buf_release) Buf to = BUF_INIT;
    if (buf_add_str(&to, " RENAME TO ") < 0 || session_add_name(admin, &to, new_name, NULL) < 0 ||
        !buf_cstr(&to))
        return error_oom(e);
    return run_on(admin, "ALTER DATABASE ", name, (const char *)to.data, e);
}

/* What DROP DATABASE refuses whether or not it is to end sessions. */
static const struct {
    const char *sql, *is, *hint;
} obstacles[] = {
    {"SELECT count(*) FROM pg_catalog.pg_database WHERE datname = $1 AND datistemplate",
     "is a template", "ALTER DATABASE ... IS_TEMPLATE false makes it one no more"},
    {"SELECT count(*) FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d"
     " ON d.oid = s.subdbid WHERE d.datname = $1",
     "has subscriptions", "drop them first: DROP SUBSCRIPTION"},
    {"SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE database = $1 AND active",
     "is being replicated", "stop what reads from its replication slots"},
    {"SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = $1",
     "has prepared transactions", "COMMIT PREPARED or ROLLBACK PREPARED them"},
};

/* Only who has the owner's rights may drop it: found before anything is restored, also where other
 * sessions are to be ended and so the server is not asked. */
static int check_owner(Session *admin, const char *name, Error *e)
{
    const char *const params[] = {name};
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(admin->conn,
                   "SELECT pg_catalog.pg_get_userbyid(datdba), current_user"
                   " FROM pg_catalog.pg_database WHERE datname = $1"
                   " AND NOT pg_catalog.pg_has_role(datdba, 'USAGE')",
                   1, params, &res, e));
    if (PQntuples(res) == 0)
        return 0;
    const char *owner = PQgetvalue(res, 0, 0);
    error_set(e, EACCES, "the database %s belongs to %s, so %s may not drop it", name, owner,
              PQgetvalue(res, 0, 1));
    error_hint(e,
               "connect as %s, as a member of that role, or as a superuser; or restore into a "
               "database of another name with --create",
               owner);
    return -EACCES;
}

int database_check_drop(Session *admin, const char *name, const char *other, Error *e)
{
    for (size_t i = 0; i < sizeof(obstacles) / sizeof(obstacles[0]); i++) {
        int64_t n = 0;
        TRY(session_number(admin, obstacles[i].sql, name, NULL, &n, e));
        if (n == 0)
            continue;
        error_set(e, EBUSY, "the database %s %s, so it can't be dropped", name, obstacles[i].is);
        error_hint(e, "%s", obstacles[i].hint);
        return -EBUSY;
    }
    TRY(check_owner(admin, name, e));
    if (admin->o->force)
        return 0;
    /* The server's own look at rights and sessions, without any effect. */
    TRY(session_run(admin, "BEGIN", e));
    TRY(database_rename(admin, name, other, e));
    return session_run(admin, "ROLLBACK", e);
}

static const TocEntry *find_entry(const Archive *a, const char *desc)
{
    for (size_t i = 0; i < a->n; i++)
        if (toc_is(&a->entries[i], desc))
            return &a->entries[i];
    return NULL;
}

/* The end of the identifier or text at `p`, perhaps quoted. */
static const char *skip_name(const char *p)
{
    const char quote = *p;
    if (quote != '"' && quote != '\'')
        return p + strcspn(p, " ;\n");
    for (p++; *p; p++) {
        if (*p == quote && p[1] != quote)
            return p + 1;
        p += *p == quote;
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

/* Options of CREATE DATABASE that older servers don't know, as pg_dump spells them. */
static const struct {
    const char *option;
    int since;
    const char *what; /* that is lost without it; NULL: nothing */
} options_since[] = {
    {" LOCALE_PROVIDER = libc", 15, NULL}, /* the only one there was */
    {" LOCALE_PROVIDER = icu", 15, "locale provider icu"},
    {" ICU_LOCALE = ", 15, "locale provider icu"},
    {" ICU_RULES = ", 16, "ICU rules of its own"},
    {" LOCALE_PROVIDER = builtin", 17, "locale provider builtin"},
    {" BUILTIN_LOCALE = ", 17, "locale provider builtin"},
};

static int lacks_option(const char *what, int server_major, Error *e)
{
    error_set(e, EOPNOTSUPP, "the backup's database has %s, which PostgreSQL %d does not know",
              what, server_major);
    error_hint(e, "make the database yourself, with a locale that the server has, and restore into "
                  "it without --create: CREATE DATABASE ... TEMPLATE template0 ENCODING ... LOCALE "
                  "...");
    return -EOPNOTSUPP;
}

/* One option, e.g. " LOCALE = 'C'", of `n` bytes. */
static int add_option(const char *option, size_t n, int server_major, Buf *out, Error *e)
{
    static const char locale[] = " LOCALE = ";
    for (size_t i = 0; i < sizeof(options_since) / sizeof(options_since[0]); i++) {
        if (server_major >= options_since[i].since ||
            strncmp(option, options_since[i].option, strlen(options_since[i].option)) != 0)
            continue;
        return options_since[i].what ? lacks_option(options_since[i].what, server_major, e) : 0;
    }
    int r;
    if (server_major < 13 && strncmp(option, locale, strlen(locale)) == 0) {
        const char *value = option + strlen(locale);
        int len = (int)(n - strlen(locale));
        r = buf_addf(out, " LC_COLLATE = %.*s LC_CTYPE = %.*s", len, value, len, value);
    } else {
        r = buf_add(out, option, n);
    }
    return r < 0 ? error_oom(e) : 0;
}

/* The end of " NAME = value" or " WITH" at `p`. */
static const char *skip_option(const char *p)
{
    const char *end = p + 1 + strcspn(p + 1, " ;");
    if (strncmp(end, " = ", 3) != 0)
        return end;
    return skip_name(end + 3);
}

int database_options(const char *options, int server_major, Buf *out, Error *e)
{
    const char *p = options;
    for (const char *end; *p == ' '; p = end) {
        end = skip_option(p);
        TRY(add_option(p, (size_t)(end - p), server_major, out, e));
    }
    return buf_add_str(out, p) < 0 || !buf_cstr(out) ? error_oom(e) : 0;
}

int database_create(Session *admin, const Archive *a, const char *name, bool *ret_made, Error *e)
{
    _cleanup_(buf_release) Buf options = BUF_INIT;
    const char *old = spelled_name(a);
    int r = database_options(old ? skip_name(old) : " TEMPLATE template0", conn_major(admin->conn),
                             &options, e);
    if (r == 0)
        r = run_on(admin, "CREATE DATABASE ", name, (const char *)options.data, e);
    if (r < 0) {
        error_prefix(e, "making database %s", name);
        return r;
    }
    *ret_made = true;
    const TocEntry *t = find_entry(a, "DATABASE");
    if (!t || !t->owner || !*t->owner || admin->o->no_owner)
        return 0;
    _cleanup_(buf_release) Buf owner = BUF_INIT;
    if (buf_add_str(&owner, " OWNER TO ") < 0 ||
        session_add_name(admin, &owner, t->owner, NULL) < 0 || !buf_cstr(&owner))
        return error_oom(e);
    r = run_on(admin, "ALTER DATABASE ", name, (const char *)owner.data, e);
    if (r < 0)
        error_prefix(e, "giving it to %s", t->owner);
    return r;
}

/* The end of the text or name in quotes that begins at `p`, or the next character. */
static const char *skip_quoted(const char *p)
{
    const char *end = p + 1;
    if (*p == '\'' || *p == '"')
        end += strcspn(end, *p == '"' ? "\"" : "'");
    return end + (end > p + 1 && *end);
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
        const char *end = skip_quoted(p);
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

size_t database_command(const char *sql)
{
    const char *p = sql;
    while (*p && *p != ';')
        p = skip_quoted(p);
    if (*p)
        p++;
    return (size_t)(p - sql) + strspn(p, " \n");
}

const char *database_setting(const Archive *a, const char *name, size_t *ret_len)
{
    static const char begin[] = "ALTER DATABASE ", set[] = " SET ", to[] = " TO ";
    const TocEntry *t = find_entry(a, "DATABASE PROPERTIES");
    size_t n = strlen(name), len;
    for (const char *sql = t && t->defn ? t->defn : ""; (len = database_command(sql)) > 0;
         sql += len) {
        if (strncmp(sql, begin, strlen(begin)) != 0)
            continue;
        const char *p = skip_name(sql + strlen(begin));
        if (strncmp(p, set, strlen(set)) != 0)
            continue;
        p += strlen(set);
        bool quoted = *p == '"'; /* where it has capitals */
        if (strncmp(p + quoted, name, n) != 0)
            continue;
        p += n + 2 * quoted;
        if (strncmp(p, to, strlen(to)) != 0)
            continue;
        p += strlen(to);
        *ret_len = (size_t)(skip_name(p) - p);
        return *p == '\'' ? p : NULL;
    }
    return NULL;
}

/* The database's name as the archive's commands spell it, as commands to the target do, and as
 * messages do. */
typedef struct Names {
    char *old; /* owned */
    Buf now, later;
} Names;

static void names_release(Names *n)
{
    free(n->old);
    buf_release(&n->now);
    buf_release(&n->later);
}

/* A command that failed: named by what stands before its values, which may be secret. */
static int leave_out(const char *sql, const Names *names, const Error *why, RestoreResult *result,
                     Error *e)
{
    static const char *const endings[] = {" ", " TO", " IS", " ="};
    _cleanup_(buf_release) Buf what = BUF_INIT;
    if (database_rewrite(sql, names->old, (const char *)names->later.data, &what) < 0 ||
        !buf_cstr(&what))
        return error_oom(e);
    char *text = (char *)what.data;
    size_t n = strcspn(text, "';\n");
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t len = strlen(endings[i]);
        if (n >= len && memcmp(text + n - len, endings[i], len) == 0)
            n -= len;
    }
    text[n] = 0;
    return restore_left_out(result, text, why->message, e);
}

static int run_command(Session *s, const char *sql, const Names *names, RestoreResult *result,
                       Error *e)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    _cleanup_(error_release) Error why = ERROR_INIT;
    if (database_rewrite(sql, names->old, (const char *)names->now.data, &b) < 0 || !buf_cstr(&b))
        return error_oom(e);
    int r = session_run(s, (const char *)b.data, &why);
    if (r == -EINTR || r == -ECONNRESET || r == -ENOMEM)
        return error_move(e, &why);
    return r < 0 ? leave_out(sql, names, &why, result, e) : 0;
}

/* One by one, so that one that fails does not take others with it. */
static int run_commands(Session *s, const char *sql, const Names *names, RestoreResult *result,
                        Error *e)
{
    for (size_t n; (n = database_command(sql)) > 0; sql += n) {
        _cleanup_free_ char *command = strndup(sql, n);
        if (!command)
            return error_oom(e);
        TRY(run_command(s, command, names, result, e));
    }
    return 0;
}

/* The name of the session's database as a command spells it, in the session's encoding. */
static int own_name(Session *s, Buf *out, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(s->conn, "SELECT pg_catalog.current_database()", 0, NULL, &res, e));
    if (session_add_name(s, out, PQgetvalue(res, 0, 0), NULL) < 0 || !buf_cstr(out))
        return error_oom(e);
    return 0;
}

int database_describe(Session *s, const Archive *a, const char *name, RestoreResult *result,
                      Error *e)
{
    _cleanup_(names_release) Names names = {0};
    const char *spelled = spelled_name(a);
    if (!spelled)
        return 0;
    names.old = strndup(spelled, (size_t)(skip_name(spelled) - spelled));
    if (!names.old || buf_addf(&names.later, "\"%s\"", name) < 0 || !buf_cstr(&names.later))
        return error_oom(e);
    TRY(own_name(s, &names.now, e));
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        if (is_about_database(s->o, t) && t->defn)
            TRY(run_commands(s, t->defn, &names, result, e));
    }
    return 0;
}
