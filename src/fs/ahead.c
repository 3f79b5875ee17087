#include "fs/ahead.h"

#include <pthread.h>
#include <stdlib.h>

#define ASKED_MAX 256u /* objects: some 32 MiB as files are usually cut */

struct Ahead {
    ObjectSource *objects;
    pthread_mutex_t lock; /* guards what follows, but for `threads` */
    pthread_cond_t some;
    ObjectId asked[ASKED_MAX];
    unsigned head, n;
    bool ending;
    unsigned n_threads;
    pthread_t threads[];
};

static void *work(void *arg)
{
    Ahead *a = arg;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (a->n == 0 && !a->ending)
            pthread_cond_wait(&a->some, &a->lock);
        if (a->ending)
            break;
        ObjectId id = a->asked[a->head];
        a->head = (a->head + 1) % ASKED_MAX;
        a->n--;
        pthread_mutex_unlock(&a->lock);
        Object *o = NULL;
        if (object_get(a->objects, &id, &o, NULL) == 0)
            object_unref(o);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

int ahead_new(ObjectSource *objects, unsigned threads, Ahead **ret_ahead, Error *e)
{
    Ahead *a = calloc(1, sizeof(*a) + threads * sizeof(*a->threads));
    if (!a)
        return error_oom(e);
    a->objects = objects;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->some, NULL);
    for (; a->n_threads < threads; a->n_threads++) {
        int r = pthread_create(&a->threads[a->n_threads], NULL, work, a);
        if (r != 0) {
            ahead_free(a);
            return error_errno(e, r, "cannot start a thread");
        }
    }
    *ret_ahead = a;
    return 0;
}

void ahead_free(Ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->ending = true;
    pthread_cond_broadcast(&a->some);
    pthread_mutex_unlock(&a->lock);
    for (unsigned i = 0; i < a->n_threads; i++)
        pthread_join(a->threads[i], NULL);
    pthread_cond_destroy(&a->some);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

bool ahead_load(Ahead *a, const ObjectId *id)
{
    pthread_mutex_lock(&a->lock);
    bool taken = a->n < ASKED_MAX;
    if (taken) {
        a->asked[(a->head + a->n++) % ASKED_MAX] = *id;
        pthread_cond_signal(&a->some);
    }
    pthread_mutex_unlock(&a->lock);
    return taken;
}
