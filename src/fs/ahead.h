/* Ahead: threads that load objects into the cache before a reader asks for them. Thread-safe. */
#pragma once

#include <stdbool.h>

#include "store/object.h"

typedef struct Ahead Ahead;

/* Start `threads` (at least 1) that get objects from `objects`, which must outlive them. */
int ahead_new(ObjectSource *objects, unsigned threads, Ahead **ret_ahead, Error *e);

/* Wait for the loads under way and forget the others. NULL is allowed. */
void ahead_free(Ahead *a);

/* Ask for an object; never waits. False when so much is asked for already that this is not
 * taken. Failures are not told: whoever reads the object meets them. */
bool ahead_load(Ahead *a, const ObjectId *id);
