/* From an object's id to its bytes: find the record, follow its deltas, decode, check. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_private.h"
#include "util/cleanup.h"

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

void store_free_codecs(Store *s)
{
    while (s->codecs) {
        StoreCodec *c = s->codecs;
        s->codecs = c->next;
        codec_free(c->codec);
        buf_release(&c->record);
        for (size_t i = 0; i < DELTA_MAX_DEPTH; i++)
            buf_release(&c->chain[i]);
        free(c);
    }
}

static int name_damage(Error *e, int r, const ObjectId *id, const Place *p)
{
    char object[ID_HEX_SIZE], pack[ID_HEX_SIZE];
    id_to_hex(id, object);
    if (!p)
        return error_set(e, EIO, "object %s is in no pack", object);
    id_to_hex(&p->pack, pack);
    error_prefix(e, "object %s in pack %s", object, pack);
    if (r != -EBADMSG && r != -ESTALE && r != -ENOENT)
        return r;
    if (e)
        e->errnum = EIO;
    return -EIO;
}

/* The record at `p`, which must be of `id` and of a depth below `above`. */
static int read_record(Store *s, const ObjectId *id, const Place *p, unsigned above, Buf *bytes,
                       PackRecord *ret_record, Error *e)
{
    buf_clear(bytes);
    if (buf_reserve(bytes, p->length) < 0)
        return error_oom(e);
    int r = packset_read(s->packs, &p->pack, p->offset, bytes->data, p->length, e);
    if (r == 0)
        r = pack_parse_record(bytes->data, p->length, ret_record, e);
    if (r == 0 && id_compare(&ret_record->entry.id, id) != 0)
        r = error_set(e, ESTALE, "another object lies there");
    if (r == 0 && ret_record->entry.depth >= above)
        r = error_set(e, EBADMSG, "damaged pack: a delta is not deeper than its base");
    return r;
}

/* Try the places known, but for `tried` (may be NULL). Any copy will do that a chain may stand on.
 */
static int read_copies(Store *s, const ObjectId *id, const Place *tried, unsigned above, Buf *bytes,
                       PackRecord *ret_record, Place *ret_place)
{
    Place places[STORE_COPIES_MAX];
    size_t n = store_places(s, id, places, STORE_COPIES_MAX);
    for (size_t i = 0; i < n; i++)
        if ((!tried || memcmp(&places[i], tried, sizeof(*tried)) != 0) &&
            read_record(s, id, &places[i], above, bytes, ret_record, NULL) == 0) {
            *ret_place = places[i];
            return 0;
        }
    return -ENOENT;
}

/* Read a record of `id` into `bytes`, of a depth below `above`. Where the catalogue is wrong (a
 * prune moved the object, or it is stale) the packs' own indexes are asked. */
static int fetch_record(Store *s, const ObjectId *id, unsigned above, Buf *bytes,
                        PackRecord *ret_record, Place *ret_place, Error *e)
{
    _cleanup_(error_release) Error why = ERROR_INIT;
    Place first;
    int r = store_find(s, id, &first);
    bool found = r == 0;
    if (found) {
        *ret_place = first;
        r = read_record(s, id, &first, above, bytes, ret_record, &why);
        if (r == 0)
            return 0;
        if (r == -ENOMEM)
            return error_oom(e);
        if (read_copies(s, id, &first, above, bytes, ret_record, ret_place) == 0)
            return 0;
        PackEntry entry;
        ObjectId base;
        if ((r == -EBADMSG || r == -EIO) &&
            packset_describe(s->packs, &first.pack, first.offset, id, &entry, &base) == 0) {
            error_move(e, &why);
            return name_damage(e, r, id, &first); /* the right place: the record is damaged */
        }
    }
    store_overlay_fill(s);
    if (read_copies(s, id, found ? &first : NULL, above, bytes, ret_record, ret_place) == 0)
        return 0;
    Place second;
    if (store_find(s, id, &second) == 0 &&
        (!found || memcmp(&second, &first, sizeof(first)) != 0)) { /* what is wrong with that one */
        found = true;
        *ret_place = second;
        r = read_record(s, id, &second, above, bytes, ret_record, &why);
    }
    error_move(e, &why);
    return r < 0 ? name_damage(e, r, id, found ? ret_place : NULL) : 0;
}

/* Decode `top`: its chain of bases down to one that stands alone, then up again. Depths fall with
 * every step, so that no crafted pack leads in circles. Only the last object is checked against its
 * id: it can't come out right from wrong bases. */
static int decode_chain(Store *s, StoreCodec *c, const PackRecord *top, Object **ret_object,
                        Error *e)
{
    PackRecord records[DELTA_MAX_DEPTH + 1] = {*top};
    size_t n = 0;
    while (records[n].entry.encoding == ENCODING_DELTA) {
        Place place;
        int r = fetch_record(s, &records[n].base, records[n].entry.depth, &c->chain[n],
                             &records[n + 1], &place, e);
        if (r < 0)
            return r;
        n++;
    }
    Object *object = NULL;
    for (size_t i = n + 1; i-- > 0;) {
        Object *base = object;
        object = NULL;
        int r = pack_decompress(c->codec, &records[i], base, &object, e);
        object_unref(base);
        if (r < 0)
            return r;
    }
    int r = pack_check_id(&top->entry.id, object, e);
    if (r < 0) {
        object_unref(object);
        return r;
    }
    *ret_object = object;
    return 0;
}

int store_decode(Store *s, const ObjectId *id, const uint8_t *bytes, size_t len,
                 Object **ret_object, Error *e)
{
    PackRecord record;
    int r = pack_parse_record(bytes, len, &record, e);
    if (r == 0 && id_compare(&record.entry.id, id) != 0)
        r = error_set(e, ESTALE, "another object lies there");
    if (r < 0)
        return r;
    StoreCodec *c = store_take_codec(s);
    if (!c)
        return error_oom(e);
    r = decode_chain(s, c, &record, ret_object, e);
    store_put_codec(s, c);
    return r;
}

int store_get(ObjectSource *source, const ObjectId *id, Object **ret_object, Error *e)
{
    Store *s = (Store *)source;
    PackRecord record;
    Place place;
    StoreCodec *c = store_take_codec(s);
    if (!c)
        return error_oom(e);
    int r = fetch_record(s, id, DELTA_MAX_DEPTH + 1, &c->record, &record, &place, e);
    if (r == 0) {
        r = decode_chain(s, c, &record, ret_object, e);
        if (r < 0 && r != -ENOMEM)
            r = name_damage(e, r, id, &place);
    }
    store_put_codec(s, c);
    return r;
}
