/* Definitions: the commands of a plan's entries, as pg_restore spells them, run on the target. */
#pragma once

#include "restore/postgres/plan.h"
#include "source/postgres/script.h"
#include "source/postgres/tools.h"

typedef struct Definitions {
    const Plan *plan;
    const PgTools *tools;
    const RestoreOptions *o;
    bool *inherited;   /* entries of the plan that go with another's; NULL: none; owned */
    Script script;     /* owned */
    Buf settings;      /* what every session begins with, zero-terminated; owned */
    bool is_newer;     /* the tools begin their sessions with settings that the server lacks */
    Buf view_settings; /* what materialized views are filled with, zero-terminated; owned */
    Buf drops;         /* DROP commands, zero-terminated; empty without --overwrite; owned */
} Definitions;

void definitions_release(Definitions *d);

/* Have pg_restore spell everything. `server_major` of the target. Fill in plan, tools, o and
 * inherited before. */
int definitions_make(Definitions *d, int server_major, Error *e);

/* A transaction that is everything, or, where that is too much for the server's lock table, one
 * that is committed now and then. */
typedef struct Batch {
    Session *session;
    bool is_single;
    size_t done;    /* commands since the last commit */
    size_t commits; /* so far */
} Batch;

int batch_begin(Batch *b, Error *e);
int batch_step(Batch *b, Error *e); /* after each command */
int batch_end(Batch *b, Error *e);

/* Run the DROP commands. */
int definitions_drop(Definitions *d, Batch *b, Error *e);

/* Run the commands of one phase, in the order in which pg_restore would. */
int definitions_run(Definitions *d, Batch *b, Phase phase, Error *e);

/* The commands of PHASE_POST, by `jobs` sessions of pg_restore. Not where it is_newer. */
int definitions_run_post(Definitions *d, const ConnInfo *ci, Session *s, int jobs, Error *e);
