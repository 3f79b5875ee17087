#include "source/postgres/joiner.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

#define BLOCK_SIZE (256u << 10)           /* bytes kept in one allocation */
#define WAIT_NS    (200l * 1000l * 1000l) /* between two looks whether to stop */

typedef struct Block {
    struct Block *next;
    size_t len;
    uint8_t data[BLOCK_SIZE];
} Block;

/* A piece that waits. */
typedef struct Piece {
    Block *first, *last;
    bool ended;
} Piece;

/* `lock` guards all that follows it. Only the thread that `turn` belongs to calls `write`, without
 * the lock: of piece `turn` the one that brings it, or, when it ended early, the one that moved the
 * turn there. */
struct Joiner {
    JoinerOptions options;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* the turn, or bytes were passed on */
    Piece *pieces;
    size_t taken, turn;
    size_t kept; /* bytes */
};

int joiner_new(const JoinerOptions *o, Joiner **ret_joiner)
{
    Joiner *j = calloc(1, sizeof(*j));
    if (!j)
        return -ENOMEM;
    j->options = *o;
    j->pieces = calloc(o->pieces + 1, sizeof(*j->pieces));
    if (!j->pieces) {
        free(j);
        return -ENOMEM;
    }
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->moved, NULL);
    *ret_joiner = j;
    return 0;
}

static void free_blocks(Block *b)
{
    while (b) {
        Block *next = b->next;
        free(b);
        b = next;
    }
}

void joiner_free(Joiner *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < j->options.pieces; i++)
        free_blocks(j->pieces[i].first);
    free(j->pieces);
    pthread_cond_destroy(&j->moved);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

size_t joiner_take(Joiner *j)
{
    pthread_mutex_lock(&j->lock);
    size_t piece = j->taken < j->options.pieces ? j->taken++ : SIZE_MAX;
    pthread_mutex_unlock(&j->lock);
    return piece;
}

bool joiner_has_pieces(Joiner *j)
{
    pthread_mutex_lock(&j->lock);
    bool has = j->taken < j->options.pieces;
    pthread_mutex_unlock(&j->lock);
    return has;
}

/* Wait for room for `len` bytes, or until `piece` has its turn. Locked. */
static int wait_room(Joiner *j, size_t piece, size_t len, Error *e)
{
    while (j->turn != piece && j->kept + len > j->options.budget) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_NS;
        if (until.tv_nsec >= 1000000000l) {
            until.tv_nsec -= 1000000000l;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&j->moved, &j->lock, &until);
        if (j->options.should_stop && j->options.should_stop(j->options.stop_ctx))
            return error_set(e, EINTR, "interrupted");
    }
    return 0;
}

/* Locked. */
static int keep(Joiner *j, Piece *p, const uint8_t *data, size_t len)
{
    while (len > 0) {
        if (!p->last || p->last->len == BLOCK_SIZE) {
            Block *b = malloc(sizeof(*b));
            if (!b)
                return -ENOMEM;
            b->next = NULL;
            b->len = 0;
            if (p->last)
                p->last->next = b;
            else
                p->first = b;
            p->last = b;
        }
        size_t n = BLOCK_SIZE - p->last->len;
        n = n < len ? n : len;
        memcpy(p->last->data + p->last->len, data, n);
        p->last->len += n;
        j->kept += n;
        data += n;
        len -= n;
    }
    return 0;
}

/* Pass on what is kept of the piece whose turn it is. Locked; unlocks while it writes. */
static int flush(Joiner *j, size_t piece, Error *e)
{
    Piece *p = &j->pieces[piece];
    int r = 0;
    while (r == 0 && p->first) {
        Block *b = p->first;
        p->first = b->next;
        if (!p->first)
            p->last = NULL;
        pthread_mutex_unlock(&j->lock);
        r = j->options.write(j->options.write_ctx, b->data, b->len, e);
        pthread_mutex_lock(&j->lock);
        j->kept -= b->len;
        pthread_cond_broadcast(&j->moved);
        free(b);
    }
    return r;
}

int joiner_write(Joiner *j, size_t piece, const void *data, size_t len, Error *e)
{
    pthread_mutex_lock(&j->lock);
    int r = wait_room(j, piece, len, e);
    bool has_turn = j->turn == piece;
    if (r == 0 && has_turn)
        r = flush(j, piece, e);
    else if (r == 0 && keep(j, &j->pieces[piece], data, len) < 0)
        r = error_oom(e);
    pthread_mutex_unlock(&j->lock);
    if (r == 0 && has_turn)
        r = j->options.write(j->options.write_ctx, data, len, e);
    return r;
}

int joiner_end(Joiner *j, size_t piece, Error *e)
{
    int r = 0;
    pthread_mutex_lock(&j->lock);
    j->pieces[piece].ended = true;
    /* The pieces that follow and have ended too have nobody else to pass them on. */
    while (r == 0 && j->turn == piece && j->pieces[piece].ended) {
        r = flush(j, piece, e);
        if (r < 0)
            break;
        j->turn++;
        pthread_cond_broadcast(&j->moved);
        if (++piece == j->options.pieces)
            r = 1;
    }
    pthread_mutex_unlock(&j->lock);
    return r;
}
