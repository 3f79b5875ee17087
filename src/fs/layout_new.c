/* Making layouts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layout_internal.h"
#include "util/name.h"

static void collection_free(Collection *c)
{
    if (!c)
        return;
    free(c->full);
    free(c->members);
    for (int i = 0; i < LAYOUT_LISTINGS; i++)
        free(c->by_name[i]);
    free(c);
}

void layout_unref(Layout *l)
{
    if (!l || atomic_fetch_sub(&l->refs, 1) > 1)
        return;
    HASH_CLEAR(hh, l->by_full);
    HASH_CLEAR(hh, l->by_namespace);
    for (uint32_t i = 0; i < l->n_collections; i++)
        collection_free(l->collections[i]);
    for (uint32_t i = 0; i < l->n_namespaces; i++) {
        free(l->namespaces[i]->name);
        free(l->namespaces[i]);
    }
    free(l->collections);
    free(l->namespaces);
    free(l->backups);
    backup_list_unref(l->list);
    free(l);
}

static Namespace *add_namespace(Layout *l, const char *name, size_t len)
{
    Namespace *ns = NULL;
    HASH_FIND(hh, l->by_namespace, name, len, ns);
    if (ns)
        return ns;
    Namespace **grown = reallocarray(l->namespaces, l->n_namespaces + 1, sizeof(Namespace *));
    if (!grown)
        return NULL;
    l->namespaces = grown;
    ns = calloc(1, sizeof(*ns));
    if (!ns)
        return NULL;
    ns->name = strndup(name, len);
    ns->number = l->n_namespaces + 1;
    if (ns->name)
        HASH_ADD_KEYPTR(hh, l->by_namespace, ns->name, len, ns);
    if (!ns->name || !ns->hh.tbl) {
        free(ns->name);
        free(ns);
        return NULL;
    }
    l->namespaces[l->n_namespaces++] = ns;
    return ns;
}

/* The collection `full`, entered when it is new. -EINVAL when no directory could be called so. */
static int add_collection(Layout *l, const char *full, Collection **ret_collection)
{
    Collection *c = NULL;
    size_t len = strlen(full);
    HASH_FIND(hh, l->by_full, full, len, c);
    if (c) {
        *ret_collection = c;
        return 0;
    }
    const char *slash = strchr(full, '/');
    if (!slash || !name_is_valid(full, (size_t)(slash - full)) ||
        !name_is_valid(slash + 1, strlen(slash + 1)) || l->n_collections >= INODE_ORDINAL_MAX)
        return -EINVAL;
    Namespace *ns = add_namespace(l, full, (size_t)(slash - full));
    Collection **grown = reallocarray(l->collections, l->n_collections + 1, sizeof(Collection *));
    if (grown)
        l->collections = grown;
    c = calloc(1, sizeof(*c));
    char *copy = strdup(full);
    if (ns && grown && c && copy) {
        *c = (Collection){.number = l->n_collections + 1,
                          .ns = ns->number,
                          .full = copy,
                          .name = copy + (slash + 1 - full)};
        HASH_ADD_KEYPTR(hh, l->by_full, c->full, len, c);
        if (c->hh.tbl) {
            l->collections[l->n_collections++] = c;
            *ret_collection = c;
            return 0;
        }
    }
    free(copy);
    free(c);
    return -ENOMEM;
}

static bool can_show(const BackupInfo *b)
{
    return b->ordinal >= 1 && b->ordinal <= INODE_ORDINAL_MAX && b->entries <= INODE_INDEX_MAX &&
           name_is_valid(b->latest_name, strlen(b->latest_name)) &&
           name_is_valid(b->archive_name, strlen(b->archive_name)) &&
           name_is_valid(b->id, strlen(b->id));
}

static void carry_over(Layout *l, const LayoutBackup *deleted)
{
    l->backups[l->n_backups] = *deleted;
    l->backups[l->n_backups++].info = NULL;
}

/* Fill l->backups: the list's, and the deleted ones that `before` knew. Both are in order. */
static int add_backups(Layout *l, const Layout *before, LayoutLeftOut *left_out)
{
    const LayoutBackup *old = before ? before->backups : NULL;
    const LayoutBackup *end = before ? old + before->n_backups : NULL;
    size_t n_before = before ? before->n_backups : 0;
    l->backups = calloc(l->list->n + n_before + 1, sizeof(*l->backups));
    if (!l->backups)
        return -ENOMEM;
    for (size_t i = 0; i < l->list->n; i++) {
        const BackupInfo *b = &l->list->items[i];
        if (!can_show(b)) {
            left_out->unfit++;
            continue;
        }
        while (old < end && old->ordinal < b->ordinal)
            carry_over(l, old++);
        if (old < end && old->ordinal == b->ordinal) {
            const LayoutBackup *known = old++;
            if (id_compare(&known->manifest, &b->manifest_sha256) != 0) {
                carry_over(l, known);
                left_out->replaced++;
                continue;
            }
        }
        l->backups[l->n_backups++] = (LayoutBackup){.ordinal = (uint32_t)b->ordinal,
                                                    .manifest = b->manifest_sha256,
                                                    .timestamp = b->timestamp,
                                                    .root = b->root,
                                                    .entries = b->entries,
                                                    .info = b};
    }
    while (old < end)
        carry_over(l, old++);
    return 0;
}

/* Which collection each backup belongs to; `of` has a place for each, NULL where none. */
static int sort_into_collections(Layout *l, Collection **of, LayoutLeftOut *left_out)
{
    for (size_t i = 0; i < l->n_backups; i++) {
        LayoutBackup *b = &l->backups[i];
        if (!b->info)
            continue;
        int r = add_collection(l, b->info->collection, &of[i]);
        if (r == -EINVAL) {
            b->info = NULL;
            left_out->unfit++;
            continue;
        }
        if (r < 0)
            return r;
        of[i]->n++;
        l->namespaces[of[i]->ns - 1]->n++;
        l->totals.backups++;
        l->totals.bytes += b->info->size_bytes;
        l->totals.files += b->info->file_count;
    }
    return 0;
}

static int compare_names(const void *x, const void *y, void *listing)
{
    const LayoutBackup *a = *(const LayoutBackup *const *)x, *b = *(const LayoutBackup *const *)y;
    int r = strcmp(layout_name_of(a, *(int *)listing), layout_name_of(b, *(int *)listing));
    if (r)
        return r;
    return a->ordinal < b->ordinal ? 1 : a->ordinal > b->ordinal ? -1 : 0;
}

static int fill_collections(Layout *l, Collection *const *of)
{
    for (uint32_t i = 0; i < l->n_collections; i++) {
        Collection *c = l->collections[i];
        c->members = calloc(c->n + 1, sizeof(*c->members));
        if (!c->members)
            return -ENOMEM;
        c->n = 0;
    }
    for (size_t i = 0; i < l->n_backups; i++) {
        Collection *c = of[i];
        if (!c)
            continue;
        c->members[c->n++] = &l->backups[i];
        if (!l->backups[i].info->partial)
            c->latest = &l->backups[i];
    }
    for (uint32_t i = 0; i < l->n_collections; i++) {
        Collection *c = l->collections[i];
        for (int k = 0; k < LAYOUT_LISTINGS; k++) {
            c->by_name[k] = calloc(c->n + 1, sizeof(*c->members));
            if (!c->by_name[k])
                return -ENOMEM;
            memcpy(c->by_name[k], c->members, c->n * sizeof(*c->members));
            qsort_r(c->by_name[k], c->n, sizeof(*c->members), compare_names, &k);
        }
    }
    return 0;
}

static bool same_members(const Collection *x, const Collection *y)
{
    if (x->n != y->n)
        return false;
    for (size_t i = 0; i < x->n; i++)
        if (x->members[i]->ordinal != y->members[i]->ordinal)
            return false;
    return true;
}

static struct timespec newest(const Collection *c, struct timespec otherwise)
{
    struct timespec t = otherwise;
    for (size_t i = 0; i < c->n; i++)
        if (i == 0 || c->members[i]->timestamp > t.tv_sec)
            t = (struct timespec){.tv_sec = c->members[i]->timestamp};
    return t;
}

/* Date the listings: when they changed if that happened while mounted, else by their newest
 * backup. */
static void date(Layout *l, const Layout *before, struct timespec now)
{
    l->born = before ? before->born : now;
    l->collections_changed = before ? before->collections_changed : l->born;
    for (uint32_t i = 0; i < l->n_collections; i++) {
        Collection *c = l->collections[i];
        const Collection *old = before && i < before->n_collections ? before->collections[i] : NULL;
        if (old && same_members(old, c))
            c->changed = old->changed;
        else
            c->changed = before ? now : newest(c, now);
        if (before && (!old || (old->n == 0) != (c->n == 0)))
            l->collections_changed = now;
        else if (!before && (i == 0 || c->changed.tv_sec > l->collections_changed.tv_sec))
            l->collections_changed = c->changed;
    }
}

int layout_new(BackupList *list, const char *shown, const Layout *before, struct timespec now,
               Layout **ret_layout, LayoutLeftOut *ret_left_out)
{
    LayoutLeftOut left_out = {0};
    Layout *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    atomic_init(&l->refs, 1);
    l->list = backup_list_ref(list);

    /* Collections keep the numbers that `before` gave them: enter them in the same order. */
    Collection *c;
    int r = 0;
    for (uint32_t i = 0; r == 0 && before && i < before->n_collections; i++)
        r = add_collection(l, before->collections[i]->full, &c);
    if (r == 0)
        r = add_backups(l, before, &left_out);
    Collection **of = r == 0 ? calloc(l->n_backups + 1, sizeof(Collection *)) : NULL;
    if (r == 0)
        r = of ? sort_into_collections(l, of, &left_out) : -ENOMEM;
    if (r == 0)
        r = fill_collections(l, of);
    free(of);
    if (r < 0) {
        layout_unref(l);
        return r;
    }
    c = NULL;
    if (shown)
        HASH_FIND(hh, l->by_full, shown, strlen(shown), c);
    else if (l->n_collections > 0)
        c = l->collections[0];
    l->shown = c;
    date(l, before, now);
    *ret_layout = l;
    *ret_left_out = left_out;
    return 0;
}
