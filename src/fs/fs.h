/* Fs: a store shown as a file system, through libfuse's low-level interface. This header is what
 * mount.c needs; the operations stand in ops.c, listing.c, file.c, read.c,
 * xattr.c and readonly.c. */
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "store/store.h"
#include "util/error.h"

typedef struct Fs Fs;

/* Say `message` (one line, no newline); `priority` is syslog's. Called from many threads. */
typedef void (*FsLog)(int priority, const char *message);

typedef struct FsOptions {
    uint64_t cache_size;    /* bytes */
    unsigned threads;       /* that read ahead; 0: nothing is read ahead */
    const char *collection; /* shown in the root, "ns/name"; NULL: the store's default */
    FsLog log;
    void (*ready)(void *ctx);      /* called once, when the kernel has accepted the mount */
    void (*first_open)(void *ctx); /* called once, when a first file is opened; may be NULL */
    void *ctx;                     /* for both */
} FsOptions;

/* Show `store`, which must outlive the Fs, as must what `o` points to. 0 or -errno. */
int fs_new(Store *store, const FsOptions *o, Fs **ret_fs, Error *e);

/* Start the threads that read ahead; after any fork. */
int fs_start(Fs *fs, Error *e);

/* The session must have ended. NULL is allowed. */
void fs_free(Fs *fs);

/* Fill in the operations, those for extended attributes if asked for; the session's user data is
 * the Fs. */
void fs_operations(struct fuse_lowlevel_ops *ret_ops, bool xattr);

/* Whether the store says that its backups changed. */
bool fs_changed(Fs *fs);

/* Whether a read of the store failed since this was asked last. */
bool fs_failed(Fs *fs);

/* Read the list of backups anew and tell the kernel what became of it. From one thread that serves
 * no requests: the kernel may wait for the answer to one. */
int fs_rescan(Fs *fs, struct fuse_session *session, Error *e);

/* Log `e` under what is about to be repeated only once. */
void fs_log_error(Fs *fs, const char *doing, const Error *e);

/* Log a line, as printf. */
void fs_log(Fs *fs, int priority, const char *format, ...) __attribute__((format(printf, 3, 4)));
