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

/* A mark is good so many chunks before and after its turn (before: the one that came last may have
 * been a row that moved), and everywhere once content alone has cut so many chunks. */
#define MARKS_AROUND 64
#define STRAYED      8

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
    bool is_of_use = marks->n > 0 && (c->rule.kind == CUT_PAGES || marks_are_telling(marks));
    c->marks = is_of_use ? marks : NULL;
    c->next = 1;
    c->is_aligned = c->is_placed = true; /* both begin at the file's beginning */
    restart(c);
}

static bool follows_rows(const Cutter *c)
{
    return c->marks && c->rule.kind == CUT_ROWS;
}

/* Whether mark `i` may come now. A row that tells its chunk may have moved, or not be the only one
 * that begins so. */
static bool is_expected(const Cutter *c, size_t i)
{
    size_t distance = i > c->next ? i - c->next : c->next - i;
    return i != MARKS_NONE && (distance < MARKS_AROUND || c->strayed >= STRAYED);
}

/* The next chunk begins where mark `i` did. */
static void align(Cutter *c, size_t i)
{
    c->next = i + 1;
    c->is_aligned = c->is_placed = true;
    c->strayed = 0;
}

static void stray(Cutter *c)
{
    c->is_aligned = c->is_placed = false;
    c->strayed++;
}

/* After a cut by content alone: see whether the previous version was cut here too. */
static void find_place(Cutter *c, const uint8_t *data, size_t len)
{
    size_t i = marks_find(c->marks, mark_head(data, len));
    c->is_placed = true;
    if (is_expected(c, i))
        align(c, i);
}

/* The chunk's length in the previous version, if what came next then comes next now; 0 if it does
 * not. False when more bytes are needed to tell. */
static bool find_old_length(const Cutter *c, const uint8_t *data, size_t len, bool is_all,
                            size_t *ret_length)
{
    *ret_length = 0;
    if (!c->is_aligned || c->next >= c->marks->n)
        return true;
    const Mark *next = &c->marks->list[c->next];
    uint64_t length = next->offset - next[-1].offset;
    if (length < CUT_MIN || length > CUT_MAX - MARK_HEAD) /* the latter content finds again */
        return true;
    if (len < length + MARK_HEAD && !is_all)
        return false;
    if (len > length && mark_head(data + length, len - (size_t)length) == next->head)
        *ret_length = (size_t)length;
    return true;
}

/* The first row that a chunk of the previous version, mark `ret_mark`, began with. */
static size_t find_row_mark(Cutter *c, const uint8_t *data, size_t len, size_t *ret_mark)
{
    while (c->marked + MARK_HEAD <= len) {
        const uint8_t *nl = memchr(data + c->marked - 1, '\n', len - MARK_HEAD - c->marked + 1);
        if (!nl) {
            c->marked = len - MARK_HEAD + 1;
            break;
        }
        size_t row = (size_t)(nl - data) + 1;
        c->marked = row + 1;
        size_t i = marks_find(c->marks, mark_head(data + row, MARK_HEAD));
        if (is_expected(c, i)) {
            *ret_mark = i;
            return row;
        }
    }
    return 0;
}

static size_t find_page_mark(const Cutter *c, size_t len)
{
    const Marks *m = c->marks;
    for (size_t i = marks_from(m, c->offset + CUT_MIN); i < m->n; i++) {
        uint64_t at = m->list[i].offset - c->offset;
        if (at > len)
            break;
        if (at % c->rule.page_size == 0)
            return (size_t)at;
    }
    return 0;
}

static size_t find_mark(Cutter *c, const uint8_t *data, size_t len, size_t *ret_mark)
{
    if (!c->marks)
        return 0;
    return follows_rows(c) ? find_row_mark(c, data, len, ret_mark) : find_page_mark(c, len);
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
    if (data[at - 1] == '\n')
        return at;
    size_t reach = at + ROW_REACH < CUT_MAX ? at + ROW_REACH : CUT_MAX;
    size_t end = reach < len ? reach : len;
    size_t from = c->scanned > at ? c->scanned : at;
    const uint8_t *nl = from < end ? memchr(data + from, '\n', end - from) : NULL;
    if (nl)
        return (size_t)(nl - data) + 1;
    c->scanned = end;
    return end == reach ? at : 0;
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

/* Where content wants the cut, or a mark before that. 0 when more bytes are needed to tell. */
static size_t find_cut(Cutter *c, const uint8_t *data, size_t limit, bool is_all, size_t *ret_mark)
{
    if (!c->candidate && limit > c->scanned)
        find_candidate(c, data, limit);
    /* A mark counts before the place that content wants, whatever lies behind that: cuts must not
     * depend on how many bytes came at once. */
    size_t search = limit;
    if (c->marks && c->candidate && c->candidate + MARK_HEAD < limit)
        search = c->candidate + MARK_HEAD;
    else if (c->marks && c->candidate && !is_all)
        return 0;
    size_t cut = find_mark(c, data, search, ret_mark);
    if (cut)
        return cut;
    if (c->candidate)
        return apply_rule(c, data, limit);
    return limit == CUT_MAX ? forced_cut(c, data) : 0;
}

size_t cutter_next(Cutter *c, const uint8_t *data, size_t len, int at_end)
{
    size_t limit = len < CUT_MAX ? len : CUT_MAX, cut = 0, mark = MARKS_NONE;
    bool is_all = at_end || limit == CUT_MAX; /* no more will come */
    if (follows_rows(c)) {
        if (limit < MARK_HEAD && !is_all)
            return 0;
        if (!c->is_placed)
            find_place(c, data, limit);
        if (!find_old_length(c, data, limit, is_all, &cut))
            return 0;
    }
    if (cut)
        mark = c->next;
    else
        cut = find_cut(c, data, limit, is_all, &mark);
    if (!cut && at_end)
        cut = limit;
    if (cut) {
        c->offset += cut;
        mark != MARKS_NONE ? align(c, mark) : stray(c);
        restart(c);
    }
    return cut;
}
