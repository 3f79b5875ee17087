/* Finding one backup among those of a store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "util/buf.h"
#include "util/cleanup.h"

BackupList *backup_list_ref(BackupList *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void backup_list_unref(BackupList *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < l->n; i++)
        backup_info_release(&l->items[i]);
    free(l->items);
    free(l);
}

const BackupInfo *backup_list_latest(const BackupList *l, const char *collection)
{
    for (size_t i = l->n; i-- > 0;)
        if (!l->items[i].partial && strcmp(l->items[i].collection, collection) == 0)
            return &l->items[i];
    return NULL;
}

static bool matches(const BackupInfo *b, const char *spec, const char *collection, bool whole)
{
    if (collection && strcmp(b->collection, collection) != 0)
        return false;
    if (whole)
        return strcmp(b->id, spec) == 0 || strcmp(b->archive_name, spec) == 0 ||
               strcmp(b->latest_name, spec) == 0;
    size_t len = strlen(spec);
    static const char prefix[] = "backup-";
    if (strncmp(b->id, spec, len) == 0 ||
        (len >= 4 && strncmp(b->id + sizeof(prefix) - 1, spec, len) == 0))
        return true;
    /* A time or its first part: 2026-01-15, 2026-01-15T14-30, or as ISO 8601 spells it */
    for (size_t i = 0; i < len; i++) {
        char c = spec[i] == ':' ? '-' : spec[i];
        if (c != b->archive_name[i])
            return false;
    }
    return len >= 4;
}

static int ambiguous(const BackupList *l, const char *spec, const char *collection, bool whole,
                     Error *e)
{
    _cleanup_(buf_release) Buf names = BUF_INIT;
    size_t shown = 0;
    for (size_t i = l->n; i-- > 0 && shown < 5;)
        if (matches(&l->items[i], spec, collection, whole)) {
            buf_addf(&names, "%s%s (%s, %s)", shown ? ", " : "", l->items[i].id,
                     l->items[i].collection, l->items[i].archive_name);
            shown++;
        }
    int r = error_set(e, EEXIST, "\"%s\" fits more than one backup", spec);
    error_hint(e, "name one of %s", buf_cstr(&names));
    return r;
}

int backup_list_find(const BackupList *l, const Store *s, const char *spec, const char *collection,
                     const BackupInfo **ret_backup, Error *e)
{
    const BackupInfo *found = NULL;
    bool is_collection = collection_is_valid(spec);
    if (is_collection || strcmp(spec, "latest") == 0) {
        const char *of = is_collection ? spec
                         : collection  ? collection
                                       : store_config(s)->default_collection;
        found = of ? backup_list_latest(l, of) : NULL;
        if (!found) {
            int r = error_set(e, ENOENT, "%s has no complete backup", of ? of : "the store");
            error_hint(e, "`bakfs-dump` makes one; `bakfs-store list` shows what there is");
            return r;
        }
    }
    for (int whole = 1; !found && whole >= 0 && *spec; whole--)
        for (size_t i = l->n; i-- > 0;) {
            if (!matches(&l->items[i], spec, collection, whole))
                continue;
            if (found)
                return ambiguous(l, spec, collection, whole, e);
            found = &l->items[i];
        }
    if (!found) {
        int r = error_set(e, ENOENT, "no backup \"%s\"%s%s", spec, collection ? " in " : "",
                          collection ? collection : "");
        error_hint(e, "`bakfs-store list` shows them");
        return r;
    }
    *ret_backup = found;
    return 0;
}
