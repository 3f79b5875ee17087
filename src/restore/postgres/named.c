#include "restore/postgres/named.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/cleanup.h"

#define SHOWN_MAX 5

void named_release(Named *n)
{
    buf_release(&n->text);
    n->n = 0;
}

int named_add(Named *n, const char *format, ...)
{
    if (n->n++ >= SHOWN_MAX)
        return 0;
    _cleanup_free_ char *name = NULL;
    va_list args;
    va_start(args, format);
    int r = vasprintf(&name, format, args);
    va_end(args);
    if (r < 0) {
        name = NULL; /* undefined then */
        return -ENOMEM;
    }
    return buf_addf(&n->text, "%s%s", n->n > 1 ? ", " : "", name);
}

const char *named_text(Named *n)
{
    if (n->n > SHOWN_MAX && buf_addf(&n->text, " and %zu more", n->n - SHOWN_MAX) < 0)
        return NULL;
    return buf_cstr(&n->text);
}
