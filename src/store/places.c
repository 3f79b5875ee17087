#include "store/places.h"

#include <stdlib.h>

#include "util/cleanup.h"

void places_clear(Places *p)
{
    idmap_release(&p->map);
    free(p->packs);
    *p = (Places){0};
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

bool places_find(const Places *p, const ObjectId *id, Place *ret_place)
{
    const Location *at = idmap_get(&p->map, id);
    if (at)
        *ret_place =
            (Place){.pack = p->packs[at->pack], .offset = at->offset, .length = at->length};
    return at != NULL;
}
