/* The encoding of directory nodes, for dir.c (reading) and dir_builder.c (writing). */
#pragma once

#include "tree/dir.h"

#define DIR_VERSION     1
#define DIR_MAX_HEIGHT  16
#define DIR_MAX_DEPTH   64 /* directories in each other */
#define DIR_MAX_ENTRIES (1ull << 31)
#define DIR_MAX_TARGET  4095

enum { DIR_ATTR_SHA256 = 1, DIR_ATTR_MTIME = 2, DIR_ATTR_ROWS = 3, DIR_ATTR_OBJECT_NAME = 4 };

/* A node being read. */
typedef struct DirNode {
    Cursor c;
    unsigned height;
    uint64_t n; /* entries or children not read yet */
} DirNode;

/* A child of an inner node. */
typedef struct DirChild {
    const char *first; /* name of the first entry below */
    size_t first_len;
    ObjectId id;
    uint64_t entries; /* directory entries in it */
    uint64_t below;   /* those and everything below them */
} DirChild;

/* -EBADMSG when malformed. */
int dir_node_open(const void *data, size_t len, DirNode *ret_node, Error *e);
int dir_node_next_entry(DirNode *node, DirEntry *ret_entry, Error *e); /* height 0 */
int dir_node_next_child(DirNode *node, DirChild *ret_child, Error *e); /* height > 0 */

/* Fetch a node; `height` is what its parent demands, or -1 for a root node. */
int dir_node_get(ObjectSource *s, const ObjectId *id, int height, Object **ret_object,
                 DirNode *ret_node, Error *e);

/* Entries that the entry stands for in the preorder: itself and all below. */
static inline uint64_t dir_entry_span(const DirEntry *entry)
{
    return 1 + (entry->kind == ENTRY_DIR ? entry->dir.entries : 0);
}

/* By unsigned bytes; a prefix comes first. */
int dir_name_compare(const char *a, size_t a_len, const char *b, size_t b_len);
