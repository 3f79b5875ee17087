#include "fs/layout.h"

#include <stdio.h>
#include <string.h>

#include "fs/layout_internal.h"

typedef struct RootName {
    const char *name;
    InodeKind kind;
} RootName;

/* By rising kind, which is the place in a listing. A collection has the listings only. */
static const RootName root_names[] = {
    {"collections", INODE_COLLECTIONS},
    {"latest", INODE_DIR_LATEST},
    {"archive", INODE_DIR_ARCHIVE},
    {"by-id", INODE_DIR_BY_ID},
};
#define N_ROOT_NAMES (sizeof(root_names) / sizeof(*root_names))

Layout *layout_ref(Layout *l)
{
    atomic_fetch_add(&l->refs, 1);
    return l;
}

static bool is_listing(InodeKind kind)
{
    return kind >= INODE_DIR_LATEST && kind <= INODE_DIR_BY_ID;
}

/* The collection that a directory is about; NULL when there is none (yet). */
static const Collection *collection_of(const Layout *l, InodeKind kind, uint32_t number)
{
    if (kind == INODE_ROOT || (is_listing(kind) && number == 0))
        return l->shown;
    if ((kind != INODE_COLLECTION && !is_listing(kind)) || number == 0 || number > l->n_collections)
        return NULL;
    return l->collections[number - 1];
}

const LayoutBackup *layout_backup(const Layout *l, uint32_t ordinal)
{
    size_t low = 0, high = l->n_backups;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (l->backups[mid].ordinal == ordinal)
            return &l->backups[mid];
        if (l->backups[mid].ordinal < ordinal)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

bool layout_stat(const Layout *l, InodeKind kind, uint32_t number, struct timespec *ret_mtime)
{
    if (kind == INODE_COLLECTIONS || kind == INODE_NAMESPACE) {
        if (kind == INODE_COLLECTIONS ? number != 0 : number == 0 || number > l->n_namespaces)
            return false;
        *ret_mtime = l->collections_changed;
        return true;
    }
    const Collection *c = collection_of(l, kind, number);
    if (!c && (number != 0 || kind == INODE_COLLECTION))
        return false;
    *ret_mtime = c ? c->changed : l->born;
    return true;
}

uint64_t layout_parent(const Layout *l, InodeKind kind, uint32_t number)
{
    if (kind == INODE_NAMESPACE)
        return inode_of_virtual(INODE_COLLECTIONS, 0);
    const Collection *c = number ? collection_of(l, kind, number) : NULL;
    if (!c)
        return inode_of_virtual(INODE_ROOT, 0);
    if (kind == INODE_COLLECTION)
        return inode_of_virtual(INODE_NAMESPACE, c->ns);
    return inode_of_virtual(INODE_COLLECTION, number);
}

/* Whether a listing shows `b`, and whether it knows its name at all. */
static bool lists(const Collection *c, InodeKind kind, const LayoutBackup *b)
{
    if (kind == INODE_DIR_LATEST)
        return b == c->latest;
    return kind == INODE_DIR_ARCHIVE ? b != c->latest : !b->info->partial;
}

static bool knows(const Collection *c, InodeKind kind, const LayoutBackup *b)
{
    return kind == INODE_DIR_LATEST ? !b->info->partial : lists(c, kind, b);
}

static LayoutChild backup_child(InodeKind kind, uint32_t number, const LayoutBackup *b)
{
    int listing = (int)kind - INODE_DIR_LATEST;
    InodeView view = (InodeView)((number ? INODE_COLLECTION_LATEST : INODE_LATEST) + listing);
    return (LayoutChild){.name = layout_name_of(b, listing),
                         .ino = inode_of_entry(view, b->ordinal, 0),
                         .backup = b,
                         .next = b->ordinal};
}

static LayoutChild root_child(const RootName *r, uint32_t number)
{
    return (LayoutChild){
        .name = r->name, .ino = inode_of_virtual(r->kind, number), .next = r->kind};
}

static LayoutChild namespace_child(const Namespace *ns)
{
    return (LayoutChild){
        .name = ns->name, .ino = inode_of_virtual(INODE_NAMESPACE, ns->number), .next = ns->number};
}

static LayoutChild collection_child(const Collection *c)
{
    return (LayoutChild){
        .name = c->name, .ino = inode_of_virtual(INODE_COLLECTION, c->number), .next = c->number};
}

static bool lookup_backup(const Layout *l, InodeKind kind, uint32_t number, const char *name,
                          LayoutChild *ret_child)
{
    const Collection *c = collection_of(l, kind, number);
    int listing = (int)kind - INODE_DIR_LATEST;
    size_t low = 0, high = c ? c->n : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(layout_name_of(c->by_name[listing][mid], listing), name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; c && low < c->n; low++) {
        const LayoutBackup *b = c->by_name[listing][low];
        if (strcmp(layout_name_of(b, listing), name) != 0)
            return false;
        if (knows(c, kind, b)) {
            *ret_child = backup_child(kind, number, b);
            return true;
        }
    }
    return false;
}

static bool lookup_collection(const Layout *l, uint32_t ns, const char *name,
                              LayoutChild *ret_child)
{
    char full[2 * 256];
    Collection *c = NULL;
    int len = snprintf(full, sizeof(full), "%s/%s", l->namespaces[ns - 1]->name, name);
    if (len < (int)sizeof(full))
        HASH_FIND(hh, l->by_full, full, (size_t)len, c);
    if (!c || c->n == 0)
        return false;
    *ret_child = collection_child(c);
    return true;
}

bool layout_lookup(const Layout *l, InodeKind kind, uint32_t number, const char *name,
                   LayoutChild *ret_child)
{
    struct timespec mtime;
    if (!layout_stat(l, kind, number, &mtime))
        return false;
    if (is_listing(kind))
        return lookup_backup(l, kind, number, name, ret_child);
    if (kind == INODE_NAMESPACE)
        return lookup_collection(l, number, name, ret_child);
    if (kind == INODE_COLLECTIONS) {
        Namespace *ns = NULL;
        HASH_FIND(hh, l->by_namespace, name, strlen(name), ns);
        if (!ns || ns->n == 0)
            return false;
        *ret_child = namespace_child(ns);
        return true;
    }
    for (size_t i = kind == INODE_COLLECTION ? 1 : 0; i < N_ROOT_NAMES; i++)
        if (strcmp(root_names[i].name, name) == 0) {
            *ret_child = root_child(&root_names[i], number);
            return true;
        }
    return false;
}

static bool next_backup(const Layout *l, InodeKind kind, uint32_t number, uint64_t from,
                        LayoutChild *ret_child)
{
    const Collection *c = collection_of(l, kind, number);
    size_t low = 0, high = c ? c->n : 0;
    /* One name only, also for a listing that began before its successor came. */
    if (kind == INODE_DIR_LATEST && from > 0)
        return false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c->members[mid]->ordinal <= from)
            low = mid + 1;
        else
            high = mid;
    }
    for (; c && low < c->n; low++)
        if (lists(c, kind, c->members[low])) {
            *ret_child = backup_child(kind, number, c->members[low]);
            return true;
        }
    return false;
}

bool layout_next(const Layout *l, InodeKind kind, uint32_t number, uint64_t from,
                 LayoutChild *ret_child)
{
    struct timespec mtime;
    if (!layout_stat(l, kind, number, &mtime))
        return false;
    if (is_listing(kind))
        return next_backup(l, kind, number, from, ret_child);
    if (kind == INODE_COLLECTIONS) {
        for (uint64_t i = from; i < l->n_namespaces; i++)
            if (l->namespaces[i]->n > 0) {
                *ret_child = namespace_child(l->namespaces[i]);
                return true;
            }
        return false;
    }
    if (kind == INODE_NAMESPACE) {
        for (uint64_t i = from; i < l->n_collections; i++)
            if (l->collections[i]->ns == number && l->collections[i]->n > 0) {
                *ret_child = collection_child(l->collections[i]);
                return true;
            }
        return false;
    }
    for (size_t i = kind == INODE_COLLECTION ? 1 : 0; i < N_ROOT_NAMES; i++)
        if (root_names[i].kind > from) {
            *ret_child = root_child(&root_names[i], number);
            return true;
        }
    return false;
}

bool layout_shows(const Layout *l)
{
    return l->shown && l->shown->n > 0;
}

void layout_totals(const Layout *l, LayoutTotals *ret_totals)
{
    *ret_totals = l->totals;
}

typedef struct Comparison {
    const Layout *before, *after;
    void (*changed)(void *ctx, uint64_t dir, const char *name);
    void *ctx;
} Comparison;

/* Tell where one of the names that `b` has or had now means something else. */
static void compare_backup(const Comparison *cmp, uint32_t number, const LayoutBackup *b)
{
    for (int k = 0; b && k < LAYOUT_LISTINGS; k++) {
        InodeKind kind = (InodeKind)(INODE_DIR_LATEST + k);
        const char *name = layout_name_of(b, k);
        LayoutChild was = {0}, is = {0};
        layout_lookup(cmp->before, kind, number, name, &was);
        layout_lookup(cmp->after, kind, number, name, &is);
        if (was.ino != is.ino)
            cmp->changed(cmp->ctx, inode_of_virtual(kind, number), name);
    }
}

/* The three listings of one collection, or of the root (number 0). */
static void compare_listings(const Comparison *cmp, uint32_t number)
{
    static const Collection none = {0};
    const Collection *old = collection_of(cmp->before, INODE_DIR_LATEST, number);
    const Collection *new = collection_of(cmp->after, INODE_DIR_LATEST, number);
    size_t i = 0, k = 0;
    bool differ = false;

    old = old ? old : &none;
    new = new ? new : &none;
    while (i < old->n || k < new->n) {
        uint32_t a = i < old->n ? old->members[i]->ordinal : UINT32_MAX;
        uint32_t b = k < new->n ? new->members[k]->ordinal : UINT32_MAX;
        if (a != b) {
            differ = true;
            compare_backup(cmp, number, a < b ? old->members[i] : new->members[k]);
        }
        i += a <= b;
        k += b <= a;
    }
    if (!differ)
        return;
    compare_backup(cmp, number, old->latest);
    compare_backup(cmp, number, new->latest);
    /* latest/ last: who sees the new backup there finds its predecessor in archive/. */
    static const InodeKind order[] = {INODE_DIR_ARCHIVE, INODE_DIR_BY_ID, INODE_DIR_LATEST};
    for (int listing = 0; listing < LAYOUT_LISTINGS; listing++)
        cmp->changed(cmp->ctx, inode_of_virtual(order[listing], number), NULL);
}

void layout_changes(const Layout *before, const Layout *after,
                    void (*changed)(void *ctx, uint64_t dir, const char *name), void *ctx)
{
    Comparison cmp = {before, after, changed, ctx};
    uint64_t above = inode_of_virtual(INODE_COLLECTIONS, 0);
    bool some = false;

    compare_listings(&cmp, 0);
    for (uint32_t i = 1; i <= after->n_collections; i++)
        compare_listings(&cmp, i);
    for (uint32_t i = 0; i < after->n_namespaces; i++) {
        size_t old = i < before->n_namespaces ? before->namespaces[i]->n : 0;
        if ((old == 0) != (after->namespaces[i]->n == 0)) {
            changed(ctx, above, after->namespaces[i]->name);
            some = true;
        }
    }
    for (uint32_t i = 0; i < after->n_collections; i++) {
        const Collection *c = after->collections[i];
        size_t old = i < before->n_collections ? before->collections[i]->n : 0;
        if ((old == 0) != (c->n == 0)) {
            changed(ctx, inode_of_virtual(INODE_NAMESPACE, c->ns), c->name);
            changed(ctx, inode_of_virtual(INODE_NAMESPACE, c->ns), NULL);
            some = true;
        }
    }
    if (some)
        changed(ctx, above, NULL);
}
