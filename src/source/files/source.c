/* file:PATH, as many as there are, as one Source: what becomes files/ in the backup. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/files/walk.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"
#include "util/name.h"
#include "util/utf8.h"

typedef struct FilePath {
    char *path; /* as given */
    char *name; /* its entry in files/ */
} FilePath;

typedef struct LeftOut {
    char *path;
    const char *why;
} LeftOut;

typedef struct FileSource {
    Source base;
    FilePath *paths;
    size_t n;
    LeftOut *left_out;
    size_t n_left_out;
    uint64_t expected; /* bytes, when it was opened */
} FileSource;

/* The last component of `path`; of "." and the like that of the directory meant. */
static char *base_name(const char *path)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t from = end;
    while (from > 0 && path[from - 1] != '/')
        from--;
    char *name = strndup(path + from, end - from);
    if (!name || (*name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0))
        return name;
    free(name);
    _cleanup_free_ char *real = realpath(path, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    return strdup(slash && slash[1] ? slash + 1 : "root");
}

static bool is_taken(const FileSource *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->paths[i].name, name) == 0)
            return true;
    return false;
}

static int add_path(FileSource *s, const char *path, Error *e)
{
    _cleanup_free_ char *name = base_name(path), *unique = name ? strdup(name) : NULL;
    for (int n = 2; unique && is_taken(s, unique); n++) {
        free(unique);
        if (asprintf(&unique, "%s--%d", name, n) < 0)
            unique = NULL;
    }
    char *copy = strdup(path);
    if (!copy || !unique) {
        free(copy);
        return error_oom(e);
    }
    if (!name_is_valid(unique, strlen(unique))) {
        free(copy);
        return error_set(e, ENAMETOOLONG, "the name of %s is too long", path);
    }
    s->paths[s->n++] = (FilePath){.path = copy, .name = TAKE_PTR(unique)};
    return 0;
}

/* What must not be read as it is now. What does not exist is no hole. */
static int find_holes(const FileSource *s, WalkHole **ret_holes, size_t *ret_n)
{
    struct stat st;
    WalkHole *holes = calloc(s->n_left_out + 1, sizeof(*holes));
    if (!holes)
        return -ENOMEM;
    *ret_n = 0;
    for (size_t i = 0; i < s->n_left_out; i++)
        if (stat(s->left_out[i].path, &st) == 0)
            holes[(*ret_n)++] =
                (WalkHole){.dev = st.st_dev, .ino = st.st_ino, .why = s->left_out[i].why};
    *ret_holes = holes;
    return 0;
}

static int too_many_unreadable(const Walk *w, Error *e)
{
    Buf names = w->names; /* borrowed */
    int r =
        error_set(e, EACCES, "%llu file%s or directories can't be read: %.*s%s",
                  (unsigned long long)w->unreadable, w->unreadable == 1 ? "" : "s", (int)names.len,
                  (const char *)names.data, w->names.len && w->unreadable > 10 ? ", ..." : "");
    error_hint(e, "run it as a user who may read them, or leave them out with --skip-unreadable");
    return r;
}

/* What can be read, and how much there is. */
static int source_open(Source *source, Error *e)
{
    FileSource *s = (FileSource *)source;
    _cleanup_free_ WalkHole *holes = NULL;
    _cleanup_(walk_release) Walk w = {.options = s->base.options};
    if (find_holes(s, &holes, &w.n_holes) < 0)
        return error_oom(e);
    w.holes = holes;
    for (size_t i = 0; i < s->n; i++)
        TRY(walk_path(&w, s->paths[i].path, s->paths[i].name, NULL, e));
    if (w.unreadable > 0 && !s->base.options->skip_unreadable)
        return too_many_unreadable(&w, e);
    s->expected = w.totals.bytes;
    return 0;
}

/* The manifest's account of one path. */
static json_t *describe(const FilePath *p, const WalkTotals *before, const WalkTotals *after)
{
    _cleanup_(buf_release) Buf name = BUF_INIT, connection = BUF_INIT;
    _cleanup_free_ char *real = realpath(p->path, NULL);
    if (buf_add_str(&name, "files/") < 0 || utf8_escape(p->name, &name) < 0 || !buf_cstr(&name) ||
        buf_add_str(&connection, "file:") < 0 ||
        utf8_escape(real ? real : p->path, &connection) < 0 || !buf_cstr(&connection))
        return NULL;
    return json_pack("{s:s, s:s, s:I, s:I}", "path", (const char *)name.data, "connection",
                     (const char *)connection.data, "size_bytes",
                     (json_int_t)(after->bytes - before->bytes), "file_count",
                     (json_int_t)(after->files - before->files));
}

static int read_paths(FileSource *s, Walk *w, DirBuilder *root, json_t *files, Error *e)
{
    for (size_t i = 0; i < s->n; i++) {
        WalkTotals before = w->totals;
        TRY(walk_path(w, s->paths[i].path, s->paths[i].name, root, e));
        if (json_array_append_new(files, describe(&s->paths[i], &before, &w->totals)) < 0)
            return error_oom(e);
    }
    return 0;
}

static int source_read(Source *source, const SourceRun *run, SourceResult *ret_result, Error *e)
{
    FileSource *s = (FileSource *)source;
    _cleanup_free_ WalkHole *holes = NULL;
    _cleanup_(source_result_release)
        SourceResult result = {.files = json_array(), .left_out = json_array()};
    _cleanup_(walk_release) Walk w = {.options = s->base.options,
                                      .run = run,
                                      .expected = s->expected,
                                      .left_out = result.left_out};
    DirBuilder *root = NULL;
    if (!result.files || !result.left_out || find_holes(s, &holes, &w.n_holes) < 0 ||
        dir_builder_new(run->writer, &root) < 0)
        return error_oom(e);
    w.holes = holes;
    int r = read_paths(s, &w, root, result.files, e);
    if (r == 0)
        r = dir_builder_finish(root, &result.root, e);
    dir_builder_free(root);
    if (r < 0)
        return r;
    result.size_bytes = w.totals.bytes;
    result.file_count = w.totals.files;
    result.partial = result.incomplete = w.is_incomplete;
    *ret_result = result;
    result = (SourceResult){0};
    return 0;
}

static void source_release(Source *source)
{
    FileSource *s = (FileSource *)source;
    for (size_t i = 0; i < s->n; i++) {
        free(s->paths[i].path);
        free(s->paths[i].name);
    }
    for (size_t i = 0; i < s->n_left_out; i++)
        free(s->left_out[i].path);
    free(s->paths);
    free(s->left_out);
    free(s->base.name);
    free(s->base.masked);
    free(s);
}

static const SourceOps file_ops = {
    .scheme = "file",
    .open = source_open,
    .read = source_read,
    .free = source_release,
};

int files_source_new(const char *const *paths, size_t n, const SourceOptions *options,
                     Source **ret_source, Error *e)
{
    FileSource *s = calloc(1, sizeof(*s));
    if (!s || !(s->paths = calloc(n, sizeof(*s->paths)))) {
        free(s);
        return error_oom(e);
    }
    s->base.ops = &file_ops;
    s->base.options = options;
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_path(s, paths[i], e);
    if (r == 0 &&
        (!(s->base.name = strdup(s->paths[0].name)) || !(s->base.masked = strdup("file:"))))
        r = error_oom(e);
    if (r < 0) {
        source_release(&s->base);
        return r;
    }
    *ret_source = &s->base;
    return 0;
}

int files_source_leave_out(Source *source, const char *path, const char *why)
{
    FileSource *s = (FileSource *)source;
    LeftOut *list = reallocarray(s->left_out, s->n_left_out + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    s->left_out = list;
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    list[s->n_left_out++] = (LeftOut){.path = copy, .why = why};
    return 0;
}
