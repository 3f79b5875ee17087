#include "restore/postgres/session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

#define FLUSH_BYTES (256u << 10) /* of rows sent before waiting until they are gone */
#define POLL_MS     200          /* how soon an interrupt is noticed */

/* What a database or role of the target may set that changes what comes in, or keeps it out, and
 * neither conn_open nor pg_restore sees to. */
#define PINS                                                                                       \
    " pg_catalog.pg_settings JOIN (VALUES ('array_nulls', 'on'),"                                  \
    " ('default_transaction_read_only', 'off'),"                                                   \
    " ('default_transaction_isolation', 'read committed'),"                                        \
    " ('default_transaction_deferrable', 'off'), ('transform_null_equals', 'off'),"                \
    " ('backslash_quote', 'safe_encoding'), ('exit_on_error', 'off')) w(name, wanted) USING "      \
    "(name)"

int session_open(const ConnInfo *ci, const RestoreOptions *o, Session *ret_session, Error *e)
{
    Session s = {.o = o};
    const ConnOptions co = {
        .retries = o->retries, .cancel = o->cancel, .note = o->note, .ctx = o->ctx};
    TRY(conn_open(ci, &co, &s.conn, e));
    int r = conn_exec(s.conn,
                      "SET application_name = 'bakfs-restore';"
                      "SELECT pg_catalog.set_config(name, wanted, false) FROM" PINS,
                      e);
    if (r < 0) {
        session_close(&s);
        return r;
    }
    *ret_session = s;
    return 0;
}

void session_close(Session *s)
{
    conn_close(s->conn);
    s->conn = NULL;
}

int session_child_options(Session *s, char **ret_options, Error *e)
{
    const char *const params[] = {conn_child_options(s->conn)};
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(s->conn,
                   "SELECT nullif(concat_ws(' ', $1::text, (SELECT string_agg('-c ' || name || '='"
                   " || replace(wanted, ' ', E'\\\\ '), ' ') FROM" PINS
                   " WHERE reset_val <> wanted)), '')",
                   1, params, &res, e));
    if (!PQgetisnull(res, 0, 0) && !(*ret_options = strdup(PQgetvalue(res, 0, 0))))
        return error_oom(e);
    return 0;
}

/* What to do about errors that restores meet. */
static const char *hint_for(const char *state)
{
    static const struct {
        const char *state, *hint;
    } known[] = {
        {"42P07", "it is there already: give --overwrite to replace what the backup holds, or "
                  "restore into an empty database (--create)"},
        {"42P06", NULL}, /* these are "already exists" too */
        {"42710", NULL},
        {"42723", NULL},
        {"42704", "what is missing has to be there first: roles are in the backup's roles.sql "
                  "(or give --no-owner --no-acl), other objects in other schemas of the backup, or "
                  "in an extension (CREATE EXTENSION)"},
        {"42P01", "restore the tables it needs together with it, or first"},
        {"42883", "restore the functions it needs first, e.g. with --schema"},
        {"3F000", "make the schema first"},
        {"42501", "connect as a superuser or as the owner, or give --no-owner --no-acl"},
        {"2BP01", "something that is not part of what is restored depends on it: drop that first, "
                  "or restore into a new database (--create)"},
        {"53200", "raise max_locks_per_transaction on the server, or give --jobs 2: not all in one "
                  "transaction then"},
        {"23505", "it is there already: give --overwrite to replace it"},
        {"53100", "make room on the server's disk"},
        {"23503", "rows it refers to are missing: restore those tables with it"},
        {"55006", "end the sessions that use it, or give --force"},
        {"25006", "the server takes no writes: connect to the primary"},
    };
    const char *hint = NULL;
    for (size_t i = 0; state && i < sizeof(known) / sizeof(known[0]); i++) {
        hint = known[i].hint ? known[i].hint : hint;
        if (strcmp(state, known[i].state) == 0)
            return hint;
    }
    return NULL;
}

static int failed(Session *s, const PGresult *res, Error *e)
{
    int r = conn_error(s->conn, res, e);
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *hint = hint_for(state);
    const char *detail = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) : NULL;
    if (s->o->data_only && state && strcmp(state, "23505") == 0)
        hint = "it is there already: delete it first, or give --overwrite, which empties the "
               "tables before they are loaded";
    if (r == -ECONNRESET)
        error_hint(e, "see the server's log for the reason, then run it again");
    else if (hint)
        error_hint(e, "%s%s%.*s", hint, detail ? ". The server says: " : "",
                   detail ? (int)strcspn(detail, "\n") : 0, detail ? detail : "");
    return r;
}

int session_error(Session *s, Error *e)
{
    return failed(s, NULL, e);
}

static bool is_cancelled(const Session *s)
{
    return s->o->cancel && atomic_load(s->o->cancel);
}

/* Wait until the socket is ready, or a moment. */
static void wait_socket(Session *s, short events)
{
    struct pollfd p = {.fd = PQsocket(conn_pg(s->conn)), .events = events};
    (void)poll(&p, 1, POLL_MS);
}

/* The results of what was sent; the first failure counts. The last good result goes to `ret_last`
 * (may be NULL). */
static int take_results(Session *s, PGresult **ret_last, Error *e)
{
    PGconn *pg = conn_pg(s->conn);
    bool told = false;
    int r = 0;
    for (;;) {
        while (PQisBusy(pg)) {
            if (is_cancelled(s) && !told) {
                conn_cancel(s->conn);
                told = true;
            }
            wait_socket(s, POLLIN);
            if (!PQconsumeInput(pg))
                break;
        }
        PGresult *res = PQgetResult(pg);
        if (!res)
            break;
        ExecStatusType status = PQresultStatus(res);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
            status != PGRES_EMPTY_QUERY && status != PGRES_COPY_IN && r == 0)
            r = failed(s, res, e);
        if (ret_last) {
            PQclear(*ret_last);
            *ret_last = res;
        } else {
            PQclear(res);
        }
        if (status == PGRES_COPY_IN || (r < 0 && PQstatus(pg) == CONNECTION_BAD))
            break;
    }
    return r < 0 && is_cancelled(s) ? error_set(e, EINTR, "interrupted") : r;
}

int session_run(Session *s, const char *sql, Error *e)
{
    TRY(restore_check_cancel(s->o, e));
    if (!PQsendQuery(conn_pg(s->conn), sql))
        return failed(s, NULL, e);
    return take_results(s, NULL, e);
}

int session_exec(Session *s, const char *sql, size_t len, Error *e)
{
    _cleanup_free_ char *text = strndup(sql, len);
    return text ? session_run(s, text, e) : error_oom(e);
}

int session_number(Session *s, const char *sql, const char *p1, const char *p2, int64_t *ret,
                   Error *e)
{
    const char *const params[] = {p1, p2};
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(restore_check_cancel(s->o, e));
    TRY(conn_query(s->conn, sql, p2 ? 2 : p1 ? 1 : 0, params, &res, e));
    *ret = PQntuples(res) > 0 && !PQgetisnull(res, 0, 0) ? strtoll(PQgetvalue(res, 0, 0), NULL, 10)
                                                         : 0;
    return 0;
}

int session_query_number(Session *s, const char *sql, int64_t *ret, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(restore_check_cancel(s->o, e));
    if (!PQsendQuery(conn_pg(s->conn), sql))
        return failed(s, NULL, e);
    TRY(take_results(s, &res, e));
    if (PQntuples(res) != 1)
        return error_set(e, EIO, "the server gave no number");
    *ret = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    return 0;
}

int session_add_name(Session *s, Buf *out, const char *a, const char *b)
{
    char *first = PQescapeIdentifier(conn_pg(s->conn), a, strlen(a));
    char *second = b ? PQescapeIdentifier(conn_pg(s->conn), b, strlen(b)) : NULL;
    int r = first && (second || !b) ? buf_addf(out, "%s%s%s", first, b ? "." : "", b ? second : "")
                                    : -ENOMEM;
    PQfreemem(first);
    PQfreemem(second);
    return r;
}

int session_copy_begin(Session *s, const char *copy_stmt, Error *e)
{
    PGconn *pg = conn_pg(s->conn);
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(restore_check_cancel(s->o, e));
    if (!PQsendQuery(pg, copy_stmt))
        return failed(s, NULL, e);
    TRY(take_results(s, &res, e));
    if (PQresultStatus(res) != PGRES_COPY_IN)
        return error_set(e, EBADMSG, "the archive's COPY statement is none");
    PQsetnonblocking(pg, 1);
    return 0;
}

static int flush(Session *s, Error *e)
{
    PGconn *pg = conn_pg(s->conn);
    int left;
    while ((left = PQflush(pg)) > 0) {
        TRY(restore_check_cancel(s->o, e));
        wait_socket(s, POLLIN | POLLOUT);
        if (!PQconsumeInput(pg))
            return failed(s, NULL, e);
    }
    return left < 0 ? failed(s, NULL, e) : 0;
}

int session_copy_data(Session *s, const void *data, size_t len, Error *e)
{
    if (len > INT32_MAX || PQputCopyData(conn_pg(s->conn), data, (int)len) != 1)
        return failed(s, NULL, e);
    /* What can't be sent at once libpq keeps in memory: not more than some pieces. Rows may come
     * one by one, so not after each. */
    s->unflushed += len;
    if (s->unflushed < FLUSH_BYTES)
        return 0;
    s->unflushed = 0;
    return flush(s, e);
}

int session_copy_end(Session *s, uint64_t *ret_rows, Error *e)
{
    PGconn *pg = conn_pg(s->conn);
    _cleanup_(result_clear) PGresult *res = NULL;
    if (PQputCopyEnd(pg, NULL) != 1)
        return failed(s, NULL, e);
    TRY(flush(s, e));
    PQsetnonblocking(pg, 0);
    TRY(take_results(s, &res, e));
    *ret_rows = res ? strtoull(PQcmdTuples(res), NULL, 10) : 0;
    return 0;
}

void session_copy_abort(Session *s)
{
    PGconn *pg = conn_pg(s->conn);
    PQsetnonblocking(pg, 0);
    if (PQputCopyEnd(pg, "given up by the client") == 1) {
        PGresult *res;
        while ((res = PQgetResult(pg)) && PQresultStatus(res) != PGRES_COPY_IN)
            PQclear(res);
        PQclear(res);
    }
}
