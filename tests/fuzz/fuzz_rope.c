#include <errno.h>
#include <stdlib.h>

#include "fuzz.h"
#include "tree/rope.h"
#include "util/cleanup.h"

static int get_nothing(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    return error_set(e, ENOENT, "no objects here");
}

/* Any bytes are a rope node or refused; a node that passes the check can be read at any offset. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ObjectSource source = {.get = get_nothing};
    _cleanup_(error_release) Error e = ERROR_INIT;
    uint64_t length = 0;
    unsigned height;
    uint32_t n;
    bool sound = rope_node_check(data, size, &length, &height, &n, &e) == 0;

    RopeCursor *cursor = NULL;
    if (rope_cursor_new(&source, data, size, &cursor, &e) < 0 && sound)
        abort();

    const uint64_t offsets[] = {0, 1, length / 2, length ? length - 1 : 0, length, UINT64_MAX};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
        RopeLeaf leaf = {0};
        int r = rope_find(&source, data, size, offsets[i], &leaf, &e);
        if (r == 0 && sound && (offsets[i] < leaf.start || offsets[i] - leaf.start >= leaf.len))
            abort();
        if (r == 0)
            rope_leaf_release(&leaf);
        RopeLeaf near = {0};
        if (cursor && (rope_cursor_find(cursor, offsets[i], &near, &e) == 0) != (r == 0))
            abort();
        rope_leaf_release(&near);
        uint8_t out[64];
        if (rope_read(&source, data, size, offsets[i], out, sizeof(out), &e) > (ssize_t)sizeof(out))
            abort();
    }
    rope_cursor_free(cursor);
    return 0;
}
