/* Sums: a backup's SHA256SUMS, made from what its directories say of their files. */
#pragma once

#include "tree/dir.h"

#define SUMS_MAX (256u << 20) /* bytes */

/* Make the text, or with `out` NULL only measure it. `entries` is how many the backup has: a tree
 * with more is damaged. -EFBIG beyond SUMS_MAX. */
int sums_make(ObjectSource *objects, const ObjectId *root, uint64_t entries, Buf *out,
              uint64_t *ret_size, Error *e);
