/* Referrers: tables that keep their rows while those of a table they refer to are replaced.
 * PostgreSQL then does not truncate the latter. Its rows can be deleted with foreign keys off, in
 * the transaction that loads the backup's, if in the end no row refers to nothing. */
#pragma once

#include "restore/postgres/rows.h"

typedef struct Referrer {
    char *table, *referred, *key; /* names for messages; owned */
    char *sql;                    /* counts rows that refer to nothing; owned */
    int64_t before;               /* of them there were so many */
} Referrer;

typedef struct Referrers {
    size_t n;
    Referrer *items; /* owned */
} Referrers;

void referrers_release(Referrers *r);

/* Foreign keys of tables whose rows stay, to tables that are to be emptied. */
int referrers_find(const Rows *rows, Session *s, Referrers *ret, Error *e);

/* They stand in the way: an error that names them. */
int referrers_refuse(const Referrers *r, const char *why, Error *e);

/* Count before the tables are emptied; and check, before the end of that transaction. */
int referrers_count(Referrers *r, Session *s, Error *e);
int referrers_check(const Referrers *r, Session *s, Error *e);
