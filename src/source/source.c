#include "source/source.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/name.h"

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

bool source_scope_is_narrow(const SourceScope *s)
{
    return s->schemas.n || s->exclude_schemas.n || s->tables.n || s->exclude_tables.n ||
           s->exclude_data.n;
}

const char *source_file_path(const char *spec)
{
    return spec && starts_with(spec, "file:") && spec[strlen("file:")] ? spec + strlen("file:")
                                                                       : NULL;
}

json_t *source_json_name(const char *name)
{
    json_t *j = json_string(name);
    if (j)
        return j;
    _cleanup_(buf_release) Buf b = BUF_INIT;
    return name_encode(name, strlen(name), NULL, &b, NULL) < 0
               ? NULL
               : json_stringn((const char *)b.data, b.len);
}

static int refuse_scope(Error *e)
{
    error_set(e, EINVAL, "a SQLite database is backed up as a whole");
    error_hint(e, "--schema, --table and the --exclude options are for PostgreSQL; back up the "
                  "SQLite file with a command of its own");
    error_exit_code(e, BK_EXIT_USAGE);
    return -EINVAL;
}

int source_new(const char *spec, const SourceOptions *options, Source **ret_source, Error *e)
{
    if (!spec || !*spec || starts_with(spec, "postgres://") || starts_with(spec, "postgresql://") ||
        is_keyword_string(spec))
        return postgres_source_new(spec, options, ret_source, e);
    if (starts_with(spec, "sqlite:") && source_scope_is_narrow(&options->scope))
        return refuse_scope(e);
    if (starts_with(spec, "sqlite:") && spec[strlen("sqlite:")])
        return sqlite_source_new(spec + strlen("sqlite:"), options, ret_source, e);
    if (strcmp(spec, "sqlite:") == 0 || strcmp(spec, "file:") == 0) {
        error_set(e, EINVAL, "%s is not followed by a path", spec);
        error_hint(e, "name the file, as in sqlite:/srv/app/orders.db or file:/srv/app/uploads");
        error_exit_code(e, BK_EXIT_USAGE);
        return -EINVAL;
    }
    /* Only the scheme is quoted: the rest may hold a password. */
    size_t scheme = strcspn(spec, ":/@ ");
    if (spec[scheme] == ':')
        error_set(e, EINVAL, "a source of the kind \"%.*s:\" is not known", (int)scheme, spec);
    else
        error_set(e, EINVAL, "the source is neither a URL nor a keyword string");
    error_hint(e, "name postgresql://USER@HOST/DATABASE, \"host=... dbname=...\", "
                  "sqlite:PATH or file:PATH");
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
    json_decref(r->files);
    json_decref(r->left_out);
    *r = (SourceResult){0};
}

int source_follow(const SourceRun *run, Stream *s, const char *path, Error *e)
{
    if (!run->previous)
        return 0;
    ObjectSource *objects = store_objects(writer_store(run->writer));
    DirEntry x = {0};
    const uint8_t *node;
    size_t len;
    Object *holder = NULL;
    int r = 0;
    /* That it can't be found or read only means that nothing can be had of it. */
    if (dir_resolve(objects, run->previous, path, &x, NULL) == 0 && x.kind == ENTRY_FILE &&
        dir_entry_rope(objects, &x, &node, &len, &holder, NULL) == 0)
        r = stream_follow(s, objects, node, len, e);
    object_unref(holder);
    dir_entry_release(&x);
    return r;
}
