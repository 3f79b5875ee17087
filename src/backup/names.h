/* Names: what a backup is called, from options and the environment of a job. product page: archive
 * names are <TS>--<repo>--<event>--<sha>. */
#pragma once

#include <stdint.h>

#include "util/error.h"

typedef struct BackupNames {
    char *repo;  /* as shown in the archive name: no '/' */
    char *event; /* push pr schedule manual standalone, or what the job's system calls it */
    char *sha;   /* the first 7 characters */
    char *full_sha;
} BackupNames;
void backup_names_release(BackupNames *n);

/* Options first (NULL when not given), then GITHUB_REPOSITORY, GITHUB_EVENT_NAME and GITHUB_SHA,
 * then "standalone". -EINVAL with exit code 2 for what can't be part of a file's name. */
int backup_names_find(const char *repo, const char *event, const char *sha, BackupNames *ret_names,
                      Error *e);

/* <TS>--<repo>--<event>--<sha>; free with free(). NULL when out of memory. */
char *backup_names_archive(const BackupNames *n, int64_t timestamp);

/* "default/<name>" with the bytes a collection can't have replaced by '_'; free with free(). NULL
 * when out of memory. */
char *backup_default_collection(const char *database);
