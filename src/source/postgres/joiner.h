/* Joiner: puts pieces of one stream that several threads bring at the same time in their order.
 * The thread whose piece is next passes its bytes on at once; what the others bring is kept, up to
 * a limit, beyond which they wait. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

typedef struct Joiner Joiner;

typedef struct JoinerOptions {
    size_t pieces; /* how many there are; numbered from 0 */
    size_t budget; /* bytes kept at most */
    /* Takes the bytes in their order. By one thread at a time, any thread. */
    int (*write)(void *ctx, const void *data, size_t len, Error *e);
    /* Called now and then by a thread that waits: true ends the wait with -EINTR. */
    bool (*should_stop)(void *ctx);
    void *write_ctx, *stop_ctx;
} JoinerOptions;

/* 0 or -ENOMEM. Thread-safe. */
int joiner_new(const JoinerOptions *o, Joiner **ret_joiner);
void joiner_free(Joiner *j); /* NULL is allowed; nobody may use it any more */

/* The next piece that nobody brings yet, or SIZE_MAX when there is none left. Whoever takes one
 * must bring it to its end, or have everybody stop. */
size_t joiner_take(Joiner *j);
bool joiner_has_pieces(Joiner *j); /* whether there is one to take */

/* More of a piece that was taken. An error of `write`, -EINTR, -ENOMEM. */
int joiner_write(Joiner *j, size_t piece, const void *data, size_t len, Error *e);

/* End of a piece. 1 when it was the last that lacked, so that everything is written; else 0; errors
 * as above. */
int joiner_end(Joiner *j, size_t piece, Error *e);
