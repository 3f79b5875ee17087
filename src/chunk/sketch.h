/* Sketch: a few numbers by which two similar chunks know each other. A chunk is seen as a set of
 * small parts (rows, or blocks of pages); each of 12 hash functions picks one part of the set, and
 * four picks together make a super-feature. Chunks that share most parts share a super-feature with
 * high probability: 2 % of the rows changed leave all three different in about one of 2,000
 * (min-wise hashing, Broder 1997; super-features, Broder 2000). */
#pragma once

#include <stdbool.h>

#include "chunk/cutter.h"

#define SKETCH_FEATURES 3

typedef struct Sketch {
    uint32_t feature[SKETCH_FEATURES]; /* all zero: none was computed */
} Sketch;

/* Thread-safe. */
void sketch_of(CutKind kind, const uint8_t *data, size_t len, Sketch *ret_sketch);

static inline bool sketch_is_empty(const Sketch *s)
{
    return !s->feature[0] && !s->feature[1] && !s->feature[2];
}
