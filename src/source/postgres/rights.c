#include "source/postgres/rights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/layout.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

void unreadable_list_release(UnreadableList *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        free(l->items[i].schema);
        free(l->items[i].name);
    }
    free(l->items);
    *l = (UnreadableList){0};
}

/* Extension members are left to their extension, except configuration tables. */
#define IS_EXTENSION_MEMBER                                                                        \
    "EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid"                    \
    " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"                                  \
    " AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'"                             \
    " AND NOT c.oid = ANY(coalesce(x.extconfig, '{}')))"

/* Whether a table matches one of the patterns in these parameters. */
#define MATCHES(schemas, names)                                                                    \
    "EXISTS (SELECT FROM unnest(" schemas "::text[], " names "::text[]) p(s, t)"                   \
    " WHERE c.relname ~ p.t COLLATE \"default\" AND CASE WHEN p.s = '' THEN"                       \
    " c.oid = ANY($9::pg_catalog.oid[]) ELSE n.nspname ~ p.s COLLATE \"default\" END)"

/* What pg_dump would want to lock or read: by its own rules --table makes the options about schemas
 * void, and a table brings the sequences it owns. */
static const char relations_sql[] =
    "WITH rel AS MATERIALIZED (SELECT c.oid, c.relname, c.relkind, n.nspname, n.oid AS nsp,"
    "  NOT " MATCHES("$3", "$4") "  AND CASE WHEN cardinality($2::text[]) > 0 THEN " MATCHES(
        "$1",
        "$2") "   ELSE (cardinality($7::text[]) = 0 OR n.nspname ~ ANY($7::text[]))"
              "    AND NOT n.nspname ~ ANY($8::text[]) END AS wanted, " MATCHES(
                  "$5",
                  "$6") " AS no_data"
                        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                        " WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'"
                        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
                        " AND NOT " IS_EXTENSION_MEMBER "),"
                        " owned AS MATERIALIZED (SELECT d.objid FROM pg_depend d JOIN rel t ON "
                        "t.oid = d.refobjid"
                        "  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = d.classid"
                        "  AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 AND t.relkind <> 'S' "
                        "AND t.wanted)"
                        " SELECT nspname, relname, relkind = 'S', why, NOT "
                        "has_schema_privilege(nsp, 'USAGE')"
                        " FROM rel CROSS JOIN LATERAL (SELECT CASE"
                        "  WHEN relkind = 'S' AND no_data THEN NULL"
                        "  WHEN NOT has_schema_privilege(nsp, 'USAGE') THEN 'no USAGE on the "
                        "schema'"
                        "  WHEN NOT has_table_privilege(oid, 'SELECT') THEN 'no SELECT'"
                        "  WHEN NOT no_data AND row_security_active(oid) THEN 'row security hides "
                        "rows' END) w(why)"
                        " WHERE why IS NOT NULL AND (wanted OR oid IN (SELECT objid FROM owned))"
                        " ORDER BY relkind = 'S', 1, 2";

/* has_largeobject_privilege() came with PostgreSQL 18. */
static const char blobs_sql_18[] = "SELECT oid FROM pg_largeobject_metadata"
                                   " WHERE NOT has_largeobject_privilege(oid, 'SELECT')"
                                   " ORDER BY oid";
static const char blobs_sql[] =
    "SELECT m.oid FROM pg_largeobject_metadata m"
    " WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
    " AND current_setting('lo_compat_privileges') <> 'on'"
    " AND NOT EXISTS (SELECT FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a"
    "  WHERE a.privilege_type = 'SELECT'"
    "  AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))"
    " ORDER BY m.oid";

static const char *reason(const char *why)
{
    static const char *const known[] = {"no USAGE on the schema", "no SELECT",
                                        "row security hides rows"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(why, known[i]) == 0)
            return known[i];
    return "not readable";
}

static int add_relations(const PGresult *res, UnreadableList *l)
{
    for (int row = 0; row < PQntuples(res); row++) {
        bool is_sequence = *PQgetvalue(res, row, 2) == 't';
        Unreadable *u = &l->items[l->n];
        *u = (Unreadable){.kind = is_sequence ? UNREADABLE_SEQUENCE : UNREADABLE_TABLE,
                          .in_closed_schema = *PQgetvalue(res, row, 4) == 't',
                          .schema = strdup(PQgetvalue(res, row, 0)),
                          .name = strdup(PQgetvalue(res, row, 1)),
                          .why = reason(PQgetvalue(res, row, 3))};
        l->n++;
        if (!u->schema || !u->name)
            return -ENOMEM;
    }
    return 0;
}

static bool has_schema(const UnreadableList *l, const char *schema)
{
    for (size_t i = l->n; i-- > 0;)
        if (l->items[i].kind == UNREADABLE_SCHEMA && strcmp(l->items[i].schema, schema) == 0)
            return true;
    return false;
}

/* The schemas in which not even names can be used, once each. */
static int add_schemas(UnreadableList *l)
{
    for (size_t i = 0, n = l->n; i < n; i++) {
        if (!l->items[i].in_closed_schema || has_schema(l, l->items[i].schema))
            continue;
        Unreadable *u = &l->items[l->n];
        *u = (Unreadable){.kind = UNREADABLE_SCHEMA,
                          .schema = strdup(l->items[i].schema),
                          .why = reason("no USAGE on the schema")};
        if (!u->schema)
            return -ENOMEM;
        l->n++;
    }
    return 0;
}

static int compare(const void *x, const void *y)
{
    const Unreadable *a = x, *b = y;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == UNREADABLE_BLOB)
        return a->oid < b->oid ? -1 : a->oid > b->oid;
    int r = strcmp(a->schema, b->schema);
    return r || a->kind == UNREADABLE_SCHEMA ? r : strcmp(a->name, b->name);
}

int rights_find(Conn *c, const SourceScope *scope, UnreadableList *ret_list, Error *e)
{
    _cleanup_(unreadable_list_release) UnreadableList l = {0};
    _cleanup_(scope_params_release) ScopeParams p = {0};
    _cleanup_(result_clear) PGresult *relations = NULL, *blobs = NULL;
    TRY(scope_params(c, scope, &p, e));
    int r = conn_query(c, relations_sql, SCOPE_N, (const char *const *)p.values, &relations, e);
    if (r < 0 && e && strstr(e->message, "invalid regular expression"))
        error_hint(e, "patterns are regular expressions but for \"*\", \"?\" and \".\"; double "
                      "quotes inside take a name literally");
    TRY(r);
    /* pg_dump takes large objects along only where nothing is asked for by name. */
    if (scope->schemas.n == 0 && scope->tables.n == 0)
        TRY(conn_query(c, conn_major(c) >= 18 ? blobs_sql_18 : blobs_sql, 0, NULL, &blobs, e));
    size_t n_blobs = blobs ? (size_t)PQntuples(blobs) : 0;
    size_t n_relations = (size_t)PQntuples(relations);
    l.items = calloc(2 * n_relations + n_blobs + 1, sizeof(*l.items));
    if (!l.items || add_relations(relations, &l) < 0 || add_schemas(&l) < 0)
        return error_oom(e);
    for (size_t i = 0; i < n_blobs; i++)
        l.items[l.n++] =
            (Unreadable){.kind = UNREADABLE_BLOB,
                         .oid = (uint32_t)strtoul(PQgetvalue(blobs, (int)i, 0), NULL, 10),
                         .why = "no SELECT"};
    qsort(l.items, l.n, sizeof(*l.items), compare);
    *ret_list = l;
    l = (UnreadableList){0};
    return 0;
}

/* "public.t", "schema closed", "large object 4711". */
static int describe(const Unreadable *u, Buf *out)
{
    buf_clear(out);
    int r = u->kind == UNREADABLE_SCHEMA ? buf_addf(out, "schema %s", u->schema)
            : u->kind == UNREADABLE_BLOB ? buf_addf(out, "large object %u", u->oid)
                                         : buf_addf(out, "%s.%s", u->schema, u->name);
    return r < 0 || !buf_cstr(out) ? -ENOMEM : 0;
}

int rights_refuse(Conn *c, const UnreadableList *l, Error *e)
{
    _cleanup_(buf_release) Buf list = BUF_INIT, what = BUF_INIT;
    const char *user = PQuser(conn_pg(c));
    size_t n = 0, blobs = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        if (l->items[i].kind == UNREADABLE_SCHEMA) /* its tables say so */
            continue;
        r = describe(&l->items[i], &what);
        if (r == 0)
            r = buf_addf(&list, "%s%s (%s)", n ? ", " : "", (const char *)what.data,
                         l->items[i].why);
        blobs += l->items[i].kind == UNREADABLE_BLOB;
        n++;
    }
    const char *text = r == 0 ? buf_cstr(&list) : NULL;
    if (!text)
        return error_oom(e);
    error_set(e, EACCES, "user %s can't read %zu %s%s: %s", user, n,
              blobs == n  ? "large object"
              : blobs > 0 ? "object"
                          : "table or sequence",
              n == 1 ? "" : "s", text);
    if (blobs == n)
        error_hint(e,
                   "GRANT SELECT ON LARGE OBJECT ... TO %s (pg_read_all_data does not cover them), "
                   "or dump as their owner or a superuser; --skip-unreadable leaves them out",
                   user);
    else
        error_hint(e,
                   "GRANT pg_read_all_data TO %s (PostgreSQL 14 and later; not for large objects), "
                   "or grant USAGE on the schemas and SELECT on tables, sequences and large "
                   "objects; for row security, ALTER ROLE %s BYPASSRLS; or dump as the owner; "
                   "--skip-unreadable leaves them out",
                   user, user);
    return -EACCES;
}

int rights_arguments(const UnreadableList *l, bool by_table, ArgList *args, Error *e)
{
    _cleanup_(buf_release) Buf pattern = BUF_INIT;
    for (size_t i = 0; i < l->n; i++) {
        const Unreadable *u = &l->items[i];
        bool is_schema = u->kind == UNREADABLE_SCHEMA;
        if (u->kind == UNREADABLE_BLOB || (is_schema && by_table) ||
            (u->kind == UNREADABLE_TABLE && u->in_closed_schema && !by_table))
            continue;
        buf_clear(&pattern);
        int r = is_schema ? scope_quote(NULL, u->schema, &pattern)
                          : scope_quote(u->schema, u->name, &pattern);
        const char *option = is_schema                        ? "exclude-schema"
                             : u->kind == UNREADABLE_SEQUENCE ? "exclude-table-data"
                                                              : "exclude-table";
        if (r < 0 || !buf_cstr(&pattern) ||
            arg_list_add(args, option, (const char *)pattern.data) < 0)
            return error_oom(e);
    }
    return 0;
}

bool unreadable_has_blobs(const UnreadableList *l)
{
    return l->n > 0 && l->items[l->n - 1].kind == UNREADABLE_BLOB; /* they are sorted last */
}

static bool is_unreadable_blob(const UnreadableList *l, uint32_t oid)
{
    const Unreadable key = {.kind = UNREADABLE_BLOB, .oid = oid};
    return l->n && bsearch(&key, l->items, l->n, sizeof(key), compare);
}

static int compare_ids(const void *x, const void *y)
{
    int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
    return a < b ? -1 : a > b;
}

static bool depends_on(const TocEntry *t, const int32_t *sorted, size_t n)
{
    for (size_t d = 0; d < t->n_deps; d++)
        if (bsearch(&t->deps[d], sorted, n, sizeof(*sorted), compare_ids))
            return true;
    return false;
}

/* From archive version 1.16 on an entry stands for all large objects of the same owner and
 * privileges, so that the role can read all of them or none; the definition lists their numbers. */
static bool is_definition(const UnreadableList *l, const TocEntry *t)
{
    if (toc_is(t, "BLOB"))
        return is_unreadable_blob(l, t->oid);
    return toc_is(t, "BLOB METADATA") && t->defn &&
           is_unreadable_blob(l, (uint32_t)strtoul(t->defn, NULL, 10));
}

static bool is_companion(const TocEntry *t)
{
    return toc_is(t, "BLOBS") || toc_is(t, "ACL") || toc_is(t, "COMMENT") ||
           toc_is(t, "SECURITY LABEL");
}

int rights_drop_blobs(const UnreadableList *l, Archive *toc)
{
    size_t n_ids = 0, kept = 0, left = 0;
    _cleanup_free_ int32_t *ids = calloc(toc->n + 1, sizeof(*ids));
    _cleanup_(archive_release) Archive dropped = {.entries = calloc(toc->n + 1, sizeof(TocEntry))};
    if (!ids || !dropped.entries)
        return -ENOMEM;
    for (size_t i = 0; i < toc->n; i++) {
        if (is_definition(l, &toc->entries[i]))
            ids[n_ids++] = toc->entries[i].dump_id;
        else
            left += toc_is(&toc->entries[i], "BLOB") || toc_is(&toc->entries[i], "BLOB METADATA");
    }
    qsort(ids, n_ids, sizeof(*ids), compare_ids);
    for (size_t i = 0; i < toc->n && n_ids > 0; i++) {
        TocEntry *t = &toc->entries[i];
        bool drop = is_definition(l, t) || (left == 0 && toc_is(t, "BLOBS")) ||
                    (is_companion(t) && depends_on(t, ids, n_ids));
        if (drop)
            dropped.entries[dropped.n++] = *t;
        else
            toc->entries[kept++] = *t;
    }
    if (n_ids > 0)
        toc->n = kept;
    return 0;
}

int rights_json(const UnreadableList *l, json_t *left_out)
{
    _cleanup_(buf_release) Buf what = BUF_INIT;
    for (size_t i = 0; i < l->n; i++) {
        const Unreadable *u = &l->items[i];
        if (describe(u, &what) < 0)
            return -1;
        json_t *item = json_pack("{s:o, s:s}", "what", source_json_name((const char *)what.data),
                                 "why", u->why);
        if (json_array_append_new(left_out, item) < 0)
            return -1;
    }
    return 0;
}

int rights_hidden(Conn *c, const SourceScope *scope, json_t **ret_hidden, Error *e)
{
    /* Their connection strings hold passwords. Where something is asked for by name, nobody asked
     * for them. */
    static const char sql[] =
        "SELECT subname FROM pg_subscription WHERE current_setting('is_superuser') = 'off'"
        " AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND NOT $1::pg_catalog.bool ORDER BY 1";
    _cleanup_(result_clear) PGresult *res = NULL;
    _cleanup_(buf_release) Buf what = BUF_INIT;
    bool by_name = scope->schemas.n > 0 || scope->tables.n > 0;
    TRY(conn_query(c, sql, 1, (const char *[]){by_name ? "t" : "f"}, &res, e));
    json_t *hidden = json_array();
    int r = hidden ? 0 : -ENOMEM;
    for (int i = 0; r == 0 && i < PQntuples(res); i++) {
        buf_clear(&what);
        r = buf_addf(&what, "subscription %s", PQgetvalue(res, i, 0));
        if (r < 0 || !buf_cstr(&what) ||
            json_array_append_new(hidden, json_pack("{s:o, s:s}", "what",
                                                    source_json_name((const char *)what.data),
                                                    "why", "only a superuser may read it")) < 0)
            r = -ENOMEM;
    }
    if (r < 0) {
        json_decref(hidden);
        return error_oom(e);
    }
    *ret_hidden = hidden;
    return 0;
}
