/* Directories: entries sorted by name, content-addressed, cut into nodes like ropes.
 * format.md, "Directories". Nothing in one changes with time, so that what did not change is
 * shared. */
#pragma once

#include "tree/rope.h"

typedef enum EntryKind {
    ENTRY_FILE = 1,
    ENTRY_DIR = 2,
    ENTRY_SYMLINK = 3,
} EntryKind;

/* A whole directory, as its parent refers to it. */
typedef struct Dir {
    ObjectId id;      /* root node */
    uint64_t entries; /* all entries below, at every depth */
} Dir;

/* One entry. In a builder the pointers are the caller's; from a reader they point into `holder`
 * and live until dir_entry_release. */
typedef struct DirEntry {
    const char *name; /* not zero-terminated when read */
    size_t name_len;
    EntryKind kind;
    uint16_t mode;       /* permission bits, 07777 */
    uint64_t size;       /* file: bytes; symlink: length of the target; directory: 0 */
    const uint8_t *node; /* file: encoded rope root node (either inline or fetched) */
    size_t node_len;
    bool node_inline; /* file, reading: node is here; else fetch `rope_id` */
    ObjectId rope_id;
    Dir dir;            /* directory */
    const char *target; /* symlink, `size` bytes */
    bool has_sha256;
    ObjectId sha256; /* file: of its bytes */
    bool has_mtime;
    int64_t mtime; /* seconds since 1970; file: sources only */
    bool has_rows;
    uint64_t rows;           /* table directory: its rows */
    const char *object_name; /* the database object's name where `name` can't be decoded */
    size_t object_name_len;
    uint64_t index; /* reading: preorder index, root directory = 0 */
    Object *holder;
} DirEntry;
void dir_entry_release(DirEntry *e);

/* Build: add entries in any order, finish sorts them. Duplicate names fail with -EEXIST. Copies
 * what it is given. Not thread-safe. */
typedef struct DirBuilder DirBuilder;
int dir_builder_new(StoreWriter *w, DirBuilder **ret_builder);
void dir_builder_free(DirBuilder *b);

/* A file whose bytes are `rope`. `sha256` may be NULL. */
int dir_builder_file(DirBuilder *b, const char *name, uint16_t mode, const Rope *rope,
                     const ObjectId *sha256, Error *e);
int dir_builder_dir(DirBuilder *b, const char *name, const Dir *dir, Error *e);
/* Any entry, with all its attributes; ENTRY_FILE takes `rope`. */
int dir_builder_entry(DirBuilder *b, const DirEntry *entry, const Rope *rope, Error *e);
int dir_builder_finish(DirBuilder *b, Dir *ret_dir, Error *e);

/* Read. `index` is the directory's own preorder index (0 for a root directory). */
typedef struct DirRef {
    ObjectId id;
    uint64_t index;
} DirRef;

/* -ENOENT when there is no such name; -EBADMSG for a malformed node. */
int dir_lookup(ObjectSource *s, const DirRef *dir, const char *name, size_t name_len,
               DirEntry *ret_entry, Error *e);

/* Call `visit` for the entries from position `from` (0 = first) on, in order of names, until it
 * returns nonzero, which is then returned. The entry is valid during the call only. */
int dir_list(ObjectSource *s, const DirRef *dir, uint64_t from,
             int (*visit)(void *ctx, uint64_t position, const DirEntry *entry), void *ctx,
             Error *e);

/* The entry with preorder index `index` (>= 1) below the root directory `root`. */
int dir_by_index(ObjectSource *s, const ObjectId *root, uint64_t index, DirEntry *ret_entry,
                 Error *e);

/* Resolve a relative path ("a/b/c"; no "." or ".."). "" is refused with -EINVAL. */
int dir_resolve(ObjectSource *s, const ObjectId *root, const char *path, DirEntry *ret_entry,
                Error *e);

/* The encoded rope root node of a file entry: the inline one, or fetched. `ret_holder` (unref) may
 * be NULL for inline nodes, which live as long as the entry. */
int dir_entry_rope(ObjectSource *s, const DirEntry *entry, const uint8_t **ret_node,
                   size_t *ret_len, Object **ret_holder, Error *e);

/* Visit every directory node of the tree below `root` (see rope_walk for `visit`'s answers; is_node
 * is true) and every file entry, each as often as it is met: in a crafted tree more often than can
 * be waited for. */
typedef struct DirWalk {
    /* `height` is what its parent demands, or -1 for the root node of the directory `path`. */
    int (*node)(void *ctx, const char *path, const ObjectId *id, int height);
    int (*file)(void *ctx, const char *path, const DirEntry *entry);
    /* A node below `path` can't be read: 0 goes on with what remains. */
    int (*damage)(void *ctx, const char *path, const ObjectId *id, const Error *why);
    /* All below a node that was not skipped was visited, or it was damaged. 0 or negative. */
    int (*leave)(void *ctx, const ObjectId *id, int height);
} DirWalk;
int dir_walk(ObjectSource *s, const ObjectId *root, const DirWalk *walk, void *ctx, Error *e);
