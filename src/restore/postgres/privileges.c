#include "restore/postgres/privileges.h"

#include <stdlib.h>
#include <string.h>

#include "restore/postgres/lookup.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

/* Objects with privileges of their own: schema, the archive's name for it, how GRANT names it, what
 * it has, and what it would have without default privileges. */
#define COMMANDS(objects)                                                                          \
    "SELECT o.schema, o.name, coalesce((SELECT string_agg('REVOKE ALL ON ' || o.what || ' FROM '"  \
    " || grantee || '; ', '') FROM (SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE"        \
    " pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantee)) END AS grantee"                  \
    " FROM pg_catalog.aclexplode(o.acl)) x), '')"                                                  \
    " || coalesce((SELECT string_agg('GRANT ALL ON ' || o.what || ' TO '"                          \
    " || grantee || '; ', '') FROM (SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE"        \
    " pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantee)) END AS grantee"                  \
    " FROM pg_catalog.aclexplode(o.base)) x), '')"                                                 \
    " FROM (" objects ") o(schema, name, what, acl, base) WHERE o.acl IS NOT NULL"

static const struct {
    const char *kinds[6];
    const char *sql;
} classes[] = {
    {{"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", NULL},
     COMMANDS("SELECT n.nspname, c.relname, 'TABLE ' || c.oid::pg_catalog.regclass, c.relacl,"
              " pg_catalog.acldefault('r', c.relowner) FROM pg_catalog.pg_class c"
              " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
              " WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')")},
    {{"SEQUENCE", NULL},
     COMMANDS("SELECT n.nspname, c.relname, 'SEQUENCE ' || c.oid::pg_catalog.regclass, c.relacl,"
              " pg_catalog.acldefault('s', c.relowner) FROM pg_catalog.pg_class c"
              " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
              " WHERE c.relkind = 'S'")},
    {{"FUNCTION", "PROCEDURE", "AGGREGATE", NULL},
     COMMANDS("SELECT n.nspname, p.proname || '(' || CASE WHEN p.prokind = 'a' AND p.pronargs = 0"
              " THEN '*' ELSE coalesce((SELECT string_agg(pg_catalog.format_type(t, NULL), ', '"
              " ORDER BY i) FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i)), '') END || ')',"
              " 'ROUTINE ' || p.oid::pg_catalog.regprocedure, p.proacl,"
              " pg_catalog.acldefault('f', p.proowner) FROM pg_catalog.pg_proc p"
              " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace")},
    {{"TYPE", "DOMAIN", NULL},
     COMMANDS("SELECT n.nspname, t.typname, 'TYPE ' || t.oid::pg_catalog.regtype, t.typacl,"
              " pg_catalog.acldefault('T', t.typowner) FROM pg_catalog.pg_type t"
              " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace")},
    {{"SCHEMA", NULL},
     COMMANDS("SELECT '', n.nspname, 'SCHEMA ' || pg_catalog.quote_ident(n.nspname), n.nspacl,"
              " pg_catalog.acldefault('n', n.nspowner) FROM pg_catalog.pg_namespace n")},
};

/* Not every entry makes something: the schema public is there from the beginning. */
static bool is_made(const TocEntry *t)
{
    return !toc_is(t, "SCHEMA") || (t->defn && strncmp(t->defn, "CREATE ", strlen("CREATE ")) == 0);
}

static int reset(const Lookup *made, const char *sql, Session *s, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    _cleanup_(buf_release) Buf commands = BUF_INIT;
    if (made->n == 0)
        return 0;
    TRY(conn_query(s->conn, sql, 0, NULL, &res, e));
    for (int i = 0; i < PQntuples(res); i++)
        if (lookup_find(made, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1)) &&
            buf_add_str(&commands, PQgetvalue(res, i, 2)) < 0)
            return error_oom(e);
    if (!buf_cstr(&commands))
        return error_oom(e);
    return commands.len ? session_run(s, (const char *)commands.data, e) : 0;
}

int privileges_reset(const Plan *p, Phase first, Phase last, Session *s, Error *e)
{
    _cleanup_free_ bool *made = calloc(p->toc.n + 1, sizeof(*made));
    if (!made)
        return error_oom(e);
    for (size_t i = 0; i < p->toc.n; i++)
        made[i] = p->phases[i] >= first && p->phases[i] <= last && is_made(&p->toc.entries[i]);
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        _cleanup_(lookup_release) Lookup l = {0};
        TRY(lookup_make(&p->toc, made, classes[i].kinds, &l, e));
        int r = reset(&l, classes[i].sql, s, e);
        if (r < 0) {
            error_prefix(e, "taking back the target's default privileges");
            return r;
        }
    }
    return 0;
}
