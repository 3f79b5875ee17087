#include "restore/postgres/rows.h"

#include <errno.h>
#include <libpq/libpq-fs.h>
#include <stdlib.h>
#include <string.h>

#include "restore/postgres/pool.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

void rows_release(Rows *r)
{
    free(r->tasks);
    r->tasks = NULL;
    r->n = 0;
}

/* Whether the archive defines the table that these are the rows of. */
static bool has_definition(const Plan *p, const TocEntry *data)
{
    for (size_t d = 0; d < data->n_deps; d++) {
        size_t i = dump_ids_find(&p->ids, data->deps[d]);
        const TocEntry *t = i != OWNER_NONE ? &p->all->entries[i] : NULL;
        if (t && toc_is(t, "TABLE") && t->oid == data->oid)
            return true;
    }
    return false;
}

int rows_prepare(Rows *r, Error *e)
{
    const Archive *a = &r->plan->toc;
    _cleanup_free_ uint64_t *sizes = NULL;
    TRY(dump_sizes(r->c, a, &sizes, e));
    r->tasks = calloc(a->n + 1, sizeof(*r->tasks));
    if (!r->tasks)
        return error_oom(e);
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        if (!toc_is(t, "TABLE DATA"))
            continue;
        if (!t->had_dumper || !t->namespace || !t->tag || !t->copy_stmt)
            return error_set(e, EBADMSG, DUMP_NAME ": a table's entry is incomplete");
        /* Rows that are loaded through the root may end up in other partitions than before, and
         * an extension fills its tables itself. */
        bool is_defined = has_definition(r->plan, t);
        r->tasks[r->n++] = (RowsTask){.entry = t,
                                      .table = content_find_table(r->c, t->namespace, t->tag),
                                      .size = sizes[i],
                                      .is_defined = is_defined,
                                      .is_exact = !plan_via_root(t) && is_defined};
        r->total += sizes[i];
    }
    return 0;
}

static int count_rows(Session *s, const TocEntry *t, uint64_t *ret_rows, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    int64_t n = 0;
    if (buf_add_str(&sql, "SELECT count(*) FROM ONLY ") < 0 ||
        session_add_name(s, &sql, t->namespace, t->tag) < 0 || !buf_cstr(&sql))
        return error_oom(e);
    TRY(session_query_number(s, (const char *)sql.data, &n, e));
    *ret_rows = (uint64_t)n;
    return 0;
}

/* Whether the role sees the table's rows, all of them. */
static int may_count(Session *s, const TocEntry *t, bool *ret_may, Error *e)
{
    int64_t n = 0;
    TRY(session_number(s,
                       "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                       " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"
                       " AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
                       " AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')"
                       " AND NOT pg_catalog.row_security_active(c.oid)",
                       t->namespace, t->tag, &n, e));
    *ret_may = n > 0;
    if (n == 0)
        restore_note(
            s->o,
            "this role can't count the rows of %s.%s, for its privileges or policies: only "
            "the number that the server took is compared with the backup's",
            t->namespace, t->tag);
    return 0;
}

int rows_count_before(Rows *r, Session *s, Error *e)
{
    for (size_t i = 0; i < r->n; i++) {
        RowsTask *task = &r->tasks[i];
        if (task->is_exact)
            TRY(may_count(s, task->entry, &task->is_exact, e));
        if (task->is_exact)
            TRY(count_rows(s, task->entry, &task->before, e));
    }
    return 0;
}

static int miscount(const RowsTask *t, uint64_t found, const char *what, Error *e)
{
    error_set(e, EBADMSG, "table %s.%s %s %llu rows, but the backup has %llu", t->entry->namespace,
              t->entry->tag, what, (unsigned long long)found, (unsigned long long)t->table->rows);
    error_hint(e, "a trigger or rule of the target, or another session, changed what was loaded");
    return -EBADMSG;
}

static int send_rows(Rows *r, Session *s, const TocEntry *t, Reader *archive, Error *e)
{
    DumpData data;
    TRY(dump_data_begin(archive, t, BLOCK_DATA, &data, e));
    for (;;) {
        const uint8_t *p;
        size_t n;
        int more = dump_data_next(&data, &p, &n, e);
        if (more <= 0)
            return more;
        TRY(session_copy_data(s, p, n, e));
        uint64_t bytes = atomic_fetch_add(&r->bytes, n) + n;
        restore_progress(r->c->options, bytes, r->total, t->tag);
    }
}

static int load_table(Rows *r, RowsTask *task, Session *s, Reader *archive, Error *e)
{
    const TocEntry *t = task->entry;
    uint64_t rows = 0;
    int err = session_copy_begin(s, t->copy_stmt, e);
    if (err == 0) {
        err = send_rows(r, s, t, archive, e);
        if (err < 0)
            session_copy_abort(s);
        else
            err = session_copy_end(s, &rows, e);
    }
    if (err < 0) {
        if (err != -EINTR)
            error_prefix(e, "rows of table %s.%s", t->namespace, t->tag);
        return err;
    }
    task->loaded = true;
    if (task->table && task->table->has_rows && rows != task->table->rows)
        return miscount(task, rows, "took", e);
    atomic_fetch_add(&r->rows, rows);
    return 0;
}

int rows_load(Rows *r, Session *s, Error *e)
{
    _cleanup_(reader_closep) Reader *archive = NULL;
    TRY(content_file(r->c, DUMP_NAME, &archive, e));
    for (size_t i = 0; i < r->n; i++)
        TRY(load_table(r, &r->tasks[i], s, archive, e));
    return 0;
}

static int check_table(const RowsTask *task, Session *s, Error *e)
{
    uint64_t rows = 0;
    bool may = false;
    if (!task->is_exact || !task->table || !task->table->has_rows)
        return 0;
    TRY(may_count(s, task->entry, &may, e));
    if (!may)
        return 0;
    TRY(count_rows(s, task->entry, &rows, e));
    return rows - task->before == task->table->rows ? 0
                                                    : miscount(task, rows - task->before, "has", e);
}

int rows_check(Rows *r, Session *s, Error *e)
{
    for (size_t i = 0; i < r->n; i++)
        TRY(check_table(&r->tasks[i], s, e));
    return 0;
}

/* Tables of extensions first, in the archive's order, then the others, large ones first. */
static int compare_turns(const void *x, const void *y)
{
    const RowsTask *a = x, *b = y;
    if (a->is_defined != b->is_defined)
        return a->is_defined - b->is_defined;
    if (!a->is_defined)
        return a->entry < b->entry ? -1 : a->entry > b->entry;
    return a->size > b->size ? -1 : a->size < b->size;
}

static int load_task(Worker *w, void *ctx, size_t i, Error *e)
{
    Rows *r = ctx;
    return load_table(r, &r->tasks[i], &w->session, w->archive, e);
}

static int check_task(Worker *w, void *ctx, size_t i, Error *e)
{
    Rows *r = ctx;
    return check_table(&r->tasks[i], &w->session, e);
}

static int run_pool(Rows *r, int jobs, size_t first, size_t n, PoolTask task, Error *e)
{
    const PoolOptions po = {.content = r->c,
                            .ci = r->ci,
                            .settings = r->settings,
                            .jobs = jobs,
                            .first = first,
                            .n = n,
                            .task = task,
                            .ctx = r};
    return pool_run(&po, e);
}

int rows_load_parallel(Rows *r, int jobs, Error *e)
{
    size_t n = 0; /* of extensions */
    if (r->in_order)
        return run_pool(r, 1, 0, r->n, load_task, e);
    if (r->n)
        qsort(r->tasks, r->n, sizeof(*r->tasks), compare_turns);
    while (n < r->n && !r->tasks[n].is_defined)
        n++;
    TRY(run_pool(r, 1, 0, n, load_task, e));
    return run_pool(r, jobs, n, r->n - n, load_task, e);
}

int rows_check_parallel(Rows *r, int jobs, Error *e)
{
    return run_pool(r, jobs, 0, r->n, check_task, e);
}

static int write_blob(Session *s, uint32_t oid, DumpData *data, Rows *r, Error *e)
{
    PGconn *pg = conn_pg(s->conn);
    int fd = lo_open(pg, oid, INV_WRITE);
    if (fd < 0)
        return session_error(s, e);
    for (;;) {
        const uint8_t *p;
        size_t n;
        int more = dump_data_next(data, &p, &n, e);
        if (more < 0)
            return more;
        if (more == 0)
            break;
        if (lo_write(pg, fd, (const char *)p, n) != (int)n)
            return session_error(s, e);
        uint64_t bytes = atomic_fetch_add(&r->bytes, n) + n;
        restore_progress(r->c->options, bytes, r->total, "large objects");
    }
    return lo_close(pg, fd) < 0 ? session_error(s, e) : 0;
}

int rows_load_blobs(Rows *r, Session *s, Error *e)
{
    const Archive *a = &r->plan->toc;
    _cleanup_(reader_closep) Reader *archive = NULL;
    TRY(content_file(r->c, DUMP_NAME, &archive, e));
    for (size_t i = 0; i < a->n; i++) {
        DumpData data;
        uint32_t oid = 0;
        if (!toc_is(&a->entries[i], "BLOBS"))
            continue;
        TRY(dump_data_begin(archive, &a->entries[i], BLOCK_BLOBS, &data, e));
        for (;;) {
            TRY(dump_data_blob(&data, &oid, e));
            if (oid == 0)
                break;
            int err = write_blob(s, oid, &data, r, e);
            if (err < 0) {
                error_prefix(e, "large object %u", oid);
                return err;
            }
        }
    }
    return 0;
}
