/* What becomes of failures: an errno for the caller, a line in the log. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <xxhash.h>

#include "fs/fs_internal.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/utf8.h"

#define SAID_MAX (sizeof(((Fs *)0)->said) / sizeof(uint64_t))

void fs_log(Fs *fs, int priority, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    va_end(ap);
    fs->options.log(priority, text ? text : format);
}

/* Whether this failure is new. A reader that tries again must not fill the log; when very many
 * differ, the oldest are forgotten. */
static bool is_news(Fs *fs, const char *message)
{
    uint64_t hash = XXH3_64bits(message, strlen(message));
    bool news = true;
    pthread_mutex_lock(&fs->lock);
    size_t n = fs->n_said < SAID_MAX ? fs->n_said : SAID_MAX;
    for (size_t i = 0; news && i < n; i++)
        news = fs->said[i] != hash;
    if (news)
        fs->said[fs->n_said++ % SAID_MAX] = hash;
    pthread_mutex_unlock(&fs->lock);
    return news;
}

bool fs_failed(Fs *fs)
{
    return atomic_exchange(&fs->failed, false);
}

void fs_log_error(Fs *fs, const char *doing, const Error *e)
{
    const char *message = e->message ? e->message : "out of memory";
    if (is_news(fs, message))
        fs_log(fs, LOG_ERR, "%s: %s", doing, message);
}

/* For the status file, which is JSON, while a path need not be UTF-8. `message` is NULL when it was
 * counted before. */
static void count_failure(Fs *fs, const char *message)
{
    _cleanup_(buf_release) Buf text = BUF_INIT;
    char *copy = message && utf8_escape(message, &text) == 0 ? buf_take_cstr(&text) : NULL;
    pthread_mutex_lock(&fs->lock);
    fs->n_failures++;
    if (copy) {
        free(fs->last_failure);
        fs->last_failure = copy;
    }
    pthread_mutex_unlock(&fs->lock);
}

/* Finds the path of an index by going down through the directories that hold it. */
typedef struct PathSearch {
    uint64_t index;
    DirRef dir;
    bool found;
    Buf path;
} PathSearch;

static int search_entry(void *ctx, uint64_t position, const DirEntry *entry)
{
    PathSearch *s = ctx;
    uint64_t below = entry->kind == ENTRY_DIR ? entry->dir.entries : 0;
    if (s->index < entry->index || s->index - entry->index > below)
        return 0;
    s->found = s->index == entry->index;
    s->dir = (DirRef){.id = entry->dir.id, .index = entry->index};
    if (buf_add_str(&s->path, "/") < 0 || buf_add(&s->path, entry->name, entry->name_len) < 0)
        return -ENOMEM;
    return 1;
}

/* "<backup>/<path>", as far as it can be read. NULL when out of memory. */
static char *path_of(Fs *fs, const LayoutBackup *b, uint32_t index)
{
    PathSearch s = {.index = index, .dir = {.id = b->root}, .found = index == 0};
    int r = b->info ? buf_add_str(&s.path, b->info->archive_name)
                    : buf_addf(&s.path, "deleted backup %u", b->ordinal);
    if (r == 0)
        r = 1;
    while (r == 1 && !s.found)
        r = dir_list(fs->objects, &s.dir, 0, search_entry, &s, NULL);
    char *path = buf_take_cstr(&s.path);
    buf_release(&s.path);
    return path;
}

int fs_failure(Fs *fs, const LayoutBackup *backup, uint32_t index, int r, const Error *e)
{
    /* The space of deleted backups is given back some day; under a living one it is damage. */
    bool is_deleted = backup && !backup->info;
    switch (r) {
    case -EIO:
        if (is_deleted)
            return ESTALE;
        break;
    case -ESTALE:
        if (!e->message || !backup || is_deleted)
            return ESTALE;
        break;
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
        return -r;
    case -EINVAL:
    case -ENOTDIR:
    case -EISDIR:
    case -EROFS:
    case -ENAMETOOLONG:
        if (!e->message) /* the caller's doing; with a message it is the store's */
            return -r;
        break;
    default:
        break;
    }
    atomic_store(&fs->failed, true);
    const char *message = e->message ? e->message : strerror(-r);
    bool news = is_news(fs, message);
    if (news) {
        _cleanup_free_ char *path = backup ? path_of(fs, backup, index) : NULL;
        fs_log(fs, LOG_ERR, "cannot read %s: %s (bakfs-verify tells what else is touched)",
               path ? path : "the store", message);
    }
    count_failure(fs, news ? message : NULL);
    return EIO;
}
