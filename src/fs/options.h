/* The -o options of bakfs: its own, those that libfuse and the kernel know, and those of fstab
 * that are meant for mount(8) only. */
#pragma once

#include <stdint.h>

#include "fs/fs.h"

#define MOUNT_CACHE_DEFAULT     (256ull << 20) /* bytes */
#define MOUNT_THREADS_MAX       64u            /* that read ahead; by default one a processor */
#define MOUNT_READAHEAD_DEFAULT 1024u          /* KiB; the kernel's own is 128 */
#define MOUNT_READAHEAD_MAX     (64u << 10)    /* KiB */

typedef struct MountOptions {
    uint64_t cache_size;   /* bytes */
    unsigned threads;      /* that read ahead */
    unsigned readahead_kb; /* the kernel's, for this mount */
    bool readahead_asked;  /* the user named it: say so when it can't be set */
    bool xattr;            /* show user.bakfs.* */
    char *collection;      /* "ns/name" or NULL; owned */
    struct fuse_args args; /* for fuse_session_new */
} MountOptions;

/* Take the arguments of -o options, each a list separated by commas. Exit code BK_EXIT_USAGE for
 * one that is malformed; unknown ones are refused by fuse_session_new. Release also after a
 * failure. */
int mount_options_parse(const char *const *texts, size_t n, MountOptions *ret_options, Error *e);
void mount_options_release(MountOptions *o);
