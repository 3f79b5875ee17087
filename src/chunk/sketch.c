#include "chunk/sketch.h"

#include <string.h>
#define XXH_INLINE_ALL /* parts are short: a call each would cost more than the hash */
#include <xxhash.h>

#define PICKS     12
#define BLOCK     256   /* bytes of a part where there are no rows */
#define PART_MAX  65536 /* a longer row counts as several parts */
#define MAX_PARTS 4096  /* of very many small rows the first will do */

/* Odd multipliers for the 12 orders in which the parts are put: splitmix64 from a fixed seed. */
static const uint64_t multipliers[PICKS] = {
    0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93,
    0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3,
    0x1d8e4e27c47d124f, 0xeb44accab455d165, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9,
};

static void pick(uint64_t minima[PICKS], uint64_t hash)
{
    for (int i = 0; i < PICKS; i++) {
        uint64_t v = hash * multipliers[i];
        minima[i] = v < minima[i] ? v : minima[i];
    }
}

static size_t part_end(CutKind kind, const uint8_t *data, size_t at, size_t len)
{
    if (kind != CUT_ROWS)
        return at + BLOCK < len ? at + BLOCK : len;
    size_t limit = at + PART_MAX < len ? at + PART_MAX : len;
    const uint8_t *nl = memchr(data + at, '\n', limit - at);
    return nl ? (size_t)(nl - data) + 1 : limit;
}

void sketch_of(CutKind kind, const uint8_t *data, size_t len, Sketch *ret_sketch)
{
    uint64_t minima[PICKS];
    memset(minima, 0xff, sizeof(minima));
    size_t parts = 0;
    for (size_t at = 0, end; at < len && parts < MAX_PARTS; at = end, parts++) {
        end = part_end(kind, data, at, len);
        pick(minima, XXH3_64bits(data + at, end - at));
    }
    for (int i = 0; i < SKETCH_FEATURES; i++)
        ret_sketch->feature[i] = (uint32_t)XXH3_64bits(&minima[i * (PICKS / SKETCH_FEATURES)],
                                                       sizeof(minima[0]) * PICKS / SKETCH_FEATURES);
}
