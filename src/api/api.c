/* libbakfs: the public interface over the inner layers. */
#include <bakfs/bakfs.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "tree/dir.h"
#include "util/cleanup.h"

/* A bakfs_store is a Store: the public name only hides what it is. */
static Store *inner(bakfs_store *store)
{
    return (Store *)store;
}

struct bakfs_file {
    Store *store;
    uint64_t size;
    uint8_t *node; /* the rope's root */
    size_t node_len;
};

/* Hand an inner error over. Returns `r`. */
static int give(int r, Error *e, bakfs_error *error)
{
    if (r < 0 && error) {
        error->code = -r;
        snprintf(error->message, sizeof(error->message), "%s", e->message ? e->message : "");
        snprintf(error->hint, sizeof(error->hint), "%s", e->hint ? e->hint : "");
    }
    error_release(e);
    return r;
}

const char *bakfs_version(void)
{
    return BAKFS_VERSION;
}

int bakfs_store_init(const char *path, const char *collection, bakfs_error *error)
{
    Error e = ERROR_INIT;
    return give(store_init(path, collection, &e), &e, error);
}

int bakfs_store_open(const char *path, bakfs_store **ret_store, bakfs_error *error)
{
    Error e = ERROR_INIT;
    return give(store_open(path, (Store **)ret_store, &e), &e, error);
}

void bakfs_store_close(bakfs_store *store)
{
    store_close(inner(store));
}

int bakfs_store_refresh(bakfs_store *store, bakfs_error *error)
{
    Error e = ERROR_INIT;
    return give(store_refresh(inner(store), &e), &e, error);
}

static bool fits(const BackupInfo *b, const bakfs_filter *f)
{
    if (!f)
        return true;
    size_t n = f->namespace_ ? strlen(f->namespace_) : 0;
    return (!f->collection || strcmp(b->collection, f->collection) == 0) &&
           (!n || (strncmp(b->collection, f->namespace_, n) == 0 && b->collection[n] == '/')) &&
           b->timestamp >= f->since;
}

static bakfs_backup describe(const BackupList *l, const BackupInfo *b)
{
    return (bakfs_backup){
        .backup_id = b->id,
        .collection = b->collection,
        .archive_name = b->archive_name,
        .latest_name = b->latest_name,
        .ordinal = b->ordinal,
        .timestamp = b->timestamp,
        .size_bytes = b->size_bytes,
        .record_count = b->record_count,
        .file_count = b->file_count,
        .table_count = b->table_count,
        .partial = b->partial,
        .latest = backup_list_latest(l, b->collection) == b,
        .verified = b->verified,
    };
}

int bakfs_backup_list_get(bakfs_store *store, const bakfs_filter *filter,
                          bakfs_backup_list *ret_list, bakfs_error *error)
{
    Error e = ERROR_INIT;
    BackupList *l = store_backups(inner(store));
    bakfs_backup_list list = {.holder = l};
    size_t limit = filter && filter->limit ? filter->limit : SIZE_MAX;
    list.items = calloc(l->n + 1, sizeof(*list.items));
    if (!list.items) {
        backup_list_unref(l);
        return give(error_oom(&e), &e, error);
    }
    for (size_t i = l->n; i-- > 0 && list.n < limit;)
        if (fits(&l->items[i], filter))
            list.items[list.n++] = describe(l, &l->items[i]);
    *ret_list = list;
    return 0;
}

void bakfs_backup_list_free(bakfs_backup_list *list)
{
    if (!list)
        return;
    free(list->items);
    backup_list_unref(list->holder);
    *list = (bakfs_backup_list){0};
}

/* Find a backup; the list keeps it alive and is the caller's to unref. */
static int find(bakfs_store *store, const char *spec, BackupList **ret_list,
                const BackupInfo **ret_backup, Error *e)
{
    BackupList *l = store_backups(inner(store));
    int r = backup_list_find(l, inner(store), spec, NULL, ret_backup, e);
    if (r < 0)
        backup_list_unref(l);
    else
        *ret_list = l;
    return r;
}

int bakfs_backup_find(bakfs_store *store, const char *spec, bakfs_backup_list *ret_list,
                      bakfs_error *error)
{
    Error e = ERROR_INIT;
    BackupList *l;
    const BackupInfo *b;
    int r = find(store, spec, &l, &b, &e);
    if (r < 0)
        return give(r, &e, error);
    bakfs_backup_list list = {.n = 1, .holder = l};
    list.items = calloc(1, sizeof(*list.items));
    if (!list.items) {
        backup_list_unref(l);
        return give(error_oom(&e), &e, error);
    }
    list.items[0] = describe(l, b);
    *ret_list = list;
    return 0;
}

int bakfs_backup_delete(bakfs_store *store, const char *spec, bakfs_error *error)
{
    Error e = ERROR_INIT;
    BackupList *l;
    const BackupInfo *b;
    int r = find(store, spec, &l, &b, &e);
    if (r == 0) {
        r = store_delete_backup(inner(store), b, &e);
        backup_list_unref(l);
    }
    return give(r, &e, error);
}

int bakfs_backup_manifest(bakfs_store *store, const char *spec, char **ret_json, bakfs_error *error)
{
    Error e = ERROR_INIT;
    BackupList *l;
    const BackupInfo *b;
    Manifest *m = NULL;
    int r = find(store, spec, &l, &b, &e);
    if (r < 0)
        return give(r, &e, error);
    r = store_manifest(inner(store), b, &m, &e);
    char *text = r == 0 ? json_dumps(m->doc, JSON_INDENT(1)) : NULL;
    if (r == 0 && !text)
        r = error_oom(&e);
    if (r == 0)
        *ret_json = text;
    manifest_free(m);
    backup_list_unref(l);
    return give(r, &e, error);
}

typedef struct Listing {
    int (*visit)(void *ctx, const char *name, bakfs_kind kind, uint64_t size);
    void *ctx;
} Listing;

static int list_entry(void *ctx, uint64_t position, const DirEntry *x)
{
    const Listing *l = ctx;
    char name[256];
    snprintf(name, sizeof(name), "%.*s", (int)x->name_len, x->name);
    return l->visit(l->ctx, name, (bakfs_kind)x->kind, x->size);
}

int bakfs_dir_list(bakfs_store *store, const char *spec, const char *path,
                   int (*visit)(void *ctx, const char *name, bakfs_kind kind, uint64_t size),
                   void *ctx, bakfs_error *error)
{
    Error e = ERROR_INIT;
    BackupList *l;
    const BackupInfo *b;
    ObjectSource *s = store_objects(inner(store));
    int r = find(store, spec, &l, &b, &e);
    if (r < 0)
        return give(r, &e, error);
    DirRef dir = {.id = b->root};
    if (*path) {
        _cleanup_(dir_entry_release) DirEntry x = {0};
        r = dir_resolve(s, &b->root, path, &x, &e);
        if (r == 0 && x.kind != ENTRY_DIR)
            r = error_set(&e, ENOTDIR, "%s is not a directory", path);
        dir = (DirRef){.id = x.dir.id, .index = x.index};
    }
    Listing listing = {.visit = visit, .ctx = ctx};
    if (r == 0)
        r = dir_list(s, &dir, 0, list_entry, &listing, &e);
    backup_list_unref(l);
    return give(r, &e, error);
}

static int open_entry(Store *store, const DirEntry *x, const char *path, bakfs_file **ret_file,
                      Error *e)
{
    const uint8_t *node;
    size_t len;
    Object *holder = NULL;
    if (x->kind != ENTRY_FILE)
        return error_set(e, x->kind == ENTRY_DIR ? EISDIR : EINVAL, "%s is not a file", path);
    int r = dir_entry_rope(store_objects(store), x, &node, &len, &holder, e);
    if (r < 0)
        return r;
    bakfs_file *f = calloc(1, sizeof(*f));
    if (f && (f->node = malloc(len + 1))) {
        memcpy(f->node, node, len);
        f->node_len = len;
        f->store = store;
        f->size = x->size;
        *ret_file = f;
    } else {
        free(f);
        r = error_oom(e);
    }
    object_unref(holder);
    return r;
}

int bakfs_file_open(bakfs_store *store, const char *spec, const char *path, bakfs_file **ret_file,
                    bakfs_error *error)
{
    Error e = ERROR_INIT;
    BackupList *l;
    const BackupInfo *b;
    _cleanup_(dir_entry_release) DirEntry x = {0};
    int r = find(store, spec, &l, &b, &e);
    if (r < 0)
        return give(r, &e, error);
    r = dir_resolve(store_objects(inner(store)), &b->root, path, &x, &e);
    if (r == 0)
        r = open_entry(inner(store), &x, path, ret_file, &e);
    else
        error_prefix(&e, "%s", path);
    backup_list_unref(l);
    return give(r, &e, error);
}

uint64_t bakfs_file_size(const bakfs_file *file)
{
    return file->size;
}

ssize_t bakfs_file_read(bakfs_file *file, uint64_t offset, void *data, size_t len,
                        bakfs_error *error)
{
    Error e = ERROR_INIT;
    ssize_t n =
        rope_read(store_objects(file->store), file->node, file->node_len, offset, data, len, &e);
    return n < 0 ? give((int)n, &e, error) : n;
}

void bakfs_file_close(bakfs_file *file)
{
    if (!file)
        return;
    free(file->node);
    free(file);
}
