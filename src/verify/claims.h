/* Claims: what the catalogue says of backups and events, compared with the files themselves. It is
 * derived and never synced, and lists of backups are made from it. */
#pragma once

#include "store/event.h"
#include "store/store.h"
#include "verify/damage.h"

typedef struct Claims Claims;

/* Read what the catalogue says of events. 0 or -ENOMEM. */
int claims_new(Store *s, Claims **ret_claims);
void claims_free(Claims *c); /* NULL is allowed */

/* Compare what a list has of a backup with its manifest, which is sound. */
void claims_manifest(Claims *c, const BackupInfo *listed, const Manifest *m);

/* Compare with a sound event, of that name in events/. One that the catalogue does not know
 * contradicts nothing. */
void claims_event(Claims *c, const char *name, const Event *event);

/* Whether all agreed so far. */
bool claims_agree(const Claims *c);

/* Add a finding unless all agreed. It touches no backup. 0 or -ENOMEM. */
int claims_report(const Claims *c, DamageList *damage);
