/* bakfs-restore: from a backup to a database or directory, without a mount. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "restore/restore.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/report.h"

#define PROGRAM "bakfs-restore"

typedef struct Options {
    const char *store, *collection, *target, *database, *pg_bindir;
    OptionList schemas, tables;
    int jobs, retries;
    bool data_only, schema_only, create, overwrite, force, no_owner, no_acl, yes, json, quiet;
} Options;

static const Option option_table[] = {
    {OPTION_TEXT, 's', "store", "DIR", offsetof(Options, store), "The store.",
     .env = "BAKFS_STORE"},
    {OPTION_TEXT, 't', "to", "TARGET", offsetof(Options, target),
     "Where to: postgresql://..., a keyword string, sqlite:PATH or file:DIR."},
    {OPTION_HEADING, .help = "What is restored"},
    {OPTION_TEXT, 'c', "collection", "NS/NAME", offsetof(Options, collection),
     "Look for BACKUP in this collection only."},
    {OPTION_TEXT, 'd', "database", "NAME", offsetof(Options, database),
     "Which database of a backup that holds several."},
    {OPTION_LIST, 0, "schema", "NAME", offsetof(Options, schemas),
     "Only this schema; may be given more than once."},
    {OPTION_LIST, 0, "table", "[SCHEMA.]TABLE", offsetof(Options, tables),
     "Only this table; may be given more than once."},
    {OPTION_FLAG, 0, "data-only", NULL, offsetof(Options, data_only),
     "Rows only, into tables that exist."},
    {OPTION_FLAG, 0, "schema-only", NULL, offsetof(Options, schema_only),
     "Definitions only, no rows."},
    {OPTION_FLAG, 0, "no-owner", NULL, offsetof(Options, no_owner),
     "PostgreSQL: what is restored belongs to the role that restores it."},
    {OPTION_FLAG, 0, "no-acl", NULL, offsetof(Options, no_acl),
     "PostgreSQL: leave privileges out."},
    {OPTION_HEADING, .help = "What may be touched"},
    {OPTION_FLAG, 0, "create", NULL, offsetof(Options, create),
     "PostgreSQL: make the target database."},
    {OPTION_FLAG, 0, "overwrite", NULL, offsetof(Options, overwrite),
     "Replace what is there: PostgreSQL objects that the backup holds too (with --data-only their "
     "rows, with --create the whole database), the SQLite file or table, files of the same names."},
    {OPTION_FLAG, 0, "force", NULL, offsetof(Options, force),
     "With --create --overwrite: end other sessions of the database that is dropped."},
    {OPTION_FLAG, 'y', "yes", NULL, offsetof(Options, yes),
     "Don't ask before something that exists is touched."},
    {OPTION_HEADING, .help = "How"},
    {OPTION_INT, 'j', "jobs", "N", offsetof(Options, jobs),
     "PostgreSQL: connections that work at once. With 1, which is the default, everything is one "
     "transaction where possible.",
     .min = 1, .max = 64},
    {OPTION_TEXT, 0, "pg-bindir", "DIR", offsetof(Options, pg_bindir), "Where pg_restore is."},
    {OPTION_INT, 0, "retries", "N", offsetof(Options, retries),
     "How often to connect again after a failure that may pass; 3 when not given.", .min = 0,
     .max = 100},
    {OPTION_HEADING, .help = "What it prints"},
    {OPTION_FLAG, 0, "json", NULL, offsetof(Options, json), "The result as one JSON object."},
    {OPTION_FLAG, 'q', "quiet", NULL, offsetof(Options, quiet), "Nothing but errors."},
    {OPTION_END},
};

static const OptionProgram program = {
    .name = PROGRAM,
    .synopsis = "[OPTION]... BACKUP --to TARGET",
    .summary =
        "Restore a backup, or a schema or tables of it, straight from the store. BACKUP is "
        "an id, a unique prefix of one, an archive name, a time or its beginning, or "
        "`latest` (of the default collection, or of --collection), or NS/NAME: that collection's "
        "latest. Before anything that exists is touched it asks, on a terminal; "
        "elsewhere --yes has to be given.",
    .options = option_table,
    .epilogue = "Exit status: 0 done; 1 failed; 2 wrong usage; 3 done, but parts were left out;\n"
                "10 no such store; 130 interrupted. See bakfs-restore(1).\n",
};

static atomic_bool cancelled;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&cancelled, true);
}

typedef struct Console {
    const Options *options;
    ReportProgress progress;
    pthread_mutex_t lock; /* progress and notes come from several threads */
    double started;
} Console;

static void on_note(void *ctx, const char *text)
{
    Console *c = ctx;
    pthread_mutex_lock(&c->lock);
    report_progress_clear(&c->progress);
    if (!c->options->quiet)
        report_note(PROGRAM, "%s", text);
    pthread_mutex_unlock(&c->lock);
}

static void on_progress(void *ctx, uint64_t bytes, uint64_t total, const char *what)
{
    Console *c = ctx;
    if (!c->progress.on)
        return;
    pthread_mutex_lock(&c->lock);
    if (report_progress_due(&c->progress)) {
        double seconds = clock_monotonic() - c->started;
        char have[REPORT_SIZE_SIZE], all[REPORT_SIZE_SIZE], rate[REPORT_SIZE_SIZE];
        report_format_size(bytes, have);
        report_format_size(total, all);
        report_format_size(seconds > 0 ? (uint64_t)((double)bytes / seconds) : 0, rate);
        report_progress(&c->progress, "%s%s%s, %s/s, %s", have, total ? " of " : "",
                        total ? all : "", rate, what);
    }
    pthread_mutex_unlock(&c->lock);
}

static int on_confirm(void *ctx, const char *what, Error *e)
{
    Console *c = ctx;
    if (c->options->yes)
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        error_set(e, ECANCELED, "%s", what);
        error_hint(e, "nothing was done: give --yes to go on where there is no terminal to ask on");
        return -ECANCELED;
    }
    char answer[16] = "";
    report_progress_clear(&c->progress);
    report_note(PROGRAM, "%s", what);
    fprintf(stderr, "Go on? [y/N] ");
    if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return error_set(e, ECANCELED, "stopped: nothing was done");
}

static json_t *result_json(const RestoreResult *r)
{
    char time[CLOCK_ISO_SIZE];
    clock_format_iso(r->backup.timestamp, time);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:b, s:f, "
                     "s:O}",
                     "event", "result", "backup_id", r->backup.id, "collection",
                     r->backup.collection, "archive_name", r->backup.archive_name, "timestamp",
                     time, "type", r->type, "target", r->target, "database", r->database, "tables",
                     (json_int_t)r->tables, "rows", (json_int_t)r->rows, "bytes",
                     (json_int_t)r->bytes, "objects", (json_int_t)r->objects, "files",
                     (json_int_t)r->files, "one_transaction", (int)r->one_transaction, "duration",
                     r->seconds, "left_out", r->left_out);
}

static void print_text(const RestoreResult *r)
{
    char size[REPORT_SIZE_SIZE], time[REPORT_DURATION_SIZE];
    report_format_size(r->bytes, size);
    report_format_duration(r->seconds, time);
    report_print("restored %s to %s: %" PRIu64 " table%s, %" PRIu64 " row%s",
                 r->backup.archive_name, r->target, r->tables, r->tables == 1 ? "" : "s", r->rows,
                 r->rows == 1 ? "" : "s");
    if (r->files)
        report_print(", %" PRIu64 " file%s", r->files, r->files == 1 ? "" : "s");
    report_print(", %s, %s\n", size, time);
}

static int print_result(const Options *o, const RestoreResult *r)
{
    size_t i;
    json_t *item;
    if (o->json) {
        json_t *doc = result_json(r);
        report_json(doc);
        json_decref(doc);
    } else if (!o->quiet) {
        print_text(r);
    }
    json_array_foreach (r->left_out, i, item) {
        report_note(PROGRAM, "left out: %s: %s", json_string_value(json_object_get(item, "what")),
                    json_string_value(json_object_get(item, "why")));
    }
    return report_finish(PROGRAM, json_array_size(r->left_out) ? BK_EXIT_PARTIAL : BK_EXIT_OK);
}

static int check_operands(const Options *o, int n, Error *e)
{
    if (!o->store)
        return options_usage_error(&program, e, "no store: give --store DIR or set $BAKFS_STORE");
    if (n < 1)
        return options_usage_error(&program, e, "no BACKUP given");
    if (n > 1)
        return options_usage_error(&program, e, "one BACKUP, not %d", n);
    if (!o->target)
        return options_usage_error(&program, e, "no target: give --to TARGET");
    return 0;
}

/* The target may hold a password: take a copy, and leave nothing of it for `ps` to show. */
static char *take_target(const char *target)
{
    char *copy = strdup(target);
    if (copy && strncmp(target, "sqlite:", 7) != 0 && strncmp(target, "file:", 5) != 0)
        memset((char *)target, '*', strlen(target)); /* points into argv */
    return copy;
}

static int restore(const Options *o, const char *backup, const char *target, Error *e)
{
    Console console = {
        .options = o, .lock = PTHREAD_MUTEX_INITIALIZER, .started = clock_monotonic()};
    report_progress_init(&console.progress, o->quiet || o->json);
    const RestoreOptions options = {
        .store = o->store,
        .backup = backup,
        .collection = o->collection,
        .target = target,
        .database = o->database,
        .schemas = o->schemas.items,
        .tables = o->tables.items,
        .n_schemas = o->schemas.n,
        .n_tables = o->tables.n,
        .data_only = o->data_only,
        .schema_only = o->schema_only,
        .create = o->create,
        .overwrite = o->overwrite,
        .force = o->force,
        .no_owner = o->no_owner,
        .no_acl = o->no_acl,
        .jobs = o->jobs,
        .retries = o->retries,
        .pg_bindir = o->pg_bindir,
        .cancel = &cancelled,
        .confirm = on_confirm,
        .note = on_note,
        .progress = on_progress,
        .ctx = &console,
    };
    RestoreResult result = {0};
    int r = restore_run(&options, &result, e);
    report_progress_clear(&console.progress);
    int code = r < 0 ? report_error(PROGRAM, e) : print_result(o, &result);
    restore_result_release(&result);
    return code;
}

int main(int argc, char **argv)
{
    Options o = {.jobs = 1, .retries = 3};
    int first = 0, r = report_options(&program, argc, argv, &o, &first);
    if (r >= 0)
        return r;
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_free_ char *target = NULL;
    int code;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (check_operands(&o, argc - first, &e) < 0)
        code = report_error(PROGRAM, &e);
    else if (!(target = take_target(o.target)) && error_oom(&e) < 0)
        code = report_error(PROGRAM, &e);
    else
        code = restore(&o, argv[first], target, &e);
    option_list_release(&o.schemas);
    option_list_release(&o.tables);
    return code;
}
