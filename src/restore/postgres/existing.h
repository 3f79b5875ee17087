/* Existing: what --data-only finds in the target: tables that hold rows, keys and triggers. */
#pragma once

#include "restore/postgres/named.h"
#include "restore/postgres/rows.h"

/* Whether foreign keys and triggers of the tables are in force for session `s`, as they are for a
 * role that may not switch them off. Then the tasks are put into an order in which keys let rows
 * in, and r->in_order is set. */
int existing_keys(Rows *r, Session *s, Error *e);

/* For --overwrite: empty the tables; where some that stay refer to them, by DELETE, which needs
 * keys and triggers off. Those that an extension made hold rows that no backup has:
 * they are left as they are, and their task is taken away and noted in `result` where rows of the
 * kind that the backup holds are there. */
int existing_clear(Rows *r, Session *s, bool by_delete, RestoreResult *result, Error *e);

/* The tables whose rows are loaded, for a message. */
int existing_loaded(const Rows *r, Named *out);
