#include "restore/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

struct Reader {
    ObjectSource *objects;
    Buf node; /* the rope's root node */
    uint64_t size, offset;
    const atomic_bool *cancel;
    RopeLeaf leaf; /* the stretch `offset` was last found in; len 0 when none */
    Object *object;
    const uint8_t *bytes; /* of the stretch */
};

static void forget_leaf(Reader *r)
{
    object_unref(r->object);
    r->object = NULL;
    r->bytes = NULL;
    rope_leaf_release(&r->leaf);
}

void reader_close(Reader *r)
{
    if (!r)
        return;
    forget_leaf(r);
    buf_release(&r->node);
    free(r);
}

int reader_open(ObjectSource *s, const DirEntry *entry, const atomic_bool *cancel,
                Reader **ret_reader, Error *e)
{
    if (entry->kind != ENTRY_FILE)
        return error_set(e, EISDIR, "%.*s is no file", (int)entry->name_len, entry->name);
    _cleanup_(reader_closep) Reader *r = calloc(1, sizeof(*r));
    if (!r)
        return error_oom(e);
    r->objects = s;
    r->size = entry->size;
    r->cancel = cancel;
    const uint8_t *node;
    size_t len;
    Object *holder = NULL;
    int err = dir_entry_rope(s, entry, &node, &len, &holder, e);
    if (err == 0 && buf_add(&r->node, node, len) < 0)
        err = error_oom(e);
    object_unref(holder);
    uint64_t length;
    unsigned height;
    uint32_t n;
    if (err == 0)
        err = rope_node_check(r->node.data, r->node.len, &length, &height, &n, e);
    if (err == 0 && length != r->size)
        err = error_set(e, EBADMSG, "the size of %.*s is not its rope's length",
                        (int)entry->name_len, entry->name);
    if (err < 0)
        return err;
    *ret_reader = TAKE_PTR(r);
    return 0;
}

uint64_t reader_size(const Reader *r)
{
    return r->size;
}

uint64_t reader_offset(const Reader *r)
{
    return r->offset;
}

int reader_seek(Reader *r, uint64_t offset, Error *e)
{
    if (offset > r->size)
        return error_set(e, EBADMSG, "offset %llu lies past the file's end",
                         (unsigned long long)offset);
    r->offset = offset;
    return 0;
}

static int load_leaf(Reader *r, Error *e)
{
    if (r->leaf.len > 0 && r->offset >= r->leaf.start && r->offset - r->leaf.start < r->leaf.len)
        return 0;
    forget_leaf(r);
    int err = rope_find(r->objects, r->node.data, r->node.len, r->offset, &r->leaf, e);
    if (err < 0)
        return err;
    if (r->leaf.is_literal) {
        r->bytes = r->leaf.literal;
        return 0;
    }
    err = object_get(r->objects, &r->leaf.id, &r->object, e);
    if (err == 0 && r->object->len != r->leaf.len)
        err = error_set(e, EBADMSG, "a chunk is not as long as its rope says");
    if (err < 0) {
        forget_leaf(r);
        return err;
    }
    r->bytes = r->object->data;
    return 0;
}

int reader_next(Reader *r, size_t max, const uint8_t **ret_data, size_t *ret_len, Error *e)
{
    if (r->cancel && atomic_load(r->cancel))
        return error_set(e, EINTR, "interrupted");
    if (r->offset >= r->size)
        return 0;
    int err = load_leaf(r, e);
    if (err < 0)
        return err;
    size_t skip = (size_t)(r->offset - r->leaf.start);
    size_t n = r->leaf.len - skip;
    *ret_data = r->bytes + skip;
    *ret_len = n < max ? n : max;
    r->offset += *ret_len;
    return 1;
}

ssize_t reader_read(Reader *r, void *data, size_t len, Error *e)
{
    size_t done = 0;
    while (done < len) {
        const uint8_t *p = NULL;
        size_t n = 0;
        int err = reader_next(r, len - done, &p, &n, e);
        if (err < 0)
            return err;
        if (err == 0)
            break;
        memcpy((uint8_t *)data + done, p, n);
        done += n;
    }
    return (ssize_t)done;
}

int reader_exactly(Reader *r, void *data, size_t len, Error *e)
{
    ssize_t n = reader_read(r, data, len, e);
    if (n < 0)
        return (int)n;
    return (size_t)n == len ? 0 : error_set(e, EBADMSG, "the file ends too early");
}

int reader_all(Reader *r, uint64_t limit, Buf *out, Error *e)
{
    if (r->size - r->offset > limit)
        return error_set(e, EFBIG, "the file is larger than %llu bytes", (unsigned long long)limit);
    for (;;) {
        const uint8_t *p = NULL;
        size_t n = 0;
        int err = reader_next(r, SIZE_MAX, &p, &n, e);
        if (err <= 0)
            return err;
        if (buf_add(out, p, n) < 0)
            return error_oom(e);
    }
}
