/* What layout.c (reading) and layout_new.c (making) share. */
#pragma once

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION     HASH_FNV /* the default one falls through cases, which clang warns of */
#include <uthash.h>

#include "fs/layout.h"

/* The names a backup has, one a listing. */
#define LAYOUT_LISTINGS 3

/* A collection; numbered from 1 in the order in which the mount saw them first. One whose backups
 * are all deleted keeps its number and is not listed. */
typedef struct Collection {
    uint32_t number;
    uint32_t ns;                                   /* number of its namespace */
    char *full;                                    /* "ns/name", owned */
    const char *name;                              /* in `full` */
    const LayoutBackup **members;                  /* by rising ordinal */
    const LayoutBackup **by_name[LAYOUT_LISTINGS]; /* the same by name, newest first among equals */
    size_t n;
    const LayoutBackup *latest; /* newest complete one, or NULL */
    struct timespec changed;
    UT_hash_handle hh; /* by `full` */
} Collection;

typedef struct Namespace {
    uint32_t number;
    char *name; /* owned */
    size_t n;   /* backups in its collections; not listed while 0 */
    UT_hash_handle hh;
} Namespace;

struct Layout {
    atomic_uint refs;
    BackupList *list;
    LayoutBackup *backups; /* every one ever seen, by rising ordinal */
    size_t n_backups;
    Collection **collections; /* number - 1 */
    uint32_t n_collections;
    Collection *by_full;
    Namespace **namespaces; /* number - 1 */
    uint32_t n_namespaces;
    Namespace *by_namespace;
    const Collection *shown; /* NULL while there is no such collection */
    struct timespec born;    /* of the mount's first layout */
    struct timespec collections_changed;
    LayoutTotals totals;
};

/* The name that a backup which is not deleted has in a listing. */
static inline const char *layout_name_of(const LayoutBackup *b, int listing)
{
    switch ((InodeKind)(listing + INODE_DIR_LATEST)) {
    case INODE_DIR_LATEST:
        return b->info->latest_name;
    case INODE_DIR_ARCHIVE:
        return b->info->archive_name;
    default:
        return b->info->id;
    }
}
