#include "restore/postgres/conflicts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/postgres/lookup.h"
#include "restore/postgres/named.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

static const char *const tables[] = {"TABLE", "FOREIGN TABLE", NULL};
static const char *const data[] = {"TABLE DATA", NULL};

/* A lookup of the tables that are restored. */
static int find_tables(const Plan *p, Lookup *ret, Error *e)
{
    return lookup_make(p->all, p->wanted, tables, ret, e);
}

/* Append those of a query's tables that are restored. */
static int list_tables(const Lookup *restored, Session *s, const char *sql, Buf *out, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(s->conn, sql, 0, NULL, &res, e));
    for (int i = 0; i < PQntuples(res); i++) {
        const char *schema = PQgetvalue(res, i, 0), *name = PQgetvalue(res, i, 1);
        if (!lookup_find(restored, schema, name))
            continue;
        if ((out->len && buf_add_str(out, ", ") < 0) || session_add_name(s, out, schema, name) < 0)
            return error_oom(e);
    }
    return buf_cstr(out) ? 0 : error_oom(e);
}

/* So that nobody gives them a partition, or a partition a row, from now on. */
static int lock_tables(Session *s, const Buf *list, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    if (list->len == 0)
        return 0;
    if (buf_addf(&sql, "LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", (const char *)list->data) < 0 ||
        !buf_cstr(&sql))
        return error_oom(e);
    return session_run(s, (const char *)sql.data, e);
}

static int refuse_partitions(Named *names, const char *what, Error *e)
{
    const char *text = named_text(names);
    if (!text)
        return error_oom(e);
    error_set(e, EBUSY, "%s: %s", what, text);
    error_hint(e, "nothing was changed: restore them too if the backup has them (--schema, "
                  "--table); or detach them first, ALTER TABLE ... DETACH PARTITION ...; or have "
                  "the whole database replaced, --create --overwrite");
    return -EBUSY;
}

/* Rows are a table's schema and name, then its partition's. */
static int add_partition(Named *names, const PGresult *res, int row)
{
    return named_add(names, "%s.%s of %s.%s", PQgetvalue(res, row, 2), PQgetvalue(res, row, 3),
                     PQgetvalue(res, row, 0), PQgetvalue(res, row, 1));
}

static int check_partitions(const Lookup *restored, Session *s, Error *e)
{
    _cleanup_(buf_release) Buf list = BUF_INIT;
    _cleanup_(result_clear) PGresult *res = NULL;
    _cleanup_(named_release) Named names = {0};
    TRY(list_tables(restored, s,
                    "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
                    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                    " WHERE c.relkind = 'p'",
                    &list, e));
    TRY(lock_tables(s, &list, e));
    TRY(conn_query(s->conn,
                   "SELECT tn.nspname, t.relname, pn.nspname, p.relname"
                   " FROM pg_catalog.pg_inherits i"
                   " JOIN pg_catalog.pg_class t ON t.oid = i.inhparent"
                   " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
                   " JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid"
                   " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
                   " WHERE p.relispartition AND p.relkind IN ('r', 'p', 'f') ORDER BY 3, 4",
                   0, NULL, &res, e));
    for (int i = 0; i < PQntuples(res); i++) {
        if (!lookup_find(restored, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1)) ||
            lookup_find(restored, PQgetvalue(res, i, 2), PQgetvalue(res, i, 3)))
            continue;
        if (add_partition(&names, res, i) < 0)
            return error_oom(e);
    }
    return names.n == 0
               ? 0
               : refuse_partitions(
                     &names, "partitions that are not restored would be dropped with their table",
                     e);
}

static int refuse_keys(Named *names, Named *missing, Error *e)
{
    const char *text = named_text(names), *options = named_text(missing);
    if (!text || !options)
        return error_oom(e);
    error_set(e, EBUSY, "tables that are not restored refer to some that would be dropped: %s",
              text);
    error_hint(e,
               "nothing was changed: %s%s%sreplace only the rows, --data-only --overwrite; or drop "
               "the foreign keys and make them again afterwards; or restore into another database "
               "(--create) and copy what you need",
               *options ? "restore those tables too, " : "", options, *options ? "; or " : "");
    return -EBUSY;
}

/* The option that restores a table of the backup too. */
static int add_option(Named *options, const Session *s, const char *schema, const char *name)
{
    return s->o->n_schemas ? named_add(options, "--schema %s", schema)
                           : named_add(options, "--table %s.%s", schema, name);
}

/* Foreign keys from elsewhere. A referring partition's key is its parent's; of the keys to a
 * partition and its parent, which are of the same table, both count. */
static int check_keys(const Plan *p, const Lookup *restored, Session *s, Error *e)
{
    _cleanup_(lookup_release) Lookup all = {0};
    _cleanup_(result_clear) PGresult *res = NULL;
    _cleanup_(named_release) Named names = {0}, missing = {0};
    TRY(lookup_make(p->all, NULL, tables, &all, e));
    TRY(conn_query(s->conn,
                   "SELECT tn.nspname, t.relname, fn.nspname, f.relname, k.conname"
                   " FROM pg_catalog.pg_constraint k"
                   " JOIN pg_catalog.pg_class t ON t.oid = k.confrelid"
                   " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
                   " JOIN pg_catalog.pg_class f ON f.oid = k.conrelid"
                   " JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace"
                   " WHERE k.contype = 'f' AND (k.conparentid = 0 OR EXISTS"
                   " (SELECT FROM pg_catalog.pg_constraint u WHERE u.oid = k.conparentid"
                   " AND u.conrelid = k.conrelid)) ORDER BY 3, 4, 5",
                   0, NULL, &res, e));
    for (int i = 0; i < PQntuples(res); i++) {
        const char *schema = PQgetvalue(res, i, 2), *name = PQgetvalue(res, i, 3);
        if (!lookup_find(restored, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1)) ||
            lookup_find(restored, schema, name))
            continue;
        if (named_add(&names, "%s.%s (%s) to %s.%s", schema, name, PQgetvalue(res, i, 4),
                      PQgetvalue(res, i, 0), PQgetvalue(res, i, 1)) < 0 ||
            (lookup_find(&all, schema, name) && add_option(&missing, s, schema, name) < 0))
            return error_oom(e);
    }
    return names.n ? refuse_keys(&names, &missing, e) : 0;
}

int conflicts_check_drops(const Plan *p, Session *s, Error *e)
{
    _cleanup_(lookup_release) Lookup restored = {0};
    TRY(find_tables(p, &restored, e));
    TRY(check_partitions(&restored, s, e));
    return check_keys(p, &restored, s, e);
}

int conflicts_keyed(const Plan *p, Session *s, Buf *out, Error *e)
{
    _cleanup_(lookup_release) Lookup restored = {0};
    TRY(find_tables(p, &restored, e));
    return list_tables(&restored, s,
                       "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE c.relkind = 'p' AND EXISTS (SELECT FROM pg_catalog.pg_constraint k"
                       " WHERE k.contype = 'f' AND k.conrelid = c.oid)",
                       out, e);
}

static int has_rows(Session *s, const char *schema, const char *name, bool *ret_has, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    int64_t n = 0;
    if (buf_add_str(&sql, "SELECT count(*) FROM (SELECT FROM ") < 0 ||
        session_add_name(s, &sql, schema, name) < 0 || buf_add_str(&sql, " LIMIT 1) t") < 0 ||
        !buf_cstr(&sql))
        return error_oom(e);
    TRY(session_query_number(s, (const char *)sql.data, &n, e));
    *ret_has = n > 0;
    return 0;
}

/* Foreign tables have their rows elsewhere: no backup has them, nobody takes them away. */
static int find_leaves(Session *s, PGresult **ret, Error *e)
{
    return conn_query(s->conn,
                      "SELECT tn.nspname, t.relname, pn.nspname, p.relname"
                      " FROM pg_catalog.pg_class p"
                      " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace,"
                      " LATERAL pg_catalog.pg_partition_ancestors(p.oid) WITH ORDINALITY a"
                      " JOIN pg_catalog.pg_class t ON t.oid = a.relid"
                      " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
                      " WHERE p.relispartition AND p.relkind = 'r' AND t.oid <> p.oid"
                      " ORDER BY 3, 4, a.ordinality",
                      0, NULL, ret, e);
}

static bool is_same_leaf(const PGresult *res, int row, int other)
{
    return other >= 0 && strcmp(PQgetvalue(res, row, 2), PQgetvalue(res, other, 2)) == 0 &&
           strcmp(PQgetvalue(res, row, 3), PQgetvalue(res, other, 3)) == 0;
}

int conflicts_check_rows(const Plan *p, Session *s, Error *e)
{
    _cleanup_(lookup_release) Lookup restored = {0}, rows = {0};
    _cleanup_(buf_release) Buf keyed = BUF_INIT;
    _cleanup_(result_clear) PGresult *res = NULL;
    _cleanup_(named_release) Named names = {0};
    TRY(find_tables(p, &restored, e));
    TRY(lookup_make(&p->toc, NULL, data, &rows, e));
    TRY(conflicts_keyed(p, s, &keyed, e));
    TRY(lock_tables(s, &keyed, e));
    TRY(find_leaves(s, &res, e));
    for (int i = 0, last = -1; i < PQntuples(res); i++) {
        bool has = false;
        if (!lookup_find(&restored, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1)) ||
            lookup_find(&rows, PQgetvalue(res, i, 2), PQgetvalue(res, i, 3)) ||
            is_same_leaf(res, i, last))
            continue;
        last = i;
        TRY(has_rows(s, PQgetvalue(res, i, 2), PQgetvalue(res, i, 3), &has, e));
        if (has && add_partition(&names, res, i) < 0)
            return error_oom(e);
    }
    return names.n == 0 ? 0
                        : refuse_partitions(&names,
                                            "partitions hold rows of tables that would be emptied, "
                                            "but are not restored",
                                            e);
}

/* Mark the plan's entries of `kinds` that the query names. */
static int mark(const Plan *p, Session *s, const char *const *kinds, const char *sql, bool *marks,
                Error *e)
{
    _cleanup_(lookup_release) Lookup l = {0};
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(lookup_make(&p->toc, NULL, kinds, &l, e));
    if (l.n == 0)
        return 0;
    TRY(conn_query(s->conn, sql, 0, NULL, &res, e));
    for (int i = 0; i < PQntuples(res); i++) {
        const TocEntry *t = lookup_find(&l, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
        if (t)
            marks[t - p->toc.entries] = true;
    }
    return 0;
}

int conflicts_inherited(const Plan *p, Session *s, bool **ret_inherited, Error *e)
{
    static const char *const constraints[] = {"CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT",
                                              NULL};
    static const char *const indexes[] = {"INDEX", NULL};
    static const char *const triggers[] = {"TRIGGER", NULL};
    _cleanup_free_ bool *marks = calloc(p->toc.n + 1, sizeof(*marks));
    if (!marks)
        return error_oom(e);
    /* Their tags are "<table> <name>". */
    TRY(mark(p, s, constraints,
             "SELECT n.nspname, c.relname || ' ' || k.conname FROM pg_catalog.pg_constraint k"
             " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
             " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
             " WHERE k.coninhcount > 0 OR k.conparentid <> 0",
             marks, e));
    TRY(mark(p, s, indexes,
             "SELECT n.nspname, c.relname FROM pg_catalog.pg_inherits i"
             " JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
             " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
             " WHERE c.relkind IN ('i', 'I')",
             marks, e));
    /* Which trigger is another's clone pg_trigger tells from 13 on. */
    TRY(mark(p, s, triggers,
             "SELECT n.nspname, c.relname || ' ' || t.tgname FROM pg_catalog.pg_trigger t"
             " JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid"
             " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
             " WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d"
             " WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objid = t.oid"
             " AND d.deptype IN ('P', 'S'))",
             marks, e));
    *ret_inherited = TAKE_PTR(marks);
    return 0;
}
