#include "source/files/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/utf8.h"

#define BUFFER_SIZE (256u << 10)
#define MAX_DEPTH   61 /* below files/, which is at most the third of 64 levels: format.md */
#define NAMES_SHOWN 10
#define ATTEMPTS    2 /* at reading a file that changes meanwhile */

void walk_release(Walk *w)
{
    buf_release(&w->names);
    buf_release(&w->path);
    free(w->buffer);
    w->buffer = NULL;
}

/* The path for people and JSON. */
static int show(const Walk *w, Buf *out)
{
    int r = buf_add_str(out, "files/");
    if (r == 0)
        r = utf8_escape((const char *)w->path.data, out);
    return r == 0 && buf_cstr(out) ? 0 : -ENOMEM;
}

static int note(Walk *w, const char *what, Error *e)
{
    _cleanup_(buf_release) Buf text = BUF_INIT;
    if (show(w, &text) < 0 || buf_addf(&text, " %s", what) < 0 || !buf_cstr(&text))
        return error_oom(e);
    if (w->run && w->options->note)
        w->options->note(w->options->ctx, (const char *)text.data);
    return 0;
}

static int leave_out(Walk *w, const char *why, Error *e)
{
    _cleanup_(buf_release) Buf shown = BUF_INIT;
    if (show(w, &shown) < 0 ||
        json_array_append_new(
            w->left_out, json_pack("{s:s, s:s}", "what", (const char *)shown.data, "why", why)) < 0)
        return error_oom(e);
    return 0;
}

/* Something that is no plain file or that must not be read: said, but nothing lacks. */
static int pass_over(Walk *w, const char *what, Error *e)
{
    return w->run ? note(w, what, e) : 0;
}

static int cannot_read(Walk *w, int errnum, Error *e)
{
    _cleanup_(buf_release) Buf shown = BUF_INIT;
    if (show(w, &shown) < 0)
        return error_oom(e);
    if (!w->run) {
        if (w->unreadable++ < NAMES_SHOWN &&
            buf_addf(&w->names, "%s%s (%s)", w->names.len ? ", " : "", (const char *)shown.data,
                     strerror(errnum)) < 0)
            return error_oom(e);
        return 0;
    }
    if (!w->options->skip_unreadable) {
        int r = error_errno(e, errnum, "cannot read %s", (const char *)shown.data);
        error_hint(e, "--skip-unreadable leaves out what can't be read");
        return r;
    }
    w->is_incomplete = true;
    return leave_out(w, strerror(errnum), e);
}

static int check_cancel(const Walk *w, Error *e)
{
    bool is_cancelled = w->options->cancel && atomic_load(w->options->cancel);
    return is_cancelled ? error_set(e, EINTR, "interrupted") : 0;
}

static void tell_progress(const Walk *w, uint64_t bytes)
{
    const SourceOptions *o = w->options;
    uint64_t done = w->totals.bytes + bytes;
    if (o->share && w->expected > 0)
        o->share(o->ctx, done < w->expected ? done : w->expected, w->expected);
    if (o->progress)
        o->progress(o->ctx, done, "files");
}

/* Pages are cut as such in a SQLite file, which this may be; rows or what lies between two bytes
 * 0x0a elsewhere. "The Database Header" in SQLite's file format: page size at 16, 1 for 65536. */
static CutRule rule_for(const uint8_t *data, size_t len)
{
    static const char magic[16] = "SQLite format 3";
    if (len < 100 || memcmp(data, magic, sizeof(magic)) != 0)
        return (CutRule){.kind = CUT_ROWS};
    uint32_t page = (uint32_t)data[16] << 8 | data[17];
    page = page == 1 ? 65536 : page;
    bool is_size = page >= 512 && (page & (page - 1)) == 0;
    return is_size ? (CutRule){.kind = CUT_PAGES, .page_size = page} : (CutRule){.kind = CUT_ROWS};
}

/* Up to `size` bytes: a file that grows all the time has an end all the same. */
static int read_into(Walk *w, int fd, uint64_t size, Stream **ret_stream, Error *e)
{
    uint64_t done = 0;
    for (;;) {
        uint64_t left = size - done;
        ssize_t n = io_read_full(fd, w->buffer, left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE);
        if (n < 0)
            return (int)n;
        if (!*ret_stream) {
            TRY(stream_new(w->run->writer, rule_for(w->buffer, (size_t)n), ret_stream, e));
            TRY(source_follow(w->run, *ret_stream, (const char *)w->path.data, e));
        }
        if (n == 0)
            return 0;
        TRY(stream_write(*ret_stream, w->buffer, (size_t)n, e));
        done += (uint64_t)n;
        tell_progress(w, done);
        TRY(check_cancel(w, e));
    }
}

static bool is_same_state(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Read the open file once. Sets `e` when the store is at fault; else a failure is the file's. */
static int read_once(Walk *w, int fd, struct stat *st, Rope *ret_rope, ObjectId *ret_digest,
                     bool *ret_changed, Error *e)
{
    Stream *stream = NULL;
    struct stat after;
    int r = fstat(fd, st) < 0 || lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
    if (r == 0)
        r = read_into(w, fd, (uint64_t)st->st_size, &stream, e);
    if (r == 0 && fstat(fd, &after) < 0)
        r = -errno;
    if (r == 0)
        r = stream_finish(stream, ret_rope, ret_digest, e);
    stream_free(stream);
    if (r == 0)
        *ret_changed = !is_same_state(st, &after);
    return r;
}

static int store_file(Walk *w, int dir, const char *name, DirEntry *entry, DirBuilder *to, Error *e)
{
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    bool changed = true;
    if (fd < 0)
        return errno == ENOENT ? 0 : cannot_read(w, errno, e);
    if (!w->buffer && !(w->buffer = malloc(BUFFER_SIZE)))
        return error_oom(e);
    for (int i = 0; changed && i < ATTEMPTS; i++) {
        _cleanup_(rope_release) Rope rope = ROPE_INIT;
        int r = read_once(w, fd, &st, &rope, &entry->sha256, &changed, e);
        if (r < 0)
            return e->errnum ? r : cannot_read(w, -r, e);
        if (changed && i + 1 < ATTEMPTS)
            continue;
        entry->size = rope.length;
        entry->has_sha256 = true;
        TRY(dir_builder_entry(to, entry, &rope, e));
    }
    if (changed)
        TRY(note(w, "changed while it was read; it is stored as it was read", e));
    w->totals.files++;
    w->totals.bytes += entry->size;
    return 0;
}

static int visit_file(Walk *w, int dir, const char *name, const struct stat *st, DirEntry *entry,
                      DirBuilder *to, Error *e)
{
    if (w->run)
        return store_file(w, dir, name, entry, to, e);
    if (faccessat(dir, name, R_OK, AT_EACCESS) < 0 && errno != ENOENT)
        return cannot_read(w, errno, e);
    w->totals.files++;
    w->totals.bytes += (uint64_t)st->st_size;
    return 0;
}

static int visit_link(Walk *w, int dir, const char *name, DirEntry *entry, DirBuilder *to, Error *e)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dir, name, target, sizeof(target));
    if (n < 0)
        return errno == ENOENT ? 0 : cannot_read(w, errno, e);
    w->totals.files++;
    entry->kind = ENTRY_SYMLINK;
    entry->mode = 0777;
    entry->target = target;
    entry->size = (uint64_t)n;
    return w->run ? dir_builder_entry(to, entry, NULL, e) : 0;
}

typedef struct Names {
    char **list;
    size_t n;
} Names;

static void names_release(Names *x)
{
    for (size_t i = 0; i < x->n; i++)
        free(x->list[i]);
    free(x->list);
}

static int compare_names(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

/* Takes `fd`. 0 or -errno. */
static int list_names(int fd, Names *ret_names)
{
    size_t cap = 0;
    DIR *d = fdopendir(fd);
    if (!d) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = 0;
    for (;;) {
        errno = 0;
        const struct dirent *x = readdir(d);
        if (!x) {
            r = -errno;
            break;
        }
        if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0)
            continue;
        if (ret_names->n == cap) {
            cap = cap ? 2 * cap : 32;
            char **list = reallocarray(ret_names->list, cap, sizeof(*list));
            if (!list) {
                r = -ENOMEM;
                break;
            }
            ret_names->list = list;
        }
        if (!(ret_names->list[ret_names->n] = strdup(x->d_name))) {
            r = -ENOMEM;
            break;
        }
        ret_names->n++;
    }
    closedir(d);
    if (ret_names->n)
        qsort(ret_names->list, ret_names->n, sizeof(*ret_names->list), compare_names);
    return r;
}

static int visit(Walk *w, int dir, const char *name, const char *as, dev_t outer, DirBuilder *to,
                 Error *e);

static int visit_names(Walk *w, int fd, dev_t dev, const Names *names, DirBuilder *to, Error *e)
{
    for (size_t i = 0; i < names->n; i++)
        TRY(visit(w, fd, names->list[i], names->list[i], dev, to, e));
    return 0;
}

static int visit_dir(Walk *w, int dir, const char *name, dev_t outer, const struct stat *st,
                     DirEntry *entry, DirBuilder *to, Error *e)
{
    if (w->depth >= MAX_DEPTH) {
        int r = error_set(e, ENAMETOOLONG, "directories are nested too deep: more than %d levels",
                          MAX_DEPTH);
        error_hint(e, "back up the lower ones as a file: source of their own");
        return r;
    }
    _cleanup_(names_release) Names names = {0};
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : cannot_read(w, errno, e);
    if (st->st_dev != outer && faccessat(fd, ".bakfs-status", F_OK, 0) == 0)
        return pass_over(w, "is a mounted bakfs store: left out", e);
    int other = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    int r = other < 0 ? -errno : list_names(other, &names);
    if (r < 0)
        return r == -ENOMEM ? error_oom(e) : cannot_read(w, -r, e);
    DirBuilder *inner = NULL;
    if (w->run && dir_builder_new(w->run->writer, &inner) < 0)
        return error_oom(e);
    w->depth++;
    r = visit_names(w, fd, st->st_dev, &names, inner, e);
    w->depth--;
    if (r == 0 && w->run) {
        entry->kind = ENTRY_DIR;
        r = dir_builder_finish(inner, &entry->dir, e);
        if (r == 0)
            r = dir_builder_entry(to, entry, NULL, e);
    }
    dir_builder_free(inner);
    return r;
}

static const char *find_hole(const Walk *w, const struct stat *st)
{
    for (size_t i = 0; i < w->n_holes; i++)
        if (w->holes[i].dev == st->st_dev && w->holes[i].ino == st->st_ino)
            return w->holes[i].why;
    return NULL;
}

/* `name` in `dir`, which the path at hand names already. */
static int visit_kind(Walk *w, int dir, const char *name, const char *as, dev_t outer,
                      const struct stat *st, DirBuilder *to, Error *e)
{
    DirEntry entry = {
        .name = as,
        .name_len = strlen(as),
        .kind = ENTRY_FILE,
        .mode = (uint16_t)(st->st_mode & 07777),
        .has_mtime = true,
        .mtime = st->st_mtim.tv_sec,
    };
    const char *hole = find_hole(w, st);
    if (hole)
        return pass_over(w, hole, e);
    switch (st->st_mode & S_IFMT) {
    case S_IFREG:
        return visit_file(w, dir, name, st, &entry, to, e);
    case S_IFDIR:
        return visit_dir(w, dir, name, outer, st, &entry, to, e);
    case S_IFLNK:
        return visit_link(w, dir, name, &entry, to, e);
    default:
        return pass_over(w, "is no file, directory or symbolic link: left out", e);
    }
}

static int visit(Walk *w, int dir, const char *name, const char *as, dev_t outer, DirBuilder *to,
                 Error *e)
{
    struct stat st;
    size_t before = w->path.len;
    TRY(check_cancel(w, e));
    if (buf_addf(&w->path, "%s%s", before ? "/" : "", as) < 0 || !buf_cstr(&w->path))
        return error_oom(e);
    int r = 0;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        r = errno == ENOENT ? 0 : cannot_read(w, errno, e);
    else
        r = visit_kind(w, dir, name, as, outer, &st, to, e);
    w->path.len = before;
    if (!buf_cstr(&w->path))
        return error_oom(e);
    return r;
}

int walk_path(Walk *w, const char *path, const char *name, DirBuilder *to, Error *e)
{
    struct stat st;
    _cleanup_free_ char *real = realpath(path, NULL);
    if (!real || stat(real, &st) < 0) {
        int r = error_errno(e, errno, "cannot read %s", path);
        error_hint(e, "name a file or directory that is there: file:PATH");
        return r;
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return error_set(e, EINVAL, "%s is no file and no directory", path);
    buf_clear(&w->path);
    return visit(w, AT_FDCWD, real, name, st.st_dev, to, e);
}
