/* Bases: the chunks of a file's previous version, among which a new chunk finds the one that it is
 * stored as a delta of: by sketch, else by position. docs/performance.md has the measurements. */
#pragma once

#include "chunk/sketch.h"
#include "store/store.h"

typedef struct Bases Bases;

/* None yet. 0 or -ENOMEM. */
int bases_new(Store *s, Bases **ret_bases);
void bases_free(Bases *b); /* NULL is allowed */

/* Add the previous version's next chunk: its object and where in the file it stood. Chunks come in
 * order. Not thread-safe. -ENOMEM. */
int bases_add(Bases *b, const ObjectId *id, uint64_t offset);

/* After the last bases_add: where the previous version was cut, for a cutter. Empty when that is
 * not known. Valid as long as `b`. Looks the chunks up in the packs' indexes. */
const Marks *bases_marks(Bases *b);

/* How a new chunk is to be stored. */
typedef struct BaseChoice {
    ObjectId id;   /* of the base */
    uint8_t depth; /* of the new record */
    uint8_t age;
    bool by_position; /* no sketch matched: a guess */
} BaseChoice;

/* Choose for a chunk `id` of the new version, which stands at `offset`. False: store it whole.
 * Thread-safe once all chunks are added. */
bool bases_choose(Bases *b, const ObjectId *id, const Sketch *sketch, uint64_t offset,
                  BaseChoice *ret_choice);

/* Tell whether a choice paid: guesses that keep failing are not made any more. Thread-safe. */
void bases_learn(Bases *b, const BaseChoice *choice, bool paid);

/* The age a chunk that is stored whole begins with: spread, so that the chunks of a table do not
 * reach the end of their chains in the same backup. */
uint8_t bases_first_age(const ObjectId *id);
