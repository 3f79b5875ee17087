/* Content-defined cutting: a gear hash picks the place, a rule moves it to the end of a row or
 * page. Equal content gets equal cuts wherever it stands. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "chunk/marks.h"

#define CUT_MIN (32u << 10)  /* bytes: no cut before */
#define CUT_AVG (128u << 10) /* bytes: what the hash aims at */
#define CUT_MAX (512u << 10) /* bytes: a cut at the latest */

typedef enum CutKind {
    CUT_ROWS,  /* after a newline, when one is near */
    CUT_PAGES, /* at multiples of the page size */
} CutKind;

typedef struct CutRule {
    CutKind kind;
    uint32_t page_size; /* CUT_PAGES: a power of two, 512 to 65536 */
} CutRule;

typedef struct Cutter {
    CutRule rule;
    const Marks *marks; /* borrowed; NULL: cut by content alone */
    uint64_t offset;    /* of the current chunk in the file */
    size_t next;        /* the mark expected to begin the next chunk */
    bool is_aligned;    /* the current chunk begins where the mark before that did */
    bool is_placed;     /* whether it does was looked at */
    unsigned strayed;   /* chunks in a row that content alone has ended */
    size_t marked;      /* bytes of the current chunk already searched for marks */
    uint64_t hash;      /* rolling gear hash */
    size_t scanned;     /* bytes of the current chunk already looked at */
    size_t candidate;   /* where the hash wants a cut, 0 when nowhere yet */
} Cutter;

void cutter_init(Cutter *c, CutRule rule);

/* Cut where the previous version was cut. Before the first byte. `marks` must outlive the cutter's
 * use. A file that did not change is cut just as it was. */
void cutter_follow(Cutter *c, const Marks *marks);

/* Look at `len` bytes that start a chunk (call again with the same start and more bytes until it
 * answers). Returns the chunk's length, or 0 when more bytes are needed to tell. With
 * `at_end` the answer is never 0 unless len is 0. After an answer the cutter is ready for the next
 * chunk. Guarantees min(len, CUT_MIN) <= answer <= CUT_MAX. */
size_t cutter_next(Cutter *c, const uint8_t *data, size_t len, int at_end);
