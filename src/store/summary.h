/* Summary: a manifest as text for people; what bakfs-dump prints. */
#pragma once

#include <jansson.h>

#include "util/buf.h"

/* Append. `doc` is a manifest's document. 0 or -ENOMEM. */
int summary_format(const json_t *doc, Buf *out);
