#include "source/postgres/copy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/split.h"
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
    size_t *order;  /* tables with data, largest first */
    bool *taken;    /* of these, the ones that a worker reads or has read alone */
    Split **splits; /* of these, the ones that several read; made by the first of them */
    size_t n;
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

/* Where rows go. */
typedef struct Target {
    int (*write)(void *ctx, const void *data, size_t len, Error *e);
    void *ctx;
} Target;

static int to_sink(void *ctx, const void *data, size_t len, Error *e)
{
    return sink_write(ctx, data, len, e);
}

static int to_split(void *ctx, const void *data, size_t len, Error *e)
{
    return split_write(ctx, data, len, e);
}

static int read_rows(Work *w, Conn *c, Target target, Error *e)
{
    for (;;) {
        char *row = NULL;
        int n = PQgetCopyData(conn_pg(c), &row, 1);
        if (n > 0) {
            int r = target.write(target.ctx, row, (size_t)n, e);
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
static int read_results(Work *w, Conn *c, Target target, uint64_t *ret_rows, Error *e)
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
            TRY(read_rows(w, c, target, e));
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
    r = read_results(w, c, (Target){to_sink, sink}, &rows, e);
    if (r == -EWOULDBLOCK)
        TRY(conn_exec(c, "ROLLBACK TO bakfs; RELEASE bakfs", NULL));
    if (r < 0) {
        error_prefix(e, "table %s.%s", t->schema, t->name);
        return r;
    }
    return sink_end(sink, (int64_t)rows, e);
}

static bool stop_split(void *ctx)
{
    return should_stop(ctx);
}

static bool is_split(const Work *w, size_t i)
{
    return w->options->jobs > 1 &&
           split_pays(&w->model->tables[w->order[i]], w->options->piece_size);
}

/* The next table to read, or to help with, as an index of the order; `w->n` when there is none.
 * `*at` is where the worker stands in the order. */
static size_t take(Work *w, size_t *at)
{
    size_t found = w->n;
    pthread_mutex_lock(&w->lock);
    while (*at < w->n && found == w->n) {
        size_t i = (*at)++;
        if (is_split(w, i)) {
            if (!w->splits[i] || joiner_has_pieces(w->splits[i]->joiner))
                found = i;
        } else if (!w->taken[i]) {
            w->taken[i] = true;
            found = i;
        }
    }
    pthread_mutex_unlock(&w->lock);
    return found;
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
    TRY(conn_check_settings(c, e));
    *ret_conn = TAKE_PTR(c);
    return 0;
}

/* The table's lock without waiting for it, and nothing that would change the order of rows. */
static int lock_for_split(Conn *c, const ModelTable *t, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    char *schema = PQescapeIdentifier(conn_pg(c), t->schema, strlen(t->schema));
    char *name = PQescapeIdentifier(conn_pg(c), t->name, strlen(t->name));
    int r = schema && name
                ? buf_addf(&sql,
                           "SAVEPOINT bakfs; LOCK TABLE ONLY %s.%s IN ACCESS SHARE MODE NOWAIT;"
                           " SET LOCAL enable_tidscan = on; SET LOCAL enable_seqscan = on;"
                           " SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;"
                           " SET LOCAL enable_indexonlyscan = off;"
                           " SET LOCAL max_parallel_workers_per_gather = 0",
                           schema, name)
                : -ENOMEM;
    PQfreemem(schema);
    PQfreemem(name);
    if (r < 0 || !buf_cstr(&sql))
        return error_oom(e);
    r = conn_exec(c, (const char *)sql.data, e);
    if (r == -EWOULDBLOCK)
        TRY(conn_exec(c, "ROLLBACK TO bakfs; RELEASE bakfs", NULL));
    return r;
}

static int open_split(Work *w, size_t i, Split **ret_split, Error *e)
{
    int r = 0;
    pthread_mutex_lock(&w->lock);
    if (!w->splits[i])
        r = split_new(w->options->shared, &w->model->tables[w->order[i]], w->options->piece_size,
                      stop_split, w, &w->splits[i], e);
    *ret_split = w->splits[i];
    pthread_mutex_unlock(&w->lock);
    return r;
}

static int copy_piece(Work *w, Conn *c, SplitWriter *writer, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    TRY(split_sql(writer->split, writer->piece, &sql, e));
    if (!buf_cstr(&sql))
        return error_oom(e);
    if (!PQsendQuery(conn_pg(c), (const char *)sql.data))
        return conn_error(c, NULL, e);
    uint64_t rows = 0;
    TRY(read_results(w, c, (Target){to_split, writer}, &rows, e));
    return split_end(writer, rows, e);
}

/* Read pieces of a large table as long as there are any. */
static int copy_split(Work *w, Conn *c, size_t i, Error *e)
{
    const ModelTable *t = &w->model->tables[w->order[i]];
    TRY(lock_for_split(c, t, e));
    _cleanup_free_ SplitWriter *writer = malloc(sizeof(*writer));
    if (!writer)
        return error_oom(e);
    writer->fill = 0;
    int r = open_split(w, i, &writer->split, e);
    while (r == 0 && !should_stop(w) &&
           (writer->piece = joiner_take(writer->split->joiner)) != SIZE_MAX)
        r = copy_piece(w, c, writer, e);
    if (r < 0) {
        error_prefix(e, "table %s.%s", t->schema, t->name);
        return r == -EWOULDBLOCK ? -EIO : r;
    }
    return conn_exec(c, "ROLLBACK TO bakfs; RELEASE bakfs", e);
}

static int work(Work *w, Conn *c, Error *e)
{
    _cleanup_(sink_freep) Sink *sink = NULL;
    size_t at = 0, i;
    while (!should_stop(w) && (i = take(w, &at)) < w->n) {
        int r = 0;
        if (is_split(w, i)) {
            r = copy_split(w, c, i, e);
        } else {
            if (!sink)
                TRY(sink_new(w->options->shared, &sink, e));
            r = copy_one(w, c, sink, &w->model->tables[w->order[i]], true, e);
        }
        if (r == -EWOULDBLOCK) { /* left for the coordinator, which has the lock */
            error_release(e);
            sink_free(sink);
            sink = NULL;
            r = 0;
        }
        TRY(r);
    }
    return 0;
}

static void *worker(void *arg)
{
    Work *w = arg;
    Error e = ERROR_INIT;
    _cleanup_(conn_closep) Conn *c = NULL;
    if (join_snapshot(w, &c, &e) < 0) { /* the others, or the coordinator, do its work */
        error_release(&e);
        pthread_mutex_lock(&w->lock);
        w->idle++;
        pthread_mutex_unlock(&w->lock);
        return NULL;
    }
    int r = work(w, c, &e);
    if (r < 0)
        fail(w, r, &e);
    return NULL;
}

static int make_order(Work *w)
{
    Model *m = w->model;
    w->order = calloc(m->n_tables + 1, sizeof(size_t));
    w->taken = calloc(m->n_tables + 1, sizeof(bool));
    w->splits = calloc(m->n_tables + 1, sizeof(Split *));
    if (!w->order || !w->taken || !w->splits)
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
    bool is_any_split = false;
    for (size_t i = 0; i < w->n && !is_any_split; i++)
        is_any_split = is_split(w, i);
    while (started < wanted && ((size_t)started < w->n || is_any_split) &&
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

static void release(Work *w)
{
    for (size_t i = 0; i < w->n; i++)
        split_free(w->splits[i]);
    free(w->splits);
    free(w->taken);
    free(w->order);
    pthread_mutex_destroy(&w->lock);
}

int copy_tables(const CopyOptions *o, Snapshot *s, Model *m, Error *e)
{
    Work w = {.options = o,
              .snapshot_id = s->id,
              .model = m,
              .cancel = o->shared->options->cancel,
              .lock = PTHREAD_MUTEX_INITIALIZER};
    if (make_order(&w) < 0) {
        release(&w);
        return error_oom(e);
    }
    qsort_r(w.order, w.n, sizeof(size_t), by_size, m);
    run_workers(&w);
    tell_idle(&w);
    int r = w.result;
    if (r == 0 && should_stop(&w))
        r = error_set(&w.error, EINTR, "interrupted");
    if (r == 0)
        r = read_rest(&w, s->coordinator, &w.error);
    release(&w);
    if (r < 0)
        error_move(e, &w.error);
    return r;
}
