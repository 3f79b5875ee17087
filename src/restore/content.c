#include "restore/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "source/source.h"
#include "util/cleanup.h"
#include "util/name.h"

void content_release(Content *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_tables; i++) {
        free(c->tables[i].schema);
        free(c->tables[i].name);
        free(c->tables[i].path);
    }
    free(c->tables);
    manifest_free(c->manifest);
    *c = (Content){0};
}

static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

const char *content_text(const Content *c, const char *member)
{
    return text_of(c->database, member);
}

/* The names of the backup's databases, for messages. */
static void list_databases(const json_t *databases, Buf *out)
{
    size_t i;
    json_t *d;
    json_array_foreach (databases, i, d) {
        const char *path = text_of(d, "path"), *name = text_of(d, "name");
        buf_addf(out, "%s%s (%s)", i ? ", " : "",
                 path && *path ? path
                 : name        ? name
                               : "?",
                 text_of(d, "type") ? text_of(d, "type") : "?");
    }
}

static bool is_called(const json_t *d, const char *name)
{
    const char *path = text_of(d, "path"), *own = text_of(d, "name");
    return (path && strcmp(path, name) == 0) || (own && strcmp(own, name) == 0);
}

static int not_found(const RestoreOptions *o, const json_t *databases, const char *type, size_t n,
                     Error *e)
{
    _cleanup_(buf_release) Buf names = BUF_INIT;
    list_databases(databases, &names);
    const char *all = buf_cstr(&names);
    if (o->database && n == 0) {
        error_set(e, ENOENT, "the backup has no %s database \"%s\"", type ? type : "such",
                  o->database);
        error_hint(e, "it holds %s", all && *all ? all : "no database");
        return -ENOENT;
    }
    if (n == 0) {
        error_set(e, EINVAL, "the backup holds no %s database", type ? type : "such");
        error_hint(e, "it holds %s; choose --to accordingly", all && *all ? all : "none");
        return -EINVAL;
    }
    error_set(e, EINVAL, "the backup holds more than one database that fits");
    error_hint(e, "name one with --database: %s", all ? all : "");
    error_exit_code(e, BK_EXIT_USAGE);
    return -EINVAL;
}

static int choose_database(Content *c, const char *type, Error *e)
{
    const RestoreOptions *o = c->options;
    const json_t *databases = json_object_get(c->manifest->doc, "databases");
    size_t i, n = 0;
    json_t *d;
    if (!type && !o->database && !o->n_schemas && !o->n_tables)
        return 0;
    for (int by_path = 1; by_path >= 0 && n != 1; by_path--) {
        n = 0;
        json_array_foreach (databases, i, d) {
            const char *is = text_of(d, "type"), *path = text_of(d, "path");
            if (type && (!is || strcmp(is, type) != 0))
                continue;
            /* Paths are unique where names are not. */
            if (o->database &&
                (by_path ? !path || strcmp(path, o->database) != 0 : !is_called(d, o->database)))
                continue;
            c->database = d;
            n++;
        }
    }
    if (n != 1)
        return not_found(o, databases, type, n, e);
    c->name = content_text(c, "name");
    c->path = content_text(c, "path");
    if (!c->name || !c->path)
        return error_set(e, EBADMSG, "the manifest's account of the database is incomplete");
    return 0;
}

int content_open(const RestoreOptions *o, Store *s, const BackupInfo *b, const char *type,
                 Content *ret_content, Error *e)
{
    _cleanup_(content_release) Content c = {.options = o, .objects = store_objects(s), .path = ""};
    TRY(store_manifest(s, b, &c.manifest, e));
    /* `b` may come from the catalogue, which is only believed as to which backup is meant. */
    c.backup = &c.manifest->info;
    c.root = c.backup->root;
    TRY(choose_database(&c, type, e));
    if (*c.path) {
        DirEntry entry = {0};
        TRY(dir_resolve(c.objects, &c.backup->root, c.path, &entry, e));
        bool is_dir = entry.kind == ENTRY_DIR;
        c.root = entry.dir.id;
        dir_entry_release(&entry);
        if (!is_dir)
            return error_set(e, EBADMSG, "the database's directory \"%s\" is none", c.path);
    }
    *ret_content = c;
    c = (Content){0};
    return 0;
}

int content_file(const Content *c, const char *path, Reader **ret_reader, Error *e)
{
    DirEntry entry = {0};
    TRY(dir_resolve(c->objects, &c->root, path, &entry, e));
    int r = reader_open(c->objects, &entry, c->options->cancel, ret_reader, e);
    dir_entry_release(&entry);
    return r;
}

/* The object's name behind a directory's. */
static int object_name(const DirEntry *entry, char **ret_name)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    int r = entry->object_name ? buf_add(&b, entry->object_name, entry->object_name_len)
                               : name_decode(entry->name, entry->name_len, &b);
    if (r < 0)
        return r;
    return (*ret_name = buf_take_cstr(&b)) ? 0 : -ENOMEM;
}

typedef struct Listing {
    Content *c;
    Error *e;
    char *schema; /* being listed; owned */
    Buf path;     /* of its tables/, zero-terminated */
    size_t n_allocated;
} Listing;

static int add_table(void *ctx, uint64_t position, const DirEntry *entry)
{
    Listing *l = ctx;
    Content *c = l->c;
    (void)position;
    if (entry->kind != ENTRY_DIR)
        return 0;
    if (c->n_tables == l->n_allocated) {
        size_t n = l->n_allocated ? 2 * l->n_allocated : 64;
        ContentTable *grown = reallocarray(c->tables, n, sizeof(*grown));
        if (!grown)
            return error_oom(l->e);
        c->tables = grown;
        l->n_allocated = n;
    }
    ContentTable t = {.has_rows = entry->has_rows, .rows = entry->rows};
    int r = object_name(entry, &t.name);
    if (r == -EINVAL)
        return error_set(l->e, EBADMSG, "the name \"%.*s\" of a table can't be decoded",
                         (int)entry->name_len, entry->name);
    if (r < 0 || !(t.schema = strdup(l->schema)) ||
        asprintf(&t.path, "%s/%.*s", (const char *)l->path.data, (int)entry->name_len,
                 entry->name) < 0) {
        free(t.name);
        free(t.schema);
        return error_oom(l->e);
    }
    c->tables[c->n_tables++] = t;
    return 0;
}

static int add_schema(void *ctx, uint64_t position, const DirEntry *entry)
{
    Listing *l = ctx;
    (void)position;
    bool is_files = entry->name_len == strlen(SOURCE_FILES) &&
                    memcmp(entry->name, SOURCE_FILES, entry->name_len) == 0;
    if (entry->kind != ENTRY_DIR || is_files) /* a schema of that name has its first byte encoded */
        return 0;
    DirEntry tables = {0};
    DirRef schema = {.id = entry->dir.id, .index = entry->index};
    Error why = ERROR_INIT;
    int r = dir_lookup(l->c->objects, &schema, "tables", strlen("tables"), &tables, &why);
    if (r == -ENOENT) {
        error_release(&why);
        return 0;
    }
    if (r < 0)
        return error_move(l->e, &why);
    free(l->schema);
    l->schema = NULL;
    buf_clear(&l->path);
    if (object_name(entry, &l->schema) < 0)
        r = error_set(l->e, EBADMSG, "the name \"%.*s\" of a schema can't be decoded",
                      (int)entry->name_len, entry->name);
    else if (buf_addf(&l->path, "%.*s/tables", (int)entry->name_len, entry->name) < 0 ||
             !buf_cstr(&l->path))
        r = error_oom(l->e);
    DirRef ref = {.id = tables.dir.id, .index = tables.index};
    if (r == 0 && tables.kind == ENTRY_DIR)
        r = dir_list(l->c->objects, &ref, 0, add_table, l, l->e);
    dir_entry_release(&tables);
    return r;
}

static int compare_tables(const void *x, const void *y)
{
    const ContentTable *a = x, *b = y;
    int r = strcmp(a->schema, b->schema);
    return r ? r : strcmp(a->name, b->name);
}

int content_tables(Content *c, Error *e)
{
    Listing l = {.c = c, .e = e};
    DirRef root = {.id = c->root};
    int r = dir_list(c->objects, &root, 0, add_schema, &l, e);
    free(l.schema);
    buf_release(&l.path);
    if (r < 0)
        return r;
    if (c->n_tables)
        qsort(c->tables, c->n_tables, sizeof(*c->tables), compare_tables);
    return 0;
}

const ContentTable *content_find_table(const Content *c, const char *schema, const char *name)
{
    const ContentTable key = {.schema = (char *)schema, .name = (char *)name}; /* only compared */
    return c->n_tables ? bsearch(&key, c->tables, c->n_tables, sizeof(key), compare_tables) : NULL;
}
