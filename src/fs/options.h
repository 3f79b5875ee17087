/* The -o options of bakfs: its own, those that libfuse and the kernel know, and those of fstab
 * that are meant for mount(8) only. */
#pragma once

#include <stdint.h>

#include "fs/fs.h"

#define MOUNT_CACHE_DEFAULT (256ull << 20) /* bytes */

typedef struct MountOptions {
    uint64_t cache_size;   /* bytes */
    char *collection;      /* "ns/name" or NULL; owned */
    struct fuse_args args; /* for fuse_session_new */
} MountOptions;

/* Take the arguments of -o options, each a list separated by commas. Exit code BK_EXIT_USAGE for
 * one that is malformed; unknown ones are refused by fuse_session_new. Release also after a
 * failure. */
int mount_options_parse(const char *const *texts, size_t n, MountOptions *ret_options, Error *e);
void mount_options_release(MountOptions *o);
