#include "store/places.h"

#include <errno.h>
#include <stdlib.h>

#include "util/cleanup.h"

void places_clear(Places *p)
{
    idmap_release(&p->map);
    free(p->copies);
    free(p->packs);
    *p = (Places){0};
}

static int keep_copy(Places *p, const ObjectId *id, const Location *at)
{
    PlacesCopy *copies = p->copies;
    if ((p->n_copies & (p->n_copies - 1)) == 0) /* powers of two are full */
        copies = reallocarray(copies, p->n_copies ? 2 * p->n_copies : 1, sizeof(*copies));
    if (!copies)
        return -ENOMEM;
    p->copies = copies;
    copies[p->n_copies++] = (PlacesCopy){.id = *id, .at = *at};
    return 0;
}

int places_add(Places *p, PackSet *set, const ObjectId *pack, size_t max, Error *e)
{
    _cleanup_(pack_index_release) PackIndex x = {0};
    int r = packset_load_index(set, pack, &x, NULL, e);
    if (r < 0)
        return r;
    ObjectId *packs = reallocarray(p->packs, p->n_packs + 1, sizeof(*packs));
    if (!packs)
        return error_oom(e);
    p->packs = packs;
    packs[p->n_packs] = *pack;
    for (size_t i = 0; x.n <= max && i < x.n; i++) {
        Location at = {.pack = (uint32_t)p->n_packs,
                       .offset = x.entries[i].offset,
                       .length = PACK_RECORD_SIZE + x.entries[i].stored_len};
        const Location *other = idmap_get(&p->map, &x.entries[i].id);
        if (other && keep_copy(p, &x.entries[i].id, other) < 0)
            return error_oom(e);
        if (idmap_put(&p->map, &x.entries[i].id, &at) < 0)
            return error_oom(e);
    }
    p->n_packs++;
    return 0;
}

bool places_knows(const Places *p, const ObjectId *pack)
{
    for (size_t i = p->n_packs; i-- > 0;)
        if (id_compare(&p->packs[i], pack) == 0)
            return true;
    return false;
}

static Place place_at(const Places *p, const Location *at)
{
    return (Place){.pack = p->packs[at->pack], .offset = at->offset, .length = at->length};
}

bool places_find(const Places *p, const ObjectId *id, Place *ret_place)
{
    const Location *at = idmap_get(&p->map, id);
    if (at)
        *ret_place = place_at(p, at);
    return at != NULL;
}

size_t places_copies(const Places *p, const ObjectId *id, Place *places, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_copies && n < max; i++)
        if (id_compare(&p->copies[i].id, id) == 0)
            places[n++] = place_at(p, &p->copies[i].at);
    return n;
}
