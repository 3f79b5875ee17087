/* A bounded queue of pointers between threads. Thread-safe. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct Queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    void **items;
    size_t capacity, head, count;
    bool closed;
} Queue;

/* 0 or -ENOMEM. `capacity` is at least 1. */
int queue_init(Queue *q, size_t capacity);

/* The queue must be empty, or its items be the caller's business. */
void queue_release(Queue *q);

/* Wait for room and add `item` (not NULL). -EPIPE when the queue was closed. */
int queue_push(Queue *q, void *item);

/* Wait for an item; NULL when the queue is closed and empty. */
void *queue_pop(Queue *q);

/* No more pushes; those who wait wake up. */
void queue_close(Queue *q);
