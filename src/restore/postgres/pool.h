/* Pool: tasks done by several sessions at once. */
#pragma once

#include "restore/content.h"
#include "restore/postgres/session.h"
#include "restore/reader.h"

typedef struct Worker {
    Session session;
    Reader *archive; /* of the backup's archive */
} Worker;

/* Do task number `i`. Called from several threads, each with its own worker. */
typedef int (*PoolTask)(Worker *w, void *ctx, size_t i, Error *e);

typedef struct PoolOptions {
    const Content *content;
    const ConnInfo *ci;   /* where the sessions go */
    const char *settings; /* commands each begins with */
    int jobs;             /* sessions, at most */
    size_t first, n;      /* tasks, begun in order */
    PoolTask task;
    void *ctx;
} PoolOptions;

/* Do them all. The first failure is given; tasks not begun by then are not done. */
int pool_run(const PoolOptions *o, Error *e);
