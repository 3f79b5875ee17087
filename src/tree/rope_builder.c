#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "chunk/cutter.h"
#include "tree/rope.h"
#include "tree/rope_node.h"
#include "util/cleanup.h"

/* Where nodes end: docs/format.md, "Ropes". */
#define CUT_ENTRIES_MIN 16
#define CUT_ENTRIES_MAX 256
#define CUT_BYTES_MAX   (32u << 10)
#define CUT_ONE_IN      64

#define COPY_ENTRIES 8    /* a rope of so few entries is copied, not referred to */
#define LITERAL_KEEP 2048 /* longer runs of literal bytes become objects */
#define PENDING_MAX  (1u << 20)

/* The entries of the node under construction at one level of the tree. */
typedef struct Level {
    Buf entries;
    uint32_t n;
    uint64_t length;
    unsigned height; /* of the node: 0, or above its highest child */
} Level;

struct RopeBuilder {
    StoreWriter *writer;
    Level levels[ROPE_MAX_HEIGHT + 1];
    Buf pending; /* literal bytes that no entry holds yet */
};

int rope_builder_new(StoreWriter *w, RopeBuilder **ret_builder)
{
    RopeBuilder *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->writer = w;
    *ret_builder = b;
    return 0;
}

void rope_builder_free(RopeBuilder *b)
{
    if (!b)
        return;
    for (size_t i = 0; i <= ROPE_MAX_HEIGHT; i++)
        buf_release(&b->levels[i].entries);
    buf_release(&b->pending);
    free(b);
}

static int encode_node(const Level *l, Buf *out)
{
    int r = buf_add_u8(out, ROPE_VERSION);
    if (r == 0)
        r = buf_add_u8(out, (uint8_t)l->height);
    if (r == 0)
        r = buf_add_varint(out, l->n);
    if (r == 0)
        r = buf_add_varint(out, l->length);
    return r < 0 ? r : buf_add(out, l->entries.data, l->entries.len);
}

static void level_clear(Level *l)
{
    buf_clear(&l->entries);
    l->n = 0;
    l->length = 0;
    l->height = 0;
}

static int add_entry(RopeBuilder *b, unsigned level, const RopeEntry *entry, unsigned child_height,
                     Error *e);

/* Store the node of a level and refer to it one level up. */
static int flush_level(RopeBuilder *b, unsigned level, Error *e)
{
    Level *l = &b->levels[level];
    _cleanup_(buf_release) Buf node = BUF_INIT;
    RopeEntry up = {.kind = ROPE_NODE, .length = l->length};
    unsigned height = l->height;
    if (level == ROPE_MAX_HEIGHT)
        return error_set(e, EFBIG, "the file has too many parts");
    if (encode_node(l, &node) < 0)
        return error_oom(e);
    level_clear(l);
    int r = writer_put(b->writer, OBJECT_ROPE, node.data, node.len, &up.id, e);
    return r < 0 ? r : add_entry(b, level + 1, &up, height, e);
}

static int encode_entry(Buf *out, const RopeEntry *entry)
{
    int r = buf_add_u8(out, (uint8_t)entry->kind);
    if (r == 0)
        r = buf_add_varint(out, entry->length);
    if (r < 0)
        return r;
    if (entry->kind == ROPE_LITERAL)
        return buf_add(out, entry->literal, entry->length);
    r = buf_add(out, entry->id.b, ID_SIZE);
    return r == 0 && entry->kind == ROPE_HEX ? buf_add_varint(out, entry->offset) : r;
}

static int add_entry(RopeBuilder *b, unsigned level, const RopeEntry *entry, unsigned child_height,
                     Error *e)
{
    Level *l = &b->levels[level];
    size_t start = l->entries.len;
    if (encode_entry(&l->entries, entry) < 0)
        return error_oom(e);
    l->n++;
    if (__builtin_add_overflow(l->length, entry->length, &l->length) || l->length > INT64_MAX)
        return error_set(e, EFBIG, "the file is too long");
    if (entry->kind == ROPE_NODE && child_height + 1 > l->height)
        l->height = child_height + 1;
    if (l->height > ROPE_MAX_HEIGHT)
        return error_set(e, EFBIG, "the file has too many parts");
    bool cut = l->n >= CUT_ENTRIES_MIN &&
               XXH64(l->entries.data + start, l->entries.len - start, 0) % CUT_ONE_IN == 0;
    if (cut || l->n >= CUT_ENTRIES_MAX || l->entries.len >= CUT_BYTES_MAX)
        return flush_level(b, level, e);
    return 0;
}

/* Literal bytes that are many become objects, cut by content like any file. What the cutter can't
 * decide yet stays, unless `at_end`. */
static int store_pending(RopeBuilder *b, bool at_end, Error *e)
{
    Cutter cutter;
    size_t done = 0, n;
    cutter_init(&cutter, (CutRule){.kind = CUT_ROWS});
    while ((n = cutter_next(&cutter, b->pending.data + done, b->pending.len - done, at_end)) > 0) {
        RopeEntry entry = {.kind = ROPE_OBJECT, .length = n};
        int r = writer_put(b->writer, OBJECT_DATA, b->pending.data + done, n, &entry.id, e);
        if (r == 0)
            r = add_entry(b, 0, &entry, 0, e);
        if (r < 0)
            return r;
        done += n;
    }
    b->pending.len -= done;
    if (b->pending.len)
        memmove(b->pending.data, b->pending.data + done, b->pending.len);
    return 0;
}

static int flush_pending(RopeBuilder *b, Error *e)
{
    if (b->pending.len == 0)
        return 0;
    if (b->pending.len > LITERAL_KEEP)
        return store_pending(b, true, e);
    RopeEntry entry = {.kind = ROPE_LITERAL, .length = b->pending.len, .literal = b->pending.data};
    int r = add_entry(b, 0, &entry, 0, e);
    buf_clear(&b->pending);
    return r;
}

int rope_builder_literal(RopeBuilder *b, const void *data, size_t len, Error *e)
{
    const uint8_t *p = data;
    while (len > 0) {
        size_t n = len < PENDING_MAX ? len : PENDING_MAX;
        if (buf_add(&b->pending, p, n) < 0)
            return error_oom(e);
        if (b->pending.len >= PENDING_MAX) {
            int r = store_pending(b, false, e);
            if (r < 0)
                return r;
        }
        p += n;
        len -= n;
    }
    return 0;
}

int rope_builder_object(RopeBuilder *b, const ObjectId *id, uint32_t len, Error *e)
{
    RopeEntry entry = {.kind = ROPE_OBJECT, .length = len, .id = *id};
    int r = flush_pending(b, e);
    return r < 0 ? r : add_entry(b, 0, &entry, 0, e);
}

int rope_builder_hex(RopeBuilder *b, const ObjectId *id, uint32_t offset, uint32_t len, Error *e)
{
    int r = flush_pending(b, e);
    while (r == 0 && len > 0) {
        uint32_t n = len < ROPE_MAX_HEX / 2 ? len : ROPE_MAX_HEX / 2;
        RopeEntry entry = {.kind = ROPE_HEX, .length = 2 * n, .id = *id, .offset = offset};
        r = add_entry(b, 0, &entry, 0, e);
        offset += n;
        len -= n;
    }
    return r;
}

int rope_builder_part(RopeBuilder *b, const RopeEntry *entry, unsigned height, Error *e)
{
    int r = flush_pending(b, e);
    return r < 0 ? r : add_entry(b, 0, entry, height, e);
}

static int copy_entries(RopeBuilder *b, const Rope *rope, Error *e)
{
    RopeNode node;
    RopeEntry entry;
    int r = rope_node_open(rope->node.data, rope->node.len, &node, e);
    while (r == 0 && node.n > 0) {
        r = rope_node_next(&node, &entry, e);
        if (r < 0)
            break;
        if (entry.kind == ROPE_LITERAL) {
            r = rope_builder_literal(b, entry.literal, entry.length, e);
            continue;
        }
        /* Its height is below the node's, how far is not known here. */
        r = rope_builder_part(b, &entry, node.height ? node.height - 1 : 0, e);
    }
    return r;
}

int rope_builder_rope(RopeBuilder *b, const Rope *rope, Error *e)
{
    if (rope->length == 0)
        return 0;
    if (rope->n <= COPY_ENTRIES && rope->node.len <= ROPE_INLINE_NODE)
        return copy_entries(b, rope, e);
    RopeEntry entry = {.kind = ROPE_NODE, .length = rope->length};
    int r = flush_pending(b, e);
    if (r == 0)
        r = writer_put(b->writer, OBJECT_ROPE, rope->node.data, rope->node.len, &entry.id, e);
    return r < 0 ? r : add_entry(b, 0, &entry, rope->height, e);
}

static bool has_above(const RopeBuilder *b, unsigned level)
{
    for (unsigned i = level + 1; i <= ROPE_MAX_HEIGHT; i++)
        if (b->levels[i].n)
            return true;
    return false;
}

int rope_builder_finish(RopeBuilder *b, Rope *ret_rope, Error *e)
{
    int r = flush_pending(b, e);
    unsigned level = 0;
    for (; r == 0 && has_above(b, level); level++)
        if (b->levels[level].n)
            r = flush_level(b, level, e);
    if (r < 0)
        return r;
    Level *top = &b->levels[level];
    Rope rope = {.length = top->length, .n = top->n, .height = top->height};
    if (encode_node(top, &rope.node) < 0) {
        rope_release(&rope);
        return error_oom(e);
    }
    level_clear(top);
    *ret_rope = rope;
    return 0;
}
