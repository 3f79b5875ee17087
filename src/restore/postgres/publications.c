#include "restore/postgres/publications.h"

#include <errno.h>
#include <stdlib.h>

#include "restore/postgres/lookup.h"
#include "restore/postgres/named.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

/* A publication, the schema and name of what is in it, and the command that puts it there. Columns
 * and row filters came with 15, as whole schemas did. */
#define TABLES(details)                                                                            \
    "SELECT p.pubname, n.nspname, c.relname, 'ALTER PUBLICATION '"                                 \
    " || pg_catalog.quote_ident(p.pubname) || ' ADD TABLE ONLY '"                                  \
    " || c.oid::pg_catalog.regclass" details " FROM pg_catalog.pg_publication_rel r"               \
    " JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid"                                       \
    " JOIN pg_catalog.pg_class c ON c.oid = r.prrelid"                                             \
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2, 3"
#define DETAILS                                                                                    \
    " || coalesce(' (' || (SELECT string_agg(pg_catalog.quote_ident(a.attname), ', '"              \
    " ORDER BY x.i) FROM unnest(r.prattrs::pg_catalog.int2[]) WITH ORDINALITY x(num, i)"           \
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = x.num) || ')', '')"  \
    " || coalesce(' WHERE (' || pg_catalog.pg_get_expr(r.prqual, r.prrelid) || ')', '')"
#define SCHEMAS                                                                                    \
    "SELECT p.pubname, '', n.nspname, 'ALTER PUBLICATION '"                                        \
    " || pg_catalog.quote_ident(p.pubname) || ' ADD TABLES IN SCHEMA '"                            \
    " || pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_publication_namespace r"             \
    " JOIN pg_catalog.pg_publication p ON p.oid = r.pnpubid"                                       \
    " JOIN pg_catalog.pg_namespace n ON n.oid = r.pnnspid ORDER BY 1, 3"

static void forget(Publications *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->commands[i]);
    p->n = 0;
}

void publications_release(Publications *p)
{
    forget(p);
    free(p->commands);
    *p = (Publications){0};
}

static int remember(const Plan *plan, const char *const *kinds, Session *s, const char *sql,
                    Publications *p, Error *e)
{
    static const char *const publications[] = {"PUBLICATION", NULL};
    _cleanup_(lookup_release) Lookup objects = {0}, restored = {0};
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(lookup_make(&plan->toc, NULL, kinds, &objects, e));
    TRY(lookup_make(&plan->toc, NULL, publications, &restored, e));
    TRY(conn_query(s->conn, sql, 0, NULL, &res, e));
    size_t rows = (size_t)PQntuples(res);
    char **more = reallocarray(p->commands, p->n + rows + 1, sizeof(*more));
    if (!more)
        return error_oom(e);
    p->commands = more;
    for (int i = 0; i < (int)rows; i++) {
        bool object = lookup_find(&objects, PQgetvalue(res, i, 1), PQgetvalue(res, i, 2));
        bool publication = lookup_find(&restored, "", PQgetvalue(res, i, 0));
        if (object == publication) /* both stay, or both come from the backup */
            continue;
        if (!(p->commands[p->n] = strdup(PQgetvalue(res, i, 3))))
            return error_oom(e);
        p->n++;
    }
    return 0;
}

int publications_remember(const Plan *plan, Session *s, Publications *ret, Error *e)
{
    static const char *const tables[] = {"TABLE", NULL};
    static const char *const schemas[] = {"SCHEMA", NULL};
    _cleanup_(publications_release) Publications p = {0};
    bool has_details = conn_major(s->conn) >= 15;
    TRY(remember(plan, tables, s, has_details ? TABLES(DETAILS) : TABLES(""), &p, e));
    if (has_details)
        TRY(remember(plan, schemas, s, SCHEMAS, &p, e));
    *ret = p;
    p = (Publications){0};
    return 0;
}

static int put_back(const char *command, Session *s, RestoreResult *result, Error *e)
{
    _cleanup_(error_release) Error why = ERROR_INIT;
    TRY(session_run(s, "SAVEPOINT bakfs", e));
    int r = session_run(s, command, &why);
    if (r == -EINTR || r == -ECONNRESET || r == -ENOMEM)
        return error_move(e, &why);
    TRY(session_run(s, r < 0 ? "ROLLBACK TO SAVEPOINT bakfs" : "RELEASE SAVEPOINT bakfs", e));
    return r < 0 ? restore_left_out(result, command, why.message, e) : 0;
}

int publications_put_back(Publications *p, Session *s, RestoreResult *result, Error *e)
{
    for (size_t i = 0; i < p->n; i++)
        TRY(put_back(p->commands[i], s, result, e));
    forget(p);
    return 0;
}

void publications_tell(Publications *p, Error *e)
{
    _cleanup_(named_release) Named names = {0};
    const char *text;
    for (size_t i = 0; i < p->n; i++)
        if (named_add(&names, "%s", p->commands[i]) < 0)
            return;
    if (p->n && (text = named_text(&names)))
        error_prefix(e, "publications have lost what was dropped (%s)", text);
}
