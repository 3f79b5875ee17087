#include "restore/postgres/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "restore/postgres/dump.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

typedef struct Pool {
    const PoolOptions *o;
    pthread_mutex_t lock; /* of what follows */
    size_t next;
    Error first; /* failure; errnum 0: none */
} Pool;

/* The next task, or SIZE_MAX when there is none or one has failed. */
static size_t take(Pool *p)
{
    pthread_mutex_lock(&p->lock);
    size_t i = p->first.errnum || p->next >= p->o->n ? SIZE_MAX : p->next++;
    pthread_mutex_unlock(&p->lock);
    return i;
}

static int work(Pool *p, Worker *w, Error *e)
{
    const PoolOptions *o = p->o;
    TRY(session_open(o->ci, o->content->options, &w->session, e));
    TRY(session_run(&w->session, o->settings, e));
    TRY(content_file(o->content, DUMP_NAME, &w->archive, e));
    for (size_t i; (i = take(p)) != SIZE_MAX;)
        TRY(o->task(w, o->ctx, o->first + i, e));
    return 0;
}

static void *run_worker(void *arg)
{
    Pool *p = arg;
    Worker w = {0};
    Error e = ERROR_INIT;
    int r = work(p, &w, &e);
    session_close(&w.session);
    reader_close(w.archive);
    if (r < 0) {
        pthread_mutex_lock(&p->lock);
        if (!p->first.errnum)
            error_move(&p->first, &e);
        pthread_mutex_unlock(&p->lock);
    }
    error_release(&e);
    return NULL;
}

int pool_run(const PoolOptions *o, Error *e)
{
    Pool p = {.o = o, .lock = PTHREAD_MUTEX_INITIALIZER};
    size_t jobs = (size_t)o->jobs < o->n ? (size_t)o->jobs : o->n, started = 0;
    _cleanup_free_ pthread_t *threads = calloc(jobs + 1, sizeof(*threads));
    if (!threads)
        return error_oom(e);
    /* Signals are for the main thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    while (started < jobs && pthread_create(&threads[started], NULL, run_worker, &p) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (p.first.errnum)
        return error_move(e, &p.first);
    return started == 0 && o->n > 0 ? error_set(e, EAGAIN, "can't start a thread") : 0;
}
