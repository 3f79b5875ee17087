#include "source/postgres/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

/* A catalogue that the server's functions read. `row` is what of a row `t` makes up definitions:
 * pg_dump takes rights, owners and switches from the snapshot alone, and VACUUM, REFRESH and
 * TRUNCATE change what is left out here. `object` is the one in pg_dump's table of contents that
 * it is a part of; 0: any may name it. What only temporary tables have is in no such table. No row
 * goes through to_jsonb that holds values of users' types, whose casts are others' code. */
typedef struct Catalogue {
    const char *name, *key, *what, *label, *object, *row;
} Catalogue;

#define ALL_BUT(columns) "to_jsonb(t) - '{" columns "}'::text[]"

static const Catalogue catalogues[] = {
    {"pg_namespace", "oid", "schema", "nspname",
     "CASE t.nspname WHEN 'public' THEN 0 ELSE coalesce((SELECT c.oid FROM pg_class c"
     " WHERE c.relnamespace = t.oid AND c.oid IN (SELECT unnest($1::oid[])) LIMIT 1), t.oid) END",
     ALL_BUT("nspowner,nspacl")},
    {"pg_extension", "oid", "extension", "extname", "t.oid", ALL_BUT("extowner,extconfig")},
    {"pg_class", "oid", "relation", "relname",
     "coalesce((SELECT x.indrelid FROM pg_index x WHERE x.indexrelid = t.oid),"
     " CASE t.relkind WHEN 'c' THEN t.reltype ELSE t.oid END)",
     "ROW(t.relname, t.relnamespace, t.relkind, t.relam, t.reloptions)"},
    {"pg_attribute", "attrelid", "column", "attname",
     "coalesce((SELECT c.reltype FROM pg_class c WHERE c.oid = t.attrelid AND c.relkind = 'c'),"
     " t.attrelid)",
     "ROW(t.attnum, t.attname, t.atttypid, t.atttypmod, t.attcollation, t.attisdropped)"},
    {"pg_attrdef", "oid", "default of table", "adrelid::regclass", "t.adrelid", ALL_BUT("")},
    {"pg_index", "indexrelid", "index", "indexrelid::regclass", "t.indrelid",
     ALL_BUT("indcheckxmin,indisvalid,indisready,indislive,indisclustered,indisreplident")},
    {"pg_constraint", "oid", "constraint", "conname",
     "CASE t.conrelid WHEN 0 THEN t.contypid ELSE t.conrelid END", ALL_BUT("")},
    {"pg_trigger", "oid", "trigger", "tgname", "t.tgrelid", ALL_BUT("tgenabled")},
    {"pg_rewrite", "oid", "rule", "rulename", "t.ev_class",
     /* without where in its text a statement had what */
     "ROW(t.rulename, t.ev_type, t.is_instead, t.ev_qual, regexp_replace(t.ev_action::text,"
     " ':(location|stmt_location|stmt_len) -?[0-9]+', '', 'g'))"},
    {"pg_policy", "oid", "policy", "polname", "t.polrelid", ALL_BUT("")},
    {"pg_statistic_ext", "oid", "statistics object", "stxname", "t.stxrelid",
     ALL_BUT("stxowner,stxstattarget")},
    {"pg_proc", "oid", "function", "proname", "t.oid", ALL_BUT("proowner,proacl")},
    {"pg_type", "oid", "type", "typname", "t.oid", ALL_BUT("typowner,typacl")},
    {"pg_enum", "oid", "enum value", "enumlabel", "t.enumtypid", ALL_BUT("enumsortorder")},
    {"pg_cast", "oid", "cast from", "castsource::regtype", "t.oid", ALL_BUT("")},
    {"pg_operator", "oid", "operator", "oprname", "t.oid", ALL_BUT("oprowner")},
    {"pg_opclass", "oid", "operator class", "opcname", "t.oid", ALL_BUT("opcowner")},
    {"pg_opfamily", "oid", "operator family", "opfname", "t.oid", ALL_BUT("opfowner")},
    {"pg_am", "oid", "access method", "amname", "t.oid", ALL_BUT("")},
    {"pg_collation", "oid", "collation", "collname", "t.oid", ALL_BUT("collowner,collversion")},
    {"pg_conversion", "oid", "conversion", "conname", "t.oid", ALL_BUT("conowner")},
    {"pg_language", "oid", "language", "lanname", "t.oid", ALL_BUT("lanowner,lanacl")},
    {"pg_transform", "oid", "transform for", "trftype::regtype", "t.oid", ALL_BUT("")},
    {"pg_event_trigger", "oid", "event trigger", "evtname", "t.oid",
     ALL_BUT("evtowner,evtenabled")},
    {"pg_publication", "oid", "publication", "pubname", "t.oid", ALL_BUT("pubowner")},
    {"pg_foreign_data_wrapper", "oid", "foreign-data wrapper", "fdwname", "t.oid",
     ALL_BUT("fdwowner,fdwacl")},
    {"pg_foreign_server", "oid", "foreign server", "srvname", "t.oid", ALL_BUT("srvowner,srvacl")},
    {"pg_ts_config", "oid", "text search configuration", "cfgname", "t.oid", ALL_BUT("cfgowner")},
    {"pg_ts_dict", "oid", "text search dictionary", "dictname", "t.oid", ALL_BUT("dictowner")},
};

#define N_CATALOGUES (sizeof(catalogues) / sizeof(catalogues[0]))

/* The rows of the snapshot that a transaction changed, dropped or tried to since. Such rows bear
 * its number, which is put into the epoch of the snapshot's here. What VACUUM and ANALYZE note in
 * place leaves none. */
static int find_sql(Buf *sql)
{
    TRY(buf_add_str(sql, "WITH s AS MATERIALIZED (SELECT pg_catalog.txid_snapshot_xmin(x) AS low,"
                         " pg_catalog.txid_snapshot_xmax(x) AS high"
                         " FROM pg_catalog.txid_current_snapshot() x)"
                         " SELECT catalog, key, sum, what FROM ("));
    for (size_t i = 0; i < N_CATALOGUES; i++) {
        const Catalogue *k = &catalogues[i];
        TRY(buf_addf(sql,
                     "%sSELECT '%s' AS catalog, t.%s AS key, md5((%s)::text) AS sum,"
                     " '%s ' || t.%s::text AS what, %s AS object FROM %s t, s"
                     " WHERE t.xmax <> '0'::xid AND high - 2147483648 +"
                     " ((t.xmax::text::int8 - high + 2147483648) & 4294967295) >= low",
                     i ? " UNION ALL " : "", k->name, k->key, k->row, k->what, k->label, k->object,
                     k->name));
    }
    return buf_add_str(sql, ") c WHERE object = 0 OR object IN (SELECT unnest($1::oid[]))");
}

/* Which of those are not the same now. */
static int compare_sql(Buf *sql)
{
    TRY(buf_add_str(sql, "SELECT i FROM unnest($1::text[], $2::oid[], $3::text[])"
                         " WITH ORDINALITY w(catalog, key, sum, i) WHERE NOT CASE catalog"));
    for (size_t i = 0; i < N_CATALOGUES; i++) {
        const Catalogue *k = &catalogues[i];
        TRY(buf_addf(sql,
                     " WHEN '%s' THEN EXISTS (SELECT FROM %s t WHERE t.%s = w.key"
                     " AND md5((%s)::text) = w.sum)",
                     k->name, k->name, k->key, k->row));
    }
    return buf_add_str(sql, " END ORDER BY i LIMIT 1");
}

/* '{1,2,3}' of everything in the table of contents. */
static int toc_oids(const Archive *toc, Buf *out)
{
    TRY(buf_add_str(out, "{"));
    for (size_t i = 0; i < toc->n; i++)
        if (toc->entries[i].oid)
            TRY(buf_addf(out, "%s%u", out->len > 1 ? "," : "", toc->entries[i].oid));
    return buf_add_str(out, "}");
}

/* A column of names, numbers and sums as an array. */
static int column_array(const PGresult *res, int column, Buf *out)
{
    for (int i = 0; i < PQntuples(res); i++)
        TRY(buf_addf(out, "%s%s", i ? "," : "{", PQgetvalue(res, i, column)));
    return buf_add_str(out, "}");
}

static int find_changed(Conn *c, const Archive *toc, PGresult **ret_res, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT, oids = BUF_INIT;
    if (find_sql(&sql) < 0 || toc_oids(toc, &oids) < 0 || !buf_cstr(&sql) || !buf_cstr(&oids))
        return error_oom(e);
    return conn_query(c, (const char *)sql.data, 1, (const char *[]){(const char *)oids.data},
                      ret_res, e);
}

static int stale(Error *e, const char *what)
{
    error_set(e, ESTALE, "%s was changed while the dump began", what);
    error_hint(e, "run it when other sessions define less, or raise --table-lock-wait");
    return -ESTALE;
}

/* Ask a session that has no snapshot of then. Where there is none to be had, take what may have
 * changed for changed. */
static int compare(const ConnInfo *pinned, const atomic_bool *cancel, const PGresult *changed,
                   Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    _cleanup_(buf_release) Buf catalogs = BUF_INIT, keys = BUF_INIT, sums = BUF_INIT;
    if (compare_sql(&sql) < 0 || column_array(changed, 0, &catalogs) < 0 ||
        column_array(changed, 1, &keys) < 0 || column_array(changed, 2, &sums) < 0 ||
        !buf_cstr(&sql) || !buf_cstr(&catalogs) || !buf_cstr(&keys) || !buf_cstr(&sums))
        return error_oom(e);
    _cleanup_(conn_closep) Conn *now = NULL;
    if (conn_open(pinned, &(ConnOptions){.cancel = cancel}, &now, NULL) < 0)
        return stale(e, PQgetvalue(changed, 0, 3));
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(now, (const char *)sql.data, 3,
                   (const char *[]){(const char *)catalogs.data, (const char *)keys.data,
                                    (const char *)sums.data},
                   &res, e));
    if (PQntuples(res) == 0)
        return 0;
    return stale(e, PQgetvalue(changed, (int)strtol(PQgetvalue(res, 0, 0), NULL, 10) - 1, 3));
}

int changes_check(Conn *c, const ConnInfo *pinned, const atomic_bool *cancel, const Archive *toc,
                  Error *e)
{
    _cleanup_(result_clear) PGresult *changed = NULL;
    TRY(conn_exec(c, "SAVEPOINT bakfs_changes", e));
    TRY(find_changed(c, toc, &changed, e));
    /* the locks of so many catalogues are not needed any more */
    TRY(conn_exec(c, "ROLLBACK TO bakfs_changes; RELEASE bakfs_changes", e));
    return PQntuples(changed) > 0 ? compare(pinned, cancel, changed, e) : 0;
}

int changes_check_roles(Conn *c, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    /* pg_roles is read as of the snapshot, pg_get_userbyid() as of now; as for pg_ts_parser, see
     * catalog_check_names(). */
    TRY(conn_query(c,
                   "SELECT 'role ' || r.rolname FROM pg_roles r"
                   " WHERE pg_get_userbyid(r.oid) <> r.rolname AND EXISTS (SELECT"
                   "  FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid"
                   "  WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid"
                   "  AND b.datname = current_database())"
                   " AND NOT EXISTS (SELECT FROM pg_ts_parser WHERE false) LIMIT 1",
                   0, NULL, &res, e));
    if (PQntuples(res) == 0)
        return 0;
    return error_set(e, ESTALE, "%s was dropped or renamed while the dump ran",
                     PQgetvalue(res, 0, 0));
}
