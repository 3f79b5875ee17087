#include "tree/sums.h"

#include <errno.h>
#include <string.h>

static const char header[] = "# To check the files beside this one: sha256sum -c SHA256SUMS\n"
                             "# A name after # alone is a file put together from those listed.\n";

typedef struct Sums {
    Buf *out; /* NULL: only measure */
    uint64_t size;
    uint64_t budget; /* nodes and files until the tree must be damaged */
    Error *error;
} Sums;

static int add(Sums *s, const void *data, size_t len)
{
    s->size += len;
    if (s->size > SUMS_MAX)
        return error_set(s->error, EFBIG, "SHA256SUMS would have more than %u bytes", SUMS_MAX);
    if (s->out && buf_add(s->out, data, len) < 0)
        return error_oom(s->error);
    return 0;
}

/* As sha256sum writes names: where one holds a backslash or a line end, these are escaped and a
 * backslash begins the line. */
static int add_name(Sums *s, const char *name)
{
    for (;;) {
        size_t plain = strcspn(name, "\\\n\r");
        int r = add(s, name, plain);
        if (r < 0 || !name[plain])
            return r;
        const char *escaped = name[plain] == '\\' ? "\\\\" : name[plain] == '\n' ? "\\n" : "\\r";
        r = add(s, escaped, 2);
        if (r < 0)
            return r;
        name += plain + 1;
    }
}

static int spend(Sums *s)
{
    if (s->budget-- > 0)
        return 0;
    s->budget = 0;
    return error_set(s->error, EBADMSG, "the backup has more entries than its manifest says");
}

static int count_node(void *ctx, const char *path, const ObjectId *id, int height)
{
    return spend(ctx);
}

static int add_file(void *ctx, const char *path, const DirEntry *entry)
{
    Sums *s = ctx;
    int r = spend(s);
    if (r < 0 || entry->kind != ENTRY_FILE)
        return r;
    if (entry->has_sha256) {
        char hex[ID_HEX_SIZE];
        id_to_hex(&entry->sha256, hex);
        if (strpbrk(path, "\\\n\r"))
            r = add(s, "\\", 1);
        if (r == 0)
            r = add(s, hex, ID_HEX_SIZE - 1);
        if (r == 0)
            r = add(s, "  ", 2);
    } else {
        r = add(s, "# ", 2);
    }
    if (r == 0)
        r = add_name(s, path);
    return r < 0 ? r : add(s, "\n", 1);
}

/* A directory takes a node, a file none; a wide one some more. What the manifest says is capped:
 * more than so many files would not fit in any case. */
static uint64_t budget_of(uint64_t entries)
{
    const uint64_t max = SUMS_MAX / 16;
    return entries < max / 2 ? 2 * entries + 1000 : max + 1000;
}

int sums_make(ObjectSource *objects, const ObjectId *root, uint64_t entries, Buf *out,
              uint64_t *ret_size, Error *e)
{
    static const DirWalk walk = {.node = count_node, .file = add_file};
    Sums s = {.out = out, .budget = budget_of(entries), .error = e};
    int r = add(&s, header, sizeof(header) - 1);
    if (r == 0)
        r = dir_walk(objects, root, &walk, &s, e);
    if (r == 0)
        *ret_size = s.size;
    return r;
}
