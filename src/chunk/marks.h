/* Marks: where the previous version of a file was cut, so that the next is cut there too. A cut
 * found by content alone vanishes with the row it depends on; one that is also remembered by the
 * row that follows it stays. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MARK_HEAD 32 /* bytes of a chunk's beginning that stand for it */

/* A chunk of the previous version. */
typedef struct Mark {
    uint64_t head;    /* mark_head of it; 0 when not known */
    uint64_t offset;  /* where it began in the file */
    bool is_repeated; /* a later chunk has the same head */
} Mark;

/* Its chunks in the file's order, and their heads by open addressing. Not thread-safe while it
 * changes. */
typedef struct Marks {
    Mark *list; /* owned */
    size_t n, capacity;
    uint32_t *slots; /* owned; 1 + position in `list`; 0 is free */
    size_t n_slots;  /* a power of two, or 0 */
    size_t n_repeats;
} Marks;

#define MARKS_INIT ((Marks){0})
#define MARKS_NONE SIZE_MAX
void marks_release(Marks *m);

/* Append the chunk that followed. -ENOMEM. */
int marks_add(Marks *m, uint64_t head, uint64_t offset);

/* The position in `list` of the one chunk with that head, or MARKS_NONE. */
size_t marks_find(const Marks *m, uint64_t head);

/* The position of the first chunk that began at `offset` or later; `n` when none did. */
size_t marks_from(const Marks *m, uint64_t offset);

/* Whether heads tell chunks apart. Where rows begin alike, as with a customer's number in the first
 * column, they don't. */
bool marks_are_telling(const Marks *m);

/* What stands for a chunk: a hash of its first MARK_HEAD bytes, or of all when it is shorter. Never
 * 0 unless `len` is. */
uint64_t mark_head(const uint8_t *data, size_t len);
