/* An open file: what its reads need, whatever becomes of its backup's name. */
#pragma once

#include "fs/fs_internal.h"

/* How a file is being read, to know what will be wanted next. */
typedef struct Reading {
    RopeCursor *scout; /* made with the first look ahead */
    uint64_t next;     /* where a sequential reader goes on */
    uint64_t streak;   /* bytes read one after another */
    uint64_t asked;    /* up to here objects were asked for */
} Reading;

typedef struct OpenFile {
    struct OpenFile *prev, *next; /* in fs->files */
    atomic_uint refs;             /* while it is open, and of each read under way */
    Object *text;                 /* a rendered file's bytes; then there is no node */
    Object *holder;               /* keeps `node` when it was an object of its own */
    DirEntry entry;               /* keeps `node` when it stands in the directory */
    const uint8_t *node;
    size_t node_len;
    uint64_t size;
    Inode inode;
    atomic_bool is_passing; /* it is being read from front to back */
    pthread_mutex_t lock;   /* guards what follows; only ever tried, never waited for */
    RopeCursor *cursor;     /* where the last read was; made with the first */
    Reading reading;
} OpenFile;

static inline OpenFile *open_file(const struct fuse_file_info *fi)
{
    return (OpenFile *)(uintptr_t)fi->fh;
}

/* Give up a reference; the last one frees. */
void file_unref(Fs *fs, OpenFile *f);

/* Take note of a read, and ask for what a sequential reader will want next. */
void file_read_ahead(Fs *fs, OpenFile *f, uint64_t off, size_t size);
