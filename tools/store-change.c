/* bakfs-store init, delete and reindex. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store-verbs.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/report.h"

static void print_store_json(const Store *s, size_t backups)
{
    const StoreConfig *c = store_config(s);
    json_t *doc = json_pack("{s:s, s:s, s:i, s:s*, s:I}", "store", store_path(s), "store_id",
                            c->store_id, "format", c->format_version, "default_collection",
                            c->default_collection, "backups", (json_int_t)backups);
    report_json(doc);
    json_decref(doc);
}

int verb_init(const StoreOptions *o, const char *operand)
{
    (void)operand;
    _cleanup_(error_release) Error e = ERROR_INIT;
    Store *store = NULL;
    int r = store_init(o->store, o->collection, &e);
    if (r == 0)
        r = store_open(o->store, &store, &e);
    if (r == 0 && o->json)
        print_store_json(store, 0);
    else if (r == 0 && !o->quiet)
        report_print("created an empty store in %s\n", o->store);
    int exit_code = r < 0 ? report_error(STORE_PROGRAM, &e) : report_finish(STORE_PROGRAM, 0);
    store_close(store);
    return exit_code;
}

/* 0 to go on. Asks on a terminal; elsewhere --yes is the answer that can't be given. */
static int confirm(const StoreOptions *o, const BackupInfo *b, bool latest, Error *e)
{
    if (o->yes)
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        int r = error_set(e, EINVAL, "deleting %s needs --yes where nobody can be asked", b->id);
        error_hint(e, "look at it with 'bakfs-store show %s', then delete it with --yes", b->id);
        error_exit_code(e, BK_EXIT_USAGE);
        return r;
    }
    char time[CLOCK_ISO_SIZE], answer[16] = "";
    clock_format_iso(b->timestamp, time);
    fprintf(stderr, "Delete %s (%s, %s%s)? [y/N] ", b->id, b->collection, time,
            latest ? ", the latest" : "");
    fflush(stderr);
    if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return error_set(e, ECANCELED, "%s was not deleted", b->id);
}

static void print_deleted(const StoreOptions *o, const BackupInfo *b)
{
    if (o->json) {
        json_t *doc = json_pack("{s:s, s:s, s:i}", "backup_id", b->id, "archive_name",
                                b->archive_name, "bytes_freed", 0);
        report_json(doc);
        json_decref(doc);
    } else if (!o->quiet) {
        report_print("deleted %s (%s)\n0 bytes freed: garbage collection frees its space later\n",
                     b->id, b->archive_name);
    }
}

int verb_delete(const StoreOptions *o, const char *operand)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    Store *store = NULL;
    BackupList *l = NULL;
    const BackupInfo *b = NULL;
    int r = store_open(o->store, &store, &e);
    if (r == 0) {
        l = store_backups(store);
        r = backup_list_find(l, store, operand, o->collection, &b, &e);
    }
    if (r == 0)
        r = confirm(o, b, backup_is_latest(l, b), &e);
    if (r == 0)
        r = store_delete_backup(store, b, &e);
    if (r == 0)
        print_deleted(o, b);
    int exit_code = r < 0 ? report_error(STORE_PROGRAM, &e) : report_finish(STORE_PROGRAM, 0);
    backup_list_unref(l);
    store_close(store);
    return exit_code;
}

int verb_reindex(const StoreOptions *o, const char *operand)
{
    (void)operand;
    _cleanup_(error_release) Error e = ERROR_INIT;
    Store *store = NULL;
    BackupList *l = NULL;
    int r = store_open(o->store, &store, &e);
    if (r == 0)
        r = store_reindex(store, o->lock_wait, &e);
    if (r == 0)
        r = store_refresh(store, &e);
    if (r == 0)
        l = store_backups(store);
    if (r == 0 && o->json)
        print_store_json(store, l->n);
    else if (r == 0 && !o->quiet)
        report_print("rebuilt the catalogue: %zu backup%s\n", l->n, l->n == 1 ? "" : "s");
    int exit_code = r < 0 ? report_error(STORE_PROGRAM, &e) : report_finish(STORE_PROGRAM, 0);
    backup_list_unref(l);
    store_close(store);
    return exit_code;
}
