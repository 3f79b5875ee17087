/* Records: the manifests and events of a store, as files. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "store/event.h"
#include "store/manifest.h"
#include "verify/damage.h"

typedef struct RecordCounts {
    size_t manifests, events;
} RecordCounts;

typedef struct RecordsOptions {
    const atomic_bool *cancel; /* -EINTR when it becomes true; may be NULL */
    /* Are given every sound one; both may be NULL. */
    void (*manifest)(void *ctx, const Manifest *m);
    void (*event)(void *ctx, const char *name, const Event *event);
    void *ctx;
} RecordsOptions;

/* Read every manifest and event: their bytes have the SHA-256 of their name, and they parse; and
 * none lacks between the first and the last, but manifests of deleted backups. May run beside
 * writers. What is wrong goes to `damage`, with the SHA-256 in the file's name as the object where
 * there is one. */
int records_check(Backend *b, const RecordsOptions *o, DamageList *damage, RecordCounts *ret_counts,
                  Error *e);
