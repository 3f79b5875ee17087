/* The PostgreSQL source: one snapshot from begin to end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/postgres/blobs.h"
#include "source/postgres/catalog.h"
#include "source/postgres/changes.h"
#include "source/postgres/conn.h"
#include "source/postgres/copy.h"
#include "source/postgres/extensions.h"
#include "source/postgres/layout.h"
#include "source/postgres/rights.h"
#include "source/postgres/roles.h"
#include "source/postgres/scope.h"
#include "source/postgres/snapshot.h"
#include "source/postgres/tools.h"
#include "source/postgres/try.h"
#include "source/source.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define DEFAULT_LOCK_WAIT 60.0        /* seconds */
#define PIECE_SIZE        (16u << 20) /* bytes on disk; tables of 16 such pieces are divided */
#define RESTART_BACK_OFF  10          /* milliseconds */
#define MIN_RESTARTS      5 /* dumps begun anew because a table changed under the first steps */

typedef struct PostgresSource {
    Source base;
    ConnInfo given, pinned;
    PgTools tools;
    Conn *coordinator; /* from open to free */
    UnreadableList unreadable;
    ArgList args;    /* for pg_dump: what to read */
    ToolNotes notes; /* what the tools warned of */
    bool few_locks;  /* the server has no room for the locks of more than pg_dump */
} PostgresSource;

static void postgres_free(Source *base)
{
    PostgresSource *s = (PostgresSource *)base;
    conn_close(s->coordinator);
    unreadable_list_release(&s->unreadable);
    arg_list_release(&s->args);
    tool_notes_release(&s->notes);
    conninfo_release(&s->given);
    conninfo_release(&s->pinned);
    pg_tools_release(&s->tools);
    free(base->name);
    free(base->masked);
    free(s);
}

/* Names of objects stand in messages, and may hold anything. */
static int sanitize(int r, Error *e)
{
    for (char *p = e ? e->message : NULL; p && *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    return r;
}

static int connect_source(PostgresSource *s, Error *e)
{
    const SourceOptions *o = s->base.options;
    const ConnOptions co = {
        .retries = o->retries, .cancel = o->cancel, .note = o->note, .ctx = o->ctx};
    conn_close(s->coordinator);
    s->coordinator = NULL;
    conninfo_release(&s->pinned);
    TRY(conn_open(&s->given, &co, &s->coordinator, e));
    return conninfo_pin(&s->given, conn_pg(s->coordinator), &s->pinned, e);
}

/* What is to be read, and whether the role may. */
static int find_scope(PostgresSource *s, Error *e)
{
    const SourceOptions *o = s->base.options;
    TRY(rights_find(s->coordinator, &o->scope, &s->unreadable, e));
    if (s->unreadable.n > 0 && !o->skip_unreadable)
        return rights_refuse(s->coordinator, &s->unreadable, e);
    TRY(scope_arguments(o, &s->args, e));
    return rights_arguments(&s->unreadable, o->scope.tables.n > 0, &s->args, e);
}

static int open_source(Source *base, Error *e)
{
    PostgresSource *s = (PostgresSource *)base;
    const SourceOptions *o = base->options;
    TRY(conninfo_check_pooler(&s->given, e));
    TRY(conninfo_check_secrets(&s->given, e));
    TRY(connect_source(s, e));
    TRY(pg_tools_find(o->pg_bindir, NULL, conn_major(s->coordinator), &s->tools, e));
    TRY(find_scope(s, e));
    char *name = strdup(s->pinned.dbname);
    if (!name)
        return error_oom(e);
    free(base->name);
    base->name = name;
    return 0;
}

static int postgres_open(Source *base, Error *e)
{
    return sanitize(open_source(base, e), e);
}

/* What one read gathers. */
typedef struct Run {
    PostgresSource *source;
    const SourceRun *run;
    SinkShared shared;
    Snapshot snapshot;
    DatabaseInfo info;
    BelongsList belongs;
    TableFactsList facts;
    ReferenceList references;
    Model model;
    Script script;
    Buf roles;
    json_t *hidden;  /* what the role could not be granted, {what, why}; owned */
    BlobData *blobs; /* one for each part of the script */
    uint64_t archive_bytes;
    bool reading; /* data was read: no second attempt */
} Run;

static void run_release(Run *r)
{
    for (size_t i = 0; r->blobs && i < r->script.n; i++)
        blob_data_release(&r->blobs[i]);
    free(r->blobs);
    json_decref(r->hidden);
    buf_release(&r->roles);
    model_release(&r->model); /* points into the TOC */
    script_release(&r->script);
    table_facts_release(&r->facts);
    references_release(&r->references);
    belongs_release(&r->belongs);
    database_info_release(&r->info);
    snapshot_end(&r->snapshot);
}

/* With one job pg_dump reads for us. But it can't leave out a large object. */
static bool is_sequential(const PostgresSource *s)
{
    return s->base.options->jobs == 1 && !s->base.options->order_by_key &&
           !unreadable_has_blobs(&s->unreadable);
}

/* Seconds. */
static double lock_wait(const SourceOptions *o)
{
    return o->table_lock_wait >= 0 ? o->table_lock_wait : DEFAULT_LOCK_WAIT;
}

static int take_snapshot(Run *r, Error *e)
{
    PostgresSource *s = r->source;
    const SourceOptions *o = s->base.options;
    SnapshotOptions so = {.tools = &s->tools,
                          .pinned = &s->pinned,
                          .lock_wait = lock_wait(o),
                          .from_dump = is_sequential(s) || s->few_locks,
                          .args = (const char *const *)s->args.items,
                          .n_args = s->args.n,
                          .no_owner = o->no_owner,
                          .cancel = o->cancel,
                          .notes = &s->notes};
    TRY(snapshot_begin(s->coordinator, &so, &r->snapshot, e));
    return rights_drop_blobs(&s->unreadable, &r->snapshot.toc) < 0 ? error_oom(e) : 0;
}

static int read_catalogues(Run *r, Error *e)
{
    Conn *c = r->source->coordinator;
    TRY(catalog_database(c, &r->info, e));
    TRY(catalog_belongs(c, &r->belongs, e));
    TRY(catalog_references(c, &r->references, e));
    TRY(rights_hidden(c, &r->source->base.options->scope, &r->hidden, e));
    TRY(catalog_table_facts(c, &r->snapshot.toc, !r->snapshot.reader,
                            r->source->base.options->order_by_key, &r->facts, e));
    TRY(model_build(&r->snapshot.toc, &r->belongs, &r->facts, &r->model, e));
    return extensions_of_tables(c, &r->model, e);
}

/* Tests, which have no large tables, set it by a variable. */
static uint64_t piece_size(void)
{
    const char *text = getenv("BAKFS_TEST_PIECE_SIZE");
    uint64_t size = text ? strtoull(text, NULL, 10) : 0;
    return size > 0 ? size : PIECE_SIZE;
}

/* The measure of progress: what the server has on disk of all that is to be read. */
static void measure(Run *r)
{
    bool has_blobs = false;
    for (size_t i = 0; i < r->script.n; i++)
        has_blobs |= toc_is(r->script.parts[i].entry, "BLOBS");
    if (!has_blobs)
        r->info.blob_size = 0;
    r->shared.total = r->info.blob_size;
    for (size_t i = 0; i < r->model.n_tables; i++)
        if (r->model.tables[i].data != MODEL_NONE)
            r->shared.total += r->model.tables[i].size;
}

static int read_rows(Run *r, Error *e)
{
    PostgresSource *s = r->source;
    int jobs = s->base.options->jobs;
    if (jobs <= 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        jobs = cores < 2 ? 2 : cores > 4 ? 4 : (int)cores;
    }
    CopyOptions co = {
        .pinned = &s->pinned, .jobs = jobs, .piece_size = piece_size(), .shared = &r->shared};
    return r->snapshot.reader
               ? copy_from_dump(&co, &r->snapshot, &r->model, &r->script, r->blobs, e)
               : copy_tables(&co, &r->snapshot, &r->model, e);
}

static int read_blobs(Run *r, Error *e)
{
    for (size_t i = 0; !r->snapshot.reader && i < r->script.n; i++)
        if (toc_is(r->script.parts[i].entry, "BLOBS"))
            TRY(blobs_read(r->source->coordinator, &r->snapshot.toc, &r->script.parts[i],
                           &r->shared, &r->blobs[i], e));
    sink_shared_done(&r->shared, r->info.blob_size);
    return 0;
}

static int note_one_connection(const Run *r, Error *e)
{
    const SourceOptions *o = r->source->base.options;
    _cleanup_free_ char *text = NULL;
    if (!r->snapshot.why_one || !o->note)
        return 0;
    if (asprintf(&text, "%s: reading through one connection", r->snapshot.why_one) < 0)
        return error_oom(e);
    o->note(o->ctx, text);
    return 0;
}

/* Everything but the files. */
static int gather(Run *r, Error *e)
{
    PostgresSource *s = r->source;
    const SourceOptions *o = s->base.options;
    TRY(take_snapshot(r, e));
    TRY(note_one_connection(r, e));
    TRY(read_catalogues(r, e));
    TRY(script_make(&s->tools, &r->snapshot.toc, o->cancel, &s->notes, &r->script, e));
    TRY(layout_prepare(&r->model, &r->script, r->run->secret, e));
    r->blobs = calloc(r->script.n + 1, sizeof(*r->blobs));
    if (!r->blobs)
        return error_oom(e);
    measure(r);
    r->reading = true;
    TRY(read_rows(r, e));
    TRY(catalog_check_names(s->coordinator, &r->snapshot.toc, e));
    TRY(read_blobs(r, e));
    TRY(roles_read(&s->tools, &s->pinned, s->coordinator, r->info.may_read_passwords, o->no_acl,
                   r->run->secret, o->cancel, &s->notes, &r->roles, e));
    TRY(changes_check_roles(s->coordinator, e));
    if (!r->info.may_read_passwords && o->note)
        o->note(o->ctx, "roles.sql holds no passwords: the role may not read them");
    return 0;
}

static void add_sums(const Run *r, SourceResult *result)
{
    for (size_t i = 0; i < r->model.n_tables; i++) {
        result->record_count += r->model.tables[i].rows;
        result->size_bytes += r->model.tables[i].bytes;
    }
    for (size_t i = 0; i < r->script.n; i++)
        result->size_bytes += r->blobs[i].bytes;
}

static int list_left_out(const Run *r, SourceResult *result)
{
    if (r->info.may_read_passwords && r->source->unreadable.n == 0 &&
        json_array_size(r->hidden) == 0)
        return 0;
    if (!(result->left_out = json_array()))
        return -1;
    if (!r->info.may_read_passwords &&
        json_array_append_new(result->left_out,
                              json_pack("{s:s, s:s}", "what", "role passwords", "why",
                                        "the role may not read pg_authid")) < 0)
        return -1;
    if (json_array_extend(result->left_out, r->hidden) < 0)
        return -1;
    return rights_json(&r->source->unreadable, result->left_out);
}

/* The manifest's account of the database. Steals `schemas`. */
static int describe(const Run *r, json_t *schemas, SourceResult *result, Error *e)
{
    const PostgresSource *s = r->source;
    result->database = json_pack(
        "{s:s, s:o, s:s, s:s, s:s, s:s, s:I, s:s*, s:I, s:o}", "type", "postgres", "name",
        source_json_name(s->pinned.dbname), "connection", s->base.masked, "server_version",
        r->info.server_version, "encoding", r->info.encoding, "collation", r->info.collation,
        "database_size", (json_int_t)r->info.size, "snapshot_lsn", r->info.lsn, "archive_bytes",
        (json_int_t)r->archive_bytes, "schemas", schemas);
    if (!result->database)
        return error_oom(e);
    const SourceOptions *o = s->base.options;
    bool is_narrow = source_scope_is_narrow(&o->scope);
    if ((is_narrow || o->no_owner || o->no_acl) &&
        json_object_set_new(result->database, "scope", scope_json(o)) < 0)
        return error_oom(e);
    result->incomplete = s->unreadable.n > 0;
    result->partial = is_narrow || result->incomplete;
    return list_left_out(r, result) < 0 ? error_oom(e) : 0;
}

/* One attempt. -ESTALE when another session changed a table or a definition under the first steps.
 * `ret_reading`: data was read. */
static int read_once(Source *base, const SourceRun *run, bool *ret_reading,
                     SourceResult *ret_result, Error *e)
{
    _cleanup_(run_release) Run r = {.source = (PostgresSource *)base,
                                    .run = run,
                                    .shared = {.run = run, .options = base->options}};
    SourceResult result = {0};
    json_t *schemas = NULL;
    int err = gather(&r, e);
    *ret_reading = r.reading;
    TRY(err);
    LayoutInput in = {.run = run,
                      .script = &r.script,
                      .model = &r.model,
                      .roles = &r.roles,
                      .references = &r.references,
                      .blobs = r.blobs};
    TRY(layout_write(&in, &result, &schemas, &r.archive_bytes, e));
    add_sums(&r, &result);
    err = describe(&r, schemas, &result, e);
    if (err == 0)
        err = snapshot_check(&r.snapshot, e);
    if (err < 0) {
        source_result_release(&result);
        return err;
    }
    *ret_result = result;
    return 0;
}

static void note_restart(const SourceOptions *o, const Error *why)
{
    _cleanup_free_ char *text = NULL;
    if (o->note && asprintf(&text, "%s; beginning again%s", why->message,
                            why->errnum == ENOLCK ? " through one connection" : "") >= 0)
        o->note(o->ctx, text);
}

/* What fails for a reason that may pass is begun again, unless data was read. Where others create
 * and drop tables all the time, that is more than a few times; no more is told than the first. */
static int read_source(Source *base, const SourceRun *run, SourceResult *ret_result, Error *e)
{
    PostgresSource *s = (PostgresSource *)base;
    const SourceOptions *o = base->options;
    double until = clock_monotonic() + lock_wait(o);
    for (int restarts = 0, losses = 0;;) {
        Error why = ERROR_INIT;
        bool reading = false;
        int r = read_once(base, run, &reading, ret_result, &why);
        if (r >= 0)
            return r;
        bool is_stale = r == -ESTALE && (restarts < MIN_RESTARTS || clock_monotonic() < until);
        bool is_lost = r == -ECONNRESET && !reading && losses < o->retries;
        bool is_full = r == -ENOLCK && !s->few_locks && !is_sequential(s);
        bool is_unclear = r == -EREMOTEIO && !reading && restarts < MIN_RESTARTS &&
                          (o->table_lock_wait == 0 || clock_monotonic() < until);
        if (!is_stale && !is_lost && !is_full && !is_unclear)
            return error_move(e, &why);
        if (is_lost || is_full || restarts == 0)
            note_restart(o, &why);
        s->few_locks |= is_full;
        error_release(&why);
        if (is_lost) {
            conn_back_off(o->cancel, losses++, CONN_BACK_OFF);
            TRY(connect_source(s, e));
        } else if (is_full) {
            conn_back_off(o->cancel, 0, CONN_BACK_OFF); /* the sessions of this attempt end */
        } else {
            conn_back_off(o->cancel, restarts++, RESTART_BACK_OFF);
        }
    }
}

static int postgres_read(Source *base, const SourceRun *run, SourceResult *ret_result, Error *e)
{
    return sanitize(read_source(base, run, ret_result, e), e);
}

static const SourceOps postgres_ops = {
    .scheme = "postgres",
    .open = postgres_open,
    .read = postgres_read,
    .free = postgres_free,
};

int postgres_source_new(const char *conninfo, const SourceOptions *options, Source **ret_source,
                        Error *e)
{
    PostgresSource *s = calloc(1, sizeof(*s));
    if (!s)
        return error_oom(e);
    s->base.ops = &postgres_ops;
    s->base.options = options;
    s->notes = (ToolNotes){.note = options->note, .ctx = options->ctx};
    int r = conninfo_parse(conninfo, &s->given, e);
    if (r == 0) {
        s->base.name = strdup(s->given.dbname);
        s->base.masked = strdup(s->given.masked);
        if (!s->base.name || !s->base.masked)
            r = error_oom(e);
    }
    if (r < 0) {
        postgres_free(&s->base);
        return r;
    }
    *ret_source = &s->base;
    return 0;
}
