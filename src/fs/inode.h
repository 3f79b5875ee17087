/* Inode numbers that are computed, so that the driver keeps no inode table:
 *
 *     view (4 bits) | backup ordinal (28 bits) | preorder index (32 bits)
 *
 * The view says by which path a directory was reached. The kernel allows a directory one place
 * only, and a backup shows at several; files may have many names, so they share view 0.
 * A virtual directory (latest/, collections/ns/, …) has view 15, a number in place of the ordinal
 * and its kind in place of the index. The root has FUSE's number, 1, which no backup can have:
 * ordinals begin with 1. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define INODE_ORDINAL_MAX ((1u << 28) - 1)
#define INODE_INDEX_MAX   0xfffffeffu
/* The indices above are kept for files that are rendered for a backup, not stored in it. */
#define INODE_RENDERED 0xffffff00u

typedef enum InodeView {
    INODE_FILE = 0, /* files and symbolic links, whatever the path */
    INODE_LATEST = 1,
    INODE_ARCHIVE = 2,
    INODE_BY_ID = 3,
    INODE_COLLECTION_LATEST = 4,
    INODE_COLLECTION_ARCHIVE = 5,
    INODE_COLLECTION_BY_ID = 6,
    INODE_VIRTUAL = 15,
} InodeView;

/* Kinds of virtual directories, and the one virtual file. */
typedef enum InodeKind {
    INODE_ROOT = 1,        /* the mount's root */
    INODE_COLLECTIONS = 2, /* collections/ */
    INODE_NAMESPACE = 3,   /* collections/<ns>/; number: of the namespace */
    INODE_COLLECTION = 4,  /* collections/<ns>/<name>/; number: of the collection */
    /* The listings; number: of the collection, or 0 for those in the root. */
    INODE_DIR_LATEST = 5,
    INODE_DIR_ARCHIVE = 6,
    INODE_DIR_BY_ID = 7,
    INODE_KIND_END = 8,
    INODE_STATUS = 16, /* no directory: the status file */
} InodeKind;

typedef struct Inode {
    InodeView view;
    uint32_t ordinal; /* 1 to INODE_ORDINAL_MAX; 0 with INODE_VIRTUAL */
    uint32_t index;   /* 0 is the backup's root directory */
    InodeKind kind;   /* with INODE_VIRTUAL */
    uint32_t number;  /* with INODE_VIRTUAL */
} Inode;

/* The number of an entry of a backup; `ordinal` and `index` within their limits. */
static inline uint64_t inode_of_entry(InodeView view, uint32_t ordinal, uint32_t index)
{
    return (uint64_t)view << 60 | (uint64_t)ordinal << 32 | index;
}

/* The number of a virtual directory. */
uint64_t inode_of_virtual(InodeKind kind, uint32_t number);

/* Take a number apart. False when no node can have it. */
bool inode_parse(uint64_t ino, Inode *ret_inode);
