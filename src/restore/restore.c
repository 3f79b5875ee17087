#include "restore/restore.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "restore/targets.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/name.h"

void restore_result_release(RestoreResult *r)
{
    if (!r)
        return;
    backup_info_release(&r->backup);
    free(r->target);
    free(r->database);
    json_decref(r->left_out);
    *r = (RestoreResult){0};
}

__attribute__((format(printf, 1, 0))) static char *format_text(const char *format, va_list args)
{
    char *text = NULL;
    return vasprintf(&text, format, args) < 0 ? NULL : text;
}

int restore_confirm(const RestoreOptions *o, Error *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *what = format_text(format, args);
    va_end(args);
    if (!what)
        return error_oom(e);
    if (o->confirm)
        return o->confirm(o->ctx, what, e);
    return error_set(e, ECANCELED, "%s", what);
}

void restore_note(const RestoreOptions *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *text = o->note ? format_text(format, args) : NULL;
    va_end(args);
    if (text)
        o->note(o->ctx, text);
}

void restore_progress(const RestoreOptions *o, uint64_t bytes, uint64_t total, const char *what)
{
    if (o->progress)
        o->progress(o->ctx, bytes, total, what);
}

/* A text for JSON, which knows UTF-8 only: what is none appears encoded. */
static json_t *json_text(const char *text)
{
    json_t *j = json_string(text);
    _cleanup_(buf_release) Buf b = BUF_INIT;
    if (!j && name_encode(text, strlen(text), NULL, &b, NULL) == 0)
        j = json_stringn((const char *)b.data, b.len);
    return j;
}

int restore_left_out(RestoreResult *result, const char *what, const char *why, Error *e)
{
    json_t *item = json_pack("{s:o, s:o}", "what", json_text(what), "why", json_text(why));
    return json_array_append_new(result->left_out, item) < 0 ? error_oom(e) : 0;
}

int restore_check_cancel(const RestoreOptions *o, Error *e)
{
    return o->cancel && atomic_load(o->cancel) ? error_set(e, EINTR, "interrupted") : 0;
}

/* The real path of `target`, or of the directory above that is there; NULL when that can't be told.
 */
static char *nearest_real(const char *target)
{
    _cleanup_free_ char *path = strdup(target);
    char *real = NULL;
    while (path && !(real = realpath(path, NULL)) && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return realpath(".", NULL);
        *(slash == path ? slash + 1 : slash) = 0;
    }
    return real;
}

int restore_check_outside(const char *target, const char *store, Error *e)
{
    _cleanup_free_ char *real = nearest_real(target), *outer = realpath(store, NULL);
    size_t n = outer ? strlen(outer) : 0;
    if (!real || !outer || strncmp(real, outer, n) != 0 || (real[n] && real[n] != '/'))
        return 0;
    error_set(e, EINVAL, "%s lies in the store", target);
    error_hint(e, "name a place elsewhere");
    return -EINVAL;
}

typedef struct Target {
    const char *type; /* also the database's type in the manifest; "file" takes any */
    const char *spec;
    int (*restore)(Content *c, const char *spec, RestoreResult *result, Error *e);
} Target;

static const char *after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

/* "host=…": a word and an equals sign. */
static bool is_keyword_string(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    return n > 0 && text[n + strspn(text + n, " \t")] == '=';
}

static int usage(Error *e, const char *hint, const char *message)
{
    error_set(e, EINVAL, "%s", message);
    error_hint(e, "%s", hint);
    error_exit_code(e, BK_EXIT_USAGE);
    return -EINVAL;
}

static int parse_target(const char *text, Target *ret, Error *e)
{
    const char *spec;
    if ((spec = after(text, "sqlite:")) && *spec)
        *ret = (Target){"sqlite", spec, restore_to_sqlite};
    else if ((spec = after(text, "file:")) && *spec)
        *ret = (Target){"file", spec, restore_to_files};
    else if (after(text, "postgres://") || after(text, "postgresql://") || is_keyword_string(text))
        *ret = (Target){"postgres", text, restore_to_postgres};
    else
        return usage(e,
                     "name postgresql://USER@HOST/DATABASE, \"host=... dbname=...\", sqlite:PATH "
                     "or file:DIR",
                     "the target of --to is of no known kind");
    return 0;
}

static int check_options(const RestoreOptions *o, const Target *t, Error *e)
{
    bool is_postgres = strcmp(t->type, "postgres") == 0, is_file = strcmp(t->type, "file") == 0;
    const char *help = "see bakfs-restore(1)";
    if (o->data_only && o->schema_only)
        return usage(e, "give one of them or none, for both",
                     "--data-only and --schema-only exclude each other");
    if (!is_postgres && (o->create || o->force || o->no_owner || o->no_acl))
        return usage(e, help,
                     "--create, --force, --no-owner and --no-acl are for PostgreSQL targets");
    if (o->force && !(o->create && o->overwrite))
        return usage(e, help,
                     "--force ends the sessions of a database that --create --overwrite drops");
    if (o->create && o->data_only)
        return usage(e, help, "--create makes an empty database, where --data-only has no tables");
    if (o->n_schemas && o->n_tables)
        return usage(e, "give the tables as --table SCHEMA.TABLE",
                     "--schema and --table exclude each other");
    if (is_file && (o->data_only || o->schema_only))
        return usage(e, help, "--data-only and --schema-only are for databases");
    return 0;
}

static int restore_backup(const RestoreOptions *o, Store *s, const Target *t, RestoreResult *result,
                          Error *e)
{
    BackupList *list = store_backups(s);
    if (!list)
        return error_oom(e);
    _cleanup_(content_release) Content c = {0};
    const BackupInfo *b;
    int r = backup_list_find(list, s, o->backup, o->collection, &b, e);
    if (r == 0 && backup_info_copy(b, &result->backup) < 0)
        r = error_oom(e);
    if (r == 0)
        r = content_open(o, s, b, strcmp(t->type, "file") == 0 ? NULL : t->type, &c, e);
    if (r == 0 && c.name && !(result->database = strdup(c.name)))
        r = error_oom(e);
    if (r == 0 && b->partial)
        restore_note(o, "%s is partial: `bakfs-store show` tells what it lacks", b->archive_name);
    if (r == 0)
        r = t->restore(&c, t->spec, result, e);
    content_release(&c);
    c = (Content){0};
    backup_list_unref(list);
    return r;
}

int restore_run(const RestoreOptions *o, RestoreResult *ret_result, Error *e)
{
    Target target;
    Store *store = NULL;
    double started = clock_monotonic();
    int r = parse_target(o->target, &target, e);
    if (r == 0)
        r = check_options(o, &target, e);
    if (r < 0)
        return r;
    RestoreResult result = {.type = target.type, .left_out = json_array()};
    if (!result.left_out)
        return error_oom(e);
    r = store_open(o->store, &store, e);
    if (r == 0)
        r = restore_backup(o, store, &target, &result, e);
    store_close(store);
    result.seconds = clock_monotonic() - started;
    if (r < 0) {
        if (r == -EINTR)
            error_exit_code(e, BK_EXIT_INTERRUPTED);
        restore_result_release(&result);
        return r;
    }
    *ret_result = result;
    return 0;
}
