#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "store/config.h"
#include "store/store_private.h"
#include "util/cleanup.h"
#include "util/io.h"

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

/* So that a power failure does not take the new store away. */
static int sync_parent(const char *path, Error *e)
{
    char parent[PATH_MAX];
    if (snprintf(parent, sizeof(parent), "%s/..", path) >= (int)sizeof(parent))
        return error_set(e, ENAMETOOLONG, "the store's path is too long");
    int r = io_sync_dir(AT_FDCWD, parent);
    /* Where the parent may not be read the file system decides. */
    return r < 0 && r != -EACCES ? error_errno(e, -r, "cannot sync %s", parent) : 0;
}

static int cannot_create(Error *e, const char *path)
{
    int r = error_errno(e, errno, "cannot create %s", path);
    error_hint(e, "the directory above must exist and be writable for you");
    return r;
}

static int is_store_already(Error *e, const char *path)
{
    int r = error_set(e, EEXIST, "%s is a bakfs store already", path);
    error_hint(e, "nothing was changed; `bakfs-store list --store %s` shows what it holds", path);
    return r;
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
        return cannot_create(e, path);
    if (snprintf(config, sizeof(config), "%s/config.json", path) >= (int)sizeof(config))
        return error_set(e, ENAMETOOLONG, "the store's path is too long");
    if (access(config, F_OK) == 0)
        return is_store_already(e, path);
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

    static const char no_generation[] = "00000000000000000000000000000000\n";
    Backend *b = NULL;
    StoreConfig c = {0};
    int r = make_store_dirs(path, &b, e);
    if (r == 0)
        r = store_config_new(collection, &c, e);
    if (r == 0)
        r = b->ops->replace(b, "generation", no_generation, sizeof(no_generation) - 1, false, e);
    if (r == 0) /* last: it makes the directory a store */
        r = store_config_save(b, &c, e);
    if (r == 0 && made)
        r = sync_parent(path, e);
    store_config_release(&c);
    if (b)
        b->ops->free(b);
    return r;
}

int store_open(const char *path, Store **ret_store, Error *e)
{
    Store *s = calloc(1, sizeof(*s));
    if (!s)
        return error_oom(e);
    s->objects.get = store_get;
    pthread_rwlock_init(&s->lock, NULL);
    pthread_mutex_init(&s->codec_lock, NULL);
    pthread_mutex_init(&s->near_lock, NULL);
    s->path = strdup(path);
    int r = s->path ? backend_local_new(path, &s->backend, e) : error_oom(e);
    if (r == -ENOENT || r == -ENOTDIR) {
        error_hint(e, "is its file system mounted? `bakfs-store init --store %s` makes a new store",
                   path);
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
    store_overlay_clear(s);
    backup_list_unref(s->list);
    packset_free(s->packs);
    if (s->backend)
        s->backend->ops->free(s->backend);
    store_config_release(&s->config);
    store_free_codecs(s);
    pthread_rwlock_destroy(&s->lock);
    pthread_mutex_destroy(&s->codec_lock);
    pthread_mutex_destroy(&s->near_lock);
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

bool store_stamps_changed(Store *s)
{
    uint64_t now[3];
    read_stamps(s, now);
    return memcmp(now, s->stamps, sizeof(now)) != 0;
}

bool store_changed(Store *s)
{
    pthread_rwlock_rdlock(&s->lock);
    bool changed = store_stamps_changed(s);
    pthread_rwlock_unlock(&s->lock);
    return changed;
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
    if (!s->backend->ops->stamp(s->backend, "config.json")) /* nor would there be any backup */
        return error_set(e, ENOENT, "%s is no store any more: config.json is missing", s->path);
    read_stamps(s, stamps); /* before listing: what comes in between shows as a change */

    pthread_rwlock_wrlock(&s->lock);
    if (s->catalogue && catalogue_is_replaced(s->catalogue, s->path)) {
        catalogue_free(s->catalogue);
        s->catalogue = NULL;
    }
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
    s->catalogue_is_current = r == 0 && s->catalogue && lists_are_current(&l);
    if (r == 0)
        r = store_overlay_update(s, &l, e);
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

int store_check_writable(Store *s, Error *e)
{
    StoreConfig c = {0};
    int r = s->backend->ops->check_writable(s->backend, e);
    if (r == 0)
        r = store_config_load(s->backend, s->path, true, &c, e);
    store_config_release(&c);
    return r;
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

/* What is no sound event may have any number. */
static uint64_t next_event(const Lists *l)
{
    for (size_t i = l->n_events; i-- > 0;)
        if (!l->events[i].damaged)
            return l->events[i].number + 1;
    return 1;
}

/* One event about each of `n` backups. */
static int add_events(Store *s, EventType type, const BackupInfo *const *backups, size_t n,
                      Error *e)
{
    _cleanup_(lists_release) Lists l = {0};
    char name[EVENT_NAME_SIZE];
    int r = store_check_writable(s, e);
    if (r == 0) {
        pthread_rwlock_rdlock(&s->lock);
        r = lists_read(s->backend, s->packs, s->catalogue, &l, e);
        pthread_rwlock_unlock(&s->lock);
    }
    if (r < 0)
        return r;
    uint64_t number = next_event(&l);
    if (n > NUMBER_MAX || number > NUMBER_MAX - n)
        return error_set(e, EOVERFLOW, "the store's events have used up their numbers");
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

/* Open the catalogue to note something in it, which is a help and no more. NULL when it can't be.
 */
static Catalogue *begin_note(Store *s)
{
    Catalogue *c;
    if (store_check_writable(s, NULL) < 0 ||
        catalogue_open(s->path, s->config.store_id, CATALOGUE_NOTE, &c, NULL) < 0)
        return NULL;
    if (catalogue_begin(c, NULL) == 0)
        return c;
    catalogue_free(c);
    return NULL;
}

static void end_note(Catalogue *c, int r)
{
    if (r < 0 || catalogue_commit(c, NULL) < 0)
        catalogue_rollback(c);
    catalogue_free(c);
}

void store_note_read(Store *s, const ObjectId *packs, size_t n, int64_t time)
{
    Catalogue *c = begin_note(s);
    int r = 0;
    for (size_t i = 0; c && r == 0 && i < n; i++)
        r = catalogue_ledger_set(c, &packs[i], time, NULL);
    if (c)
        end_note(c, r);
}

void store_note_damaged(Store *s, const PackedObject *list, size_t n)
{
    Catalogue *c = n ? begin_note(s) : NULL;
    int r = 0;
    for (size_t i = 0; c && r == 0 && i < n; i++)
        r = catalogue_add_damaged(c, &list[i].pack, &list[i].id, NULL);
    if (c)
        end_note(c, r);
}
