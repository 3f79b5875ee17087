#include "store/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* XXH64_state_t on the stack */
#include <xxhash.h>

#include "util/cleanup.h"

static const uint8_t record_magic[4] = {'B', 'R', 'E', 'C'};
static const char pack_magic[8] = "BAKFSPK1", end_magic[8] = "BAKFSEND";

void pack_index_release(PackIndex *x)
{
    free(x->entries);
    free(x->bases);
    *x = (PackIndex){0};
}

void pack_name(const ObjectId *sha256, char out[PACK_NAME_SIZE])
{
    char hex[ID_HEX_SIZE];
    id_to_hex(sha256, hex);
    snprintf(out, PACK_NAME_SIZE, "packs/%.2s/%s.pack", hex, hex);
}

static int bad(Error *e, const char *what)
{
    return error_set(e, EBADMSG, "damaged pack: %s", what);
}

/* What holds for every record, wherever its description was read. */
static bool entry_is_sound(const PackEntry *x)
{
    bool delta = x->encoding == ENCODING_DELTA;
    return x->type >= OBJECT_DATA && x->type <= OBJECT_DIR && x->encoding <= ENCODING_DELTA &&
           x->stored_len >= 1 && x->stored_len <= OBJECT_MAX && x->plain_len >= 1 &&
           x->plain_len <= OBJECT_MAX &&
           (delta ? x->depth >= 1 && x->depth <= DELTA_MAX_DEPTH : x->depth == 0) &&
           (x->encoding != ENCODING_RAW || x->stored_len == x->plain_len);
}

static int check_header(Backend *b, BackendFile *f, Error *e)
{
    uint8_t h[PACK_HEADER_SIZE];
    uint64_t size = b->ops->size(f);
    if (size < PACK_HEADER_SIZE + PACK_TRAILER_SIZE)
        return bad(e, "too short");
    if (size > PACK_MAX)
        return bad(e, "too long");
    int r = b->ops->read(f, 0, h, sizeof(h), e);
    if (r < 0)
        return r;
    uint32_t kind = load_u32(h + 8);
    if (memcmp(h, pack_magic, 8) != 0 || (kind != PACK_DATA && kind != PACK_NODES))
        return bad(e, "bad header");
    for (size_t i = 12; i < sizeof(h); i++)
        if (h[i])
            return bad(e, "bad header");
    return 0;
}

static int parse_index(const uint8_t *bytes, size_t n, size_t n_bases, uint64_t index_offset,
                       PackIndex *x, Error *e)
{
    Cursor c = cursor_init(bytes, n * PACK_INDEX_SIZE + n_bases * ID_SIZE);
    uint64_t expected = PACK_HEADER_SIZE;
    size_t deltas = 0;
    for (size_t i = 0; i < n; i++) {
        PackEntry *p = &x->entries[i];
        memcpy(p->id.b, cursor_bytes(&c, ID_SIZE), ID_SIZE);
        p->offset = cursor_u32(&c);
        p->stored_len = cursor_u32(&c);
        p->plain_len = cursor_u32(&c);
        p->type = cursor_u8(&c);
        p->encoding = cursor_u8(&c);
        p->depth = cursor_u8(&c);
        p->age = cursor_u8(&c);
        for (int k = 0; k < SKETCH_FEATURES; k++)
            p->sketch.feature[k] = cursor_u32(&c);
        p->head = cursor_u64(&c);
        p->base = (uint32_t)deltas;
        if (!entry_is_sound(p) || p->offset != expected)
            return bad(e, "bad index entry");
        expected += PACK_RECORD_SIZE + p->stored_len;
        deltas += p->encoding == ENCODING_DELTA;
    }
    if (expected != index_offset || deltas != n_bases)
        return bad(e, "the index does not cover the records");
    for (size_t i = 0; i < n_bases; i++)
        memcpy(x->bases[i].b, cursor_bytes(&c, ID_SIZE), ID_SIZE);
    return 0;
}

int pack_read_index(Backend *b, BackendFile *f, PackIndex *ret_index, Error *e)
{
    uint8_t t[PACK_TRAILER_SIZE];
    int r = check_header(b, f, e);
    if (r < 0)
        return r;
    uint64_t size = b->ops->size(f);
    r = b->ops->read(f, size - sizeof(t), t, sizeof(t), e);
    if (r < 0)
        return r;
    if (memcmp(t + 40, end_magic, 8) != 0 || load_u64(t + 32) != XXH64(t, 32, 0))
        return bad(e, "bad trailer");
    uint64_t offset = load_u64(t);
    size_t n = load_u32(t + 8), n_bases = load_u32(t + 12);
    uint64_t len = (uint64_t)n * PACK_INDEX_SIZE + (uint64_t)n_bases * ID_SIZE;
    if (offset < PACK_HEADER_SIZE || offset > size || n_bases > n ||
        len + sizeof(t) != size - offset)
        return bad(e, "bad trailer");

    _cleanup_free_ uint8_t *bytes = malloc(len + 1);
    _cleanup_(pack_index_release) PackIndex x = {.n = n, .n_bases = n_bases};
    x.entries = calloc(n + 1, sizeof(*x.entries));
    x.bases = calloc(n_bases + 1, sizeof(*x.bases));
    if (!bytes || !x.entries || !x.bases)
        return error_oom(e);
    r = b->ops->read(f, offset, bytes, len, e);
    if (r < 0)
        return r;
    if (XXH64(bytes, len, 0) != load_u64(t + 16))
        return bad(e, "the index does not match its checksum");
    r = parse_index(bytes, n, n_bases, offset, &x, e);
    if (r < 0)
        return r;
    uint64_t plain = 0;
    for (size_t i = 0; i < n; i++)
        plain += x.entries[i].plain_len;
    if (plain != load_u64(t + 24))
        return bad(e, "bad trailer");
    *ret_index = x;
    x = (PackIndex){0};
    return 0;
}

int pack_parse_record(const void *bytes, size_t len, PackRecord *ret_record, Error *e)
{
    const uint8_t *p = bytes;
    if (len < PACK_RECORD_SIZE || memcmp(p, record_magic, 4) != 0)
        return bad(e, "no record where one should be");
    PackRecord r = {.entry = {.type = p[4],
                              .encoding = p[5],
                              .depth = p[6],
                              .age = p[7],
                              .stored_len = load_u32(p + 8),
                              .plain_len = load_u32(p + 12)},
                    .stored = p + PACK_RECORD_SIZE};
    memcpy(r.entry.id.b, p + 16, ID_SIZE);
    memcpy(r.base.b, p + 48, ID_SIZE);
    if (!entry_is_sound(&r.entry) || r.entry.stored_len > len - PACK_RECORD_SIZE)
        return bad(e, "bad record header");
    static const ObjectId none;
    if (r.entry.encoding != ENCODING_DELTA && id_compare(&r.base, &none) != 0)
        return bad(e, "bad record header");
    XXH64_state_t state;
    XXH64_reset(&state, 0);
    XXH64_update(&state, p, 80);
    XXH64_update(&state, r.stored, r.entry.stored_len);
    if (XXH64_digest(&state) != load_u64(p + 80))
        return bad(e, "a record does not match its checksum");
    *ret_record = r;
    return 0;
}

int pack_decompress(Codec *c, const PackRecord *r, const Object *base, Object **ret_object,
                    Error *e)
{
    Object *o = object_new(r->entry.plain_len);
    if (!o)
        return error_oom(e);
    int n = codec_decompress(c, r->entry.encoding, base ? base->data : NULL, base ? base->len : 0,
                             r->stored, r->entry.stored_len, o->data, o->len);
    if (n < 0) {
        object_unref(o);
        return n == -ENOMEM ? error_oom(e) : bad(e, "a record can't be decompressed");
    }
    *ret_object = o;
    return 0;
}

int pack_check_id(const ObjectId *id, const Object *o, Error *e)
{
    ObjectId actual;
    if (id_of(o->data, o->len, &actual) < 0)
        return error_oom(e);
    return id_compare(&actual, id) == 0 ? 0 : bad(e, "an object does not match its SHA-256");
}

/* Append `entry` to a growing index. */
static int index_push(PackIndex *x, size_t *cap, const PackEntry *entry)
{
    if (x->n == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        PackEntry *entries = reallocarray(x->entries, more, sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        x->entries = entries;
        *cap = more;
    }
    x->entries[x->n++] = *entry;
    return 0;
}

static int index_push_base(PackIndex *x, const ObjectId *base)
{
    ObjectId *bases = reallocarray(x->bases, x->n_bases + 1, sizeof(*bases));
    if (!bases)
        return -ENOMEM;
    x->bases = bases;
    x->bases[x->n_bases++] = *base;
    return 0;
}

int pack_scan(Backend *b, BackendFile *f, PackIndex *ret_index, uint64_t *ret_bad, Error *e)
{
    uint64_t size = b->ops->size(f), skipped = 0;
    if (size > PACK_MAX)
        return bad(e, "too long");
    _cleanup_free_ uint8_t *bytes = malloc(size + 1);
    _cleanup_(pack_index_release) PackIndex x = {0};
    size_t cap = 0;
    if (!bytes)
        return error_oom(e);
    int r = b->ops->read(f, 0, bytes, size, e);
    if (r < 0)
        return r;
    for (uint64_t at = PACK_HEADER_SIZE; at + PACK_RECORD_SIZE <= size;) {
        PackRecord record;
        if (pack_parse_record(bytes + at, size - at, &record, NULL) == 0) {
            record.entry.offset = (uint32_t)at;
            record.entry.base = (uint32_t)x.n_bases;
            if (index_push(&x, &cap, &record.entry) < 0 ||
                (record.entry.encoding == ENCODING_DELTA && index_push_base(&x, &record.base) < 0))
                return error_oom(e);
            at += PACK_RECORD_SIZE + record.entry.stored_len;
            continue;
        }
        const uint8_t *next = memmem(bytes + at + 1, size - at - 1, record_magic, 4);
        uint64_t to = next ? (uint64_t)(next - bytes) : size;
        skipped += to - at;
        at = to;
    }
    if (ret_bad)
        *ret_bad = skipped;
    *ret_index = x;
    x = (PackIndex){0};
    return 0;
}

struct PackWriter {
    Backend *backend;
    BackendTemp *temp;
    Hasher *hasher;
    PackIndex index;
    size_t cap;
    uint64_t size, plain;
    ObjectId sha256;
};

static int put(PackWriter *w, const void *data, size_t len, Error *e)
{
    if (hasher_add(w->hasher, data, len) < 0)
        return error_oom(e);
    w->size += len;
    return w->backend->ops->append(w->temp, data, len, e);
}

int pack_writer_new(Backend *b, PackKind kind, PackWriter **ret_writer, Error *e)
{
    PackWriter *w = calloc(1, sizeof(*w));
    if (!w || hasher_new(&w->hasher) < 0) {
        free(w);
        return error_oom(e);
    }
    w->backend = b;
    uint8_t h[PACK_HEADER_SIZE] = {0};
    memcpy(h, pack_magic, 8);
    store_u32(h + 8, kind);
    int r = b->ops->create(b, true, &w->temp, e);
    if (r == 0)
        r = put(w, h, sizeof(h), e);
    if (r < 0) {
        pack_writer_free(w);
        return r;
    }
    *ret_writer = w;
    return 0;
}

int pack_writer_add(PackWriter *w, const PackEntry *entry, const ObjectId *base, const void *stored,
                    uint32_t *ret_offset, Error *e)
{
    uint8_t h[PACK_RECORD_SIZE] = {0};
    PackEntry mine = *entry;
    mine.offset = (uint32_t)w->size;
    mine.base = (uint32_t)w->index.n_bases;
    memcpy(h, record_magic, 4);
    h[4] = mine.type;
    h[5] = mine.encoding;
    h[6] = mine.depth;
    h[7] = mine.age;
    store_u32(h + 8, mine.stored_len);
    store_u32(h + 12, mine.plain_len);
    memcpy(h + 16, mine.id.b, ID_SIZE);
    if (base)
        memcpy(h + 48, base->b, ID_SIZE);
    XXH64_state_t state;
    XXH64_reset(&state, 0);
    XXH64_update(&state, h, 80);
    XXH64_update(&state, stored, mine.stored_len);
    store_u64(h + 80, XXH64_digest(&state));

    int r = put(w, h, sizeof(h), e);
    if (r == 0)
        r = put(w, stored, mine.stored_len, e);
    if (r < 0)
        return r;
    if (index_push(&w->index, &w->cap, &mine) < 0 || (base && index_push_base(&w->index, base) < 0))
        return error_oom(e);
    w->plain += mine.plain_len;
    *ret_offset = mine.offset;
    return 0;
}

uint64_t pack_writer_size(const PackWriter *w)
{
    return w->size;
}

int pack_writer_read(PackWriter *w, uint32_t offset, void *data, size_t len, Error *e)
{
    return w->backend->ops->read_temp(w->temp, offset, data, len, e);
}

int pack_writer_seal(PackWriter *w, ObjectId *ret_sha256, Error *e)
{
    _cleanup_(buf_release) Buf out = BUF_INIT;
    uint64_t offset = w->size;
    int r = 0;
    for (size_t i = 0; r == 0 && i < w->index.n; i++) {
        const PackEntry *p = &w->index.entries[i];
        uint8_t x[PACK_INDEX_SIZE] = {0};
        memcpy(x, p->id.b, ID_SIZE);
        store_u32(x + 32, p->offset);
        store_u32(x + 36, p->stored_len);
        store_u32(x + 40, p->plain_len);
        x[44] = p->type;
        x[45] = p->encoding;
        x[46] = p->depth;
        x[47] = p->age;
        for (size_t k = 0; k < SKETCH_FEATURES; k++)
            store_u32(x + 48 + 4 * k, p->sketch.feature[k]);
        store_u64(x + 60, p->head);
        r = buf_add(&out, x, sizeof(x));
    }
    for (size_t i = 0; r == 0 && i < w->index.n_bases; i++)
        r = buf_add(&out, w->index.bases[i].b, ID_SIZE);
    uint8_t t[PACK_TRAILER_SIZE];
    store_u64(t, offset);
    store_u32(t + 8, (uint32_t)w->index.n);
    store_u32(t + 12, (uint32_t)w->index.n_bases);
    store_u64(t + 16, XXH64(out.data, out.len, 0));
    store_u64(t + 24, w->plain);
    store_u64(t + 32, XXH64(t, 32, 0));
    memcpy(t + 40, end_magic, 8);
    if (r < 0 || buf_add(&out, t, sizeof(t)) < 0)
        return error_oom(e);
    r = put(w, out.data, out.len, e);
    if (r < 0)
        return r;
    if (hasher_finish(w->hasher, &w->sha256) < 0)
        return error_oom(e);
    *ret_sha256 = w->sha256;
    return 0;
}

const PackIndex *pack_writer_index(const PackWriter *w)
{
    return &w->index;
}

int pack_writer_publish(PackWriter *w, Error *e)
{
    char name[PACK_NAME_SIZE];
    pack_name(&w->sha256, name);
    return w->backend->ops->publish(TAKE_PTR(w->temp), name, e);
}

void pack_writer_free(PackWriter *w)
{
    if (!w)
        return;
    if (w->temp)
        w->backend->ops->discard(w->temp);
    hasher_free(w->hasher);
    pack_index_release(&w->index);
    free(w);
}
