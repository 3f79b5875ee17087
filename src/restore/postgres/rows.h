/* Rows: what stands behind the data entries of a plan, sent to the target, and counted. */
#pragma once

#include "restore/postgres/dump.h"
#include "restore/postgres/plan.h"

typedef struct RowsTask {
    const TocEntry *entry;     /* TABLE DATA */
    const ContentTable *table; /* what the backup says of it; NULL when it does not */
    uint64_t size;             /* bytes of data, roughly */
    uint64_t before;           /* rows that were there */
    bool is_defined;           /* the archive makes the table; else an extension does */
    bool is_exact;             /* the table holds these rows and no others, but for `before` */
    bool loaded;               /* the server took the rows */
} RowsTask;

typedef struct Rows {
    const Content *c;
    const Plan *plan;
    const ConnInfo *ci;   /* where further connections go */
    const char *settings; /* commands each session begins with */
    size_t n;
    RowsTask *tasks; /* owned */
    uint64_t total;  /* sum of the sizes */
    bool in_order;   /* tables must be loaded in the order of the tasks, one after another */
    _Atomic uint64_t bytes, rows;
} Rows;

void rows_release(Rows *r);

/* List the tables whose rows the plan restores. Fill in c, plan, ci and settings before. */
int rows_prepare(Rows *r, Error *e);

/* Count what is in the tables already. */
int rows_count_before(Rows *r, Session *s, Error *e);

/* Load all tables: on `s`, within its transaction, in the tasks' order; or with `jobs` sessions of
 * their own. The extensions' tables come first then, one after another in the archive's order, for
 * the keys among them are in force already; then the others at once, large ones first. Each table's
 * number of rows is compared with the backup's. */
int rows_load(Rows *r, Session *s, Error *e);
int rows_load_parallel(Rows *r, int jobs, Error *e);

/* Count the rows of every table and compare them with the backup's. Those that the role may not
 * see, or not all, are told and left out here and in rows_count_before. */
int rows_check(Rows *r, Session *s, Error *e);
int rows_check_parallel(Rows *r, int jobs, Error *e);

/* Load large objects; `s` must be in a transaction. */
int rows_load_blobs(Rows *r, Session *s, Error *e);
