#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "store/config.h"
#include "store/store_private.h"
#include "util/cleanup.h"

static int is_empty_dir(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    struct dirent *entry;
    int r = 1;
    while (r == 1 && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = 0;
    closedir(d);
    return r;
}

static int make_store_dirs(const char *path, Backend **ret_backend, Error *e)
{
    static const char *const dirs[] = {"packs", "manifests", "events", "tmp"};
    char sub[PATH_MAX];
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (snprintf(sub, sizeof(sub), "%s/%s", path, dirs[i]) >= (int)sizeof(sub))
            return error_set(e, ENAMETOOLONG, "the store's path is too long");
        if (mkdir(sub, 0700) < 0)
            return error_errno(e, errno, "cannot create %s", sub);
    }
    return backend_local_new(path, ret_backend, e);
}

int store_init(const char *path, const char *collection, Error *e)
{
    char config[PATH_MAX];
    if (collection && !collection_is_valid(collection)) {
        int r = error_set(e, EINVAL, "\"%s\" is no collection name", collection);
        error_hint(e, "write NAMESPACE/NAME, of letters, digits, '.', '_' and '-'");
        error_exit_code(e, BK_EXIT_USAGE);
        return r;
    }
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return error_errno(e, errno, "cannot create %s", path);
    if (snprintf(config, sizeof(config), "%s/config.json", path) >= (int)sizeof(config))
        return error_set(e, ENAMETOOLONG, "the store's path is too long");
    if (access(config, F_OK) == 0)
        return error_set(e, EEXIST, "%s is a bakfs store already", path);
    int empty = is_empty_dir(path);
    if (empty < 0)
        return error_errno(e, -empty, "cannot use %s", path);
    if (!empty) {
        int r = error_set(e, ENOTEMPTY, "%s is not empty and no bakfs store", path);
        error_hint(e, "name a directory that is empty or does not exist");
        return r;
    }
    if (!made && chmod(path, 0700) < 0)
        return error_errno(e, errno, "cannot use %s", path);

    Backend *b = NULL;
    StoreConfig c = {0};
    int r = make_store_dirs(path, &b, e);
    if (r == 0)
        r = store_config_new(collection, &c, e);
    if (r == 0)
        r = b->ops->replace(b, "generation", "0\n", 2, false, e);
    if (r == 0) /* last: it makes the directory a store */
        r = store_config_save(b, &c, e);
    store_config_release(&c);
    if (b)
        b->ops->free(b);
    return r;
}

StoreCodec *store_take_codec(Store *s)
{
    pthread_mutex_lock(&s->codec_lock);
    StoreCodec *c = s->codecs;
    if (c)
        s->codecs = c->next;
    pthread_mutex_unlock(&s->codec_lock);
    if (!c && (c = calloc(1, sizeof(*c))) && codec_new(&c->codec) < 0) {
        free(c);
        c = NULL;
    }
    return c;
}

void store_put_codec(Store *s, StoreCodec *c)
{
    pthread_mutex_lock(&s->codec_lock);
    c->next = s->codecs;
    s->codecs = c;
    pthread_mutex_unlock(&s->codec_lock);
}

static int decode_with(StoreCodec *c, const ObjectId *id, const uint8_t *bytes, size_t len,
                       Object **ret_object, Error *e)
{
    PackRecord record;
    int r = pack_parse_record(bytes, len, &record, e);
    if (r == 0 && id_compare(&record.entry.id, id) != 0)
        r = error_set(e, ESTALE, "another object lies there");
    return r < 0 ? r : pack_decode(c->codec, &record, ret_object, e);
}

int store_decode(Store *s, const ObjectId *id, const uint8_t *bytes, size_t len,
                 Object **ret_object, Error *e)
{
    StoreCodec *c = store_take_codec(s);
    if (!c)
        return error_oom(e);
    int r = decode_with(c, id, bytes, len, ret_object, e);
    store_put_codec(s, c);
    return r;
}

int store_read_at(Store *s, const ObjectId *id, const ObjectId *pack, uint32_t offset,
                  uint32_t length, Object **ret_object, Error *e)
{
    StoreCodec *c = store_take_codec(s);
    if (!c)
        return error_oom(e);
    buf_clear(&c->record);
    int r = buf_reserve(&c->record, length) < 0 ? error_oom(e) : 0;
    if (r == 0)
        r = packset_read(s->packs, pack, offset, c->record.data, length, e);
    if (r == 0)
        r = decode_with(c, id, c->record.data, length, ret_object, e);
    store_put_codec(s, c);
    return r;
}

/* Put all objects of `pack` into the overlay. Lock held for writing. */
static int overlay_add(Store *s, const ObjectId *pack, Error *e)
{
    _cleanup_(pack_index_release) PackIndex x = {0};
    int r = packset_load_index(s->packs, pack, &x, NULL, e);
    if (r < 0)
        return r;
    ObjectId *packs = reallocarray(s->overlay_packs, s->n_overlay_packs + 1, sizeof(*packs));
    if (!packs)
        return error_oom(e);
    s->overlay_packs = packs;
    packs[s->n_overlay_packs] = *pack;
    for (size_t i = 0; i < x.n; i++) {
        Location at = {.pack = (uint32_t)s->n_overlay_packs,
                       .offset = x.entries[i].offset,
                       .length = PACK_RECORD_SIZE + x.entries[i].stored_len};
        if (idmap_put(&s->overlay, &x.entries[i].id, &at) < 0)
            return error_oom(e);
    }
    s->n_overlay_packs++;
    return 0;
}

static void overlay_clear(Store *s)
{
    idmap_release(&s->overlay);
    free(s->overlay_packs);
    s->overlay_packs = NULL;
    s->n_overlay_packs = 0;
    s->overlay_is_full = false;
}

/* Index every pack in memory: the last resort when the catalogue knows too little. */
static int overlay_fill(Store *s, Error *e)
{
    _cleanup_free_ ObjectId *names = NULL;
    size_t n;
    pthread_rwlock_wrlock(&s->lock);
    bool full = s->overlay_is_full;
    int r = full ? -ENOENT : packset_refresh(s->packs, e);
    if (r == 0 && packset_names(s->packs, &names, &n) < 0)
        r = error_oom(e);
    if (r == 0) {
        overlay_clear(s);
        for (size_t i = 0; r == 0 && i < n; i++) {
            r = overlay_add(s, &names[i], e);
            if (r < 0 && r != -ENOMEM)
                r = 0; /* what this pack held will be missed by name */
        }
        s->overlay_is_full = r == 0;
    }
    pthread_rwlock_unlock(&s->lock);
    return r;
}

typedef struct Place {
    ObjectId pack;
    uint32_t offset, length;
} Place;

static bool find_in_overlay(Store *s, const ObjectId *id, Place *ret_place)
{
    const Location *at = idmap_get(&s->overlay, id);
    if (at)
        *ret_place =
            (Place){.pack = s->overlay_packs[at->pack], .offset = at->offset, .length = at->length};
    return at != NULL;
}

static int find_place(Store *s, const ObjectId *id, Place *ret_place)
{
    pthread_rwlock_rdlock(&s->lock);
    int r = find_in_overlay(s, id, ret_place) ? 0 : -ENOENT;
    if (r < 0 && s->catalogue)
        r = catalogue_find(s->catalogue, id, &ret_place->pack, &ret_place->offset,
                           &ret_place->length);
    pthread_rwlock_unlock(&s->lock);
    return r;
}

static int name_damage(Error *e, int r, const ObjectId *id, const Place *p)
{
    char object[ID_HEX_SIZE], pack[ID_HEX_SIZE];
    id_to_hex(id, object);
    if (!p)
        return error_set(e, EIO, "object %s is in no pack", object);
    id_to_hex(&p->pack, pack);
    error_prefix(e, "object %s in pack %s", object, pack);
    return r == -EBADMSG || r == -ESTALE || r == -ENOENT ? -EIO : r;
}

static int get_object(ObjectSource *source, const ObjectId *id, Object **ret_object, Error *e)
{
    Store *s = (Store *)source;
    Place place, second;
    int r = find_place(s, id, &place);
    bool found = r == 0;
    if (found) {
        r = store_read_at(s, id, &place.pack, place.offset, place.length, ret_object, e);
        if (r == 0 || r == -ENOMEM || r == -ENOTSUP)
            return r;
    }
    /* Not where the catalogue says, or not known: a prune moved it, or the catalogue is stale. */
    if (overlay_fill(s, NULL) == 0 || !found || r == -ENOENT || r == -ESTALE) {
        if (find_place(s, id, &second) == 0 &&
            (!found || memcmp(&second, &place, sizeof(place)) != 0)) {
            r = store_read_at(s, id, &second.pack, second.offset, second.length, ret_object, e);
            if (r == 0)
                return 0;
            return name_damage(e, r, id, &second);
        }
    }
    return name_damage(e, r, id, found ? &place : NULL);
}

bool store_holds(Store *s, const ObjectId *id)
{
    Place place;
    return find_place(s, id, &place) == 0 &&
           packset_confirms(s->packs, &place.pack, place.offset, id) == 1;
}

int store_locate(Store *s, const ObjectId *id, ObjectId *ret_pack, Error *e)
{
    Place place;
    int r = find_place(s, id, &place);
    if (r < 0 || !packset_has(s->packs, &place.pack)) {
        overlay_fill(s, NULL);
        r = find_place(s, id, &place);
    }
    if (r < 0) {
        name_damage(e, r, id, NULL);
        return -ENOENT;
    }
    *ret_pack = place.pack;
    return 0;
}

int store_open(const char *path, Store **ret_store, Error *e)
{
    Store *s = calloc(1, sizeof(*s));
    if (!s)
        return error_oom(e);
    s->objects.get = get_object;
    pthread_rwlock_init(&s->lock, NULL);
    pthread_mutex_init(&s->codec_lock, NULL);
    s->path = strdup(path);
    int r = s->path ? backend_local_new(path, &s->backend, e) : error_oom(e);
    if (r == -ENOENT || r == -ENOTDIR) {
        error_hint(e, "`bakfs-store init --store %s` makes a store", path);
        error_exit_code(e, BK_EXIT_NO_STORE);
    }
    if (r == 0)
        r = store_config_load(s->backend, path, false, &s->config, e);
    if (r == 0)
        r = packset_new(s->backend, &s->packs, e);
    if (r == 0)
        r = store_refresh(s, e);
    if (r < 0) {
        store_close(s);
        return r;
    }
    *ret_store = s;
    return 0;
}

void store_close(Store *s)
{
    if (!s)
        return;
    catalogue_free(s->catalogue);
    overlay_clear(s);
    backup_list_unref(s->list);
    packset_free(s->packs);
    if (s->backend)
        s->backend->ops->free(s->backend);
    store_config_release(&s->config);
    while (s->codecs) {
        StoreCodec *c = s->codecs;
        s->codecs = c->next;
        codec_free(c->codec);
        buf_release(&c->record);
        free(c);
    }
    pthread_rwlock_destroy(&s->lock);
    pthread_mutex_destroy(&s->codec_lock);
    free(s->path);
    free(s);
}

const char *store_path(const Store *s)
{
    return s->path;
}

const StoreConfig *store_config(const Store *s)
{
    return &s->config;
}

ObjectSource *store_objects(Store *s)
{
    return &s->objects;
}

Backend *store_backend(Store *s)
{
    return s->backend;
}

PackSet *store_packs(Store *s)
{
    return s->packs;
}

Catalogue *store_catalogue(Store *s)
{
    return s->catalogue;
}

static void read_stamps(Store *s, uint64_t out[3])
{
    static const char *const watched[3] = {"manifests", "events", "generation"};
    for (int i = 0; i < 3; i++)
        out[i] = s->backend->ops->stamp(s->backend, watched[i]);
}

bool store_changed(Store *s)
{
    uint64_t now[3];
    read_stamps(s, now);
    pthread_rwlock_rdlock(&s->lock);
    bool changed = memcmp(now, s->stamps, sizeof(now)) != 0;
    pthread_rwlock_unlock(&s->lock);
    return changed;
}

/* Objects of packs that the catalogue does not know go into the overlay. Lock held for writing. */
static int overlay_update(Store *s, const Lists *l, Error *e)
{
    overlay_clear(s);
    for (size_t i = 0; i < l->n_packs; i++) {
        if (l->packs[i].in_catalogue)
            continue;
        int r = overlay_add(s, &l->packs[i].sha256, e);
        if (r == -ENOMEM)
            return r;
    }
    error_release(e);
    return 0;
}

/* The first collection that was backed up is the default one; config.json is written again when a
 * first backup sets it, so a store opened before that must look anew. */
static void reload_default_collection(Store *s)
{
    StoreConfig c;
    if (s->config.default_collection || store_config_load(s->backend, s->path, false, &c, NULL) < 0)
        return;
    s->config.default_collection = TAKE_PTR(c.default_collection);
    store_config_release(&c);
}

int store_refresh(Store *s, Error *e)
{
    _cleanup_(lists_release) Lists l = {0};
    uint64_t stamps[3];
    read_stamps(s, stamps); /* before listing: what comes in between shows as a change */

    pthread_rwlock_wrlock(&s->lock);
    if (!s->catalogue)
        catalogue_open(s->path, s->config.store_id, CATALOGUE_READ, &s->catalogue, NULL);
    int r = lists_read(s->backend, s->packs, s->catalogue, &l, e);
    if (r == 0 && l.catalogue_failed) {
        catalogue_free(s->catalogue);
        s->catalogue = NULL;
        lists_release(&l);
        r = lists_read(s->backend, s->packs, NULL, &l, e);
    }
    BackupList *list = NULL;
    if (r == 0)
        r = overlay_update(s, &l, e);
    if (r == 0 && !(list = lists_take_backups(&l)))
        r = error_oom(e);
    if (r == 0) {
        backup_list_unref(s->list);
        s->list = list;
        memcpy(s->stamps, stamps, sizeof(stamps));
        reload_default_collection(s);
    }
    pthread_rwlock_unlock(&s->lock);
    return r;
}

BackupList *store_backups(Store *s)
{
    pthread_rwlock_rdlock(&s->lock);
    BackupList *l = backup_list_ref(s->list);
    pthread_rwlock_unlock(&s->lock);
    return l;
}

int store_manifest(Store *s, const BackupInfo *b, Manifest **ret_manifest, Error *e)
{
    return manifest_load(s->backend, b->ordinal, &b->manifest_sha256, ret_manifest, e);
}

int store_renew_generation(Store *s, Error *e)
{
    ObjectId random;
    char text[ID_HEX_SIZE];
    if (getrandom(random.b, sizeof(random.b), 0) != (ssize_t)sizeof(random.b))
        return error_errno(e, errno, "cannot get random bytes");
    id_to_hex(&random, text);
    text[32] = '\n';
    return s->backend->ops->replace(s->backend, "generation", text, 33, false, e);
}

/* One event about each of `n` backups. */
static int add_events(Store *s, EventType type, const BackupInfo *const *backups, size_t n,
                      Error *e)
{
    _cleanup_(lists_release) Lists l = {0};
    char name[EVENT_NAME_SIZE];
    int r = s->backend->ops->check_writable(s->backend, e);
    if (r == 0)
        r = lists_read(s->backend, s->packs, s->catalogue, &l, e);
    if (r < 0)
        return r;
    uint64_t number = l.n_events ? l.events[l.n_events - 1].number + 1 : 1;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = event_write(s->backend, number + i, type, backups[i]->id, backups[i]->ordinal, name, e);
    if (r == 0)
        r = store_renew_generation(s, e);
    return r < 0 ? r : store_refresh(s, e);
}

int store_delete_backup(Store *s, const BackupInfo *b, Error *e)
{
    return add_events(s, EVENT_DELETED, &b, 1, e);
}

int store_mark_verified(Store *s, const BackupInfo *const *backups, size_t n, Error *e)
{
    return n ? add_events(s, EVENT_VERIFIED, backups, n, e) : 0;
}

void store_note_read(Store *s, const ObjectId *packs, size_t n, int64_t time)
{
    Catalogue *c;
    if (s->backend->ops->check_writable(s->backend, NULL) < 0 ||
        catalogue_open(s->path, s->config.store_id, CATALOGUE_NOTE, &c, NULL) < 0)
        return;
    int r = catalogue_begin(c, NULL);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = catalogue_ledger_set(c, &packs[i], time, NULL);
    if (r < 0 || catalogue_commit(c, NULL) < 0)
        catalogue_rollback(c);
    catalogue_free(c);
}
