/* Backend: where a store's files lie, behind one interface. Files are written once under a
 * temporary name and published under their final one; a published file never changes. Names are
 * relative ("packs/ab/….pack"). Thread-safe unless said otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/error.h"

typedef struct Backend Backend;
typedef struct BackendFile BackendFile; /* a published file, open for reading */
typedef struct BackendTemp BackendTemp; /* a file being written; one thread at a time */

typedef struct BackendOps {
    void (*free)(Backend *b);

    /* Open a published file. -ENOENT when there is none. */
    int (*open)(Backend *b, const char *name, BackendFile **ret_file, Error *e);
    void (*close)(BackendFile *f);
    /* Exactly `len` bytes at `offset`; -EBADMSG when the file ends before. */
    int (*read)(BackendFile *f, uint64_t offset, void *data, size_t len, Error *e);
    uint64_t (*size)(BackendFile *f);

    /* Append a small file's bytes to `out`; -EFBIG beyond `limit`. */
    int (*slurp)(Backend *b, const char *name, size_t limit, Buf *out, Error *e);
    /* Call `visit` with the base name of every file in directory `dir`; a directory that does not
     * exist is empty. Nonzero from `visit` stops and is returned. */
    int (*list)(Backend *b, const char *dir, int (*visit)(void *ctx, const char *name), void *ctx,
                Error *e);
    /* A value that changes when files are added to or removed from `dir`, or, for a file, when it
     * is replaced. 0 when it does not exist. */
    uint64_t (*stamp)(Backend *b, const char *name);

    /* -EROFS or -EACCES when nothing can be written here. */
    int (*check_writable)(Backend *b, Error *e);
    /* With `locked` the caller is the writer, and a later writer may sweep the file away. */
    int (*create)(Backend *b, bool locked, BackendTemp **ret_temp, Error *e);
    int (*append)(BackendTemp *t, const void *data, size_t len, Error *e);
    /* Read back what was appended. Thread-safe beside append. */
    int (*read_temp)(BackendTemp *t, uint64_t offset, void *data, size_t len, Error *e);
    /* Make the bytes durable and give the file its name; the directory is synced by sync_dir.
     * Frees `t` also on failure. */
    int (*publish)(BackendTemp *t, const char *name, Error *e);
    void (*discard)(BackendTemp *t); /* NULL is allowed */
    int (*sync_dir)(Backend *b, const char *dir, Error *e);
    /* Replace a small file (config.json, generation) atomically; durable when `sync`. */
    int (*replace)(Backend *b, const char *name, const void *data, size_t len, bool sync, Error *e);
    /* Remove what dead writers left, and unlocked temporaries older than a day. Only under the
     * writer's lock. */
    int (*sweep)(Backend *b, Error *e);
} BackendOps;

/* Every backend begins with this. */
struct Backend {
    const BackendOps *ops;
};

/* A store in a local directory, which must exist. -ENOENT, -ENOTDIR, -EACCES. */
int backend_local_new(const char *path, Backend **ret_backend, Error *e);
