#include "chunk/cutter.h"

#include <pthread.h>
#include <string.h>

/* The gear hash shifts left once a byte, so it depends on the last 64 bytes only. */
#define WINDOW 64
/* 17 bits: a place every 128 KiB beyond CUT_MIN on average. High bits, which depend on the most
 * bytes. */
#define MASK 0xffff800000000000ULL
/* How far a cut may move to reach the end of a row. */
#define ROW_REACH (64u << 10)

static uint64_t gear[256];
static pthread_once_t gear_once = PTHREAD_ONCE_INIT;

/* splitmix64 (Steele, Lea, Flood 2014) from a fixed seed: every build has the same table. */
static void fill_gear(void)
{
    uint64_t state = 0x62616b6673; /* "bakfs" */
    for (int i = 0; i < 256; i++) {
        uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        gear[i] = z ^ (z >> 31);
    }
}

static void restart(Cutter *c)
{
    c->hash = 0;
    c->scanned = CUT_MIN - WINDOW;
    c->candidate = 0;
}

void cutter_init(Cutter *c, CutRule rule)
{
    pthread_once(&gear_once, fill_gear);
    c->rule = rule;
    restart(c);
}

/* Roll over new bytes until the hash wants a cut; sets candidate to the length up to there. */
static void find_candidate(Cutter *c, const uint8_t *data, size_t len)
{
    uint64_t hash = c->hash;
    size_t i = c->scanned;
    for (; i < len && i < CUT_MIN; i++)
        hash = (hash << 1) + gear[data[i]];
    for (; i < len; i++) {
        hash = (hash << 1) + gear[data[i]];
        if (!(hash & MASK)) {
            c->candidate = i + 1;
            break;
        }
    }
    c->hash = hash;
    c->scanned = c->candidate ? c->candidate : i;
}

/* Where a cut wanted at `candidate` falls by the rule; 0 when more bytes are needed to tell. */
static size_t apply_rule(Cutter *c, const uint8_t *data, size_t len)
{
    size_t at = c->candidate;
    if (c->rule.kind == CUT_PAGES) {
        size_t page = c->rule.page_size;
        at = (at + page - 1) / page * page;
        return at <= len ? at : 0;
    }
    if (c->rule.kind == CUT_ROWS && data[at - 1] != '\n') {
        size_t reach = at + ROW_REACH < CUT_MAX ? at + ROW_REACH : CUT_MAX;
        size_t end = reach < len ? reach : len;
        size_t from = c->scanned > at ? c->scanned : at;
        const uint8_t *nl = from < end ? memchr(data + from, '\n', end - from) : NULL;
        if (nl)
            return (size_t)(nl - data) + 1;
        c->scanned = end;
        return end == reach ? at : 0;
    }
    return at;
}

/* No place was found up to CUT_MAX: the last row end near it, or right there. */
static size_t forced_cut(const Cutter *c, const uint8_t *data)
{
    if (c->rule.kind == CUT_ROWS) {
        const uint8_t *nl = memrchr(data + CUT_MAX - ROW_REACH, '\n', ROW_REACH);
        if (nl)
            return (size_t)(nl - data) + 1;
    }
    return CUT_MAX;
}

size_t cutter_next(Cutter *c, const uint8_t *data, size_t len, int at_end)
{
    size_t limit = len < CUT_MAX ? len : CUT_MAX, cut = 0;
    if (!c->candidate && limit > c->scanned)
        find_candidate(c, data, limit);
    if (c->candidate)
        cut = apply_rule(c, data, limit);
    else if (limit == CUT_MAX)
        cut = forced_cut(c, data);
    if (!cut && at_end)
        cut = limit;
    if (cut)
        restart(c);
    return cut;
}
