#include "backup/backup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup/names.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/name.h"

/* A run in progress. */
typedef struct Run {
    const BackupOptions *o;
    BackupNames names;
    char *collection;
    Store *store;
    StoreWriter *writer;
    Source *files; /* all file: arguments, or NULL */
    SourceResult files_result;
    Source **sources; /* databases */
    SourceResult *results;
    char **paths; /* each source's directory in the backup; "" for the root */
    size_t n;
    int64_t timestamp;
    double started;
    Dir root;
} Run;

void backup_result_release(BackupResult *r)
{
    backup_info_release(&r->info);
    json_decref(r->manifest);
    r->manifest = NULL;
}

static void run_release(Run *x)
{
    for (size_t i = 0; i < x->n; i++) {
        source_free(x->sources[i]);
        source_result_release(&x->results[i]);
        free(x->paths[i]);
    }
    if (x->files)
        source_free(x->files);
    source_result_release(&x->files_result);
    free(x->sources);
    free(x->results);
    free(x->paths);
    writer_end(x->writer);
    store_close(x->store);
    free(x->collection);
    backup_names_release(&x->names);
}

/* What no walk through files goes into: the store, and databases that are read in their own way. */
static int leave_out(Run *x, Error *e)
{
    static const char *const beside[] = {"", "-wal", "-shm", "-journal"};
    if (files_source_leave_out(x->files, x->o->store, "is the store itself: left out") < 0)
        return error_oom(e);
    for (size_t i = 0; i < x->n; i++)
        for (size_t k = 0; x->sources[i]->file && k < sizeof(beside) / sizeof(beside[0]); k++) {
            _cleanup_free_ char *path = NULL;
            if (asprintf(&path, "%s%s", x->sources[i]->file, beside[k]) < 0)
                return error_oom(e);
            if (files_source_leave_out(x->files, path,
                                       "belongs to a database in this backup: left out") < 0)
                return error_oom(e);
        }
    return 0;
}

static int make_files(Run *x, const char *const *specs, size_t n, Error *e)
{
    _cleanup_free_ const char **paths = calloc(n, sizeof(*paths));
    size_t n_paths = 0;
    if (!paths)
        return error_oom(e);
    for (size_t i = 0; i < n; i++)
        if (source_file_path(specs[i]))
            paths[n_paths++] = source_file_path(specs[i]);
    if (n_paths == 0)
        return 0;
    int r = files_source_new(paths, n_paths, &x->o->source, &x->files, e);
    return r < 0 ? r : leave_out(x, e);
}

/* A job whose secret is missing must not take libpq's defaults, whatever is there, for its
 * database. */
static int empty_variable(const char *name, Error *e)
{
    int r = error_set(e, EINVAL, "no SOURCE was given, and $%s is set but empty", name);
    error_hint(e, "is a secret missing, or misspelt? Without the variable libpq's own are used");
    error_exit_code(e, BK_EXIT_USAGE);
    return r;
}

static int make_sources(Run *x, Error *e)
{
    const char *fallback[1] = {NULL};
    const char *const *specs = x->o->sources;
    size_t n = x->o->n_sources;
    if (n == 0) {
        const char *supabase = getenv("SUPABASE_DB_URL"), *url = getenv("DATABASE_URL");
        fallback[0] = supabase && *supabase ? supabase : url && *url ? url : NULL;
        if (!fallback[0] && (supabase || url))
            return empty_variable(supabase ? "SUPABASE_DB_URL" : "DATABASE_URL", e);
        specs = fallback;
        n = 1;
    }
    x->sources = calloc(n, sizeof(*x->sources));
    x->results = calloc(n, sizeof(*x->results));
    x->paths = calloc(n, sizeof(*x->paths));
    if (!x->sources || !x->results || !x->paths)
        return error_oom(e);
    for (size_t i = 0; i < n; i++) {
        if (source_file_path(specs[i]))
            continue;
        int r = specs[i] ? source_new(specs[i], &x->o->source, &x->sources[x->n], e)
                         : postgres_source_new("", &x->o->source, &x->sources[x->n], e);
        if (r < 0)
            return r;
        x->n++;
    }
    return make_files(x, specs, n, e);
}

/* Say where a source that nobody named came from. */
static int name_fallback(const Run *x, int r, Error *e)
{
    const char *supabase = getenv("SUPABASE_DB_URL"), *url = getenv("DATABASE_URL");
    if (r < 0 && x->o->n_sources == 0)
        error_prefix(e, "no SOURCE was given, so %s used",
                     supabase && *supabase ? "$SUPABASE_DB_URL was"
                     : url && *url         ? "$DATABASE_URL was"
                                           : "libpq's defaults and $PG* variables were");
    return r;
}

static bool is_path_taken(const Run *x, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(x->paths[i], path) == 0)
            return true;
    return false;
}

/* Directory names in the backup's root: the database's, with --2 and so on when it repeats. */
static int name_paths(Run *x, Error *e)
{
    static const char *const reserved[] = {"backup.json", "summary.txt", "SHA256SUMS", SOURCE_FILES,
                                           NULL};
    if (x->n == 1) {
        x->paths[0] = strdup("");
        return x->paths[0] ? 0 : error_oom(e);
    }
    for (size_t i = 0; i < x->n; i++) {
        const char *database = x->sources[i]->name;
        _cleanup_(buf_release) Buf name = BUF_INIT;
        int r = name_encode(database, strlen(database), reserved, &name, NULL);
        size_t len = name.len;
        for (size_t n = 2; r == 0 && buf_cstr(&name) && is_path_taken(x, i, buf_cstr(&name)); n++) {
            name.len = len;
            r = buf_addf(&name, "--%zu", n);
        }
        if (r < 0 || !(x->paths[i] = buf_take_cstr(&name)))
            return error_oom(e);
    }
    return 0;
}

static int check_cancel(const Run *x, Error *e)
{
    if (!x->o->source.cancel || !atomic_load(x->o->source.cancel))
        return 0;
    int r = error_set(e, EINTR, "interrupted");
    error_exit_code(e, BK_EXIT_INTERRUPTED);
    return r;
}

/* The source's directory in the collection's newest complete backup. */
static bool find_previous(Run *x, const char *path, ObjectId *ret_dir)
{
    BackupList *list = store_backups(x->store);
    const BackupInfo *latest = backup_list_latest(list, x->collection);
    _cleanup_(dir_entry_release) DirEntry entry = {0};
    bool found = latest != NULL;
    if (found)
        *ret_dir = latest->root;
    if (found && *path) {
        found = dir_resolve(store_objects(x->store), &latest->root, path, &entry, NULL) == 0 &&
                entry.kind == ENTRY_DIR;
        *ret_dir = entry.dir.id;
    }
    backup_list_unref(list);
    return found;
}

static int read_sources(Run *x, Error *e)
{
    ObjectId previous;
    SourceRun run = {
        .writer = x->writer, .timestamp = x->timestamp, .secret = store_config(x->store)->secret};
    if (x->files) {
        run.previous = find_previous(x, SOURCE_FILES, &previous) ? &previous : NULL;
        int r = x->files->ops->read(x->files, &run, &x->files_result, e);
        if (r == -EINTR)
            error_exit_code(e, BK_EXIT_INTERRUPTED);
        if (r < 0)
            return r;
        run.files = x->n == 1 ? &x->files_result.root : NULL; /* else build_root's to add */
    }
    for (size_t i = 0; i < x->n; i++) {
        int r = check_cancel(x, e);
        run.previous = find_previous(x, x->paths[i], &previous) ? &previous : NULL;
        if (r == 0)
            r = x->sources[i]->ops->read(x->sources[i], &run, &x->results[i], e);
        if (r == -EINTR)
            error_exit_code(e, BK_EXIT_INTERRUPTED);
        if (r < 0)
            return r;
    }
    return check_cancel(x, e);
}

static int build_root(Run *x, Error *e)
{
    if (x->n == 1) {
        x->root = x->results[0].root;
        return 0;
    }
    DirBuilder *b;
    int r = dir_builder_new(x->writer, &b) < 0 ? error_oom(e) : 0;
    for (size_t i = 0; r == 0 && i < x->n; i++)
        r = dir_builder_dir(b, x->paths[i], &x->results[i].root, e);
    if (r == 0 && x->files)
        r = dir_builder_dir(b, SOURCE_FILES, &x->files_result.root, e);
    if (r == 0)
        r = dir_builder_finish(b, &x->root, e);
    dir_builder_free(b);
    return r;
}

static int set_count(json_t *doc, const char *key, uint64_t value)
{
    return json_object_set_new(doc, key, json_integer((json_int_t)value));
}

/* What all sources have; the sums so far are in `sum`. */
static int add_up(const SourceResult *s, SourceResult *sum, json_t *left_out)
{
    sum->size_bytes += s->size_bytes;
    sum->record_count += s->record_count;
    sum->file_count += s->file_count;
    sum->table_count += s->table_count;
    sum->partial |= s->partial;
    return s->left_out ? json_array_extend(left_out, s->left_out) : 0;
}

static int add_contents(Run *x, json_t *doc)
{
    json_t *databases = json_array(), *left_out = json_array();
    SourceResult sum = {0};
    for (size_t i = 0; i < x->n; i++) {
        SourceResult *s = &x->results[i];
        int r = json_object_set_new(s->database, "path", json_string(x->paths[i]));
        r |= set_count(s->database, "size_bytes", s->size_bytes);
        r |= set_count(s->database, "record_count", s->record_count);
        r |= set_count(s->database, "table_count", s->table_count);
        r |= json_array_append(databases, s->database);
        r |= add_up(s, &sum, left_out);
        if (r < 0) {
            json_decref(databases);
            json_decref(left_out);
            return -ENOMEM;
        }
    }
    int r = add_up(&x->files_result, &sum, left_out);
    r |= json_object_set_new(doc, "databases", databases);
    r |= json_object_set_new(doc, "includes_files", json_boolean(x->files));
    if (x->files)
        r |= json_object_set(doc, "files", x->files_result.files);
    r |= json_object_set_new(doc, "left_out", left_out);
    r |= set_count(doc, "size_bytes", sum.size_bytes);
    r |= set_count(doc, "record_count", sum.record_count);
    r |= set_count(doc, "file_count", sum.file_count);
    r |= set_count(doc, "table_count", sum.table_count);
    r |= json_object_set_new(doc, "partial", json_boolean(sum.partial));
    return r;
}

static json_t *make_manifest(Run *x)
{
    char hex[ID_HEX_SIZE];
    const char *slash = strchr(x->collection, '/');
    _cleanup_free_ char *archive = backup_names_archive(&x->names, x->timestamp);
    id_to_hex(&x->root.id, hex);
    int64_t milliseconds = (int64_t)((clock_monotonic() - x->started) * 1000);
    json_t *doc =
        json_pack("{s:{s:s%, s:s}, s:I, s:I, s:f, s:s, s:s, s:s, s:s, s:s*, s:O*, s:{s:s, s:I},"
                  " s:{s:s, s:s}}",
                  "collection", "namespace", x->collection, (size_t)(slash - x->collection), "name",
                  slash + 1, "timestamp", (json_int_t)x->timestamp, "finished",
                  (json_int_t)clock_now(), "duration", (double)milliseconds / 1000, "archive_name",
                  archive ? archive : "", "source_repo", x->names.repo, "trigger_event",
                  x->names.event, "commit_sha", x->names.full_sha, "environment", x->o->environment,
                  "tags", x->o->tags, "root", "id", hex, "entries", (json_int_t)x->root.entries,
                  "program", "name", "bakfs-dump", "version", BAKFS_VERSION);
    if (!doc || !archive || add_contents(x, doc) != 0) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

/* What comes before the store's lock: everything that can fail without having cost anything. */
static int prepare(Run *x, Error *e)
{
    const BackupOptions *o = x->o;
    int r = backup_names_find(o->source_repo, o->trigger_event, o->commit_sha, &x->names, e);
    if (r == 0)
        r = store_open(o->store, &x->store, e);
    if (r == 0)
        r = name_fallback(x, make_sources(x, e), e);
    for (size_t i = 0; r == 0 && i < x->n; i++)
        r = name_fallback(x, x->sources[i]->ops->open(x->sources[i], e), e);
    if (r == 0 && x->files)
        r = x->files->ops->open(x->files, e);
    if (r < 0)
        return r;
    const Source *first = x->n ? x->sources[0] : x->files;
    x->collection = o->collection ? strdup(o->collection) : backup_default_collection(first->name);
    if (!x->collection)
        return error_oom(e);
    if (!collection_is_valid(x->collection)) {
        r = error_set(e, EINVAL, "\"%s\" is no collection name", x->collection);
        error_hint(e, "write NAMESPACE/NAME, of letters, digits, '.', '_' and '-'");
        error_exit_code(e, BK_EXIT_USAGE);
        return r;
    }
    return name_paths(x, e);
}

int backup_run(const BackupOptions *o, BackupResult *ret_result, Error *e)
{
    _cleanup_(run_release) Run x = {.o = o};
    WriterOptions w = {.lock_wait = o->lock_wait,
                       .level = o->level,
                       .no_deltas = o->no_deltas,
                       .cancel = o->source.cancel,
                       .on_wait = o->on_wait,
                       .on_wait_ctx = o->source.ctx};
    int r = prepare(&x, e);
    if (r == 0)
        r = writer_begin(x.store, &w, &x.writer, e);
    if (r < 0)
        return r;
    x.timestamp = clock_now();
    x.started = clock_monotonic();
    r = read_sources(&x, e);
    if (r == 0)
        r = build_root(&x, e);
    if (r < 0)
        return r;
    json_t *doc = make_manifest(&x);
    if (!doc)
        return error_oom(e);
    BackupResult result = {.manifest = doc};
    result.incomplete = x.files_result.incomplete;
    for (size_t i = 0; i < x.n; i++)
        result.incomplete |= x.results[i].incomplete;
    r = writer_commit(x.writer, doc, &result.info, e);
    if (r < 0) {
        json_decref(doc);
        return r;
    }
    *ret_result = result;
    return 0;
}
