#include "source/postgres/copy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define POLL_MS     200 /* how soon a stop is noticed */
#define MAX_WORKERS 64

/* Shared by the workers. `lock` guards what follows it. */
typedef struct Work {
    const CopyOptions *options;
    const char *snapshot_id;
    Model *model;
    const atomic_bool *cancel;
    atomic_bool stop; /* somebody failed */
    pthread_mutex_t lock;
    size_t *order; /* tables with data, largest first */
    size_t n, next;
    int result; /* of the first failure */
    Error error;
    int idle; /* workers that could not start */
} Work;

static bool should_stop(Work *w)
{
    return atomic_load(&w->stop) || (w->cancel && atomic_load(w->cancel));
}

static int interrupted(Conn *c, Error *e)
{
    conn_cancel(c);
    return error_set(e, EINTR, "interrupted");
}

/* Wait until the server sent something. */
static int wait_input(Work *w, Conn *c, Error *e)
{
    for (;;) {
        if (should_stop(w))
            return interrupted(c, e);
        struct pollfd p = {.fd = PQsocket(conn_pg(c)), .events = POLLIN};
        int ready = p.fd < 0 ? -1 : poll(&p, 1, POLL_MS);
        if (ready < 0 && (p.fd < 0 || errno != EINTR))
            return conn_error(c, NULL, e);
        if (ready > 0)
            return PQconsumeInput(conn_pg(c)) ? 0 : conn_error(c, NULL, e);
    }
}

static int read_rows(Work *w, Conn *c, Sink *sink, Error *e)
{
    for (;;) {
        char *row = NULL;
        int n = PQgetCopyData(conn_pg(c), &row, 1);
        if (n > 0) {
            int r = sink_write(sink, row, (size_t)n, e);
            PQfreemem(row);
            TRY(r);
        } else if (n == 0) {
            TRY(wait_input(w, c, e));
        } else if (n == -1) {
            return 0;
        } else {
            return conn_error(c, NULL, e);
        }
    }
}

/* Go through the results of a command string that holds one COPY. */
static int read_results(Work *w, Conn *c, Sink *sink, uint64_t *ret_rows, Error *e)
{
    int failure = 0;
    bool was_copy = false;
    for (;;) {
        while (PQisBusy(conn_pg(c))) {
            int r = wait_input(w, c, failure ? NULL : e);
            if (r < 0)
                return failure ? failure : r;
        }
        _cleanup_(result_clear) PGresult *res = PQgetResult(conn_pg(c));
        if (!res)
            return failure;
        ExecStatusType status = PQresultStatus(res);
        if (status == PGRES_COPY_OUT) {
            TRY(read_rows(w, c, sink, e));
            was_copy = true;
        } else if (status != PGRES_COMMAND_OK) {
            if (!failure)
                failure = conn_error(c, res, e);
            if (PQstatus(conn_pg(c)) == CONNECTION_BAD)
                return failure;
        } else if (was_copy) {
            *ret_rows = strtoull(PQcmdTuples(res), NULL, 10);
            was_copy = false;
        }
    }
}

/* Read one table. `with_lock`: the session does not hold the table's lock yet, and must not wait
 * for it; -EWOULDBLOCK then. The savepoint gives the lock back, which keeps the server's lock table
 * from filling up. */
static int copy_one(Work *w, Conn *c, Sink *sink, ModelTable *t, bool with_lock, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    int r = 0;
    if (with_lock) {
        char *schema = PQescapeIdentifier(conn_pg(c), t->schema, strlen(t->schema));
        char *name = PQescapeIdentifier(conn_pg(c), t->name, strlen(t->name));
        r = schema && name
                ? buf_addf(&sql,
                           "SAVEPOINT bakfs; LOCK TABLE ONLY %s.%s"
                           " IN ACCESS SHARE MODE NOWAIT; %s; ROLLBACK TO bakfs; RELEASE bakfs",
                           schema, name, t->copy_sql)
                : -ENOMEM;
        PQfreemem(schema);
        PQfreemem(name);
    } else {
        r = buf_add_str(&sql, t->copy_sql);
    }
    if (r < 0 || !buf_cstr(&sql))
        return error_oom(e);
    TRY(sink_begin(sink, t, e));
    if (!PQsendQuery(conn_pg(c), (const char *)sql.data))
        return conn_error(c, NULL, e);
    uint64_t rows = 0;
    r = read_results(w, c, sink, &rows, e);
    if (r == -EWOULDBLOCK)
        TRY(conn_exec(c, "ROLLBACK TO bakfs; RELEASE bakfs", NULL));
    if (r < 0) {
        error_prefix(e, "table %s.%s", t->schema, t->name);
        return r;
    }
    return sink_end(sink, (int64_t)rows, e);
}

static ModelTable *take(Work *w)
{
    pthread_mutex_lock(&w->lock);
    ModelTable *t = w->next < w->n ? &w->model->tables[w->order[w->next++]] : NULL;
    pthread_mutex_unlock(&w->lock);
    return t;
}

static void fail(Work *w, int r, Error *e)
{
    pthread_mutex_lock(&w->lock);
    if (w->result == 0) {
        w->result = r;
        error_move(&w->error, e);
    }
    pthread_mutex_unlock(&w->lock);
    error_release(e);
    atomic_store(&w->stop, true);
}

static int join_snapshot(Work *w, Conn **ret_conn, Error *e)
{
    _cleanup_(conn_closep) Conn *c = NULL;
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    TRY(conn_open(w->options->pinned, &(ConnOptions){.cancel = w->cancel}, &c, e));
    char *id = PQescapeLiteral(conn_pg(c), w->snapshot_id, strlen(w->snapshot_id));
    int r = id ? buf_addf(&sql,
                          "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
                          " SET TRANSACTION SNAPSHOT %s",
                          id)
               : -ENOMEM;
    PQfreemem(id);
    if (r < 0 || !buf_cstr(&sql))
        return error_oom(e);
    TRY(conn_exec(c, (const char *)sql.data, e));
    *ret_conn = TAKE_PTR(c);
    return 0;
}

static void *worker(void *arg)
{
    Work *w = arg;
    Error e = ERROR_INIT;
    _cleanup_(conn_closep) Conn *c = NULL;
    _cleanup_(sink_freep) Sink *sink = NULL;
    if (join_snapshot(w, &c, &e) < 0) { /* the others, or the coordinator, do its work */
        error_release(&e);
        pthread_mutex_lock(&w->lock);
        w->idle++;
        pthread_mutex_unlock(&w->lock);
        return NULL;
    }
    int r = sink_new(w->options->shared, &sink, &e);
    while (r == 0 && !should_stop(w)) {
        ModelTable *t = take(w);
        if (!t)
            break;
        r = copy_one(w, c, sink, t, true, &e);
        if (r == -EWOULDBLOCK) { /* left for the coordinator, which has the lock */
            error_release(&e);
            sink_free(sink);
            sink = NULL;
            r = sink_new(w->options->shared, &sink, &e);
        }
    }
    if (r < 0)
        fail(w, r, &e);
    return NULL;
}

static int make_order(Work *w)
{
    Model *m = w->model;
    w->order = calloc(m->n_tables + 1, sizeof(size_t));
    if (!w->order)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_tables; i++)
        if (m->tables[i].data != MODEL_NONE && !m->tables[i].done)
            w->order[w->n++] = i;
    return 0;
}

static int by_size(const void *x, const void *y, void *arg)
{
    const Model *m = arg;
    uint64_t a = m->tables[*(const size_t *)x].size, b = m->tables[*(const size_t *)y].size;
    return a > b ? -1 : a < b;
}

static void run_workers(Work *w)
{
    pthread_t threads[MAX_WORKERS];
    int started = 0, wanted = w->options->jobs < MAX_WORKERS ? w->options->jobs : MAX_WORKERS;
    while (started < wanted && (size_t)started < w->n &&
           pthread_create(&threads[started], NULL, worker, w) == 0)
        started++;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static void tell_idle(const Work *w)
{
    const SourceOptions *o = w->options->shared->options;
    if (w->idle > 0 && o->note)
        o->note(o->ctx, "some connections for parallel reading could not be had; reading goes on "
                        "with fewer");
}

/* What no worker could read. The coordinator holds every lock. */
static int read_rest(Work *w, Conn *coordinator, Error *e)
{
    _cleanup_(sink_freep) Sink *sink = NULL;
    for (size_t i = 0; i < w->n; i++) {
        ModelTable *t = &w->model->tables[w->order[i]];
        if (t->done)
            continue;
        if (!sink)
            TRY(sink_new(w->options->shared, &sink, e));
        TRY(copy_one(w, coordinator, sink, t, false, e));
    }
    return 0;
}

int copy_tables(const CopyOptions *o, Snapshot *s, Model *m, Error *e)
{
    Work w = {.options = o,
              .snapshot_id = s->id,
              .model = m,
              .cancel = o->shared->options->cancel,
              .lock = PTHREAD_MUTEX_INITIALIZER};
    if (make_order(&w) < 0)
        return error_oom(e);
    qsort_r(w.order, w.n, sizeof(size_t), by_size, m);
    run_workers(&w);
    tell_idle(&w);
    int r = w.result;
    if (r == 0 && should_stop(&w))
        r = error_set(&w.error, EINTR, "interrupted");
    if (r == 0)
        r = read_rest(&w, s->coordinator, &w.error);
    free(w.order);
    pthread_mutex_destroy(&w.lock);
    if (r < 0)
        error_move(e, &w.error);
    return r;
}
