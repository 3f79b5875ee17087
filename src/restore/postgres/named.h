/* Named: a list of names for a message, cut where it would get long. */
#pragma once

#include "util/buf.h"

typedef struct Named {
    Buf text;
    size_t n; /* names added, those that are not shown included */
} Named;

void named_release(Named *n);

/* 0 or -ENOMEM. */
int named_add(Named *n, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "a, b and 3 more", valid until the list is released; to be called once. NULL: out of memory. */
const char *named_text(Named *n);
