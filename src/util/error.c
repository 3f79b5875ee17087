#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 1, 0))) static char *format_text(const char *format, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, format, ap) < 0)
        return NULL;
    return text;
}

int error_set(Error *e, int errnum, const char *format, ...)
{
    if (!e)
        return -errnum;
    int saved = errno;
    va_list ap;
    va_start(ap, format);
    char *text = format_text(format, ap); /* before the release: arguments may point into *e */
    va_end(ap);
    error_release(e);
    e->errnum = errnum;
    e->message = text;
    errno = saved;
    return -errnum;
}

int error_errno(Error *e, int errnum, const char *format, ...)
{
    if (!e)
        return -errnum;
    int saved = errno;
    va_list ap;
    va_start(ap, format);
    char *text = format_text(format, ap);
    va_end(ap);
    error_set(e, errnum, "%s: %s", text ? text : format, strerror(errnum));
    free(text);
    errno = saved;
    return -errnum;
}

void error_hint(Error *e, const char *format, ...)
{
    if (!e)
        return;
    va_list ap;
    va_start(ap, format);
    char *text = format_text(format, ap);
    va_end(ap);
    free(e->hint);
    e->hint = text;
}

void error_prefix(Error *e, const char *format, ...)
{
    if (!e || !e->message)
        return;
    va_list ap;
    va_start(ap, format);
    char *prefix = format_text(format, ap);
    va_end(ap);
    char *joined = NULL;
    if (prefix && asprintf(&joined, "%s: %s", prefix, e->message) >= 0) {
        free(e->message);
        e->message = joined;
    }
    free(prefix);
}

void error_exit_code(Error *e, int exit_code)
{
    if (e)
        e->exit_code = exit_code;
}

int error_oom(Error *e)
{
    return error_set(e, ENOMEM, "out of memory");
}

int error_move(Error *to, Error *from)
{
    int errnum = from ? from->errnum : 0;
    if (to && from) {
        error_release(to);
        *to = *from;
        *from = ERROR_INIT;
    } else {
        error_release(from);
    }
    return -errnum;
}

void error_release(Error *e)
{
    if (!e)
        return;
    free(e->message);
    free(e->hint);
    *e = ERROR_INIT;
}
