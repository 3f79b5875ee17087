/* Where objects lie: by the catalogue, by what it does not know yet, and by the packs themselves.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_private.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define OVERLAY_INTERVAL 0.1 /* seconds between two listings of the packs for it */

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

void store_overlay_clear(Store *s)
{
    idmap_release(&s->overlay);
    free(s->overlay_packs);
    s->overlay_packs = NULL;
    s->n_overlay_packs = 0;
    s->overlay_of = 0;
}

/* Whether there can be packs that a full overlay lacks. With much missing this is asked for each
 * object, and listing takes longer than any look-up. Lock held for writing. */
static bool overlay_is_old(Store *s)
{
    double now = clock_monotonic();
    if (s->overlay_of != 0 && now - s->overlay_listed < OVERLAY_INTERVAL)
        return false;
    s->overlay_listed = now;
    return true;
}

/* Index every pack in memory: the last resort when the catalogue knows too little. Once done, again
 * only when packs came since. */
int store_overlay_fill(Store *s)
{
    _cleanup_free_ ObjectId *names = NULL;
    size_t n;
    pthread_rwlock_wrlock(&s->lock);
    int r = overlay_is_old(s) ? packset_refresh(s->packs, NULL) : -ENOENT;
    uint64_t generation = packset_generation(s->packs);
    if (r == 0 && s->overlay_of == generation)
        r = -ENOENT;
    if (r == 0 && packset_names(s->packs, &names, &n) < 0)
        r = -ENOMEM;
    if (r == 0) {
        store_overlay_clear(s);
        for (size_t i = 0; r == 0 && i < n; i++) {
            r = overlay_add(s, &names[i], NULL);
            if (r < 0 && r != -ENOMEM)
                r = 0; /* what this pack held will be missed by name */
        }
        s->overlay_of = r == 0 ? generation : 0;
    }
    pthread_rwlock_unlock(&s->lock);
    return r;
}

static bool find_in_overlay(Store *s, const ObjectId *id, Place *ret_place)
{
    const Location *at = idmap_get(&s->overlay, id);
    if (at)
        *ret_place =
            (Place){.pack = s->overlay_packs[at->pack], .offset = at->offset, .length = at->length};
    return at != NULL;
}

int store_find(Store *s, const ObjectId *id, Place *ret_place)
{
    pthread_rwlock_rdlock(&s->lock);
    int r = find_in_overlay(s, id, ret_place) ? 0 : -ENOENT;
    if (r < 0 && s->catalogue)
        r = catalogue_find(s->catalogue, id, &ret_place->pack, &ret_place->offset,
                           &ret_place->length);
    pthread_rwlock_unlock(&s->lock);
    return r;
}

/* Objects of packs that the catalogue does not know go into the overlay. Lock held for writing. */
int store_overlay_update(Store *s, const Lists *l, Error *e)
{
    store_overlay_clear(s);
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

bool store_holds(Store *s, const ObjectId *id)
{
    PackEntry entry;
    ObjectId at = *id, base;
    /* A delta is of no use without all it stands on. Depths fall, so that chains end. */
    for (unsigned above = DELTA_MAX_DEPTH + 1;; above = entry.depth, at = base) {
        if (store_describe(s, &at, &entry, &base) < 0 || entry.depth >= above)
            return false;
        if (entry.encoding != ENCODING_DELTA)
            return true;
    }
}

int store_locate(Store *s, const ObjectId *id, ObjectId *ret_pack, Error *e)
{
    Place place;
    int r = store_find(s, id, &place);
    if (r < 0 || !packset_has(s->packs, &place.pack)) {
        store_overlay_fill(s);
        r = store_find(s, id, &place);
    }
    if (r < 0) {
        char object[ID_HEX_SIZE];
        id_to_hex(id, object);
        return error_set(e, ENOENT, "object %s is in no pack", object);
    }
    *ret_pack = place.pack;
    return 0;
}

int store_describe(Store *s, const ObjectId *id, PackEntry *ret_entry, ObjectId *ret_base)
{
    Place place;
    int r = store_find(s, id, &place);
    return r < 0 ? r
                 : packset_describe(s->packs, &place.pack, place.offset, id, ret_entry, ret_base);
}

int store_stored(Store *s, const ObjectId *id, uint32_t *ret_bytes, bool *ret_is_delta)
{
    PackEntry entry;
    ObjectId base;
    int r = store_describe(s, id, &entry, &base);
    if (r < 0)
        return r;
    *ret_bytes = entry.stored_len;
    *ret_is_delta = entry.encoding == ENCODING_DELTA;
    return 0;
}
