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

/* Where content decides with marks at hand: late, or every changed row could add a cut, and as the
 * marks keep all there are, chunks would get smaller from version to version. */
#define MARKED_MIN (CUT_AVG / 2 * 3)

static size_t first_look(const Cutter *c)
{
    return c->marks ? MARKED_MIN : CUT_MIN;
}

static void restart(Cutter *c)
{
    c->hash = 0;
    c->scanned = first_look(c) - WINDOW;
    c->candidate = 0;
    c->marked = CUT_MIN;
}

void cutter_init(Cutter *c, CutRule rule)
{
    pthread_once(&gear_once, fill_gear);
    *c = (Cutter){.rule = rule};
    restart(c);
}

void cutter_follow(Cutter *c, const Marks *marks)
{
    c->marks = marks->count ? marks : NULL;
    restart(c);
}

/* The first row that a chunk of the previous version began with. */
static size_t find_row_mark(Cutter *c, const uint8_t *data, size_t len)
{
    while (c->marked + MARK_HEAD <= len) {
        const uint8_t *nl = memchr(data + c->marked - 1, '\n', len - MARK_HEAD - c->marked + 1);
        if (!nl) {
            c->marked = len - MARK_HEAD + 1;
            break;
        }
        size_t row = (size_t)(nl - data) + 1;
        c->marked = row + 1;
        if (marks_has(c->marks, mark_head(data + row, MARK_HEAD)))
            return row;
    }
    return 0;
}

static size_t find_page_mark(Cutter *c, size_t len)
{
    size_t page = c->rule.page_size;
    size_t at = (c->marked + page - 1) / page * page;
    for (; at <= len; at += page)
        if (marks_has(c->marks, c->offset + at))
            return at;
    c->marked = at;
    return 0;
}

static size_t find_mark(Cutter *c, const uint8_t *data, size_t len)
{
    if (!c->marks)
        return 0;
    return c->rule.kind == CUT_PAGES ? find_page_mark(c, len) : find_row_mark(c, data, len);
}

/* Roll over new bytes until the hash wants a cut; sets candidate to the length up to there. */
static void find_candidate(Cutter *c, const uint8_t *data, size_t len)
{
    uint64_t hash = c->hash;
    size_t i = c->scanned;
    for (; i < len && i < first_look(c); i++)
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
    size_t limit = len < CUT_MAX ? len : CUT_MAX;
    if (!c->candidate && limit > c->scanned)
        find_candidate(c, data, limit);
    /* A mark counts before the place that content wants, whatever lies behind that: cuts must not
     * depend on how many bytes came at once. */
    size_t search = limit;
    if (c->marks && c->candidate && c->candidate + MARK_HEAD < limit)
        search = c->candidate + MARK_HEAD;
    else if (c->marks && c->candidate && limit < CUT_MAX && !at_end)
        return 0;
    size_t cut = find_mark(c, data, search);
    if (cut)
        ;
    else if (c->candidate)
        cut = apply_rule(c, data, limit);
    else if (limit == CUT_MAX)
        cut = forced_cut(c, data);
    if (!cut && at_end)
        cut = limit;
    if (cut) {
        c->offset += cut;
        restart(c);
    }
    return cut;
}
