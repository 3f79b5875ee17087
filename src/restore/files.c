/* file:DIR: a backup's tree as plain files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "restore/select.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "restore/tree_remove.h"
#include "util/cleanup.h"
#include "util/io.h"

#define MAX_DEPTH 64 /* format.md, "Directories" */

typedef struct Files {
    const Content *c;
    RestoreResult *result;
    Error *e;
    bool replace;     /* into a directory that holds something */
    Buf path;         /* below the target, zero-terminated, for messages and selection */
    char **wanted;    /* paths of the directories selected; NULL-terminated; NULL: everything */
    int dir;          /* being filled */
    DirRef ref;
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
        if (strncmp(path, *w, shorter) == 0 &&
            (n == m || (n < m ? (*w)[n] : path[m]) == '/'))
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
            error_prefix(f->e, "%s: ", (const char *)f->path.data);
        if (more <= 0)
            return more;
        int err = io_write_all(fd, p, n);
        if (err < 0)
            return fail(f, -err, "write");
        f->result->bytes += n;
        restore_progress(f->c->options, f->result->bytes, 0, (const char *)f->path.data);
    }
}

/* Written under another name first, so that a file is whole or as before. */
static int write_file(Files *f, const DirEntry *entry, const char *name)
{
    char temporary[32];
    snprintf(temporary, sizeof(temporary), ".bakfs-restore-%d", (int)getpid());
    _cleanup_close_ int fd =
        openat(f->dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(f, errno, "make");
    int r = copy_bytes(f, entry, fd);
    if (r == 0 && fchmod(fd, entry->mode & 0777) < 0)
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
    _cleanup_close_ int fd =
        openat(f->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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
        r = write_file(f, entry, name);
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
    TRY(set_times(f, fd, NULL, NULL));
    return fsync(fd) < 0 && errno != EINVAL ? error_errno(f->e, errno, "can't sync %s", dir) : 0;
}

/* Paths of the tables or schemas chosen. */
static int choose(Content *c, char ***ret_paths, RestoreResult *result, Error *e)
{
    const RestoreOptions *o = c->options;
    _cleanup_free_ size_t *tables = NULL;
    if (!o->n_tables && !o->n_schemas) {
        for (size_t i = 0; i < c->n_tables; i++)
            result->rows += c->tables[i].rows;
        result->tables = c->n_tables;
        return 0;
    }
    TRY(select_tables(c, &tables, e));
    TRY(select_schemas(c, e));
    size_t n = 0;
    char **paths = calloc(o->n_tables + o->n_schemas + 1, sizeof(*paths));
    for (size_t i = 0; paths && i < o->n_tables; i++)
        paths[n++] = strdup(c->tables[tables[i]].path);
    for (size_t i = 0; i < c->n_tables && paths; i++) {
        result->tables += o->n_schemas ? select_has_schema(o, c->tables[i].schema) : 0;
        result->rows +=
            o->n_schemas && select_has_schema(o, c->tables[i].schema) ? c->tables[i].rows : 0;
    }
    for (size_t i = 0; i < o->n_tables && paths; i++)
        result->rows += c->tables[tables[i]].rows;
    result->tables += o->n_tables;
    for (size_t i = 0; i < o->n_schemas && paths; i++) {
        const json_t *schemas = json_object_get(c->database, "schemas");
        size_t k;
        json_t *s;
        json_array_foreach(schemas, k, s)
        {
            const char *path = json_string_value(json_object_get(s, "path"));
            const char *name = json_string_value(json_object_get(s, "name"));
            if (path && name && strcmp(name, o->schemas[i]) == 0)
                paths[n++] = strdup(path);
        }
    }
    *ret_paths = paths;
    return paths ? 0 : error_oom(e);
}

/* 1: it is there and holds something; 0: it is there and empty; -ENOENT. */
static int look_at(const char *dir, Error *e)
{
    struct stat st;
    if (stat(dir, &st) < 0)
        return errno == ENOENT ? -ENOENT : error_errno(e, errno, "can't look at %s", dir);
    if (!S_ISDIR(st.st_mode))
        return error_set(e, ENOTDIR, "%s is no directory", dir);
    return tree_is_empty(dir, e) ? 0 : 1;
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
        error_errno(f->e, errno, "can't make a directory beside %s", dir);
        error_hint(f->e, "the directory above it must exist and be writable");
        return -f->e->errnum;
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

static void free_paths(char ***paths)
{
    for (char **p = *paths; p && *p; p++)
        free(*p);
    free(*paths);
}

int restore_to_files(const Content *content, const char *dir, RestoreResult *result, Error *e)
{
    Content c = *content; /* the list of tables is ours alone */
    const RestoreOptions *o = c.options;
    _cleanup_(free_paths) char **paths = NULL;
    int state = look_at(dir, e);
    if (state < 0 && state != -ENOENT)
        return state;
    if (state == 1 && !o->overwrite) {
        error_set(e, ENOTEMPTY, "the directory %s is not empty", dir);
        error_hint(e, "name another, or give --overwrite to replace files of the same names");
        return -ENOTEMPTY;
    }
    (void)c;
    return -ENOSYS;
}
