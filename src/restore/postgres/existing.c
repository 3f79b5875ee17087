#include "restore/postgres/existing.h"

#include <stdlib.h>
#include <string.h>

#include "restore/postgres/conflicts.h"
#include "restore/targets.h"
#include "source/postgres/data_order.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

static int compare_names(const char *schema, const char *name, const TocEntry *t)
{
    int r = strcmp(schema, t->namespace);
    return r ? r : strcmp(name, t->tag);
}

static int compare_tasks(const void *x, const void *y)
{
    const RowsTask *a = x, *b = y;
    return compare_names(a->entry->namespace, a->entry->tag, b->entry);
}

/* The number of a task among those sorted by name, from 1 on; 0: none. */
static uint32_t find_task(const Rows *r, const char *schema, const char *name)
{
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare_names(schema, name, r->tasks[mid].entry);
        if (c == 0)
            return (uint32_t)mid + 1;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return 0;
}

static int compare_references(const void *x, const void *y)
{
    const Reference *a = x, *b = y;
    return a->table != b->table ? (a->table > b->table) - (a->table < b->table)
                                : (a->referenced > b->referenced) - (a->referenced < b->referenced);
}

/* Which task's table refers to which, after the target's catalogue; tables by their numbers. A key
 * of a partitioned table is one of its partitions, which have the rows. */
static int find_references(const Rows *r, Session *s, ReferenceList *ret, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(s->conn,
                   "SELECT fn.nspname, f.relname, tn.nspname, t.relname"
                   " FROM (SELECT DISTINCT conrelid, confrelid FROM pg_catalog.pg_constraint"
                   " WHERE contype = 'f' AND conparentid = 0) c"
                   " LEFT JOIN LATERAL pg_catalog.pg_partition_tree(conrelid) fp ON fp.isleaf"
                   " LEFT JOIN LATERAL pg_catalog.pg_partition_tree(confrelid) tp ON tp.isleaf"
                   " JOIN pg_catalog.pg_class f ON f.oid = coalesce(fp.relid::oid, conrelid)"
                   " JOIN pg_catalog.pg_class t ON t.oid = coalesce(tp.relid::oid, confrelid)"
                   " JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace"
                   " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
                   " WHERE f.oid <> t.oid",
                   0, NULL, &res, e));
    int rows = PQntuples(res);
    if (!(ret->items = calloc((size_t)rows + 1, sizeof(*ret->items))))
        return error_oom(e);
    for (int i = 0; i < rows; i++) {
        uint32_t from = find_task(r, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
        uint32_t to = find_task(r, PQgetvalue(res, i, 2), PQgetvalue(res, i, 3));
        if (from && to)
            ret->items[ret->n++] = (Reference){.table = from, .referenced = to};
    }
    if (ret->n)
        qsort(ret->items, ret->n, sizeof(*ret->items), compare_references);
    return 0;
}

/* What data_order asks of a model, for the tasks instead of an archive's tables. */
typedef struct Tasks {
    Model model;
    Script script;
} Tasks;

static void tasks_release(Tasks *t)
{
    free(t->model.tables);
    free(t->model.oids);
    free(t->model.table_of);
    free(t->script.parts);
}

static int tasks_make(const Rows *r, Tasks *t, Error *e)
{
    size_t n = r->n;
    t->model.n_tables = t->script.n = n;
    t->model.tables = calloc(n + 1, sizeof(*t->model.tables));
    t->model.oids = calloc(n + 1, sizeof(*t->model.oids));
    t->model.table_of = calloc(n + 1, sizeof(*t->model.table_of));
    t->script.parts = calloc(n + 1, sizeof(*t->script.parts));
    if (!t->model.tables || !t->model.oids || !t->model.table_of || !t->script.parts)
        return error_oom(e);
    for (size_t i = 0; i < n; i++) {
        t->model.tables[i].oid = (uint32_t)i + 1;
        t->model.oids[i] = (ModelOid){.oid = (uint32_t)i + 1, .table = i};
        t->model.table_of[i] = i;
        t->script.parts[i] = (ScriptPart){.entry = r->tasks[i].entry, .index = i};
    }
    return 0;
}

static int order_tasks(Rows *r, Session *s, Error *e)
{
    _cleanup_(references_release) ReferenceList references = {0};
    _cleanup_(tasks_release) Tasks t = {0};
    _cleanup_free_ size_t *order = NULL;
    size_t n = 0;
    qsort(r->tasks, r->n, sizeof(*r->tasks), compare_tasks);
    TRY(find_references(r, s, &references, e));
    TRY(tasks_make(r, &t, e));
    RowsTask *tasks = calloc(r->n + 1, sizeof(*tasks));
    if (!tasks || data_order(&t.model, &t.script, &references, &order, &n) < 0) {
        free(tasks);
        return error_oom(e);
    }
    for (size_t i = 0; i < n; i++)
        tasks[i] = r->tasks[order[i]];
    free(r->tasks);
    r->tasks = tasks;
    r->n = n;
    return 0;
}

int existing_keys(Rows *r, Session *s, Error *e)
{
    int64_t is_replica = 0;
    TRY(session_number(s,
                       "SELECT (pg_catalog.current_setting('session_replication_role')"
                       " = 'replica')::int",
                       NULL, NULL, &is_replica, e));
    if (is_replica || r->n == 0)
        return 0;
    restore_note(r->c->options,
                 "this role may not set session_replication_role, so the target's triggers run for "
                 "every row and its foreign keys are checked: tables are loaded one after another, "
                 "in the keys' order");
    r->in_order = true;
    return order_tasks(r, s, e);
}

/* Which rows of the table the extension says are the user's: "WHERE ...", or NULL. */
static int extension_condition(Session *s, const TocEntry *t, char **ret_sql, Error *e)
{
    const char *const params[] = {t->namespace, t->tag};
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(s->conn,
                   "SELECT e.extcondition[i] FROM pg_catalog.pg_extension e,"
                   " LATERAL pg_catalog.generate_subscripts(e.extconfig, 1) i"
                   " WHERE e.extconfig[i] = (SELECT c.oid FROM pg_catalog.pg_class c"
                   " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                   " WHERE n.nspname = $1 AND c.relname = $2)",
                   2, params, &res, e));
    if (PQntuples(res) > 0 && !(*ret_sql = strdup(PQgetvalue(res, 0, 0))))
        return error_oom(e);
    return 0;
}

/* Whether a table without a definition in the archive has rows of the kind that are to be loaded.
 */
static int has_rows(Session *s, const TocEntry *t, bool *ret_has, Error *e)
{
    _cleanup_free_ char *condition = NULL;
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    int64_t n = 0;
    TRY(extension_condition(s, t, &condition, e));
    if (buf_add_str(&sql, "SELECT count(*) FROM (SELECT FROM ONLY ") < 0 ||
        session_add_name(s, &sql, t->namespace, t->tag) < 0 ||
        buf_addf(&sql, " %s LIMIT 1) t", condition ? condition : "") < 0 || !buf_cstr(&sql))
        return error_oom(e);
    TRY(session_query_number(s, (const char *)sql.data, &n, e));
    *ret_has = n > 0;
    return 0;
}

static int leave_out(Rows *r, size_t i, RestoreResult *result, Error *e)
{
    const TocEntry *t = r->tasks[i].entry;
    _cleanup_(buf_release) Buf what = BUF_INIT;
    if (buf_addf(&what, "rows of %s.%s", t->namespace, t->tag) < 0 || !buf_cstr(&what))
        return error_oom(e);
    r->total -= r->tasks[i].size;
    r->n--;
    memmove(&r->tasks[i], &r->tasks[i + 1], (r->n - i) * sizeof(*r->tasks));
    return restore_left_out(result, (const char *)what.data,
                            "an extension made the table, so it is not emptied, and rows of the "
                            "kind that the backup holds are there: delete those and restore the "
                            "table again with --data-only --table",
                            e);
}

/* All by one command, so that what refers to each other is no obstacle. One that is partitioned has
 * no rows of its own, but perhaps keys. */
static int truncate_tables(const Rows *r, Session *s, Error *e)
{
    _cleanup_(buf_release) Buf list = BUF_INIT, sql = BUF_INIT;
    TRY(conflicts_keyed(r->plan, s, &list, e));
    for (size_t i = 0; i < r->n; i++) {
        const TocEntry *t = r->tasks[i].entry;
        if (r->tasks[i].is_defined && (buf_add_str(&list, list.len ? ", ONLY " : "ONLY ") < 0 ||
                                       session_add_name(s, &list, t->namespace, t->tag) < 0))
            return error_oom(e);
    }
    if (list.len == 0)
        return 0;
    if (!buf_cstr(&list) || buf_addf(&sql, "TRUNCATE %s", (const char *)list.data) < 0 ||
        !buf_cstr(&sql))
        return error_oom(e);
    return session_run(s, (const char *)sql.data, e);
}

/* Nobody else writes meanwhile, though everybody may read. */
static int delete_rows(const Rows *r, Session *s, Error *e)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < r->n; i++) {
            _cleanup_(buf_release) Buf sql = BUF_INIT;
            const TocEntry *t = r->tasks[i].entry;
            if (!r->tasks[i].is_defined)
                continue;
            if (buf_add_str(&sql, pass ? "DELETE FROM ONLY " : "LOCK TABLE ONLY ") < 0 ||
                session_add_name(s, &sql, t->namespace, t->tag) < 0 ||
                buf_add_str(&sql, pass ? "" : " IN SHARE ROW EXCLUSIVE MODE") < 0 ||
                !buf_cstr(&sql))
                return error_oom(e);
            TRY(session_run(s, (const char *)sql.data, e));
        }
    return 0;
}

int existing_clear(Rows *r, Session *s, bool by_delete, RestoreResult *result, Error *e)
{
    for (size_t i = 0; i < r->n;) {
        bool has = false;
        if (!r->tasks[i].is_defined)
            TRY(has_rows(s, r->tasks[i].entry, &has, e));
        if (has)
            TRY(leave_out(r, i, result, e));
        else
            i++;
    }
    return by_delete ? delete_rows(r, s, e) : truncate_tables(r, s, e);
}

int existing_loaded(const Rows *r, Named *out)
{
    for (size_t i = 0; i < r->n; i++) {
        const TocEntry *t = r->tasks[i].entry;
        if (r->tasks[i].loaded)
            TRY(named_add(out, "%s.%s", t->namespace, t->tag));
    }
    return 0;
}
