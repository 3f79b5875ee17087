#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tree/dir_node.h"
#include "tree/rope_node.h"
#include "util/cleanup.h"
#include "util/name.h"

/* Where nodes end: docs/format.md, "Directories". */
#define CUT_ENTRIES_MIN 8
#define CUT_ENTRIES_MAX 128
#define CUT_BYTES_MAX   (64u << 10)
#define CUT_ONE_IN      32

/* An entry, or a child of an inner node, encoded. */
typedef struct Item {
    char *name; /* owned; for a child that of its first entry */
    size_t name_len;
    Buf bytes;
    uint64_t entries; /* directory entries: 1, or those of the child */
    uint64_t below;   /* those and everything below them */
} Item;

typedef struct Items {
    size_t n, cap;
    Item *list;
} Items;

struct DirBuilder {
    StoreWriter *writer;
    Items items;
};

static void items_clear(Items *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free(x->list[i].name);
        buf_release(&x->list[i].bytes);
    }
    free(x->list);
    *x = (Items){0};
}

/* A new item at the end, with its name. NULL when out of memory. */
static Item *items_add(Items *x, const char *name, size_t name_len)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 16;
        Item *list = reallocarray(x->list, cap, sizeof(*list));
        if (!list)
            return NULL;
        x->list = list;
        x->cap = cap;
    }
    char *copy = strndup(name, name_len);
    if (!copy)
        return NULL;
    x->list[x->n] = (Item){.name = copy, .name_len = name_len};
    return &x->list[x->n++];
}

int dir_builder_new(StoreWriter *w, DirBuilder **ret_builder)
{
    DirBuilder *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->writer = w;
    *ret_builder = b;
    return 0;
}

void dir_builder_free(DirBuilder *b)
{
    if (!b)
        return;
    items_clear(&b->items);
    free(b);
}

static int encode_file(DirBuilder *b, const Rope *rope, Buf *out, Error *e)
{
    int r = buf_add_varint(out, rope->length);
    if (rope->node.len <= ROPE_INLINE_NODE) {
        r |= buf_add_u8(out, 0);
        r |= buf_add_varint(out, rope->node.len);
        r |= buf_add(out, rope->node.data, rope->node.len);
        return r < 0 ? error_oom(e) : 0;
    }
    ObjectId id;
    if (r < 0 || buf_add_u8(out, 1) < 0)
        return error_oom(e);
    r = writer_put(b->writer, OBJECT_ROPE, rope->node.data, rope->node.len, &id, e);
    if (r < 0)
        return r;
    return buf_add(out, id.b, ID_SIZE) < 0 ? error_oom(e) : 0;
}

static int encode_kind(DirBuilder *b, const DirEntry *x, const Rope *rope, Buf *out, Error *e)
{
    int r = 0;
    switch (x->kind) {
    case ENTRY_FILE:
        return encode_file(b, rope, out, e);
    case ENTRY_DIR:
        r |= buf_add(out, x->dir.id.b, ID_SIZE);
        r |= buf_add_varint(out, x->dir.entries);
        break;
    case ENTRY_SYMLINK:
        if (x->size < 1 || x->size > DIR_MAX_TARGET)
            return error_set(e, ENAMETOOLONG, "a symbolic link's target is too long");
        r |= buf_add_varint(out, x->size);
        r |= buf_add(out, x->target, x->size);
        break;
    }
    return r < 0 ? error_oom(e) : 0;
}

static int add_attribute(Buf *attributes, uint8_t *n, uint8_t tag, const void *data, size_t len)
{
    (*n)++;
    int r = buf_add_u8(attributes, tag);
    r |= buf_add_varint(attributes, len);
    return r | buf_add(attributes, data, len);
}

static int encode_attributes(const DirEntry *x, Buf *out)
{
    _cleanup_(buf_release) Buf attributes = BUF_INIT, value = BUF_INIT;
    uint8_t n = 0;
    int r = 0;
    if (x->has_sha256)
        r |= add_attribute(&attributes, &n, DIR_ATTR_SHA256, x->sha256.b, ID_SIZE);
    if (x->has_mtime) {
        r |= buf_add_u64(&value, (uint64_t)x->mtime);
        r |= add_attribute(&attributes, &n, DIR_ATTR_MTIME, value.data, value.len);
    }
    if (x->has_rows) {
        buf_clear(&value);
        r |= buf_add_varint(&value, x->rows);
        r |= add_attribute(&attributes, &n, DIR_ATTR_ROWS, value.data, value.len);
    }
    if (x->object_name)
        r |= add_attribute(&attributes, &n, DIR_ATTR_OBJECT_NAME, x->object_name,
                           x->object_name_len);
    r |= buf_add_u8(out, n);
    return r | buf_add(out, attributes.data, attributes.len);
}

int dir_builder_entry(DirBuilder *b, const DirEntry *x, const Rope *rope, Error *e)
{
    if (!name_is_valid(x->name, x->name_len))
        return error_set(e, EINVAL, "\"%.*s\" can't be a file's name", (int)x->name_len, x->name);
    Item *item = items_add(&b->items, x->name, x->name_len);
    if (!item)
        return error_oom(e);
    item->entries = 1;
    item->below = dir_entry_span(x);
    Buf *out = &item->bytes;
    int r = buf_add_varint(out, x->name_len);
    r |= buf_add(out, x->name, x->name_len);
    r |= buf_add_u8(out, (uint8_t)x->kind);
    r |= buf_add_varint(out, x->mode & 07777);
    if (r < 0)
        return error_oom(e);
    r = encode_kind(b, x, rope, out, e);
    if (r < 0)
        return r;
    return encode_attributes(x, out) < 0 ? error_oom(e) : 0;
}

int dir_builder_file(DirBuilder *b, const char *name, uint16_t mode, const Rope *rope,
                     const ObjectId *sha256, Error *e)
{
    DirEntry x = {.name = name, .name_len = strlen(name), .kind = ENTRY_FILE, .mode = mode};
    if (sha256) {
        x.has_sha256 = true;
        x.sha256 = *sha256;
    }
    return dir_builder_entry(b, &x, rope, e);
}

int dir_builder_dir(DirBuilder *b, const char *name, const Dir *dir, Error *e)
{
    DirEntry x = {
        .name = name, .name_len = strlen(name), .kind = ENTRY_DIR, .mode = 0555, .dir = *dir};
    return dir_builder_entry(b, &x, NULL, e);
}

static int compare_items(const void *x, const void *y)
{
    const Item *a = x, *b = y;
    return dir_name_compare(a->name, a->name_len, b->name, b->name_len);
}

/* Store items `from` to `to` as one node. */
static int put_node(DirBuilder *b, const Items *x, size_t from, size_t to, unsigned height,
                    ObjectId *ret_id, Error *e)
{
    _cleanup_(buf_release) Buf node = BUF_INIT;
    int r = buf_add_u8(&node, DIR_VERSION);
    r |= buf_add_u8(&node, (uint8_t)height);
    r |= buf_add_varint(&node, to - from);
    for (size_t i = from; i < to; i++)
        r |= buf_add(&node, x->list[i].bytes.data, x->list[i].bytes.len);
    if (r < 0)
        return error_oom(e);
    return writer_put(b->writer, OBJECT_DIR, node.data, node.len, ret_id, e);
}

/* Where the node that begins at item `from` ends. */
static size_t node_end(const Items *x, size_t from)
{
    size_t bytes = 0, i = from;
    while (i < x->n) {
        const Item *item = &x->list[i++];
        bytes += item->bytes.len;
        if (i - from >= CUT_ENTRIES_MAX || bytes >= CUT_BYTES_MAX ||
            (i - from >= CUT_ENTRIES_MIN && XXH64(item->name, item->name_len, 0) % CUT_ONE_IN == 0))
            break;
    }
    return i;
}

static int add_child(Items *up, const Items *x, size_t from, size_t to, const ObjectId *id,
                     Error *e)
{
    const Item *first = &x->list[from];
    Item *item = items_add(up, first->name, first->name_len);
    if (!item)
        return error_oom(e);
    for (size_t i = from; i < to; i++) {
        item->entries += x->list[i].entries;
        item->below += x->list[i].below;
    }
    int r = buf_add_varint(&item->bytes, item->name_len);
    r |= buf_add(&item->bytes, item->name, item->name_len);
    r |= buf_add(&item->bytes, id->b, ID_SIZE);
    r |= buf_add_varint(&item->bytes, item->entries);
    r |= buf_add_varint(&item->bytes, item->below);
    return r < 0 ? error_oom(e) : 0;
}

/* Store the items as nodes; they become the items of the next height. */
static int raise_level(DirBuilder *b, Items *x, unsigned height, Error *e)
{
    Items up = {0};
    int r = 0;
    for (size_t from = 0, to; r == 0 && from < x->n; from = to) {
        ObjectId id;
        to = node_end(x, from);
        r = put_node(b, x, from, to, height, &id, e);
        if (r == 0)
            r = add_child(&up, x, from, to, &id, e);
    }
    items_clear(x);
    *x = up;
    return r;
}

int dir_builder_finish(DirBuilder *b, Dir *ret_dir, Error *e)
{
    Items *x = &b->items;
    Dir dir = {0};
    unsigned height = 0;
    if (x->n)
        qsort(x->list, x->n, sizeof(*x->list), compare_items);
    for (size_t i = 0; i < x->n; i++) {
        if (i > 0 && compare_items(&x->list[i - 1], &x->list[i]) == 0)
            return error_set(e, EEXIST, "two entries are called \"%s\"", x->list[i].name);
        dir.entries += x->list[i].below;
    }
    if (dir.entries > DIR_MAX_ENTRIES)
        return error_set(e, EFBIG, "more than 2^31 entries in a directory");
    while (node_end(x, 0) < x->n) {
        int r = raise_level(b, x, height++, e);
        if (r < 0)
            return r;
    }
    int r = put_node(b, x, 0, x->n, height, &dir.id, e);
    items_clear(x);
    if (r == 0)
        *ret_dir = dir;
    return r;
}
