#include "source/source.h"

#include <errno.h>
#include <string.h>

/* "host=…", "dbname = …": a word and an equals sign. */
static bool is_keyword_string(const char *spec)
{
    size_t n = strspn(spec, "abcdefghijklmnopqrstuvwxyz_");
    return n > 0 && spec[n + strspn(spec + n, " \t")] == '=';
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

int source_new(const char *spec, const SourceOptions *options, Source **ret_source, Error *e)
{
    if (!spec || !*spec || starts_with(spec, "postgres://") || starts_with(spec, "postgresql://") ||
        is_keyword_string(spec))
        return postgres_source_new(spec, options, ret_source, e);
    if (starts_with(spec, "sqlite:") && spec[strlen("sqlite:")])
        return sqlite_source_new(spec + strlen("sqlite:"), options, ret_source, e);
    /* Only the scheme is quoted: the rest may hold a password. */
    size_t scheme = strcspn(spec, ":/@ ");
    if (spec[scheme] == ':')
        error_set(e, EINVAL, "a source of the kind \"%.*s:\" is not known", (int)scheme, spec);
    else
        error_set(e, EINVAL, "the source is neither a URL nor a keyword string");
    error_hint(e, "name postgresql://USER@HOST/DATABASE, \"host=... dbname=...\" or sqlite:PATH");
    error_exit_code(e, BK_EXIT_USAGE);
    return -EINVAL;
}

void source_free(Source *s)
{
    if (s)
        s->ops->free(s);
}

void source_result_release(SourceResult *r)
{
    if (!r)
        return;
    json_decref(r->database);
    json_decref(r->left_out);
    *r = (SourceResult){0};
}
