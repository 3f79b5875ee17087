/* Extended attributes, with -o xattr: what the store knows of a file beyond its bytes. */
#include <errno.h>
#include <string.h>

#include "fs/fs_internal.h"
#include "store/idmap.h"
#include "util/cleanup.h"

/* How a file is stored. */
typedef struct Usage {
    Fs *fs;
    IdMap seen; /* nodes and chunks, so that each is counted once */
    uint64_t chunks, deltas, bytes;
} Usage;

static int count(void *ctx, const RopeVisit *v)
{
    Usage *u = ctx;
    const Location nothing = {0};
    uint32_t stored;
    bool is_delta;
    if (idmap_get(&u->seen, &v->id))
        return 1;
    if (idmap_put(&u->seen, &v->id, &nothing) < 0)
        return -ENOMEM;
    if (v->is_node)
        return 0;
    u->chunks++;
    if (store_stored(u->fs->store, &v->id, &stored, &is_delta) == 0) {
        u->bytes += stored;
        u->deltas += is_delta;
    }
    return 0;
}

static int measure(Fs *fs, const FsNode *n, Usage *ret_usage, Error *e)
{
    Object *holder = NULL;
    const uint8_t *node;
    size_t len;
    Usage u = {.fs = fs};
    int r = dir_entry_rope(fs->objects, &n->entry, &node, &len, &holder, e);
    if (r == 0)
        r = rope_walk(fs->objects, node, len, count, &u, e);
    object_unref(holder);
    idmap_release(&u.seen);
    u.seen = IDMAP_INIT;
    *ret_usage = u;
    return r;
}

static bool is_stored_file(const FsNode *n)
{
    return n->inode.view == INODE_FILE && !n->rendered && n->entry.kind == ENTRY_FILE;
}

static bool has_sum(const FsNode *n)
{
    return is_stored_file(n) && n->entry.has_sha256;
}

static bool is_in_backup(const FsNode *n)
{
    return n->backup && n->backup->info;
}

static int print_id(Fs *fs, const FsNode *n, Buf *out, Error *e)
{
    return buf_add_str(out, n->backup->info->id);
}

static int print_collection(Fs *fs, const FsNode *n, Buf *out, Error *e)
{
    return buf_add_str(out, n->backup->info->collection);
}

static int print_sum(Fs *fs, const FsNode *n, Buf *out, Error *e)
{
    char hex[ID_HEX_SIZE];
    id_to_hex(&n->entry.sha256, hex);
    return buf_add_str(out, hex);
}

static int add_number(Buf *out, uint64_t n)
{
    return buf_addf(out, "%llu", (unsigned long long)n);
}

static int print_stored(Fs *fs, const FsNode *n, Buf *out, Error *e)
{
    Usage u;
    int r = measure(fs, n, &u, e);
    return r < 0 ? r : add_number(out, u.bytes);
}

static int print_chunks(Fs *fs, const FsNode *n, Buf *out, Error *e)
{
    Usage u;
    int r = measure(fs, n, &u, e);
    return r < 0 ? r : add_number(out, u.chunks);
}

static int print_deltas(Fs *fs, const FsNode *n, Buf *out, Error *e)
{
    Usage u;
    int r = measure(fs, n, &u, e);
    return r < 0 ? r : add_number(out, u.deltas);
}

typedef struct Attribute {
    const char *name;
    bool (*has)(const FsNode *n);
    int (*print)(Fs *fs, const FsNode *n, Buf *out, Error *e);
} Attribute;

static const Attribute attributes[] = {
    {"user.bakfs.backup_id", is_in_backup, print_id},
    {"user.bakfs.collection", is_in_backup, print_collection},
    {"user.bakfs.sha256", has_sum, print_sum},
    {"user.bakfs.stored_size", is_stored_file, print_stored},
    {"user.bakfs.chunks", is_stored_file, print_chunks},
    {"user.bakfs.deltas", is_stored_file, print_deltas},
};
#define N_ATTRIBUTES (sizeof(attributes) / sizeof(*attributes))

/* Answer with `value`, or with its length where the caller gives no room yet. */
static void reply(fuse_req_t req, const Buf *value, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, value->len);
    else if (value->len > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, (const char *)value->data, value->len);
}

static int list_names(Fs *fs, const FsNode *n, const char *name, Buf *out, Error *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < N_ATTRIBUTES; i++)
        if (attributes[i].has(n))
            r = buf_add(out, attributes[i].name, strlen(attributes[i].name) + 1);
    return r;
}

static int print_value(Fs *fs, const FsNode *n, const char *name, Buf *out, Error *e)
{
    for (size_t i = 0; i < N_ATTRIBUTES; i++)
        if (strcmp(attributes[i].name, name) == 0 && attributes[i].has(n))
            return attributes[i].print(fs, n, out, e);
    return -ENODATA;
}

static void answer(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size,
                   int (*make)(Fs *fs, const FsNode *n, const char *name, Buf *out, Error *e))
{
    Fs *fs = fuse_req_userdata(req);
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(fs_node_release) FsNode node;
    _cleanup_(buf_release) Buf value = BUF_INIT;
    int r = fs_node_get(fs, ino, &node, &e);
    if (r == 0)
        r = make(fs, &node, name, &value, &e);
    if (r == -ENODATA)
        fuse_reply_err(req, ENODATA);
    else if (r < 0)
        fuse_reply_err(req, fs_failure(fs, node.backup, node.inode.index, r, &e));
    else
        reply(req, &value, size);
}

void fs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    answer(req, ino, name, size, print_value);
}

void fs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    answer(req, ino, NULL, size, list_names);
}
