/* Plan: which entries of an archive are restored, and when. */
#pragma once

#include "restore/content.h"
#include "restore/postgres/owners.h"
#include "restore/postgres/session.h"

typedef enum Phase {
    PHASE_NONE, /* settings that stand in every script */
    PHASE_PRE,  /* before the rows: tables, functions, sequences ... */
    PHASE_DATA, /* rows, sequences' values, large objects */
    PHASE_POST, /* indexes, constraints, triggers ... */
    PHASE_KEYS, /* foreign keys where there are partitioned tables; partitions of tables that stay
                 */
    PHASE_LAST, /* privileges, then materialized views and event triggers, as pg_restore does */
} Phase;

typedef struct Plan {
    const Archive *all; /* borrowed */
    bool *chosen;       /* for each entry of `all`; owned */
    bool *wanted;       /* the same, also where --data-only or --schema-only leaves it out; owned */
    bool is_whole;      /* nothing was chosen by name */
    DumpIds ids;        /* of `all` */
    /* From plan_adapt on: */
    Archive toc;   /* the entries chosen, in their order; strings borrowed, the array owned */
    Phase *phases; /* of each; owned */
} Plan;

void plan_release(Plan *p);

/* Choose by the options; c's list of tables must have been read. `all` must outlive the plan. */
int plan_make(const Content *c, const Archive *all, Plan *ret_plan, Error *e);

/* Look at the target: schemas that exist are not made again; of tables chosen by name the types,
 * functions and schemas they need are chosen too where they are missing; and what refers to
 * something that is neither chosen nor there is left out and noted in `result`. */
int plan_adapt(Plan *p, const RestoreOptions *o, Session *s, RestoreResult *result, Error *e);

/* Whether the rows of TABLE DATA go in through the root of the partitioned table. */
bool plan_via_root(const TocEntry *data);
