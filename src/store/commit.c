/* The end of a backup: packs get their names, then the manifest does, then the catalogue learns. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/config.h"
#include "store/writer_private.h"
#include "util/cleanup.h"
#include "util/clock.h"

static int open_pack(StoreWriter *w, PackKind kind, size_t *ret_i, Error *e)
{
    for (size_t i = w->n_packs; i-- > 0;)
        if (!w->packs[i].sealed && w->packs[i].kind == kind) {
            *ret_i = i;
            return 0;
        }
    NewPack *packs = reallocarray(w->packs, w->n_packs + 1, sizeof(*packs));
    if (!packs)
        return error_oom(e);
    w->packs = packs;
    packs[w->n_packs] = (NewPack){.kind = kind};
    int r = pack_writer_new(w->store->backend, kind, &packs[w->n_packs].pack, e);
    if (r < 0)
        return r;
    *ret_i = w->n_packs++;
    return 0;
}

static int seal(StoreWriter *w, NewPack *p, Error *e)
{
    uint64_t before = pack_writer_size(p->pack);
    int r = pack_writer_seal(p->pack, &p->sha256, e);
    if (r < 0)
        return r;
    p->sealed = true;
    w->stats.bytes_new += pack_writer_size(p->pack) - before;
    return 0;
}

int writer_append(StoreWriter *w, const PackEntry *entry, const ObjectId *base, const void *stored,
                  Error *e)
{
    size_t i = 0;
    Location at = {.length = PACK_RECORD_SIZE + entry->stored_len};
    int r = open_pack(w, entry->type == OBJECT_DATA ? PACK_DATA : PACK_NODES, &i, e);
    if (r < 0)
        return r;
    at.pack = (uint32_t)i;
    PackWriter *pack = w->packs[i].pack;
    r = pack_writer_add(pack, entry, base, stored, &at.offset, e);
    if (r < 0)
        return r;
    if (idmap_put(&w->mine, &entry->id, &at) < 0)
        return error_oom(e);
    w->stats.objects_new++;
    w->stats.bytes_new += at.length;
    bool full =
        pack_writer_size(pack) >= PACK_FULL || pack_writer_index(pack)->n >= PACK_FULL_COUNT;
    return full ? seal(w, &w->packs[i], e) : 0;
}

/* What is taken already, among all manifests that ever were, deleted ones too. */
typedef struct Taken {
    const char *collection, *id, *archive_name;
    bool id_taken, name_taken;
} Taken;

static int look_at(void *ctx, BackupInfo *info)
{
    Taken *t = ctx;
    if (strcmp(info->id, t->id) == 0)
        t->id_taken = true;
    if (strcmp(info->collection, t->collection) == 0 &&
        strcmp(info->archive_name, t->archive_name) == 0)
        t->name_taken = true;
    backup_info_release(info);
    return 0;
}

static int make_id(const char *collection, int64_t timestamp, int n, char out[24])
{
    ObjectId digest;
    char hex[ID_HEX_SIZE], suffix[16] = "";
    _cleanup_(buf_release) Buf text = BUF_INIT;
    if (n > 1)
        snprintf(suffix, sizeof(suffix), "--%d", n);
    int r = buf_addf(&text, "%s@%" PRId64 "%s", collection, timestamp, suffix);
    if (r == 0)
        r = id_of(text.data, text.len, &digest);
    if (r < 0)
        return r;
    id_to_hex(&digest, hex);
    snprintf(out, 24, "backup-%.16s", hex);
    return 0;
}

/* Add the members that only the writer knows. */
static int name_backup(StoreWriter *w, json_t *doc, const char *collection, Error *e)
{
    const char *base = json_string_value(json_object_get(doc, "archive_name"));
    int64_t timestamp = json_integer_value(json_object_get(doc, "timestamp"));
    char id[24], ts[CLOCK_TS_SIZE], latest[CLOCK_TS_SIZE + 8];
    _cleanup_free_ char *name = base ? strdup(base) : NULL;
    if (!name)
        return error_set(e, EINVAL, "the backup has no name");
    int id_n = 1, name_n = 1;
    for (;;) {
        if (make_id(collection, timestamp, id_n, id) < 0)
            return error_oom(e);
        Taken t = {.collection = collection, .id = id, .archive_name = name};
        int r = catalogue_manifests(w->store->catalogue, look_at, &t);
        if (r < 0)
            return error_errno(e, -r, "cannot read the catalogue");
        if (!t.id_taken && !t.name_taken)
            break;
        id_n += t.id_taken;
        if (t.name_taken) {
            free(name);
            name = NULL;
            if (asprintf(&name, "%s--%d", base, ++name_n) < 0)
                return error_oom(e);
        }
    }
    clock_format_ts(timestamp, ts);
    snprintf(latest, sizeof(latest), "latest_%s", ts);
    if (json_object_set_new(doc, "backup_id", json_string(id)) < 0 ||
        json_object_set_new(doc, "latest_name", json_string(latest)) < 0 ||
        json_object_set_new(doc, "archive_name", json_string(name)) < 0)
        return error_oom(e);
    return 0;
}

static int max_ordinal(void *ctx, const char *name)
{
    uint64_t *max = ctx, ordinal;
    ObjectId sha256;
    if (numbered_name_parse(name, &ordinal, &sha256) && ordinal > *max)
        *max = ordinal;
    return 0;
}

static int publish_packs(StoreWriter *w, json_t *names, Error *e)
{
    bool shard_used[256] = {false};
    char dir[16];
    for (size_t i = 0; i < w->n_packs; i++) {
        NewPack *p = &w->packs[i];
        char hex[ID_HEX_SIZE];
        int r = p->sealed ? 0 : seal(w, p, e);
        if (r == 0)
            r = pack_writer_publish(p->pack, e);
        if (r == 0)
            r = packset_add(w->store->packs, &p->sha256, e);
        if (r < 0)
            return r;
        shard_used[p->sha256.b[0]] = true;
        id_to_hex(&p->sha256, hex);
        if (json_array_append_new(names, json_string(hex)) < 0)
            return error_oom(e);
    }
    const BackendOps *ops = w->store->backend->ops;
    for (unsigned i = 0; i < 256; i++) {
        if (!shard_used[i])
            continue;
        snprintf(dir, sizeof(dir), "packs/%02x", i);
        int r = ops->sync_dir(w->store->backend, dir, e);
        if (r < 0)
            return r;
    }
    w->published = true;
    return w->n_packs ? ops->sync_dir(w->store->backend, "packs", e) : 0;
}

/* The rename in here is the commit. */
static int publish_manifest(StoreWriter *w, json_t *doc, Manifest **ret_manifest, Error *e)
{
    Backend *b = w->store->backend;
    _cleanup_free_ char *text = json_dumps(doc, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    if (!text)
        return error_oom(e);
    Manifest *m;
    int r = manifest_parse(text, strlen(text), &m, e);
    if (r < 0)
        return r;
    char name[MANIFEST_NAME_SIZE];
    manifest_name(&m->info, name);
    BackendTemp *t;
    r = b->ops->create(b, true, &t, e);
    if (r == 0) {
        r = b->ops->append(t, text, strlen(text), e);
        if (r < 0)
            b->ops->discard(t);
        else
            r = b->ops->publish(t, name, e);
    }
    if (r == 0 && (r = b->ops->sync_dir(b, "manifests", e)) < 0) {
        error_prefix(e, "the backup %s is made, but may not outlive a power failure", m->info.id);
        error_exit_code(e, BK_EXIT_PARTIAL);
    }
    if (r < 0) {
        manifest_free(m);
        return r;
    }
    *ret_manifest = m;
    return 0;
}

/* Derived data: that it could not be updated is noticed by the next reader, and no failure. */
static void teach_catalogue(StoreWriter *w, const Manifest *m)
{
    Catalogue *c = w->store->catalogue;
    if (catalogue_begin(c, NULL) < 0)
        return;
    int r = 0;
    for (size_t i = 0; r == 0 && i < w->n_packs; i++)
        r = catalogue_add_pack(c, &w->packs[i].sha256, pack_writer_size(w->packs[i].pack),
                               pack_writer_index(w->packs[i].pack), NULL);
    if (r == 0)
        r = catalogue_add_manifest(c, m, NULL);
    if (r < 0 || catalogue_commit(c, NULL) < 0)
        catalogue_rollback(c);
}

static int set_default_collection(StoreWriter *w, const char *collection, Error *e)
{
    StoreConfig *c = &w->store->config;
    if (c->default_collection)
        return 0;
    StoreConfig changed = *c;
    changed.default_collection = strdup(collection);
    if (!changed.default_collection)
        return error_oom(e);
    int r = store_config_save(w->store->backend, &changed, e);
    if (r < 0)
        free(changed.default_collection);
    else
        *c = changed;
    return r;
}

/* Where the lock's file was deleted another writer may be at work: two with one ordinal, and its
 * sweep of tmp/, would harm either. */
static int check_lock(const StoreWriter *w, Error *e)
{
    if (lock_is_effective(w->store_lock))
        return 0;
    int r = error_set(e, ESTALE, "%s/lock was deleted or replaced while this writer held it",
                      w->store->path);
    error_hint(e, "leave that file alone (a lock goes with its process), and run it again");
    return r;
}

static int commit(StoreWriter *w, json_t *doc, Manifest **ret_manifest, Error *e)
{
    Backend *b = w->store->backend;
    uint64_t ordinal = 0, named = 0;
    const char *ns = "", *name = "";
    _cleanup_free_ char *collection = NULL;
    json_unpack(doc, "{s:{s:s, s:s}}", "collection", "namespace", &ns, "name", &name);
    if (asprintf(&collection, "%s/%s", ns, name) < 0)
        return error_oom(e);
    if (!collection_is_valid(collection))
        return error_set(e, EINVAL, "\"%s\" is no collection name", collection);
    json_t *names = json_array();
    int r = check_lock(w, e);
    if (r == 0)
        r = publish_packs(w, names, e);
    if (r == 0)
        r = name_backup(w, doc, collection, e);
    if (r == 0)
        r = b->ops->list(b, "manifests", max_ordinal, &ordinal, e);
    /* Ordinals are never used again: an event may outlive the manifest it is about. */
    if (r == 0 && catalogue_last_ordinal(w->store->catalogue, &named) < 0)
        r = error_set(e, EIO, "cannot read the catalogue");
    if (named > ordinal)
        ordinal = named;
    if (r == 0 && ordinal >= NUMBER_MAX)
        r = error_set(e, EOVERFLOW, "the store has held as many backups as it can");
    if (r == 0 &&
        (json_object_set(doc, "packs", names) < 0 ||
         json_object_set_new(doc, "format", json_integer(1)) < 0 ||
         json_object_set_new(doc, "ordinal", json_integer((json_int_t)ordinal + 1)) < 0 ||
         json_object_set_new(doc, "bytes_read", json_integer((json_int_t)w->stats.bytes_in)) < 0 ||
         json_object_set_new(doc, "bytes_new", json_integer((json_int_t)w->stats.bytes_new)) < 0))
        r = error_oom(e);
    json_decref(names);
    if (r == 0)
        r = set_default_collection(w, collection, e);
    if (r == 0)
        r = check_lock(w, e);
    return r < 0 ? r : publish_manifest(w, doc, ret_manifest, e);
}

int writer_commit(StoreWriter *w, json_t *doc, BackupInfo *ret_info, Error *e)
{
    Manifest *m = NULL;
    if (w->failure.errnum)
        return error_set(e, w->failure.errnum, "%s", w->failure.message);
    int r = commit(w, doc, &m, e);
    if (r < 0)
        return r;
    teach_catalogue(w, m);
    store_renew_generation(w->store, NULL);
    *ret_info = m->info;
    m->info = (BackupInfo){0};
    manifest_free(m);
    return 0;
}
