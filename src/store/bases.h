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

/* A chunk of the new version. */
typedef struct BaseQuery {
    ObjectId id;
    Sketch sketch;
    uint64_t head;   /* mark_head of it */
    uint64_t offset; /* where it stands in the file */
} BaseQuery;

/* How it is to be stored. */
typedef struct BaseChoice {
    ObjectId id;   /* of the base */
    uint8_t depth; /* of the new record */
    uint8_t age;
    bool is_guess; /* no sketch matched: the base begins alike, or stood at that place */
} BaseChoice;

/* False: store it whole. Thread-safe once all chunks are added. */
bool bases_choose(Bases *b, const BaseQuery *query, BaseChoice *ret_choice);

/* Whether a delta of `stored` bytes is worth it for a chunk of `len`: by what chunks of this file
 * take whole, so that not everything has to be compressed twice. Thread-safe. */
bool bases_pays(Bases *b, size_t len, size_t stored);

/* Tell what a chunk took whole. Thread-safe. */
void bases_note_whole(Bases *b, size_t len, size_t stored);

/* Tell whether a choice paid: guesses that keep failing are not made any more. Thread-safe. */
void bases_learn(Bases *b, const BaseChoice *choice, bool paid);

/* The age a chunk that is stored whole begins with: spread, so that the chunks of a table do not
 * reach the end of their chains in the same backup. */
uint8_t bases_first_age(const ObjectId *id);
