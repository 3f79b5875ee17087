/* file:DIR: a backup's tree as plain files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "restore/select.h"
#include "restore/targets.h"
#include "restore/tree_remove.h"
#include "source/postgres/try.h"
#include "store/summary.h"
#include "tree/sums.h"
#include "util/cleanup.h"
#include "util/io.h"

#define MAX_DEPTH 64 /* format.md, "Directories" */

typedef struct Files {
    const Content *c;
    RestoreResult *result;
    Error *e;
    bool replace;  /* into a directory that holds something */
    Buf path;      /* below the target, zero-terminated, for messages and selection */
    char **wanted; /* paths of the directories selected; NULL-terminated; NULL: everything */
    int dir;       /* being filled */
    int depth;
} Files;

static int fail(Files *f, int errnum, const char *what)
{
    error_errno(f->e, errnum, "can't %s %s", what, (const char *)f->path.data);
    if (errnum == ENOSPC || errnum == EDQUOT)
        error_hint(f->e, "make room, or name a directory on another file system");
    return -errnum;
}

/* Whether `path` lies on the way to something selected, or in it. */
static bool is_wanted(const Files *f, const char *path)
{
    size_t n = strlen(path);
    for (char **w = f->wanted; w && *w; w++) {
        size_t m = strlen(*w), shorter = n < m ? n : m;
        if (strncmp(path, *w, shorter) == 0 && (n == m || (n < m ? (*w)[n] : path[m]) == '/'))
            return true;
    }
    return !f->wanted;
}

/* Whether the directory `path` is itself selected, or in something that is: then its files are. */
static bool is_inside(const Files *f, const char *path)
{
    for (char **w = f->wanted; w && *w; w++) {
        size_t m = strlen(*w);
        if (strncmp(path, *w, m) == 0 && (path[m] == 0 || path[m] == '/'))
            return true;
    }
    return !f->wanted;
}

static int set_times(Files *f, int fd, const char *name, const DirEntry *entry)
{
    int64_t t = entry && entry->has_mtime ? entry->mtime : f->c->backup->timestamp;
    const struct timespec times[2] = {{.tv_sec = t}, {.tv_sec = t}};
    int r = name ? utimensat(fd, name, times, AT_SYMLINK_NOFOLLOW) : futimens(fd, times);
    return r < 0 ? fail(f, errno, "set the time of") : 0;
}

static int copy_bytes(Files *f, const DirEntry *entry, int fd)
{
    _cleanup_(reader_closep) Reader *r = NULL;
    TRY(reader_open(f->c->objects, entry, f->c->options->cancel, &r, f->e));
    for (;;) {
        const uint8_t *p;
        size_t n;
        int more = reader_next(r, SIZE_MAX, &p, &n, f->e);
        if (more < 0)
            error_prefix(f->e, "%s", (const char *)f->path.data);
        if (more <= 0)
            return more;
        int err = io_write_all(fd, p, n);
        if (err < 0)
            return fail(f, -err, "write");
        f->result->bytes += n;
        restore_progress(f->c->options, f->result->bytes, 0, (const char *)f->path.data);
    }
}

/* Written under another name first, so that a file is whole or as before. Its bytes are `text`, or
 * the entry's. */
static int write_file(Files *f, const DirEntry *entry, const Buf *text, const char *name)
{
    char temporary[32];
    snprintf(temporary, sizeof(temporary), ".bakfs-restore-%d", (int)getpid());
    _cleanup_close_ int fd =
        openat(f->dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(f, errno, "make");
    int r = 0, err = text ? io_write_all(fd, text->data, text->len) : 0;
    if (err < 0)
        r = fail(f, -err, "write");
    else if (!text)
        r = copy_bytes(f, entry, fd);
    if (r == 0 && fchmod(fd, entry ? entry->mode & 0777 : 0444) < 0)
        r = fail(f, errno, "set the mode of");
    if (r == 0)
        r = set_times(f, fd, NULL, entry);
    if (r == 0 && renameat(f->dir, temporary, f->dir, name) < 0)
        r = fail(f, errno, "name");
    if (r < 0)
        unlinkat(f->dir, temporary, 0);
    else
        f->result->files++;
    return r;
}

/* The files that a mount shows in a backup's root besides what is stored there; see fs/rendered.h.
 */
static int render(const Files *f, const char *name, Buf *out)
{
    const Content *c = f->c;
    if (strcmp(name, "SHA256SUMS") == 0) {
        uint64_t size;
        return sums_make(c->objects, &c->root, c->backup->entries, out, &size, f->e);
    }
    int r = strcmp(name, "summary.txt") == 0 ? summary_format(c->manifest->doc, out)
                                             : manifest_print(c->manifest, out);
    return r < 0 ? error_oom(f->e) : 0;
}

static int write_rendered(Files *f)
{
    static const char *const names[] = {"SHA256SUMS", "backup.json", "summary.txt"};
    DirRef root = {.id = f->c->root};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        _cleanup_(buf_release) Buf text = BUF_INIT;
        DirEntry own = {0};
        Error why = ERROR_INIT;
        int r = dir_lookup(f->c->objects, &root, names[i], strlen(names[i]), &own, &why);
        dir_entry_release(&own);
        if (r == 0) /* the backup has a file of that name itself */
            continue;
        if (r != -ENOENT)
            return error_move(f->e, &why);
        error_release(&why);
        buf_clear(&f->path);
        if (buf_add_str(&f->path, names[i]) < 0 || !buf_cstr(&f->path))
            return error_oom(f->e);
        TRY(render(f, names[i], &text));
        TRY(write_file(f, NULL, &text, names[i]));
    }
    return 0;
}

static int write_link(Files *f, const DirEntry *entry, const char *name)
{
    _cleanup_free_ char *target = strndup(entry->target, (size_t)entry->size);
    if (!target)
        return error_oom(f->e);
    if (f->replace)
        unlinkat(f->dir, name, 0);
    if (symlinkat(target, f->dir, name) < 0)
        return fail(f, errno, "make");
    f->result->files++;
    return set_times(f, f->dir, name, entry);
}

static int write_entry(void *ctx, uint64_t position, const DirEntry *entry);

static int write_dir(Files *f, const DirEntry *entry, const char *name)
{
    if (f->depth >= MAX_DEPTH)
        return error_set(f->e, EBADMSG, "directories nest too deep at %s",
                         (const char *)f->path.data);
    if (mkdirat(f->dir, name, 0700) < 0 && !(f->replace && errno == EEXIST))
        return fail(f, errno, "make");
    _cleanup_close_ int fd = openat(f->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(f, errno, "open");
    if (f->replace && fchmod(fd, 0700) < 0)
        return fail(f, errno, "set the mode of");
    int outer = f->dir;
    f->dir = fd;
    f->depth++;
    DirRef ref = {.id = entry->dir.id, .index = entry->index};
    int r = dir_list(f->c->objects, &ref, 0, write_entry, f, f->e);
    f->depth--;
    f->dir = outer;
    if (r == 0 && fchmod(fd, entry->mode & 0777) < 0)
        r = fail(f, errno, "set the mode of");
    return r == 0 ? set_times(f, fd, NULL, entry) : r;
}

static int write_entry(void *ctx, uint64_t position, const DirEntry *entry)
{
    Files *f = ctx;
    size_t before = f->path.len;
    (void)position;
    TRY(restore_check_cancel(f->c->options, f->e));
    bool files_too = is_inside(f, buf_cstr(&f->path) ? (const char *)f->path.data : "");
    if (buf_addf(&f->path, "%s%.*s", before ? "/" : "", (int)entry->name_len, entry->name) < 0 ||
        !buf_cstr(&f->path))
        return error_oom(f->e);
    char name[NAME_MAX + 1];
    snprintf(name, sizeof(name), "%.*s", (int)entry->name_len, entry->name);
    int r = 0;
    if (entry->kind == ENTRY_DIR && is_wanted(f, (const char *)f->path.data))
        r = write_dir(f, entry, name);
    else if (entry->kind == ENTRY_FILE && files_too)
        r = write_file(f, entry, NULL, name);
    else if (entry->kind == ENTRY_SYMLINK && files_too)
        r = write_link(f, entry, name);
    f->path.len = before;
    return r;
}

static int write_tree(Files *f, const char *dir)
{
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(f->e, errno, "can't open %s", dir);
    DirRef root = {.id = f->c->root};
    f->dir = fd;
    TRY(dir_list(f->c->objects, &root, 0, write_entry, f, f->e));
    bool is_whole = id_compare(&f->c->root, &f->c->backup->root) == 0 && !f->wanted;
    if (is_whole)
        TRY(write_rendered(f));
    TRY(set_times(f, fd, NULL, NULL));
    return syncfs(fd) < 0 ? error_errno(f->e, errno, "can't sync %s", dir) : 0;
}

static void add_counts(RestoreResult *result, const ContentTable *t)
{
    result->tables++;
    result->rows += t->rows;
}

/* The path of a schema's directory; the manifest keeps it beside the name. */
static char *schema_path(const Content *c, const char *schema)
{
    size_t i;
    json_t *s;
    json_array_foreach (json_object_get(c->database, "schemas"), i, s) {
        const char *path = json_string_value(json_object_get(s, "path"));
        const char *name = json_string_value(json_object_get(s, "name"));
        if (path && name && strcmp(name, schema) == 0)
            return strdup(path);
    }
    return NULL;
}

static void free_paths(char ***paths)
{
    for (char **p = *paths; p && *p; p++)
        free(*p);
    free(*paths);
}

/* Paths of the tables or schemas chosen; NULL for everything. Counts what they hold. */
static int choose(Content *c, char ***ret_paths, RestoreResult *result, Error *e)
{
    const RestoreOptions *o = c->options;
    if (!o->n_tables && !o->n_schemas) {
        json_t *of = c->database ? c->database : c->manifest->doc;
        result->tables = (uint64_t)json_integer_value(json_object_get(of, "table_count"));
        result->rows = (uint64_t)json_integer_value(json_object_get(of, "record_count"));
        return 0;
    }
    _cleanup_free_ size_t *tables = NULL;
    _cleanup_(free_paths) char **paths = calloc(o->n_tables + o->n_schemas + 1, sizeof(*paths));
    if (!paths)
        return error_oom(e);
    TRY(content_tables(c, e));
    TRY(select_tables(c, &tables, e));
    TRY(select_schemas(c, e));
    size_t n = 0;
    for (size_t i = 0; i < o->n_tables; i++) {
        add_counts(result, &c->tables[tables[i]]);
        if (!(paths[n++] = strdup(c->tables[tables[i]].path)))
            return error_oom(e);
    }
    for (size_t i = 0; i < o->n_schemas; i++)
        if (!(paths[n++] = schema_path(c, o->schemas[i])))
            return error_oom(e);
    for (size_t i = 0; i < c->n_tables; i++)
        if (select_has_schema(o, c->tables[i].schema))
            add_counts(result, &c->tables[i]);
    *ret_paths = TAKE_PTR(paths);
    return 0;
}

typedef enum State { NOT_THERE, EMPTY, FILLED } State;

static int look_at(const char *dir, State *ret_state, Error *e)
{
    struct stat st;
    if (lstat(dir, &st) < 0) {
        if (errno != ENOENT)
            return error_errno(e, errno, "can't look at %s", dir);
        *ret_state = NOT_THERE;
        return 0;
    }
    if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode)) {
        error_set(e, ENOTDIR, "%s is there and is no directory", dir);
        error_hint(e, "name a directory that is empty or does not exist yet");
        return -ENOTDIR;
    }
    *ret_state = tree_is_empty(dir) ? EMPTY : FILLED;
    return 0;
}

/* Into a new directory beside the target, which then takes its place at once. */
static int write_new(Files *f, const char *dir)
{
    _cleanup_free_ char *temporary = NULL;
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    if (asprintf(&temporary, "%.*s.bakfs-XXXXXX", (int)n, dir) < 0)
        return error_oom(f->e);
    mode_t mask = umask(0);
    umask(mask);
    if (!mkdtemp(temporary)) {
        int r = error_errno(f->e, errno, "can't make a directory beside %s", dir);
        error_hint(f->e, "the directory above it must exist and be writable");
        return r;
    }
    int r = write_tree(f, temporary);
    if (r == 0 && (chmod(temporary, 0777 & ~mask) < 0 || rename(temporary, dir) < 0)) {
        r = error_errno(f->e, errno, "can't put the files in place at %s", dir);
        error_hint(f->e, "name a directory that does not exist yet");
    }
    if (r < 0)
        tree_remove(temporary);
    return r;
}

/* Among what is there. Each file is replaced at once, but not all of them together. */
static int write_over(Files *f, const char *dir)
{
    TRY(restore_confirm(f->c->options, f->e,
                        "the directory %s is not empty; files of the same names will be replaced",
                        dir));
    f->replace = true;
    int r = write_tree(f, dir);
    if (r < 0 && f->result->files > 0)
        error_hint(f->e, "%llu files in %s are restored already; run it again to restore the rest",
                   (unsigned long long)f->result->files, dir);
    return r;
}

int restore_to_files(Content *c, const char *dir, RestoreResult *result, Error *e)
{
    Files f = {.c = c, .result = result, .e = e};
    _cleanup_(free_paths) char **paths = NULL;
    State state;
    TRY(restore_check_outside(dir, c->options->store, e));
    TRY(look_at(dir, &state, e));
    if (state == FILLED && !c->options->overwrite) {
        error_set(e, ENOTEMPTY, "the directory %s is not empty", dir);
        error_hint(e, "name another, or give --overwrite to replace files of the same names");
        return -ENOTEMPTY;
    }
    if (!(result->target = strdup(dir)))
        return error_oom(e);
    TRY(choose(c, &paths, result, e));
    f.wanted = paths;
    int r = state == FILLED ? write_over(&f, dir) : write_new(&f, dir);
    buf_release(&f.path);
    return r;
}
