/* Bringing the catalogue up to date: what a writer does first, and what reindex does from nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/store_private.h"
#include "util/cleanup.h"

/* A writer that died, or whose sync failed, may have left packs under their names in directories
 * that were never synced. Before anything relies on them they are. */
static int sync_unknown(Store *s, const Lists *l, Error *e)
{
    const BackendOps *ops = s->backend->ops;
    bool any = false, shards[256] = {false};
    for (size_t i = 0; i < l->n_packs; i++)
        if (!l->packs[i].in_catalogue)
            any = shards[l->packs[i].sha256.b[0]] = true;
    int r = any ? ops->sync_dir(s->backend, "packs", e) : 0;
    for (unsigned i = 0; r == 0 && i < 256; i++) {
        char dir[16];
        snprintf(dir, sizeof(dir), "packs/%02x", i);
        if (shards[i])
            r = ops->sync_dir(s->backend, dir, e);
    }
    return r;
}

static int learn_packs(Store *s, Catalogue *c, const Lists *l, Error *e)
{
    int r = sync_unknown(s, l, e);
    for (size_t i = 0; r == 0 && i < l->n_extra_packs; i++)
        r = catalogue_remove_pack(c, &l->extra_packs[i], e);
    for (size_t i = 0; r == 0 && i < l->n_packs; i++) {
        _cleanup_(pack_index_release) PackIndex x = {0};
        uint64_t size;
        if (l->packs[i].in_catalogue)
            continue;
        r = packset_load_index(s->packs, &l->packs[i].sha256, &x, &size, e);
        if (r == 0)
            r = catalogue_add_pack(c, &l->packs[i].sha256, size, &x, e);
        else if (r == -EBADMSG || r == -EIO || r == -ENOENT)
            r = 0; /* nothing in it can be used; verify reports it */
    }
    return r;
}

static int learn_lists(Store *s, Catalogue *c, const Lists *l, Error *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n_manifests; i++) {
        const ListedManifest *m = &l->manifests[i];
        Manifest *loaded = NULL;
        if (m->in_catalogue || m->damaged)
            continue;
        r = manifest_load(s->backend, m->ordinal, &m->sha256, &loaded, e);
        if (r == 0)
            r = catalogue_add_manifest(c, loaded, e);
        manifest_free(loaded);
    }
    for (size_t i = 0; r == 0 && i < l->n_events; i++) {
        char name[EVENT_NAME_SIZE];
        if (l->events[i].in_catalogue || l->events[i].damaged)
            continue;
        listed_event_name(&l->events[i], name);
        r = catalogue_add_event(c, name, &l->events[i].event, e);
    }
    return r;
}

static int update(Store *s, Catalogue *c, const Lists *l, Error *e)
{
    int r = catalogue_begin(c, e);
    if (r < 0)
        return r;
    r = learn_packs(s, c, l, e);
    if (r == 0)
        r = learn_lists(s, c, l, e);
    if (r == 0)
        r = catalogue_commit(c, e);
    if (r < 0)
        catalogue_rollback(c);
    return r;
}

/* Open the catalogue for writing if it still is the one that was found to know everything, and
 * nothing was added since: then there is no need to list the store's directories again. Lock held
 * for writing. */
static bool keep_current(Store *s)
{
    Catalogue *c;
    if (!s->catalogue || !s->catalogue_is_current || store_stamps_changed(s) ||
        catalogue_open(s->path, s->config.store_id, CATALOGUE_NOTE, &c, NULL) < 0)
        return false;
    if (!catalogue_is_same(s->catalogue, c)) {
        catalogue_free(c);
        return false;
    }
    catalogue_free(s->catalogue);
    s->catalogue = c;
    return true;
}

int store_catch_up(Store *s, bool from_scratch, Error *e)
{
    Catalogue *c = NULL;
    pthread_rwlock_wrlock(&s->lock);
    if (!from_scratch && keep_current(s)) {
        pthread_rwlock_unlock(&s->lock);
        return 0;
    }
    catalogue_free(s->catalogue);
    s->catalogue = NULL;
    int r = 0;
    for (CatalogueMode mode = from_scratch ? CATALOGUE_NEW : CATALOGUE_WRITE;;
         mode = CATALOGUE_NEW) {
        _cleanup_(lists_release) Lists l = {0};
        r = catalogue_open(s->path, s->config.store_id, mode, &c, e);
        if (r == 0)
            r = lists_read(s->backend, s->packs, c, &l, e);
        bool unusable = l.catalogue_failed || l.extra_lists;
        if (r == 0 && !unusable && !lists_are_current(&l)) {
            r = update(s, c, &l, e);
            unusable = r == -EIO;
        }
        if (!unusable || mode == CATALOGUE_NEW)
            break;
        /* Damaged, or it knows what is not there: nothing in it is to be trusted. */
        catalogue_free(c);
        c = NULL;
    }
    if (r < 0)
        catalogue_free(c);
    else
        s->catalogue = c;
    pthread_rwlock_unlock(&s->lock);
    if (r == 0)
        r = store_refresh(s, e);
    if (r == 0 && !s->catalogue) /* a writer can't do without; refresh dropped it as unreadable */
        r = error_set(e, EIO, "cannot read the catalogue %s/metadata.db", s->path);
    return r;
}

int store_reindex(Store *s, double lock_wait, Error *e)
{
    Lock *lock;
    int r = store_check_writable(s, e);
    if (r == 0)
        r = lock_acquire(s->path, lock_wait, NULL, NULL, NULL, &lock, e);
    if (r < 0)
        return r;
    r = store_catch_up(s, true, e);
    lock_release(lock);
    return r;
}
