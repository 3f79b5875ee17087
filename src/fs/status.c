/* The status file: what the driver knows of itself, as JSON, made anew with every open. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs_internal.h"
#include "util/cleanup.h"
#include "util/clock.h"

static json_t *describe_cache(const Fs *fs)
{
    CacheStats s;
    cache_stats(fs->cache, &s);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "limit", (json_int_t)fs->options.cache_size,
                     "bytes", (json_int_t)s.bytes, "objects", (json_int_t)s.objects, "hits",
                     (json_int_t)s.hits, "loads", (json_int_t)s.loads, "waits",
                     (json_int_t)s.waits);
}

/* With fs->lock. */
static json_t *describe_errors(const Fs *fs)
{
    return json_pack("{s:I, s:s?}", "count", (json_int_t)fs->n_failures, "last", fs->last_failure);
}

static json_t *describe(Fs *fs)
{
    char started[CLOCK_ISO_SIZE], scanned[CLOCK_ISO_SIZE];
    LayoutTotals totals;
    Layout *l = fs_layout(fs);
    layout_totals(l, &totals);
    layout_unref(l);
    pthread_mutex_lock(&fs->lock);
    json_int_t generation = (json_int_t)fs->generation;
    clock_format_iso(fs->started, started);
    clock_format_iso(fs->scanned, scanned);
    json_t *errors = describe_errors(fs);
    pthread_mutex_unlock(&fs->lock);
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:I, s:I, s:o, s:o}", "version", BAKFS_VERSION,
                     "store_id", store_config(fs->store)->store_id, "started", started,
                     "generation", generation, "scanned", scanned, "backups",
                     (json_int_t)totals.backups, "files", (json_int_t)totals.files, "cache",
                     describe_cache(fs), "errors", errors);
}

int fs_status_text(Fs *fs, Object **ret_text)
{
    json_t *doc = describe(fs);
    _cleanup_free_ char *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    json_decref(doc);
    size_t len = text ? strlen(text) : 0;
    Object *o = text ? object_new((uint32_t)len + 1) : NULL;
    if (!o)
        return -ENOMEM;
    memcpy(o->data, text, len);
    o->data[len] = '\n';
    *ret_text = o;
    return 0;
}
