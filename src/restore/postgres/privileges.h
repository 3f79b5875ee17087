/* Privileges: what was made has those of the backup, not those that the target's ALTER DEFAULT
 * PRIVILEGES give to everything new. */
#pragma once

#include "restore/postgres/plan.h"

/* Take from the objects made in the phases from `first` to `last` what they got by default, so that
 * they are as the archive's GRANT and REVOKE commands take for granted. In the transaction that
 * makes them, where there is one. */
int privileges_reset(const Plan *p, Phase first, Phase last, Session *s, Error *e);
