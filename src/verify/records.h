/* Records: the manifests and events of a store, as files. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "store/backend.h"
#include "verify/damage.h"

typedef struct RecordCounts {
    size_t manifests, events;
} RecordCounts;

/* Read every manifest and event: their bytes have the SHA-256 of their name, and they parse; and
 * none lacks between the first and the last, but manifests of deleted backups. May run beside
 * writers. What is wrong goes to `damage`, with the SHA-256 in the file's name as the object where
 * there is one. -EINTR when `cancel` (may be NULL) becomes true. */
int records_check(Backend *b, DamageList *damage, const atomic_bool *cancel,
                  RecordCounts *ret_counts, Error *e);
