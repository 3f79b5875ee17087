/* bakfs-dump: write databases into the store as one backup. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "backup/backup.h"
#include "store/summary.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/report.h"

#define PROGRAM "bakfs-dump"

typedef struct Options {
    const char *store, *collection, *repo, *event, *sha, *environment, *pg_bindir;
    OptionList tags, schemas, exclude_schemas, tables, exclude_tables, exclude_data;
    int jobs, level, retries;
    double lock_wait, table_lock_wait;
    bool no_text, no_deltas, json, quiet;
    bool order_by_key;
    bool no_owner, no_acl, skip_unreadable, json_progress;
} Options;

static const Option option_table[] = {
    {OPTION_TEXT, 's', "store", "DIR", offsetof(Options, store), "The store.",
     .env = "BAKFS_STORE"},
    {OPTION_HEADING, .help = "What the backup is called"},
    {OPTION_TEXT, 'c', "collection", "NS/NAME", offsetof(Options, collection),
     "The collection it belongs to; default/<database name> when not given."},
    {OPTION_TEXT, 0, "source-repo", "NAME", offsetof(Options, repo),
     "The repository whose job this is; $GITHUB_REPOSITORY when not given, else \"standalone\"."},
    {OPTION_TEXT, 0, "trigger-event", "EVENT", offsetof(Options, event),
     "What set it off: push, pr, schedule, manual, standalone. $GITHUB_EVENT_NAME when not given."},
    {OPTION_TEXT, 0, "commit-sha", "SHA", offsetof(Options, sha),
     "The commit; the name holds its first 7 characters. $GITHUB_SHA when not given."},
    {OPTION_TEXT, 0, "environment", "NAME", offsetof(Options, environment),
     "Noted in manifest and summary, e.g. production."},
    {OPTION_LIST, 't', "tag", "KEY=VALUE", offsetof(Options, tags), "Noted in the manifest."},
    {OPTION_HEADING, .help = "What of a PostgreSQL database is read, by pg_dump's patterns"},
    {OPTION_LIST, 'n', "schema", "PATTERN", offsetof(Options, schemas), "Only these schemas."},
    {OPTION_LIST, 'N', "exclude-schema", "PATTERN", offsetof(Options, exclude_schemas),
     "All but these schemas."},
    {OPTION_LIST, 0, "table", "PATTERN", offsetof(Options, tables),
     "Only these tables, views and sequences."},
    {OPTION_LIST, 'T', "exclude-table", "PATTERN", offsetof(Options, exclude_tables),
     "All but these."},
    {OPTION_LIST, 0, "exclude-table-data", "PATTERN", offsetof(Options, exclude_data),
     "Of these the definition alone."},
    {OPTION_FLAG, 'O', "no-owner", NULL, offsetof(Options, no_owner), "Without owners."},
    {OPTION_FLAG, 'x', "no-acl", NULL, offsetof(Options, no_acl), "Without privileges."},
    {OPTION_FLAG, 0, "skip-unreadable", NULL, offsetof(Options, skip_unreadable),
     "Leave out what the role may not read, list it, and exit with 3."},
    {OPTION_HEADING, .help = "How it is made"},
    {OPTION_INT, 'j', "jobs", "N", offsetof(Options, jobs),
     "Connections that read at once; a number fit for the machine when not given.", .min = 1,
     .max = 64},
    {OPTION_INT, 0, "level", "N", offsetof(Options, level),
     "zstd level; 3 when not given. Deltas are made at level 3 at least.", .min = 1, .max = 19},
    {OPTION_FLAG, 0, "no-deltas", NULL, offsetof(Options, no_deltas),
     "Store every new chunk whole, not as the difference to the previous backup's: a larger store "
     "that reads a little faster."},
    {OPTION_FLAG, 0, "order-by-key", NULL, offsetof(Options, order_by_key),
     "Read PostgreSQL's tables in the order of their primary keys: rows that moved cost nothing."},
    {OPTION_TEXT, 0, "pg-bindir", "DIR", offsetof(Options, pg_bindir),
     "Where pg_dump, pg_restore and pg_dumpall are."},
    {OPTION_INT, 0, "retries", "N", offsetof(Options, retries),
     "How often to connect again after a failure that may pass; 3 when not given.", .min = 0,
     .max = 100},
    {OPTION_FLAG, 0, "no-text", NULL, offsetof(Options, no_text),
     "A SQLite database without its SQL text."},
    {OPTION_NUMBER, 0, "lock-wait", "SECONDS", offsetof(Options, lock_wait),
     "How long to wait for another writer of the store; 600 when not given, 0 fails at once.",
     .min = 0, .max = 1000000},
    {OPTION_NUMBER, 0, "table-lock-wait", "SECONDS", offsetof(Options, table_lock_wait),
     "How long to wait for PostgreSQL's table locks; 60 when not given.", .min = 0, .max = 1000000},
    {OPTION_HEADING, .help = "What it prints"},
    {OPTION_FLAG, 0, "json", NULL, offsetof(Options, json), "The result as one JSON object."},
    {OPTION_FLAG, 0, "progress", NULL, offsetof(Options, json_progress),
     "With --json: before the result, once a second, a JSON object of how far it is."},
    {OPTION_FLAG, 'q', "quiet", NULL, offsetof(Options, quiet), "Nothing but errors."},
    {OPTION_END},
};

static const OptionProgram program = {
    .name = PROGRAM,
    .synopsis = "[OPTION]... [SOURCE]...",
    .summary = "Back up databases and files into a store, as one backup. SOURCE is postgres://..., "
               "a libpq "
               "keyword string (\"host=... dbname=...\"), sqlite:PATH or file:PATH. Without one: "
               "$SUPABASE_DB_URL, then $DATABASE_URL, then libpq's own variables ($PGHOST, "
               "$PGDATABASE ...). With BACKUP_ENABLED=false in the environment nothing is done.",
    .options = option_table,
    .epilogue =
        "Exit status: 0 done, 1 failed and nothing was committed, 2 wrong usage, 3 done but "
        "parts were\nleft out, 10 no such store, 11 the store is locked by another writer, "
        "130 interrupted.\n",
};

static atomic_bool cancelled;

static void on_signal(int number)
{
    atomic_store(&cancelled, true);
}

typedef struct Console {
    const Options *options;
    ReportProgress progress;
    pthread_mutex_t lock; /* progress comes from several threads */
    double started, last_json;
    uint64_t done, total; /* of the source that is read, by its estimate; total 0: not known */
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

static void on_wait(void *ctx, const char *holder)
{
    Console *c = ctx;
    if (!c->options->quiet)
        report_note(PROGRAM, "waiting up to %g s for the store, which is locked by %s",
                    c->options->lock_wait, holder);
}

static void on_share(void *ctx, uint64_t done, uint64_t total)
{
    Console *c = ctx;
    pthread_mutex_lock(&c->lock);
    if (total != c->total || done > c->done)
        c->done = done;
    c->total = total;
    pthread_mutex_unlock(&c->lock);
}

static double percent(const Console *c)
{
    return 100.0 * (double)c->done / (double)c->total;
}

static void draw_progress(Console *c, uint64_t bytes, uint64_t rate, const char *what)
{
    char size[REPORT_SIZE_SIZE], speed[REPORT_SIZE_SIZE], all[REPORT_SIZE_SIZE];
    report_format_size(bytes, size);
    report_format_size(rate, speed);
    if (c->total == 0) {
        report_progress(&c->progress, "%s read, %s/s, %s", size, speed, what);
        return;
    }
    report_format_size(c->total, all);
    report_progress(&c->progress, "%s read, %s/s, %.0f %% of about %s, %s", size, speed, percent(c),
                    all, what);
}

static void print_progress(Console *c, uint64_t bytes, uint64_t rate, const char *what)
{
    json_t *doc = json_pack("{s:s, s:I, s:I, s:s*}", "event", "progress", "bytes",
                            (json_int_t)bytes, "bytes_per_second", (json_int_t)rate, "what", what);
    if (doc && c->total > 0) {
        json_object_set_new(doc, "done", json_integer((json_int_t)c->done));
        json_object_set_new(doc, "total", json_integer((json_int_t)c->total));
        json_object_set_new(doc, "percent", json_real(percent(c)));
    }
    if (doc)
        report_json(doc);
    fflush(stdout);
    json_decref(doc);
}

static void on_progress(void *ctx, uint64_t bytes, const char *what)
{
    Console *c = ctx;
    if (!c->progress.on && !c->options->json_progress)
        return;
    pthread_mutex_lock(&c->lock);
    double now = clock_monotonic(), seconds = now - c->started;
    uint64_t rate = seconds > 0 ? (uint64_t)((double)bytes / seconds) : 0;
    if (c->options->json_progress && (c->last_json == 0 || now - c->last_json >= 1)) {
        c->last_json = now;
        print_progress(c, bytes, rate, what);
    }
    if (report_progress_due(&c->progress))
        draw_progress(c, bytes, rate, what ? what : "");
    pthread_mutex_unlock(&c->lock);
}

static SourceNames names(const OptionList *l)
{
    return (SourceNames){.items = l->items, .n = l->n};
}

static int parse_tags(const OptionList *list, json_t **ret_tags, Error *e)
{
    json_t *tags = list->n ? json_object() : NULL;
    for (size_t i = 0; i < list->n; i++) {
        const char *equals = strchr(list->items[i], '=');
        char key[128];
        int n = equals ? snprintf(key, sizeof(key), "%.*s", (int)(equals - list->items[i]),
                                  list->items[i])
                       : 0;
        if (n < 1 || n >= (int)sizeof(key) ||
            json_object_set_new(tags, key, json_string(equals + 1)) < 0) {
            json_decref(tags);
            int r = error_set(e, EINVAL, "--tag %s: not KEY=VALUE in UTF-8", list->items[i]);
            error_hint(e, "for example --tag ticket=4711");
            error_exit_code(e, BK_EXIT_USAGE);
            return r;
        }
    }
    *ret_tags = tags;
    return 0;
}

/* SOURCE arguments may hold passwords: take copies, and leave nothing of them for `ps` to show. */
static int take_sources(char **argv, int n, const char ***ret_sources)
{
    const char **sources = calloc((size_t)n + 1, sizeof(*sources));
    for (int i = 0; sources && i < n; i++) {
        sources[i] = strdup(argv[i]);
        if (strncmp(argv[i], "sqlite:", 7) != 0 && strncmp(argv[i], "file:", 5) != 0)
            memset(argv[i], '*', strlen(argv[i]));
        if (!sources[i])
            return -ENOMEM;
    }
    *ret_sources = sources;
    return sources ? 0 : -ENOMEM;
}

static bool is_disabled(void)
{
    const char *enabled = getenv("BACKUP_ENABLED");
    if (enabled && *enabled && strcasecmp(enabled, "true") != 0 &&
        strcasecmp(enabled, "false") != 0)
        report_note(PROGRAM, "BACKUP_ENABLED is neither true nor false: backing up");
    return enabled && strcasecmp(enabled, "false") == 0;
}

static void prepare_process(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* Every new pack of a large backup is an open file. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int print_result(const Options *o, const BackupResult *result)
{
    if (o->json) {
        char path[MANIFEST_NAME_SIZE];
        manifest_name(&result->info, path);
        json_object_set_new(result->manifest, "storage_path", json_string(path));
        json_object_set_new(result->manifest, "storage_type", json_string("local"));
        report_json(result->manifest);
    } else if (!o->quiet) {
        _cleanup_(buf_release) Buf text = BUF_INIT;
        if (summary_format(result->manifest, &text) == 0 && buf_cstr(&text))
            report_print("%s", buf_cstr(&text));
    }
    int code = report_finish(PROGRAM, result->incomplete ? BK_EXIT_PARTIAL : BK_EXIT_OK);
    if (code == BK_EXIT_OK || code == BK_EXIT_PARTIAL)
        return code;
    /* Not "nothing was committed", nor may a job that reads the result take it for whole. */
    report_note(PROGRAM, "the backup is complete all the same: %s", result->info.id);
    return BK_EXIT_PARTIAL;
}

int main(int argc, char **argv)
{
    Options o = {.lock_wait = 600, .table_lock_wait = -1, .retries = 3};
    int first;
    int r = report_options(&program, argc, argv, &o, &first);
    if (r >= 0)
        return r;
    if (is_disabled()) {
        if (o.json)
            report_print("{\"status\": \"disabled\"}\n");
        else if (!o.quiet)
            report_print("backups are off: BACKUP_ENABLED=false\n");
        return report_finish(PROGRAM, BK_EXIT_OK);
    }
    Error e = ERROR_INIT;
    if (!o.store) {
        error_set(&e, EINVAL, "no store given");
        error_hint(&e, "name it with --store DIR or in $BAKFS_STORE");
        error_exit_code(&e, BK_EXIT_USAGE);
        return report_error(PROGRAM, &e);
    }
    if (o.json_progress && !o.json) {
        options_usage_error(&program, &e, "--progress needs --json");
        return report_error(PROGRAM, &e);
    }
    json_t *tags = NULL;
    const char **sources = NULL;
    Console console = {
        .options = &o, .lock = PTHREAD_MUTEX_INITIALIZER, .started = clock_monotonic()};
    prepare_process();
    report_progress_init(&console.progress, o.quiet || o.json);
    r = parse_tags(&o.tags, &tags, &e);
    if (r == 0 && take_sources(argv + first, argc - first, &sources) < 0)
        r = error_oom(&e);

    BackupResult result = {0};
    if (r == 0) {
        BackupOptions options = {
            .store = o.store,
            .collection = o.collection,
            .source_repo = o.repo,
            .trigger_event = o.event,
            .commit_sha = o.sha,
            .environment = o.environment,
            .tags = tags,
            .sources = sources,
            .n_sources = (size_t)(argc - first),
            .lock_wait = o.lock_wait,
            .level = o.level,
            .no_deltas = o.no_deltas,
            .source = {.jobs = o.jobs,
                       .retries = o.retries,
                       .table_lock_wait = o.table_lock_wait,
                       .pg_bindir = o.pg_bindir,
                       .no_text = o.no_text,
                       .scope = {.schemas = names(&o.schemas),
                                 .exclude_schemas = names(&o.exclude_schemas),
                                 .tables = names(&o.tables),
                                 .exclude_tables = names(&o.exclude_tables),
                                 .exclude_data = names(&o.exclude_data)},
                       .order_by_key = o.order_by_key,
                       .no_owner = o.no_owner,
                       .no_acl = o.no_acl,
                       .skip_unreadable = o.skip_unreadable,
                       .cancel = &cancelled,
                       .note = on_note,
                       .progress = on_progress,
                       .share = on_share,
                       .ctx = &console},
            .on_wait = on_wait,
        };
        r = backup_run(&options, &result, &e);
    }
    report_progress_clear(&console.progress);
    int code = r < 0 ? report_error(PROGRAM, &e) : print_result(&o, &result);
    backup_result_release(&result);
    json_decref(tags);
    for (int i = 0; sources && i < argc - first; i++)
        free((char *)sources[i]);
    free(sources);
    OptionList *const lists[] = {&o.tags,   &o.schemas,        &o.exclude_schemas,
                                 &o.tables, &o.exclude_tables, &o.exclude_data};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        option_list_release(lists[i]);
    return code;
}
