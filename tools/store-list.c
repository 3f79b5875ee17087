/* bakfs-store list and show. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store-verbs.h"
#include "store/summary.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/report.h"

bool backup_is_latest(const BackupList *l, const BackupInfo *b)
{
    return backup_list_latest(l, b->collection) == b;
}

const char *backup_kind(const Manifest *m)
{
    const char *kind = m ? json_string_value(json_object_get(m->doc, "kind")) : NULL;
    return kind ? kind : "";
}

json_t *backup_json(const BackupInfo *b, const Manifest *m, bool latest)
{
    const char *slash = strchr(b->collection, '/');
    char path[MANIFEST_NAME_SIZE];
    manifest_name(b, path);
    json_t *map = m ? manifest_metadata(m) : json_object();
    bool files = m && json_is_true(json_object_get(m->doc, "includes_files"));
    return json_pack(
        "{s:s, s:{s:s%, s:s}, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:o, s:I, s:s, s:s, s:s, s:I, "
        "s:I, s:b, s:b, s:b}",
        "backup_id", b->id, "collection", "namespace", b->collection,
        (size_t)(slash - b->collection), "name", slash + 1, "timestamp", (json_int_t)b->timestamp,
        "size_bytes", (json_int_t)b->size_bytes, "record_count", (json_int_t)b->record_count,
        "file_count", (json_int_t)b->file_count, "includes_files", files, "storage_path", path,
        "storage_type", "local", "metadata", map, "ordinal", (json_int_t)b->ordinal, "archive_name",
        b->archive_name, "latest_name", b->latest_name, "kind", backup_kind(m), "table_count",
        (json_int_t)b->table_count, "bytes_new", (json_int_t)b->bytes_new, "latest", latest,
        "partial", b->partial, "verified", b->verified);
}

typedef struct Selection {
    const BackupInfo **items; /* newest first; owned */
    size_t n, total;          /* shown, and fitting without --limit */
} Selection;

static void selection_release(Selection *s)
{
    free(s->items);
}

static bool in_namespace(const BackupInfo *b, const char *namespace)
{
    size_t n = strlen(namespace);
    return strncmp(b->collection, namespace, n) == 0 && b->collection[n] == '/';
}

static int select_backups(const BackupList *l, const StoreOptions *o, Selection *s, Error *e)
{
    int64_t since = INT64_MIN;
    if (o->since && parse_time(o->since, clock_now(), &since) < 0) {
        int r = error_set(e, EINVAL, "--since: '%s' is no time", o->since);
        error_hint(e, "write 2026-01-15, 2026-01-15T14:30:45Z (UTC), @SECONDS or an age like 7d");
        error_exit_code(e, BK_EXIT_USAGE);
        return r;
    }
    s->items = calloc(l->n + 1, sizeof(*s->items));
    if (!s->items)
        return error_oom(e);
    for (size_t i = l->n; i-- > 0;) {
        const BackupInfo *b = &l->items[i];
        if ((o->collection && strcmp(b->collection, o->collection) != 0) ||
            (o->namespace && !in_namespace(b, o->namespace)) || b->timestamp < since)
            continue;
        s->total++;
        if (!o->limit || s->n < (size_t)o->limit)
            s->items[s->n++] = b;
    }
    return 0;
}

static void print_list_json(Store *store, const BackupList *l, const Selection *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++) {
        Manifest *m = NULL;
        store_manifest(store, s->items[i], &m, NULL);
        json_array_append_new(list, backup_json(s->items[i], m, backup_is_latest(l, s->items[i])));
        manifest_free(m);
    }
    json_t *doc = json_pack("{s:o, s:I}", "backups", list, "total_count", (json_int_t)s->total);
    report_json(doc);
    json_decref(doc);
}

static int widest(const Selection *s, size_t offset, int least)
{
    for (size_t i = 0; i < s->n; i++) {
        const char *text = *(char *const *)((const char *)s->items[i] + offset);
        int n = (int)strlen(text);
        least = n > least ? n : least;
    }
    return least;
}

static void print_list(const BackupList *l, const Selection *s)
{
    int id = widest(s, offsetof(BackupInfo, id), 2);
    int collection = widest(s, offsetof(BackupInfo, collection), 10);
    report_print("%-*s  %-20s  %-*s  %10s  %12s  %-23s  %s\n", id, "ID", "TIME (UTC)", collection,
                 "COLLECTION", "SIZE", "ROWS", "STATE", "ARCHIVE NAME");
    for (size_t i = 0; i < s->n; i++) {
        const BackupInfo *b = s->items[i];
        char time[CLOCK_ISO_SIZE], size[REPORT_SIZE_SIZE], state[32];
        clock_format_iso(b->timestamp, time);
        report_format_size(b->size_bytes, size);
        const char *words[] = {backup_is_latest(l, b) ? "latest" : NULL,
                               b->partial ? "partial" : NULL, b->verified ? "verified" : NULL};
        state[0] = 0;
        for (size_t k = 0; k < 3; k++)
            if (words[k])
                snprintf(state + strlen(state), sizeof(state) - strlen(state), "%s%s",
                         state[0] ? "," : "", words[k]);
        report_print("%-*s  %-20s  %-*s  %10s  %12" PRIu64 "  %-23s  %s\n", id, b->id, time,
                     collection, b->collection, size, b->record_count, state[0] ? state : "-",
                     b->archive_name);
    }
    if (s->n < s->total)
        report_print("(%zu of %zu; --limit shows more)\n", s->n, s->total);
}

int verb_list(const StoreOptions *o, const char *operand)
{
    (void)operand;
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(selection_release) Selection s = {0};
    Store *store = NULL;
    BackupList *l = NULL;
    int r = store_open(o->store, &store, &e);
    if (r == 0) {
        l = store_backups(store);
        r = select_backups(l, o, &s, &e);
    }
    if (r == 0 && o->json)
        print_list_json(store, l, &s);
    else if (r == 0 && s.n > 0)
        print_list(l, &s);
    else if (r == 0 && !o->quiet)
        report_note(STORE_PROGRAM, l->n ? "no backup fits" : "the store has no backups yet");
    if (r == 0 && l->damaged)
        report_note(STORE_PROGRAM,
                    "not shown: %zu backup%s whose manifest can't be read; bakfs-verify names %s",
                    l->damaged, l->damaged == 1 ? "" : "s", l->damaged == 1 ? "it" : "them");
    int exit_code = r < 0 ? report_error(STORE_PROGRAM, &e) : report_finish(STORE_PROGRAM, 0);
    backup_list_unref(l);
    store_close(store);
    return exit_code;
}

/* The summary that bakfs-dump printed, and what became of the backup. */
static int print_backup(const BackupInfo *b, const Manifest *m, bool latest)
{
    static const char *const fields[] = {"kind",    "description", "change_ticket", "purpose",
                                         "creator", "notes",       "retention"};
    _cleanup_(buf_release) Buf text = BUF_INIT;
    int r = summary_format(m->doc, &text);
    if (r == 0)
        r = buf_addf(&text, "%-13s%s\n", "Collection:", b->collection);
    for (size_t i = 0; r == 0 && i < sizeof(fields) / sizeof(*fields); i++) {
        const char *value = json_string_value(json_object_get(m->doc, fields[i]));
        if (value && *value)
            r = buf_addf(&text, "%-13s%s: %s\n", "", fields[i], value);
    }
    const char *key;
    json_t *value;
    json_object_foreach (json_object_get(m->doc, "tags"), key, value)
        if (r == 0)
            r = buf_addf(&text, "%-13s%s=%s\n", "Tag:", key, json_string_value(value));
    if (r == 0)
        r = buf_addf(&text, "%-13s%s%s\n", "State:", latest ? "latest, " : "",
                     b->verified ? "verified" : "not verified yet");
    const char *all = r == 0 ? buf_cstr(&text) : NULL;
    if (!all)
        return -ENOMEM;
    report_print("%s", all);
    return 0;
}

/* The whole manifest, and the fields of the API beside. */
static int print_backup_json(const BackupInfo *b, const Manifest *m, bool latest)
{
    json_t *doc = json_copy(m->doc), *api = backup_json(b, m, latest);
    int r = json_object_update(doc, api) < 0 ? -ENOMEM : 0;
    json_decref(api);
    if (r == 0)
        report_json(doc);
    json_decref(doc);
    return r;
}

int verb_show(const StoreOptions *o, const char *operand)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    Store *store = NULL;
    BackupList *l = NULL;
    Manifest *m = NULL;
    const BackupInfo *b = NULL;
    int r = store_open(o->store, &store, &e);
    if (r == 0) {
        l = store_backups(store);
        r = backup_list_find(l, store, operand, o->collection, &b, &e);
    }
    if (r == 0)
        r = store_manifest(store, b, &m, &e);
    if (r == 0 && (o->json ? print_backup_json : print_backup)(b, m, backup_is_latest(l, b)) < 0)
        r = error_oom(&e);
    int exit_code = r < 0 ? report_error(STORE_PROGRAM, &e) : report_finish(STORE_PROGRAM, 0);
    manifest_free(m);
    backup_list_unref(l);
    store_close(store);
    return exit_code;
}
