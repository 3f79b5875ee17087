/* Where objects lie: by the catalogue, by what it does not know yet, and by the packs themselves.
 */
#include <errno.h>
#include <stdint.h>

#include "store/store_private.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define OVERLAY_INTERVAL 0.1       /* seconds after a listing of the packs that brought nothing */
#define NEAR_MAX         (1 << 17) /* objects: 12 MiB, and one pack more */

/* Forget what lookups gathered of near packs: they may be gone. */
static void near_clear(Store *s)
{
    pthread_mutex_lock(&s->near_lock);
    places_clear(&s->near);
    pthread_mutex_unlock(&s->near_lock);
}

void store_overlay_clear(Store *s)
{
    places_clear(&s->overlay);
    s->overlay_of = 0;
    near_clear(s);
}

/* Whether there can be packs that a full overlay lacks. With much missing this is asked for each
 * object, and listing takes longer than any look-up. Lock held for writing. */
static bool overlay_may_be_old(const Store *s)
{
    return s->overlay_of == 0 || clock_monotonic() - s->overlay_vain >= OVERLAY_INTERVAL;
}

/* Index every pack in memory: the last resort when the catalogue knows too little. Once done, again
 * only when packs came or went since. */
int store_overlay_fill(Store *s)
{
    _cleanup_free_ ObjectId *names = NULL;
    size_t n;
    pthread_rwlock_wrlock(&s->lock);
    int r = overlay_may_be_old(s) ? packset_refresh(s->packs, NULL) : -ENOENT;
    uint64_t generation = packset_generation(s->packs);
    if (r == 0 && s->overlay_of == generation) {
        s->overlay_vain = clock_monotonic();
        r = -ENOENT;
    }
    if (r == 0 && packset_names(s->packs, &names, &n) < 0)
        r = -ENOMEM;
    if (r == 0) {
        store_overlay_clear(s);
        for (size_t i = 0; r == 0 && i < n; i++) {
            r = places_add(&s->overlay, s->packs, &names[i], SIZE_MAX, NULL);
            if (r < 0 && r != -ENOMEM)
                r = 0; /* what this pack held will be missed by name */
        }
        s->overlay_of = r == 0 ? generation : 0;
    }
    pthread_rwlock_unlock(&s->lock);
    return r;
}

/* The catalogue found something in `pack`. Objects that are read together lie together, so what is
 * in a pack that was asked for lately is wanted from its index, without the catalogue. */
static void near_learn(Store *s, const ObjectId *pack)
{
    bool again = false;
    pthread_mutex_lock(&s->near_lock);
    for (unsigned i = 0; i < NEAR_PACKS && !again; i++)
        again = id_compare(&s->asked[i], pack) == 0;
    if (!again)
        s->asked[s->n_asked++ % NEAR_PACKS] = *pack;
    else if (!places_knows(&s->near, pack)) {
        if (s->near.map.count >= NEAR_MAX)
            places_clear(&s->near);
        (void)places_add(&s->near, s->packs, pack, NEAR_MAX / 4, NULL);
    }
    pthread_mutex_unlock(&s->near_lock);
}

static bool near_find(Store *s, const ObjectId *id, Place *ret_place)
{
    pthread_mutex_lock(&s->near_lock);
    bool found = places_find(&s->near, id, ret_place);
    pthread_mutex_unlock(&s->near_lock);
    return found;
}

int store_find(Store *s, const ObjectId *id, Place *ret_place)
{
    pthread_rwlock_rdlock(&s->lock);
    int r = places_find(&s->overlay, id, ret_place) || near_find(s, id, ret_place) ? 0 : -ENOENT;
    if (r < 0 && s->catalogue) {
        r = catalogue_find(s->catalogue, id, ret_place);
        if (r == 0)
            near_learn(s, &ret_place->pack);
    }
    pthread_rwlock_unlock(&s->lock);
    return r;
}

size_t store_places(Store *s, const ObjectId *id, Place *places, size_t max)
{
    size_t n = 0;
    pthread_rwlock_rdlock(&s->lock);
    if (n < max)
        n += places_find(&s->overlay, id, &places[n]);
    n += places_copies(&s->overlay, id, places + n, max - n);
    if (s->catalogue && n < max)
        n += catalogue_find(s->catalogue, id, &places[n]) == 0;
    if (s->catalogue)
        n += catalogue_copies(s->catalogue, id, places + n, max - n);
    pthread_rwlock_unlock(&s->lock);
    return n;
}

/* Objects of packs that the catalogue does not know go into the overlay. Lock held for writing. */
int store_overlay_update(Store *s, const Lists *l, Error *e)
{
    if (s->overlay_of != 0 && s->overlay_of == packset_generation(s->packs))
        return 0; /* it holds all of them, and was needed */
    store_overlay_clear(s);
    for (size_t i = 0; i < l->n_packs; i++) {
        if (l->packs[i].in_catalogue)
            continue;
        int r = places_add(&s->overlay, s->packs, &l->packs[i].sha256, SIZE_MAX, e);
        if (r == -ENOMEM)
            return r;
    }
    error_release(e);
    return 0;
}

static bool is_damaged(Store *s, const Place *p, const ObjectId *id)
{
    return s->knows_damage && catalogue_is_damaged(s->catalogue, &p->pack, id) > 0;
}

/* A place where verify did not find the record damaged. -ENOENT. */
static int find_sound(Store *s, const ObjectId *id, Place *ret_place)
{
    Place places[STORE_COPIES_MAX];
    int r = store_find(s, id, ret_place);
    if (r < 0 || !is_damaged(s, ret_place, id))
        return r;
    size_t n = store_places(s, id, places, STORE_COPIES_MAX);
    for (size_t i = 0; i < n; i++)
        if (!is_damaged(s, &places[i], id)) {
            *ret_place = places[i];
            return 0;
        }
    return -ENOENT;
}

/* What the index says of an object in such a place. */
static int describe_sound(Store *s, const ObjectId *id, PackEntry *ret_entry, ObjectId *ret_base)
{
    Place place;
    int r = find_sound(s, id, &place);
    return r < 0 ? r
                 : packset_describe(s->packs, &place.pack, place.offset, id, ret_entry, ret_base);
}

int store_holds(Store *s, const ObjectId *id, const ObjectId *without)
{
    PackEntry entry;
    ObjectId at = *id, base;
    Place place;
    /* A delta is of no use without all it stands on. Depths fall, so that chains end. */
    for (unsigned above = DELTA_MAX_DEPTH + 1;; above = entry.depth, at = base) {
        int r = without && id_compare(&at, without) == 0 ? -ENOENT
                                                         : describe_sound(s, &at, &entry, &base);
        if (r == -ENOENT && store_find(s, id, &place) < 0)
            return HOLDS_NOT;
        if (r == -ENOENT || r == -EBADMSG || r == -EIO || (r == 0 && entry.depth >= above))
            return HOLDS_BADLY;
        if (r < 0)
            return r;
        if (entry.encoding != ENCODING_DELTA)
            return HOLDS_SOUND;
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
