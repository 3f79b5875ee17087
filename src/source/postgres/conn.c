#include "source/postgres/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define CONNECT_TIMEOUT "15" /* seconds a host gets when the user set nothing */
#define MAX_OPTIONS     128

/* Seconds, seconds, probes where the user set nothing: firewalls cut sessions that idle while
 * others read, and a server that is gone would be waited for without an end. */
#define KEEPALIVES_IDLE     "60"
#define KEEPALIVES_INTERVAL "10"
#define KEEPALIVES_COUNT    "6"

#define MIN_VERSION 120000

struct Conn {
    PGconn *pg;
    char *where;         /* masked connection, for messages */
    char *child_options; /* or NULL; owned */
    bool child_is_english;
};

PGconn *conn_pg(Conn *c)
{
    return c->pg;
}

int conn_major(const Conn *c)
{
    return PQserverVersion(c->pg) / 10000;
}

const char *conn_child_options(const Conn *c)
{
    return c->child_options;
}

bool conn_child_is_english(const Conn *c)
{
    return c->child_is_english;
}

void conn_close(Conn *c)
{
    if (!c)
        return;
    PQfinish(c->pg);
    free(c->where);
    free(c->child_options);
    free(c);
}

static void ignore_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

/* The last line of libpq's message that is not indented: with several addresses or encryption modes
 * it tells of each attempt, with advice below. */
static char *last_line(const char *text)
{
    const char *last = text;
    for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (*p != '\t' && *p != ' ' && *p != '\n')
            last = p;
    return strndup(last, strcspn(last, "\n"));
}

/* keyword and value arrays for libpq from `ci`, and what stands where the user set nothing. */
static void fill_params(const ConnInfo *ci, const char **keys, const char **values)
{
    static const char *const keepalives[][2] = {
        {"keepalives_idle", KEEPALIVES_IDLE},
        {"keepalives_interval", KEEPALIVES_INTERVAL},
        {"keepalives_count", KEEPALIVES_COUNT},
    };
    size_t n = 0;
    bool has_timeout = false, has_keepalives = false;
    for (const PQconninfoOption *o = ci->options; o->keyword && n < MAX_OPTIONS - 6; o++) {
        if (!o->val || !*o->val)
            continue;
        keys[n] = o->keyword;
        values[n++] = o->val;
        has_timeout |= strcmp(o->keyword, "connect_timeout") == 0;
        has_keepalives |= strncmp(o->keyword, "keepalives", 10) == 0;
    }
    keys[n] = "fallback_application_name";
    values[n++] = "bakfs-dump";
    if (!has_timeout) {
        keys[n] = "connect_timeout";
        values[n++] = CONNECT_TIMEOUT;
    }
    for (size_t i = 0; !has_keepalives && i < 3; i++) {
        keys[n] = keepalives[i][0];
        values[n++] = keepalives[i][1];
    }
    keys[n] = values[n] = NULL;
}

/* What went wrong while connecting. libpq gives no codes here, so look for the server's English
 * words, then at what PQping says, which needs none. `ret_may_pass`: worth another attempt. */
static int connect_error(const ConnInfo *ci, PGconn *pg, const char *const *keys,
                         const char *const *values, bool *ret_may_pass, Error *e)
{
    _cleanup_free_ char *said = last_line(PQerrorMessage(pg));
    if (!said)
        return error_oom(e);
    *ret_may_pass = false;
    if (PQconnectionNeedsPassword(pg)) {
        error_set(e, EACCES, "%s wants a password", ci->masked);
        error_hint(e, "put it into ~/.pgpass or $PGPASSWORD");
        return -EACCES;
    }
    if (strstr(said, "password authentication failed")) {
        error_set(e, EACCES, "%s: wrong password: %s", ci->masked, said);
        error_hint(e, "check user and password, $PGPASSWORD and ~/.pgpass");
        return -EACCES;
    }
    if (strstr(said, "database \"") && strstr(said, "does not exist")) {
        error_set(e, ENOENT, "%s: no such database: %s", ci->masked, said);
        error_hint(e, "`psql -l` lists the databases of a server");
        return -ENOENT;
    }
    PGPing ping = PQpingParams(keys, values, 0);
    if (ping == PQPING_NO_RESPONSE) {
        *ret_may_pass = true;
        error_set(e, ECONNREFUSED, "can't reach %s: %s", ci->masked, said);
        error_hint(e, "check host and port, that the server runs, and firewalls; a host that has "
                      "only IPv6 addresses needs IPv6 here, or its provider's pooler");
        return -ECONNREFUSED;
    }
    *ret_may_pass = ping == PQPING_REJECT || strstr(said, "too many clients") ||
                    strstr(said, "remaining connection slots") ||
                    strstr(said, "closed the connection unexpectedly");
    error_set(e, EACCES, "can't connect to %s: %s", ci->masked, said);
    error_hint(e, *ret_may_pass ? "try again later, or raise --retries"
                                : "check user, password and pg_hba.conf; `psql` with the same "
                                  "connection string must work");
    return -EACCES;
}

/* What the session is to be like. Settings newer than a server are skipped by their version. */
static const struct {
    const char *sql;
    int since;
} pins[] = {
    {"SET statement_timeout = 0", 0},
    {"SET lock_timeout = 0", 0},
    {"SET idle_in_transaction_session_timeout = 0", 0},
    {"SET idle_session_timeout = 0", 140000},
    {"SET transaction_timeout = 0", 170000},
    {"SET TimeZone = 'UTC'", 0},
    {"SET DateStyle = ISO", 0},
    {"SET IntervalStyle = postgres", 0},
    {"SET bytea_output = hex", 0},
    {"SET extra_float_digits = 3", 0},
    {"SET synchronize_seqscans = off", 0},
    {"SET row_security = off", 0},
    {"SET quote_all_identifiers = off", 0},
    {"SET default_transaction_deferrable = off", 0},
    {"SET jit = off", 0}, /* compiling takes longer than what is asked of the catalogues */
    {"SELECT pg_catalog.set_config('search_path', '', false)", 0},
};

/* PostgreSQL's programs don't set everything themselves. Options are sent only where the server's
 * defaults differ, because connection poolers refuse them. The language of messages is a matter of
 * rights. */
static int learn_child_options(Conn *c, Error *e)
{
    static const char superuser[] = "(SELECT rolsuper FROM pg_catalog.pg_roles"
                                    " WHERE rolname = session_user)";
    static const char privilege[] = "has_parameter_privilege(session_user, 'lc_messages', 'SET')";
    _cleanup_free_ char *sql = NULL;
    if (asprintf(&sql,
                 "SELECT string_agg('-c ' || name || '=' || wanted, ' ' ORDER BY name)"
                 "  FILTER (WHERE is_ours),"
                 " coalesce(bool_and(is_ours) FILTER (WHERE name = 'lc_messages'), true)"
                 " FROM (SELECT name, wanted, name <> 'lc_messages' OR %s AS is_ours"
                 " FROM pg_catalog.pg_settings JOIN (VALUES ('bytea_output', 'hex'),"
                 " ('quote_all_identifiers', 'off'), ('lc_messages', 'C'),"
                 " ('statement_timeout', '0'), ('lock_timeout', '0'),"
                 " ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0'),"
                 " ('transaction_timeout', '0')) w(name, wanted) USING (name)"
                 " WHERE reset_val <> wanted AND NOT (name = 'lc_messages'"
                 "  AND reset_val ~* '^(c[.]|posix|en)')) s",
                 conn_major(c) >= 15 ? privilege : superuser) < 0)
        return error_oom(e);
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(c, sql, 0, NULL, &res, e));
    c->child_is_english = *PQgetvalue(res, 0, 1) == 't';
    if (!PQgetisnull(res, 0, 0) && !(c->child_options = strdup(PQgetvalue(res, 0, 0))))
        return error_oom(e);
    return 0;
}

static int pin_settings(Conn *c, Error *e)
{
    for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++)
        if (PQserverVersion(c->pg) >= pins[i].since)
            TRY(conn_exec(c, pins[i].sql, e));
    const char *encoding = PQparameterStatus(c->pg, "server_encoding");
    if (!encoding || PQsetClientEncoding(c->pg, encoding) != 0)
        return error_set(e, EIO, "%s: can't set the client encoding to %s", c->where,
                         encoding ? encoding : "the server's");
    return learn_child_options(c, e);
}

int conn_check_settings(Conn *c, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(c,
                   "SELECT count(*) FROM pg_catalog.pg_settings JOIN (VALUES"
                   " ('row_security', 'off'), ('search_path', ''), ('TimeZone', 'UTC'),"
                   " ('bytea_output', 'hex'), ('extra_float_digits', '3'),"
                   " ('IntervalStyle', 'postgres'), ('statement_timeout', '0'),"
                   " ('idle_in_transaction_session_timeout', '0')) w(name, wanted) USING (name)"
                   " WHERE setting <> wanted AND NOT (name = 'search_path' AND setting = '\"\"')",
                   0, NULL, &res, e));
    if (strcmp(PQgetvalue(res, 0, 0), "0") == 0)
        return 0;
    error_set(e, EOPNOTSUPP, "%s: settings of the session are lost between transactions", c->where);
    error_hint(e, "a pooler that hands out server sessions by the transaction stands in between: "
                  "connect to the server itself, or to a pooler in session mode");
    return -EOPNOTSUPP;
}

static int open_once(const ConnInfo *ci, bool *ret_may_pass, Conn **ret_conn, Error *e)
{
    const char *keys[MAX_OPTIONS], *values[MAX_OPTIONS];
    fill_params(ci, keys, values);

    _cleanup_(conn_closep) Conn *c = calloc(1, sizeof(*c));
    if (!c || !(c->where = strdup(ci->masked)))
        return error_oom(e);
    c->pg = PQconnectdbParams(keys, values, 0);
    if (!c->pg)
        return error_oom(e);
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    if (PQstatus(c->pg) != CONNECTION_OK)
        return connect_error(ci, c->pg, keys, values, ret_may_pass, e);
    *ret_may_pass = false;
    if (PQserverVersion(c->pg) < MIN_VERSION)
        return error_set(e, EOPNOTSUPP, "%s is PostgreSQL %s; 12 or newer is needed", ci->masked,
                         PQparameterStatus(c->pg, "server_version"));
    TRY(pin_settings(c, e));
    *ret_conn = TAKE_PTR(c);
    return 0;
}

static bool cancelled(const atomic_bool *cancel)
{
    return cancel && atomic_load(cancel);
}

void conn_back_off(const atomic_bool *cancel, int attempt, int first_ms)
{
    for (int ms = first_ms << (attempt < 5 ? attempt : 5), step; ms > 0 && !cancelled(cancel);
         ms -= step) {
        step = ms < 100 ? ms : 100;
        nanosleep(&(struct timespec){.tv_nsec = step * 1000L * 1000}, NULL);
    }
}

int conn_open(const ConnInfo *ci, const ConnOptions *o, Conn **ret_conn, Error *e)
{
    for (int attempt = 0;; attempt++) {
        if (cancelled(o->cancel))
            return error_set(e, EINTR, "interrupted");
        Error why = ERROR_INIT;
        bool may_pass = false;
        int r = open_once(ci, &may_pass, ret_conn, &why);
        if (r == 0)
            return 0;
        if (!may_pass || attempt >= o->retries) {
            error_move(e, &why);
            return r;
        }
        _cleanup_free_ char *text = NULL;
        if (o->note && asprintf(&text, "%s; trying again (%d of %d)", why.message, attempt + 1,
                                o->retries) >= 0)
            o->note(o->ctx, text);
        error_release(&why);
        conn_back_off(o->cancel, attempt, CONN_BACK_OFF);
    }
}

static int classify(const char *state)
{
    static const struct {
        const char *state;
        int errnum;
    } known[] = {
        {"55P03", EWOULDBLOCK}, /* lock_not_available */
        {"53200", ENOLCK},      /* out_of_memory: mostly that of the locks */
        {"40P01", ESTALE},      /* deadlock_detected */
        {"42501", EACCES},      /* insufficient_privilege */
        {"42P01", ESTALE},      /* undefined_table */
        {"42703", ESTALE},      /* undefined_column */
        {"3F000", ESTALE},      /* invalid_schema_name */
        {"42704", ESTALE},      /* undefined_object */
        {"57014", ECANCELED},   /* query_canceled */
        {"57P01", ECONNRESET},  /* admin_shutdown */
        {"57P02", ECONNRESET},  /* crash_shutdown */
        {"57P05", ECONNRESET},  /* idle_session_timeout */
        {"25P03", ECONNRESET},  /* idle_in_transaction_session_timeout */
    };
    for (size_t i = 0; state && i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(state, known[i].state) == 0)
            return known[i].errnum;
    return EIO;
}

int conn_error(Conn *c, const PGresult *res, Error *e)
{
    const char *primary = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *hint = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_HINT) : NULL;
    int errnum = classify(res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL);
    _cleanup_free_ char *said = last_line(primary ? primary : PQerrorMessage(c->pg));
    if (PQstatus(c->pg) == CONNECTION_BAD)
        errnum = ECONNRESET;
    if (errnum == ECONNRESET) {
        error_set(e, errnum, "lost the connection to %s: %s", c->where, said ? said : "");
        error_hint(e, "nothing was stored; see the server's log for the reason and run it again");
    } else {
        error_set(e, errnum, "%s: %s", c->where, said ? said : "");
        if (hint)
            error_hint(e, "%s", hint);
    }
    return -errnum;
}

int conn_exec(Conn *c, const char *sql, Error *e)
{
    _cleanup_(result_clear) PGresult *res = PQexec(c->pg, sql);
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        return conn_error(c, res, e);
    return 0;
}

int conn_query(Conn *c, const char *sql, int n_params, const char *const *params,
               PGresult **ret_result, Error *e)
{
    _cleanup_(result_clear) PGresult *res =
        PQexecParams(c->pg, sql, n_params, NULL, params, NULL, NULL, 0);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        return conn_error(c, res, e);
    *ret_result = TAKE_PTR(res);
    return 0;
}

void conn_cancel(Conn *c)
{
    PGcancel *cancel = PQgetCancel(c->pg);
    char said[256];
    if (cancel)
        PQcancel(cancel, said, sizeof(said));
    PQfreeCancel(cancel);
}
