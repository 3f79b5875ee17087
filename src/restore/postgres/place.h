/* Place: the database that --create makes, from nothing to its name. One that takes the place of
 * another is made under a temporary name and gets its own when it is complete: until then the old
 * one is as it was. */
#pragma once

#include "restore/postgres/session.h"
#include "source/postgres/archive.h"

typedef struct Place {
    const RestoreOptions *o;
    const char *spec;      /* the target's connection string */
    const ConnInfo *given; /* the same, parsed */
    const Archive *toc;
    char temporary[32]; /* name until it is complete; empty: made under its own */
    bool is_made;
    bool is_complete; /* never dropped from here on */
} Place;

/* Look whether it may be made, ask where one is to be replaced, and make it. Fill in o, spec, given
 * and toc before, all borrowed. */
int place_make(Place *p, Session *admin, Error *e);

/* How to connect to it. */
int place_conninfo(const Place *p, ConnInfo *ret_ci, Error *e);

/* All is restored and no session of ours is left: drop the old one, give the name to the new. */
int place_finish(Place *p, Error *e);

/* After the failure `e`: drop what was made, unless it is complete, and say what became of old and
 * new. */
void place_abandon(Place *p, Error *e);
