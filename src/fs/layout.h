/* Layout: which names the virtual directories hold, made from one list of backups. Never changes
 * once made, so that many threads read it without a lock; a new list makes a new layout.
 * product.md's tree: the root shows one collection, collections/<ns>/<name>/ every one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "fs/inode.h"
#include "store/store.h"

typedef struct Layout Layout;

/* A backup as long as the mount lives: one that was deleted keeps its inode numbers working for
 * those who are inside. */
typedef struct LayoutBackup {
    uint32_t ordinal;
    ObjectId manifest; /* its SHA-256: which backup it is */
    int64_t timestamp; /* seconds since 1970 */
    ObjectId root;     /* root directory */
    uint64_t entries;
    const BackupInfo *info; /* NULL when deleted */
} LayoutBackup;

/* A name in a virtual directory. Pointers live as long as the layout. */
typedef struct LayoutChild {
    const char *name;
    uint64_t ino;
    const LayoutBackup *backup; /* a backup's root directory; NULL: another virtual directory */
    uint64_t next;              /* where a listing goes on after this one */
} LayoutChild;

/* How many backups of a list are not in its layout. */
typedef struct LayoutLeftOut {
    size_t unfit;    /* for the inode numbers, or their names for directories */
    size_t replaced; /* under the ordinal of another, which the layout before had */
} LayoutLeftOut;

/* Make a layout with one reference. `shown` ("ns/name", may be NULL) is the collection in the
 * root. `before` (may be NULL) is the layout that this one follows: numbers given to collections
 * and what is known of deleted backups are carried over. `now` dates what changed between the
 * two. Backups that can't be shown are left out and counted in `ret_left_out`: also one that has
 * the ordinal of another that `before` knew (a store was set back to an older state under the
 * mount, and written again), because the kernel keeps what it was told of that one's inodes for
 * good. 0 or -ENOMEM. */
int layout_new(BackupList *list, const char *shown, const Layout *before, struct timespec now,
               Layout **ret_layout, LayoutLeftOut *ret_left_out);
Layout *layout_ref(Layout *l);
void layout_unref(Layout *l); /* NULL is allowed */

/* NULL when no backup ever had that ordinal. */
const LayoutBackup *layout_backup(const Layout *l, uint32_t ordinal);

/* Whether there is such a directory; its mtime: when its listing last changed. */
bool layout_stat(const Layout *l, InodeKind kind, uint32_t number, struct timespec *ret_mtime);

/* The inode number of the directory above. */
uint64_t layout_parent(const Layout *l, InodeKind kind, uint32_t number);

/* Find `name` in a virtual directory. Besides what is listed, latest/ knows the names that earlier
 * backups had there. False when there is no such name. */
bool layout_lookup(const Layout *l, InodeKind kind, uint32_t number, const char *name,
                   LayoutChild *ret_child);

/* The first listed name whose place is after `from` (0: from the beginning; else the `next` of the
 * name before). A place stays that of its name in every later layout, so that a listing goes on
 * where it was when backups come and go. False at the end. */
bool layout_next(const Layout *l, InodeKind kind, uint32_t number, uint64_t from,
                 LayoutChild *ret_child);

/* Whether the root's collection has any backup. */
bool layout_shows(const Layout *l);

/* Sums over the backups listed, for statfs. */
typedef struct LayoutTotals {
    uint64_t bytes, files, backups;
} LayoutTotals;
void layout_totals(const Layout *l, LayoutTotals *ret_totals);

/* Tell what differs between two layouts: `name` in `dir` means something else now or is gone, or,
 * with `name` NULL, the listing of `dir` has changed. Names come before listings, and a
 * collection's archive/ before its latest/. */
void layout_changes(const Layout *before, const Layout *after,
                    void (*changed)(void *ctx, uint64_t dir, const char *name), void *ctx);
