#include "source/postgres/conninfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

void conninfo_release(ConnInfo *ci)
{
    if (!ci)
        return;
    PQconninfoFree(ci->options);
    free(ci->dbname);
    free(ci->masked);
    *ci = (ConnInfo){0};
}

static PQconninfoOption *find(PQconninfoOption *options, const char *keyword)
{
    for (PQconninfoOption *o = options; o && o->keyword; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o;
    return NULL;
}

const char *conninfo_get(const ConnInfo *ci, const char *keyword)
{
    const PQconninfoOption *o = find(ci->options, keyword);
    return o && o->val && *o->val ? o->val : NULL;
}

/* libpq frees the values with free(), so that ours may replace them. */
static int set_value(PQconninfoOption *options, const char *keyword, const char *value)
{
    PQconninfoOption *o = find(options, keyword);
    if (!o)
        return 0;
    char *copy = value ? strdup(value) : NULL;
    if (value && !copy)
        return -ENOMEM;
    free(o->val);
    o->val = copy;
    return 0;
}

static int add_escaped(Buf *b, const char *text)
{
    int r = 0;
    for (const unsigned char *p = (const unsigned char *)text; r == 0 && *p; p++) {
        bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                     (*p >= 'A' && *p <= 'Z') || strchr("-._~,/", *p);
        r = plain ? buf_add_u8(b, *p) : buf_addf(b, "%%%02X", *p);
    }
    return r;
}

/* postgresql://user:***@host:port/dbname, or with a socket's directory as ?host=. */
static char *mask(const ConnInfo *ci, bool has_password)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    const char *user = conninfo_get(ci, "user"), *port = conninfo_get(ci, "port");
    const char *host = conninfo_get(ci, "host");
    if (!host)
        host = conninfo_get(ci, "hostaddr");
    bool is_socket = host && host[0] == '/';

    int r = buf_add_str(&b, "postgresql://");
    if (r == 0 && user)
        r = add_escaped(&b, user);
    if (r == 0 && has_password)
        r = buf_add_str(&b, ":***");
    if (r == 0 && (user || has_password))
        r = buf_add_str(&b, "@");
    if (r == 0 && host && !is_socket)
        r = add_escaped(&b, host);
    if (r == 0 && port && (!host || !is_socket) && strcmp(port, "5432") != 0)
        r = buf_addf(&b, ":%s", port);
    if (r == 0)
        r = buf_add_str(&b, "/");
    if (r == 0)
        r = add_escaped(&b, ci->dbname);
    if (r == 0 && is_socket) {
        r = buf_add_str(&b, "?host=");
        if (r == 0)
            r = add_escaped(&b, host);
        if (r == 0 && port && strcmp(port, "5432") != 0)
            r = buf_addf(&b, "&port=%s", port);
    }
    return r == 0 ? buf_take_cstr(&b) : NULL;
}

static int set_names(ConnInfo *ci, bool has_password, Error *e)
{
    const char *dbname = conninfo_get(ci, "dbname");
    if (!dbname)
        dbname = conninfo_get(ci, "user");
    ci->dbname = strdup(dbname ? dbname : "postgres");
    ci->masked = ci->dbname ? mask(ci, has_password) : NULL;
    return ci->masked ? 0 : error_oom(e);
}

static int malformed(Error *e)
{
    error_set(e, EINVAL, "the PostgreSQL connection string is malformed");
    error_hint(e,
               "write postgresql://USER@HOST:PORT/DATABASE, with @ : / ? # and %% inside of names "
               "and passwords as %%XX, or \"host=... dbname=... user=...\"");
    error_exit_code(e, BK_EXIT_USAGE);
    return -EINVAL;
}

/* An @ or / that should have been written as %XX makes libpq take a piece of the password for a
 * host, port or database, and it would be shown as such. */
static bool splits_password(const char *spec)
{
    const char *p = strstr(spec, "://");
    if (!p || p > strpbrk(spec, ":="))
        return false;
    p += 3;
    const char *end = p + strcspn(p, "?");
    const char *at = memchr(p, '@', (size_t)(end - p));
    if (!at)
        return false;
    const char *slash = memchr(p, '/', (size_t)(end - p));
    return (slash && slash < at) || memchr(at + 1, '@', (size_t)(end - at - 1));
}

static bool ports_are_numbers(const ConnInfo *ci)
{
    const char *port = conninfo_get(ci, "port");
    return !port || port[strspn(port, "0123456789,")] == 0;
}

int conninfo_parse(const char *spec, ConnInfo *ret_ci, Error *e)
{
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    ci.options = PQconndefaults();
    if (!ci.options)
        return error_oom(e);
    bool has_password = false;
    if (spec && *spec) {
        char *said = NULL;
        PQconninfoOption *given = PQconninfoParse(spec, &said);
        PQfreemem(said); /* it may quote the password */
        if (!given || splits_password(spec)) {
            PQconninfoFree(given);
            return malformed(e);
        }
        int r = 0;
        for (PQconninfoOption *o = given; r == 0 && o->keyword; o++) {
            if (o->val)
                r = set_value(ci.options, o->keyword, o->val);
            if (o->val && *o->val && strcmp(o->keyword, "password") == 0)
                has_password = true;
        }
        PQconninfoFree(given);
        if (r < 0)
            return error_oom(e);
    }
    if (!ports_are_numbers(&ci))
        return malformed(e);
    TRY(set_names(&ci, has_password, e));
    *ret_ci = ci;
    ci = (ConnInfo){0};
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

int conninfo_check_pooler(const ConnInfo *ci, Error *e)
{
    const char *host = conninfo_get(ci, "host"), *port = conninfo_get(ci, "port");
    _cleanup_free_ char *hosts = strdup(host ? host : "");
    _cleanup_free_ char *ports = strdup(port ? port : "");
    if (!hosts || !ports)
        return error_oom(e);
    char *hp = hosts, *pp = ports, *h, *p = NULL;
    while ((h = strsep(&hp, ","))) {
        char *next = strsep(&pp, ",");
        p = next ? next : p; /* one port may serve all hosts */
        bool is_session = ends_with(h, ".pooler.supabase.com");
        if ((is_session || ends_with(h, ".supabase.co")) && p && strcmp(p, "6543") == 0) {
            error_set(e, EOPNOTSUPP, "%s:6543 is a transaction pooler, which can't hold a snapshot",
                      h);
            error_hint(e, "use the %s: the same host with port 5432",
                       is_session ? "session pooler" : "server itself");
            return -EOPNOTSUPP;
        }
        const char *pooler = strstr(h, "-pooler.");
        if (pooler) {
            error_set(e, EOPNOTSUPP, "%s is a transaction pooler, which can't hold a snapshot", h);
            error_hint(e, "use the direct host: %.*s%s", (int)(pooler - h), h,
                       pooler + strlen("-pooler"));
            return -EOPNOTSUPP;
        }
    }
    return 0;
}

static int pin_values(PQconninfoOption *options, PGconn *conn)
{
    const char *addr = PQhostaddr(conn), *password = PQpass(conn);
    TRY(set_value(options, "host", PQhost(conn)));
    TRY(set_value(options, "hostaddr", addr && *addr ? addr : NULL));
    TRY(set_value(options, "port", PQport(conn)));
    TRY(set_value(options, "user", PQuser(conn)));
    TRY(set_value(options, "dbname", PQdb(conn)));
    TRY(set_value(options, "password", password && *password ? password : NULL));
    TRY(set_value(options, "service", NULL)); /* resolved by now */
    TRY(set_value(options, "passfile", NULL));
    return set_value(options, "client_encoding", NULL);
}

int conninfo_pin(const ConnInfo *from, PGconn *conn, ConnInfo *ret_ci, Error *e)
{
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    ci.options = PQconninfo(conn);
    if (!ci.options || pin_values(ci.options, conn) < 0)
        return error_oom(e);
    ci.dbname = strdup(PQdb(conn));
    ci.masked = strdup(from->masked);
    if (!ci.dbname || !ci.masked)
        return error_oom(e);
    *ret_ci = ci;
    ci = (ConnInfo){0};
    return 0;
}

void conninfo_env_free(char **env)
{
    for (char **p = env; p && *p; p++) {
        explicit_bzero(*p, strlen(*p));
        free(*p);
    }
    free(env);
}

static void env_freep(char ***env)
{
    conninfo_env_free(*env);
}

static int add_option_env(const PQconninfoOption *o, const char *pgoptions, char **slot)
{
    bool is_options = strcmp(o->keyword, "options") == 0;
    const char *extra = is_options && pgoptions ? pgoptions : "";
    if (!o->envvar || ((!o->val || !*o->val) && !*extra))
        return 0;
    return asprintf(slot, "%s=%s%s%s", o->envvar, o->val ? o->val : "", *extra ? " " : "", extra);
}

/* What PostgreSQL's programs get from the connection alone, or must not see: passwords. */
static bool is_kept_back(const char *variable)
{
    static const char *const known[] = {"PG", "LC_ALL=", "DATABASE_URL=", "SUPABASE_DB_URL="};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(variable, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}

int conninfo_env(const ConnInfo *ci, const char *pgoptions, char ***ret_env, Error *e)
{
    extern char **environ;
    enum { FIXED = 3 };
    size_t max = FIXED, n = 0;
    for (char **p = environ; *p; p++)
        max++;
    for (const PQconninfoOption *o = ci ? ci->options : NULL; o && o->keyword; o++)
        max++;
    _cleanup_(env_freep) char **env = calloc(max + 1, sizeof(*env));
    if (!env)
        return error_oom(e);
    for (char **p = environ; *p; p++) {
        if (is_kept_back(*p))
            continue;
        if (!(env[n++] = strdup(*p)))
            return error_oom(e);
    }
    for (const PQconninfoOption *o = ci ? ci->options : NULL; o && o->keyword; o++) {
        char *text = NULL;
        int r = add_option_env(o, pgoptions, &text);
        if (r < 0)
            return error_oom(e);
        if (r > 0)
            env[n++] = text;
    }
    /* Stable text of messages, and of timestamps inside definitions. */
    static const char *const fixed[FIXED] = {"LC_ALL=C.UTF-8", "PGTZ=UTC", "PGDATESTYLE=ISO"};
    for (size_t i = 0; i < FIXED; i++)
        if (!(env[n++] = strdup(fixed[i])))
            return error_oom(e);
    *ret_env = TAKE_PTR(env);
    return 0;
}

static int add_keyword(Buf *out, const char *keyword, const char *value)
{
    TRY(buf_addf(out, "%s%s='", out->len ? " " : "", keyword));
    for (const char *p = value; *p; p++) {
        if (*p == '\'' || *p == '\\')
            TRY(buf_add_u8(out, '\\'));
        TRY(buf_add_u8(out, (uint8_t)*p));
    }
    return buf_add_str(out, "'");
}

/* Values that nobody else may see. libpq marks only passwords of them. */
static bool is_secret(const PQconninfoOption *o)
{
    static const char *const known[] = {"sslpassword", "scram_client_key", "scram_server_key",
                                        "oauth_client_secret"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(o->keyword, known[i]) == 0)
            return true;
    return strchr(o->dispchar, '*') != NULL;
}

int conninfo_check_secrets(const ConnInfo *ci, Error *e)
{
    for (const PQconninfoOption *o = ci->options; o->keyword; o++) {
        if (!o->val || !*o->val || o->envvar || !is_secret(o))
            continue;
        error_set(e, EOPNOTSUPP, "%s can't be handed to PostgreSQL's programs without being seen",
                  o->keyword);
        error_hint(e, strcmp(o->keyword, "sslpassword") == 0
                          ? "use a client key without a password, readable by its owner only"
                          : "log in with a password instead, from ~/.pgpass or $PGPASSWORD");
        return -EOPNOTSUPP;
    }
    return 0;
}

int conninfo_keywords(const ConnInfo *ci, bool dbname, Buf *out, Error *e)
{
    int r = dbname ? add_keyword(out, "dbname", ci->dbname) : 0;
    for (const PQconninfoOption *o = ci->options; r == 0 && o->keyword; o++) {
        if (o->val && *o->val && !o->envvar && !is_secret(o) &&
            strcmp(o->keyword, "fallback_application_name") != 0 &&
            strcmp(o->keyword, "replication") != 0)
            r = add_keyword(out, o->keyword, o->val);
    }
    return r < 0 ? error_oom(e) : 0;
}
