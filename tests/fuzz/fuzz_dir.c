#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tree/dir.h"
#include "util/cleanup.h"

/* A source that has one object, under an id of zeros. */
typedef struct OneObject {
    ObjectSource source;
    const uint8_t *data;
    size_t size;
} OneObject;

static int get_one(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    const OneObject *one = (const OneObject *)s;
    static const ObjectId root;
    if (id_compare(id, &root) != 0 || one->size > OBJECT_MAX)
        return error_set(e, ENOENT, "no such object");
    Object *o = object_new((uint32_t)one->size);
    if (!o)
        return error_oom(e);
    if (one->size)
        memcpy(o->data, one->data, one->size);
    *ret_object = o;
    return 0;
}

static int visit(void *ctx, uint64_t position, const DirEntry *entry)
{
    if (entry->name_len == 0 || entry->name_len > 255)
        abort();
    unsigned *left = ctx;
    return --*left == 0;
}

/* Any bytes are a directory node or refused; names and indices lead to entries or nowhere. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    OneObject one = {.source.get = get_one, .data = data, .size = size};
    DirRef dir = {0};
    _cleanup_(error_release) Error e = ERROR_INIT;
    unsigned left = 1000;
    dir_list(&one.source, &dir, 0, visit, &left, &e);

    DirEntry entry = {0};
    const char *const names[] = {"public", "roles.sql", "a", "zz"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (dir_lookup(&one.source, &dir, names[i], strlen(names[i]), &entry, &e) == 0)
            dir_entry_release(&entry);
    const uint64_t indices[] = {1, 2, 3, 100, UINT64_MAX};
    for (size_t i = 0; i < sizeof(indices) / sizeof(*indices); i++)
        if (dir_by_index(&one.source, &dir.id, indices[i], &entry, &e) == 0)
            dir_entry_release(&entry);
    return 0;
}
