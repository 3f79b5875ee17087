#include "restore/postgres/referrers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/postgres/lookup.h"
#include "restore/postgres/named.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

void referrers_release(Referrers *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->items[i].table);
        free(r->items[i].referred);
        free(r->items[i].key);
        free(r->items[i].sql);
    }
    free(r->items);
    *r = (Referrers){0};
}

/* Which tables are emptied: those with a task, and partitioned ones by their partitions. */
typedef struct Emptied {
    Lookup tasks, tables;
} Emptied;

static void emptied_release(Emptied *m)
{
    lookup_release(&m->tasks);
    lookup_release(&m->tables);
}

static int emptied_make(const Rows *rows, Emptied *m, Error *e)
{
    static const char *const data[] = {"TABLE DATA", NULL};
    static const char *const tables[] = {"TABLE", NULL};
    const Plan *p = rows->plan;
    _cleanup_free_ bool *defined = calloc(p->toc.n + 1, sizeof(*defined));
    if (!defined)
        return error_oom(e);
    for (size_t i = 0; i < rows->n; i++)
        defined[rows->tasks[i].entry - p->toc.entries] = rows->tasks[i].is_defined;
    TRY(lookup_make(&p->toc, defined, data, &m->tasks, e));
    return lookup_make(p->all, p->wanted, tables, &m->tables, e);
}

/* Of the table whose schema, name and kind are in three columns. */
static bool is_emptied(const Emptied *m, const PGresult *res, int row, int column)
{
    bool parted = PQgetvalue(res, row, column + 2)[0] == 'p';
    return lookup_find(parted ? &m->tables : &m->tasks, PQgetvalue(res, row, column),
                       PQgetvalue(res, row, column + 1));
}

static int add(Referrers *r, const char *oid, Session *s, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(
        s->conn,
        "SELECT fn.nspname || '.' || f.relname, tn.nspname || '.' || t.relname, k.conname,"
        " 'SELECT count(*) FROM ' || CASE f.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END"
        " || f.oid::pg_catalog.regclass || ' f WHERE '"
        " || string_agg('f.' || pg_catalog.quote_ident(fa.attname) || ' IS NOT NULL AND ', '')"
        " || 'NOT EXISTS (SELECT FROM ' || CASE t.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END"
        " || t.oid::pg_catalog.regclass || ' t WHERE '"
        " || string_agg('t.' || pg_catalog.quote_ident(ta.attname) || ' OPERATOR('"
        " || pg_catalog.quote_ident(opn.nspname) || '.' || o.oprname || ') f.'"
        " || pg_catalog.quote_ident(fa.attname), ' AND ') || ')'"
        " FROM pg_catalog.pg_constraint k"
        " JOIN pg_catalog.pg_class f ON f.oid = k.conrelid"
        " JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace"
        " JOIN pg_catalog.pg_class t ON t.oid = k.confrelid"
        " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace,"
        " LATERAL unnest(k.conkey, k.confkey, k.conpfeqop) x(fnum, tnum, op)"
        " JOIN pg_catalog.pg_operator o ON o.oid = x.op"
        " JOIN pg_catalog.pg_namespace opn ON opn.oid = o.oprnamespace,"
        " pg_catalog.pg_attribute fa, pg_catalog.pg_attribute ta"
        " WHERE k.oid = $1::pg_catalog.oid AND fa.attrelid = k.conrelid AND fa.attnum = x.fnum"
        " AND ta.attrelid = k.confrelid AND ta.attnum = x.tnum GROUP BY 1, 2, 3, f.oid, f.relkind,"
        " t.oid, t.relkind",
        1, &oid, &res, e));
    if (PQntuples(res) != 1)
        return 0; /* gone meanwhile */
    Referrer *items = reallocarray(r->items, r->n + 1, sizeof(*items));
    if (!items)
        return error_oom(e);
    r->items = items;
    Referrer *added = &items[r->n++];
    *added = (Referrer){.table = strdup(PQgetvalue(res, 0, 0)),
                        .referred = strdup(PQgetvalue(res, 0, 1)),
                        .key = strdup(PQgetvalue(res, 0, 2)),
                        .sql = strdup(PQgetvalue(res, 0, 3))};
    bool complete = added->table && added->referred && added->key && added->sql;
    return complete ? 0 : error_oom(e);
}

int referrers_find(const Rows *rows, Session *s, Referrers *ret, Error *e)
{
    _cleanup_(referrers_release) Referrers r = {0};
    _cleanup_(emptied_release) Emptied m = {0};
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(emptied_make(rows, &m, e));
    /* The keys of partitions count as the one of their parent. */
    TRY(conn_query(s->conn,
                   "WITH RECURSIVE keys(oid, root) AS (SELECT oid, oid"
                   " FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conparentid = 0"
                   " UNION ALL SELECT k.oid, keys.root FROM pg_catalog.pg_constraint k"
                   " JOIN keys ON k.conparentid = keys.oid WHERE k.contype = 'f')"
                   " SELECT fn.nspname, f.relname, f.relkind, tn.nspname, t.relname, t.relkind,"
                   " keys.root FROM keys"
                   " JOIN pg_catalog.pg_constraint k ON k.oid = keys.oid"
                   " JOIN pg_catalog.pg_class f ON f.oid = k.conrelid"
                   " JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace"
                   " JOIN pg_catalog.pg_class t ON t.oid = k.confrelid"
                   " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
                   " ORDER BY keys.root",
                   0, NULL, &res, e));
    const char *last = "";
    for (int i = 0; i < PQntuples(res); i++) {
        const char *root = PQgetvalue(res, i, 6);
        if (strcmp(root, last) == 0 || is_emptied(&m, res, i, 0) || !is_emptied(&m, res, i, 3))
            continue;
        last = root;
        TRY(add(&r, root, s, e));
    }
    *ret = r;
    r = (Referrers){0};
    return 0;
}

int referrers_refuse(const Referrers *r, const char *why, Error *e)
{
    _cleanup_(named_release) Named names = {0};
    const char *text;
    for (size_t i = 0; i < r->n; i++)
        if (named_add(&names, "%s (%s) to %s", r->items[i].table, r->items[i].key,
                      r->items[i].referred) < 0)
            return error_oom(e);
    if (!(text = named_text(&names)))
        return error_oom(e);
    error_set(e, EBUSY, "tables whose rows stay refer to some that would be emptied: %s", text);
    error_hint(e, "%s", why);
    return -EBUSY;
}

int referrers_count(Referrers *r, Session *s, Error *e)
{
    for (size_t i = 0; i < r->n; i++)
        TRY(session_query_number(s, r->items[i].sql, &r->items[i].before, e));
    return 0;
}

int referrers_check(const Referrers *r, Session *s, Error *e)
{
    for (size_t i = 0; i < r->n; i++) {
        const Referrer *f = &r->items[i];
        int64_t n = 0;
        TRY(session_query_number(s, f->sql, &n, e));
        if (n <= f->before)
            continue;
        error_set(e, EBUSY, "%lld row%s of %s refer%s to rows of %s that the backup does not hold",
                  (long long)n, n == 1 ? "" : "s", f->table, n == 1 ? "s" : "", f->referred);
        error_hint(e,
                   "nothing was changed: restore the rows of %s too, or first delete those that "
                   "need the newer ones (foreign key %s)",
                   f->table, f->key);
        return -EBUSY;
    }
    return 0;
}
