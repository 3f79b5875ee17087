/* bakfs-verify: is the store what it says it is, and can its backups be restored? */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "store/store.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/report.h"
#include "verify/verify.h"

#define PROGRAM "bakfs-verify"

/* Touched files printed for one backup; --json lists all that were kept. */
#define MAX_PATHS 20

typedef struct Options {
    const char *store, *collection;
    int threads;
    bool quick, json, quiet;
} Options;

static const Option option_table[] = {
    {OPTION_TEXT, 's', "store", "DIR", offsetof(Options, store), "The store.",
     .env = "BAKFS_STORE"},
    {OPTION_FLAG, 0, "quick", NULL, offsetof(Options, quick),
     "Check structure and sizes only: no stored data is decompressed."},
    {OPTION_TEXT, 'c', "collection", "NS/NAME", offsetof(Options, collection),
     "Only the backups of this collection."},
    {OPTION_INT, 'j', "jobs", "N", offsetof(Options, threads),
     "Threads that read packs; one per processor when not given.", .min = 1, .max = 1024},
    {OPTION_FLAG, 0, "json", NULL, offsetof(Options, json),
     "Print JSON: a line a second for progress, then one object with the result."},
    {OPTION_FLAG, 'q', "quiet", NULL, offsetof(Options, quiet),
     "Print nothing unless something is wrong."},
    {OPTION_END},
};

static const OptionProgram program = {
    .name = PROGRAM,
    .synopsis = "[OPTION]... [BACKUP]",
    .summary = "Check a store: read every stored byte, decompress and hash every chunk, and follow "
               "every backup's directories and files to their chunks. BACKUP (an id, a unique "
               "prefix of one, an archive name, a time or `latest`) limits this to what one backup "
               "needs.",
    .options = option_table,
    .epilogue =
        "Exit status: 0 all is well; 1 damage was found, or the check failed; 2 wrong usage;\n"
        "10 no such store; 130 interrupted. See bakfs-verify(1).",
};

static atomic_bool interrupted;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

typedef struct Progress {
    ReportProgress line;
    bool json;
    double started, last;
} Progress;

static void print_json_progress(Progress *p, const char *phase, uint64_t done, uint64_t total)
{
    double now = clock_monotonic();
    if (now - p->last < 1)
        return;
    p->last = now;
    json_t *doc =
        json_pack("{s:s, s:s, s:I, s:I, s:f}", "event", "progress", "phase", phase, "done",
                  (json_int_t)done, "total", (json_int_t)total, "seconds", now - p->started);
    report_json(doc);
    json_decref(doc);
    fflush(stdout);
}

static void on_progress(void *ctx, VerifyPhase phase, uint64_t done, uint64_t total)
{
    static const char *const names[] = {
        [VERIFY_LISTS] = "lists", [VERIFY_PACKS] = "packs", [VERIFY_TREES] = "trees"};
    Progress *p = ctx;
    if (p->json) {
        print_json_progress(p, names[phase], done, total);
        return;
    }
    if (!report_progress_due(&p->line))
        return;
    char have[REPORT_SIZE_SIZE], all[REPORT_SIZE_SIZE];
    report_format_size(done, have);
    report_format_size(total, all);
    if (phase == VERIFY_LISTS)
        report_progress(&p->line, "reading the lists");
    else if (phase == VERIFY_PACKS)
        report_progress(&p->line, "reading packs: %s of %s", have, all);
    else
        report_progress(&p->line, "following backups: %" PRIu64 " of %" PRIu64, done, total);
}

static json_t *touches_json(const VerifyResult *r, const Damage *d)
{
    json_t *list = json_array(), *paths = NULL;
    for (size_t i = 0; i < d->n_touches; i++) {
        const DamageTouch *t = &d->touches[i];
        const BackupInfo *b = &r->backups->items[t->backup];
        if (i == 0 || d->touches[i - 1].backup != t->backup) {
            paths = json_array();
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "backup_id", b->id,
                                                  "collection", b->collection, "archive_name",
                                                  b->archive_name, "paths", paths));
        }
        json_t *path = json_string(t->path);
        json_array_append_new(paths, path ? path : json_string("(not UTF-8)"));
    }
    return list;
}

static json_t *damage_json(const VerifyResult *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->damage.n; i++) {
        const Damage *d = &r->damage.items[i];
        char hex[ID_HEX_SIZE];
        id_to_hex(&d->object, hex);
        json_array_append_new(list, json_pack("{s:s, s:s*, s:s*, s:s, s:I, s:o}", "kind",
                                              damage_kind_name(d->kind), "file", d->file, "object",
                                              d->has_object ? hex : NULL, "message", d->message,
                                              "touched", (json_int_t)d->touched, "backups",
                                              touches_json(r, d)));
    }
    return list;
}

static json_t *damaged_files_json(const VerifyResult *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->damage.n; i++)
        if (r->damage.items[i].file && r->damage.items[i].first_of_file)
            json_array_append_new(list, json_string(r->damage.items[i].file));
    return list;
}

static void print_json_result(const VerifyResult *r, const Options *o)
{
    char message[64];
    snprintf(message, sizeof(message), "%zu findings", r->damage.n);
    json_t *doc = json_pack(
        "{s:s, s:b, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "event",
        "result", "is_valid", r->damage.n == 0, "error_message", r->damage.n ? message : "",
        "quick", o->quick, "backups", (json_int_t)r->n_backups, "manifests",
        (json_int_t)r->n_manifests, "events", (json_int_t)r->n_events, "packs",
        (json_int_t)r->n_packs, "objects", (json_int_t)r->objects, "bytes", (json_int_t)r->bytes,
        "plain_bytes", (json_int_t)r->plain_bytes, "newly_verified", (json_int_t)r->n_marked,
        "seconds", r->seconds, "damaged_files", damaged_files_json(r), "damage", damage_json(r));
    report_json(doc);
    json_decref(doc);
}

static void print_touches(const VerifyResult *r, const Damage *d)
{
    size_t in_backup = 0;
    for (size_t i = 0; i < d->n_touches; i++) {
        const DamageTouch *t = &d->touches[i];
        bool first = i == 0 || d->touches[i - 1].backup != t->backup;
        bool last = i + 1 == d->n_touches || d->touches[i + 1].backup != t->backup;
        const BackupInfo *b = &r->backups->items[t->backup];
        in_backup = first ? 1 : in_backup + 1;
        if (first)
            report_print("    touches %s (%s, %s):\n", b->id, b->collection, b->archive_name);
        if (in_backup <= MAX_PATHS)
            report_print("      %s\n", t->path);
        else if (last)
            report_print("      and %zu more\n", in_backup - MAX_PATHS);
    }
    if (d->touched > d->n_touches)
        report_print("    and %" PRIu64 " more files\n", d->touched - d->n_touches);
}

static void print_finding(const VerifyResult *r, const Damage *d)
{
    char hex[ID_HEX_SIZE];
    id_to_hex(&d->object, hex);
    if (d->has_object && d->kind != DAMAGE_MANIFEST && d->kind != DAMAGE_EVENT)
        report_print("  chunk %s: %s\n", hex, d->message);
    else
        report_print("  %s\n", d->message);
    print_touches(r, d);
}

/* What is wrong, a file of the store at a time: at the first finding about it all the others. */
static void print_damage(const VerifyResult *r)
{
    const Damage *items = r->damage.items;
    for (size_t i = 0; i < r->damage.n; i++) {
        if (!items[i].first_of_file)
            continue;
        report_print("damaged: %s\n", items[i].file ? items[i].file : "chunks that are in no pack");
        for (size_t k = i; k != DAMAGE_NONE; k = items[k].next_of_file)
            print_finding(r, &items[k]);
    }
}

static void print_summary(const VerifyResult *r, const Options *o)
{
    char bytes[REPORT_SIZE_SIZE], plain[REPORT_SIZE_SIZE], time[REPORT_DURATION_SIZE];
    report_format_size(r->bytes, bytes);
    report_format_size(r->plain_bytes, plain);
    report_format_duration(r->seconds, time);
    printf("%s: %zu backup%s, %zu pack%s (%s), %" PRIu64 " chunks", o->quick ? "structure" : "read",
           r->n_backups, r->n_backups == 1 ? "" : "s", r->n_packs, r->n_packs == 1 ? "" : "s",
           bytes, r->objects);
    if (!o->quick)
        printf(" (%s decompressed and hashed)", plain);
    printf(", %s: all is well\n", time);
}

static int report_damage(const VerifyResult *r)
{
    Error e = ERROR_INIT;
    size_t touched = 0, catalogue = 0;
    for (size_t i = 0; i < r->backups->n; i++)
        touched += verify_touches(r, i);
    for (size_t i = 0; i < r->damage.n; i++)
        catalogue += r->damage.items[i].kind == DAMAGE_CATALOGUE;
    if (catalogue == r->damage.n) {
        error_set(&e, EBADMSG, "the store's catalogue is wrong; no backup is damaged");
        error_hint(&e,
                   "run `bakfs-store reindex`, then %s again: until then readers may take one "
                   "backup for another",
                   PROGRAM);
        return report_error(PROGRAM, &e);
    }
    error_set(&e, EBADMSG, "damage was found: %zu finding%s, touching %zu of %zu backup%s",
              r->damage.n, r->damage.n == 1 ? "" : "s", touched, r->n_backups,
              r->n_backups == 1 ? "" : "s");
    error_hint(&e,
               "keep the store as it is; copy the files named above back from a second copy of "
               "the store, then run %s again. Files of backups that are not named are intact",
               PROGRAM);
    return report_error(PROGRAM, &e);
}

static int finish(const VerifyResult *r, const Options *o)
{
    if (o->json)
        print_json_result(r, o);
    if (r->damage.n == 0) {
        if (!o->json && !o->quiet)
            print_summary(r, o);
        return report_finish(PROGRAM, BK_EXIT_OK);
    }
    if (!o->json)
        print_damage(r);
    return report_finish(PROGRAM, report_damage(r));
}

static int verify(const Options *o, const char *backup)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    Progress progress = {.json = o->json && !o->quiet, .started = clock_monotonic()};
    progress.last = progress.started;
    report_progress_init(&progress.line, o->quiet || o->json);
    const VerifyOptions options = {.quick = o->quick,
                                   .backup = backup,
                                   .collection = o->collection,
                                   .threads = (unsigned)o->threads,
                                   .cancel = &interrupted,
                                   .progress = on_progress,
                                   .ctx = &progress};
    Store *store = NULL;
    VerifyResult *result = NULL;
    int r = store_open(o->store, &store, &e);
    if (r == 0)
        r = verify_run(store, &options, &result, &e);
    report_progress_clear(&progress.line);
    int exit_code = r < 0 ? report_error(PROGRAM, &e) : finish(result, o);
    verify_result_free(result);
    store_close(store);
    return exit_code;
}

int main(int argc, char **argv)
{
    Options o = {0};
    int first = 0, r = report_options(&program, argc, argv, &o, &first);
    if (r >= 0)
        return r;
    _cleanup_(error_release) Error e = ERROR_INIT;
    if (!o.store)
        options_usage_error(&program, &e, "no store: give --store DIR or set $BAKFS_STORE");
    else if (argc - first > 1)
        options_usage_error(&program, &e, "one BACKUP at most, not %d", argc - first);
    if (e.message)
        return report_error(PROGRAM, &e);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return verify(&o, argc > first ? argv[first] : NULL);
}
