#include "store/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/event.h"
#include "util/name.h"

#define MAX_ENTRIES (1ull << 31)
#define PRINT_MAX   (4u * MANIFEST_MAX) /* bytes of an indented document */

void backup_info_release(BackupInfo *b)
{
    free(b->id);
    free(b->collection);
    free(b->latest_name);
    free(b->archive_name);
    *b = (BackupInfo){0};
}

int backup_info_copy(const BackupInfo *from, BackupInfo *ret_copy)
{
    BackupInfo b = *from;
    b.id = strdup(from->id);
    b.collection = strdup(from->collection);
    b.latest_name = strdup(from->latest_name);
    b.archive_name = strdup(from->archive_name);
    if (!b.id || !b.collection || !b.latest_name || !b.archive_name) {
        backup_info_release(&b);
        return -ENOMEM;
    }
    *ret_copy = b;
    return 0;
}

bool collection_part_is_valid(const char *text, size_t len)
{
    if (len < 1 || len > 100 || text[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
            return false;
    return true;
}

bool collection_is_valid(const char *collection)
{
    const char *slash = strchr(collection, '/');
    return slash && collection_part_is_valid(collection, (size_t)(slash - collection)) &&
           collection_part_is_valid(slash + 1, strlen(slash + 1));
}

void manifest_name(const BackupInfo *b, char out[MANIFEST_NAME_SIZE])
{
    char hex[ID_HEX_SIZE];
    id_to_hex(&b->manifest_sha256, hex);
    snprintf(out, MANIFEST_NAME_SIZE, "manifests/%010" PRIu64 "-%s.json", b->ordinal, hex);
}

static int bad(Error *e, const char *what)
{
    return error_set(e, EBADMSG, "not a manifest: %s", what);
}

/* A text member that must be usable as a file name. */
static char *get_name(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return text && name_is_valid(text, strlen(text)) ? strdup(text) : NULL;
}

/* backup-<16 hex digits> */
static bool id_is_valid(const char *id)
{
    static const char prefix[] = "backup-";
    const size_t n = sizeof(prefix) - 1;
    return strlen(id) == n + 16 && strncmp(id, prefix, n) == 0 &&
           strspn(id + n, "0123456789abcdef") == 16;
}

static bool get_count(const json_t *doc, const char *key, uint64_t max, uint64_t *ret_value)
{
    const json_t *v = json_object_get(doc, key);
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || (uint64_t)n > max)
        return false;
    *ret_value = (uint64_t)n;
    return true;
}

static int parse_info(const json_t *doc, BackupInfo *b, Error *e)
{
    const uint64_t any = INT64_MAX;
    uint64_t format = 0;
    if (!get_count(doc, "format", any, &format) || format != 1)
        return bad(e, "no format 1");
    const char *ns = NULL, *name = NULL;
    const json_t *collection = json_object_get(doc, "collection");
    ns = json_string_value(json_object_get(collection, "namespace"));
    name = json_string_value(json_object_get(collection, "name"));
    if (!ns || !name || asprintf(&b->collection, "%s/%s", ns, name) < 0) {
        b->collection = NULL;
        return bad(e, "no collection");
    }
    if (!collection_is_valid(b->collection))
        return bad(e, "bad collection");

    b->id = get_name(doc, "backup_id");
    b->latest_name = get_name(doc, "latest_name");
    b->archive_name = get_name(doc, "archive_name");
    if (!b->id || !id_is_valid(b->id) || !b->latest_name || !b->archive_name)
        return bad(e, "no names");
    uint64_t timestamp;
    if (!get_count(doc, "timestamp", 253402300799, &timestamp) ||
        !get_count(doc, "ordinal", NUMBER_MAX, &b->ordinal) || b->ordinal == 0)
        return bad(e, "no time or ordinal");
    b->timestamp = (int64_t)timestamp;
    if (!get_count(doc, "size_bytes", any, &b->size_bytes) ||
        !get_count(doc, "record_count", any, &b->record_count) ||
        !get_count(doc, "file_count", any, &b->file_count) ||
        !get_count(doc, "table_count", any, &b->table_count) ||
        !get_count(doc, "bytes_new", any, &b->bytes_new))
        return bad(e, "no sizes");
    const json_t *partial = json_object_get(doc, "partial");
    if (!json_is_boolean(partial))
        return bad(e, "partial is missing");
    b->partial = json_is_true(partial);

    const json_t *root = json_object_get(doc, "root");
    const char *hex = json_string_value(json_object_get(root, "id"));
    if (!hex || id_from_hex(hex, &b->root) < 0 ||
        !get_count(root, "entries", MAX_ENTRIES, &b->entries))
        return bad(e, "no root directory");
    return 0;
}

static int parse_packs(Manifest *m, Error *e)
{
    const json_t *packs = json_object_get(m->doc, "packs");
    if (!json_is_array(packs))
        return bad(e, "no packs");
    size_t n = json_array_size(packs);
    m->packs = calloc(n + 1, sizeof(*m->packs));
    if (!m->packs)
        return error_oom(e);
    for (size_t i = 0; i < n; i++) {
        const char *hex = json_string_value(json_array_get(packs, i));
        if (!hex || id_from_hex(hex, &m->packs[i]) < 0)
            return bad(e, "bad pack name");
    }
    m->n_packs = n;
    return 0;
}

int manifest_parse(const void *bytes, size_t len, Manifest **ret_manifest, Error *e)
{
    Manifest *m = calloc(1, sizeof(*m));
    if (!m)
        return error_oom(e);
    json_error_t why;
    int r = 0;
    m->doc = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(m->doc))
        r = bad(e, "not a JSON object");
    if (r == 0)
        r = parse_info(m->doc, &m->info, e);
    if (r == 0)
        r = parse_packs(m, e);
    if (r == 0 && id_of(bytes, len, &m->info.manifest_sha256) < 0)
        r = error_oom(e);
    if (r < 0) {
        manifest_free(m);
        return r;
    }
    *ret_manifest = m;
    return 0;
}

json_t *manifest_metadata(const Manifest *m)
{
    static const char *const keys[] = {"source_repo", "trigger_event", "commit_sha", "environment",
                                       "kind",        "description",   "retention"};
    json_t *map = json_object();
    const char *key;
    json_t *value;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (json_is_string(json_object_get(m->doc, keys[i])))
            json_object_set(map, keys[i], json_object_get(m->doc, keys[i]));
    json_object_foreach (json_object_get(m->doc, "tags"), key, value)
        json_object_set(map, key, value);
    return map;
}

/* Text that must not grow beyond `end`. */
typedef struct Printed {
    Buf *out;
    size_t end;
    bool is_full;
} Printed;

static int add_printed(const char *text, size_t len, void *ctx)
{
    Printed *p = ctx;
    p->is_full = len > p->end - p->out->len;
    return p->is_full || buf_add(p->out, text, len) < 0 ? -1 : 0;
}

int manifest_print(const Manifest *m, Buf *out)
{
    /* A document of brackets within brackets would be blanks, thousands of them a line: that one
     * is printed without. */
    static const size_t styles[] = {JSON_INDENT(2), JSON_COMPACT};
    const size_t start = out->len;
    Printed p = {.out = out, .end = start + PRINT_MAX};
    for (size_t i = 0; i < sizeof(styles) / sizeof(*styles); i++) {
        out->len = start;
        if (json_dump_callback(m->doc, add_printed, &p, styles[i] | JSON_REAL_PRECISION(15)) == 0)
            return buf_add_str(out, "\n");
        if (!p.is_full)
            break;
        p.end = SIZE_MAX; /* not much more than what was parsed */
    }
    out->len = start;
    return -ENOMEM;
}

void manifest_free(Manifest *m)
{
    if (!m)
        return;
    backup_info_release(&m->info);
    json_decref(m->doc);
    free(m->packs);
    free(m);
}
