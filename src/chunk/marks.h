/* Marks: where the previous version of a file was cut, so that the next is cut there too. A cut
 * found by content alone vanishes with the row it depends on; one that is also remembered by the
 * row that follows it stays. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MARK_HEAD 32 /* bytes of a chunk's beginning that stand for it */

/* A set of 64-bit values: heads of chunks, or their offsets. Open addressing. Not thread-safe
 * while it changes. */
typedef struct Marks {
    uint64_t *slots; /* owned; 0 is free */
    size_t capacity; /* a power of two, or 0 */
    size_t count;
} Marks;

#define MARKS_INIT ((Marks){0})
void marks_release(Marks *m);

/* 0 or -ENOMEM. 0 is no value and ignored. */
int marks_add(Marks *m, uint64_t value);
bool marks_has(const Marks *m, uint64_t value);

/* What stands for a chunk: a hash of its first MARK_HEAD bytes, or of all when it is shorter. Never
 * 0 unless `len` is. */
uint64_t mark_head(const uint8_t *data, size_t len);
