/* Walk: whether everything the backups refer to is there: their directories, ropes and objects. */
#pragma once

#include <stdatomic.h>

#include "store/store.h"
#include "verify/inventory.h"

typedef struct WalkOptions {
    const BackupList *backups;
    const bool *selected;      /* one for each backup of the list */
    const ObjectId *roots;     /* their root directories, as their manifests say */
    const atomic_bool *cancel; /* -EINTR when it becomes true; may be NULL */
    /* After each selected backup, on the caller's thread; may be NULL. */
    void (*progress)(void *ctx, size_t done);
    void *ctx;
} WalkOptions;

/* Walk the selected backups. Marks the packs they use as wanted in `v`. Objects that are missing,
 * marked as damaged in `v`, unreadable or of another length than their rope says go to `damage`
 * with the files they touch. A subtree that was found good is not walked again, nor a node
 * twice for a file, so shared ones cost once; 48 bytes a node are kept for that. 0 also when damage
 * was found. */
int walk_backups(Inventory *v, ObjectSource *objects, const WalkOptions *o, DamageList *damage,
                 Error *e);
