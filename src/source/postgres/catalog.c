#include "source/postgres/catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

void database_info_release(DatabaseInfo *d)
{
    if (!d)
        return;
    free(d->server_version);
    free(d->encoding);
    free(d->collation);
    free(d->lsn);
    *d = (DatabaseInfo){0};
}

static uint32_t get_oid(const PGresult *res, int row, int column)
{
    return (uint32_t)strtoul(PQgetvalue(res, row, column), NULL, 10);
}

int catalog_database(Conn *c, DatabaseInfo *ret_info, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(c,
                   "SELECT current_setting('server_version'), pg_encoding_to_char(encoding),"
                   " datcollate, pg_database_size(oid),"
                   " has_table_privilege('pg_catalog.pg_authid', 'SELECT'), pg_is_in_recovery(),"
                   " pg_relation_size('pg_catalog.pg_largeobject')"
                   " FROM pg_database WHERE datname = current_database()",
                   0, NULL, &res, e));
    if (PQntuples(res) != 1)
        return error_set(e, EIO, "the server does not know its own database");
    bool standby = *PQgetvalue(res, 0, 5) == 't';

    /* A role without EXECUTE on it only loses the note in the manifest. */
    _cleanup_(result_clear) PGresult *lsn = NULL;
    TRY(conn_exec(c, "SAVEPOINT bakfs_lsn", e));
    int r =
        conn_query(c, standby ? "SELECT pg_last_wal_replay_lsn()" : "SELECT pg_current_wal_lsn()",
                   0, NULL, &lsn, NULL);
    TRY(conn_exec(c, "ROLLBACK TO bakfs_lsn; RELEASE bakfs_lsn", e));

    _cleanup_(database_info_release) DatabaseInfo d = {
        .server_version = strdup(PQgetvalue(res, 0, 0)),
        .encoding = strdup(PQgetvalue(res, 0, 1)),
        .collation = strdup(PQgetvalue(res, 0, 2)),
        .lsn = r == 0 && !PQgetisnull(lsn, 0, 0) ? strdup(PQgetvalue(lsn, 0, 0)) : NULL,
        .size = strtoull(PQgetvalue(res, 0, 3), NULL, 10),
        .blob_size = strtoull(PQgetvalue(res, 0, 6), NULL, 10),
        .may_read_passwords = *PQgetvalue(res, 0, 4) == 't',
    };
    if (!d.server_version || !d.encoding || !d.collation)
        return error_oom(e);
    *ret_info = d;
    d = (DatabaseInfo){0};
    return 0;
}

/* '{1,2,3}' of the tables whose data the archive holds. */
static char *data_oids(const Archive *a)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    int r = buf_add_str(&b, "{");
    for (size_t i = 0; r == 0 && i < a->n; i++)
        if (toc_is(&a->entries[i], "TABLE DATA"))
            r = buf_addf(&b, "%s%u", b.len > 1 ? "," : "", a->entries[i].oid);
    if (r == 0)
        r = buf_add_str(&b, "}");
    return r == 0 ? buf_take_cstr(&b) : NULL;
}

/* Run `sql`, in which $1 is the oids of those tables. */
static int query_tables(Conn *c, const Archive *a, const char *sql, PGresult **ret_res, Error *e)
{
    _cleanup_free_ char *oids = data_oids(a);
    if (!oids)
        return error_oom(e);
    return conn_query(c, sql, 1, (const char *[]){oids}, ret_res, e);
}

int catalog_check_tables(Conn *c, const Archive *a, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    /* pg_class is read as of the snapshot, pg_relation_filenode() and to_regclass() as of now.
     * Mapped and storage-less relations have 0. */
    TRY(query_tables(c, a,
                     "SELECT n.nspname, c.relname, t.oid IS DISTINCT FROM c.oid"
                     " FROM unnest($1::pg_catalog.oid[]) o"
                     " JOIN pg_class c ON c.oid = o JOIN pg_namespace n ON n.oid = c.relnamespace"
                     " CROSS JOIN LATERAL to_regclass(format('%I.%I', n.nspname, c.relname)) t(oid)"
                     " WHERE t.oid IS DISTINCT FROM c.oid OR (c.relfilenode <> 0"
                     "  AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)) LIMIT 1",
                     &res, e));
    if (PQntuples(res) > 0)
        return error_set(e, ESTALE, "table %s.%s was %s while the dump began",
                         PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1),
                         *PQgetvalue(res, 0, 2) == 't' ? "renamed" : "truncated or rewritten");
    return 0;
}

int catalog_check_names(Conn *c, const Archive *a, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    /* A session hears of others' changes when it locks a relation that its transaction has not
     * locked yet: pg_ts_template is one that nothing else here reads. */
    TRY(query_tables(c, a,
                     "SELECT n.nspname, c.relname FROM unnest($1::pg_catalog.oid[]) o"
                     " JOIN pg_class c ON c.oid = o JOIN pg_namespace n ON n.oid = c.relnamespace"
                     " WHERE to_regclass(format('%I.%I', n.nspname, c.relname))"
                     "  IS DISTINCT FROM c.oid::regclass"
                     " AND NOT EXISTS (SELECT FROM pg_ts_template WHERE false) LIMIT 1",
                     &res, e));
    if (PQntuples(res) > 0)
        return error_set(e, ESTALE, "table %s.%s was renamed while the dump ran",
                         PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
    return 0;
}

void belongs_release(BelongsList *l)
{
    if (!l)
        return;
    free(l->items);
    *l = (BelongsList){0};
}

static int compare_belongs(const void *x, const void *y)
{
    const Belongs *a = x, *b = y;
    if (a->catalog != b->catalog)
        return a->catalog < b->catalog ? -1 : 1;
    return a->oid < b->oid ? -1 : a->oid > b->oid;
}

int catalog_belongs(Conn *c, BelongsList *ret_list, Error *e)
{
    /* What a partition's trigger has from its parent's is no part of the partition alone. */
    _cleanup_free_ char *sql = NULL;
    if (asprintf(&sql,
                 "SELECT 'pg_constraint'::regclass::oid, oid, conrelid FROM pg_constraint"
                 " WHERE conrelid <> 0"
                 " UNION ALL SELECT 'pg_trigger'::regclass, oid, tgrelid FROM pg_trigger%s"
                 " UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_class FROM pg_rewrite"
                 " UNION ALL SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy"
                 " UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef"
                 " UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxrelid"
                 "  FROM pg_statistic_ext"
                 " UNION ALL SELECT 'pg_class'::regclass, indexrelid, indrelid FROM pg_index"
                 " UNION ALL SELECT 'pg_class'::regclass, d.objid, d.refobjid FROM pg_depend d"
                 "  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'"
                 "  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = d.classid"
                 "  AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0",
                 conn_major(c) >= 13 ? " WHERE tgparentid = 0" : "") < 0)
        return error_oom(e);
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(c, sql, 0, NULL, &res, e));
    size_t n = (size_t)PQntuples(res);
    Belongs *items = calloc(n + 1, sizeof(*items));
    if (!items)
        return error_oom(e);
    for (size_t i = 0; i < n; i++)
        items[i] =
            (Belongs){get_oid(res, (int)i, 0), get_oid(res, (int)i, 1), get_oid(res, (int)i, 2)};
    qsort(items, n, sizeof(*items), compare_belongs);
    *ret_list = (BelongsList){.n = n, .items = items};
    return 0;
}

uint32_t belongs_find(const BelongsList *l, uint32_t catalog, uint32_t oid)
{
    const Belongs key = {.catalog = catalog, .oid = oid};
    const Belongs *found =
        l->n ? bsearch(&key, l->items, l->n, sizeof(key), compare_belongs) : NULL;
    return found ? found->table : 0;
}

void references_release(ReferenceList *l)
{
    if (!l)
        return;
    free(l->items);
    *l = (ReferenceList){0};
}

int catalog_references(Conn *c, ReferenceList *ret_list, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(c,
                   "SELECT conrelid, confrelid FROM pg_constraint"
                   " WHERE contype = 'f' AND conrelid <> confrelid AND conparentid = 0"
                   " ORDER BY conrelid, conname",
                   0, NULL, &res, e));
    size_t n = (size_t)PQntuples(res);
    Reference *items = calloc(n + 1, sizeof(*items));
    if (!items)
        return error_oom(e);
    for (size_t i = 0; i < n; i++)
        items[i] = (Reference){get_oid(res, (int)i, 0), get_oid(res, (int)i, 1)};
    *ret_list = (ReferenceList){.n = n, .items = items};
    return 0;
}

void table_facts_release(TableFactsList *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i].clause);
    free(l->items);
    *l = (TableFactsList){0};
}

/* What follows FROM of a table `c`, with its extension's condition `x`. */
#define CONDITION "coalesce(x.condition, '')"
#define KEY_ORDER                                                                                  \
    "coalesce((SELECT ' ORDER BY ' || string_agg(quote_ident(k.attname), ', ' ORDER BY n.i)"       \
    " FROM pg_index p, unnest(p.indkey) WITH ORDINALITY n(attnum, i), pg_attribute k"              \
    " WHERE p.indrelid = c.oid AND p.indisprimary AND n.i <= p.indnkeyatts"                        \
    " AND k.attrelid = c.oid AND k.attnum = n.attnum), '')"

int catalog_table_facts(Conn *c, const Archive *a, bool locked, bool by_key,
                        TableFactsList *ret_list, Error *e)
{
    _cleanup_free_ char *sql = NULL;
    /* Asking for the real size takes a lock, which might have to be waited for. */
    static const char real[] = "pg_relation_size(c.oid)", real_toast[] = "pg_relation_size(t.oid)",
                      known[] = "c.relpages::int8 * current_setting('block_size')::int8",
                      known_toast[] = "t.relpages::int8 * current_setting('block_size')::int8";
    const char *clause = by_key ? CONDITION " || " KEY_ORDER : CONDITION;
    if (asprintf(&sql,
                 "SELECT c.oid, %s + coalesce(%s, 0), %s,"
                 " CASE WHEN c.relkind = 'r' AND a.amname = 'heap' AND %s = ''"
                 "  AND current_setting('server_version_num')::int >= 140000"
                 "  THEN %s / current_setting('block_size')::int8 ELSE 0 END"
                 " FROM unnest($1::pg_catalog.oid[]) o JOIN pg_class c ON c.oid = o"
                 " LEFT JOIN pg_am a ON a.oid = c.relam"
                 " LEFT JOIN pg_class t ON t.oid = c.reltoastrelid"
                 " LEFT JOIN (SELECT unnest(extconfig) AS oid, unnest(extcondition) AS condition"
                 "  FROM pg_extension) x ON x.oid = c.oid ORDER BY c.oid",
                 locked ? real : known, locked ? real_toast : known_toast, clause, clause,
                 locked ? real : known) < 0)
        return error_oom(e);
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(query_tables(c, a, sql, &res, e));
    _cleanup_(table_facts_release) TableFactsList l = {0};
    size_t n = (size_t)PQntuples(res);
    l.items = calloc(n + 1, sizeof(*l.items));
    if (!l.items)
        return error_oom(e);
    for (; l.n < n; l.n++) {
        int row = (int)l.n;
        TableFacts *f = &l.items[l.n];
        f->oid = get_oid(res, row, 0);
        f->size = strtoull(PQgetvalue(res, row, 1), NULL, 10);
        f->blocks = strtoull(PQgetvalue(res, row, 3), NULL, 10);
        const char *text = PQgetvalue(res, row, 2);
        if (*text && !(f->clause = strdup(text)))
            return error_oom(e);
    }
    *ret_list = l;
    l = (TableFactsList){0};
    return 0;
}

static int compare_facts(const void *x, const void *y)
{
    const TableFacts *a = x, *b = y;
    return a->oid < b->oid ? -1 : a->oid > b->oid;
}

const TableFacts *table_facts_find(const TableFactsList *l, uint32_t oid)
{
    const TableFacts key = {.oid = oid};
    return l->n ? bsearch(&key, l->items, l->n, sizeof(key), compare_facts) : NULL;
}
