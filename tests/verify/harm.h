/* Harming a store on purpose. */
#pragma once

#include <fcntl.h>
#include <ftw.h>

#include "fixture.h"
#include "verify/damage.h"

/* Paths of the store's files whose path contains `part`, sorted; at most 64. */
typedef struct Files {
    char *paths[64];
    size_t n;
} Files;

static Files *files_found;
static const char *files_part;

static inline int files_visit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (kind == FTW_F && strstr(path, files_part) && files_found->n < 64)
        files_found->paths[files_found->n++] = strdup(path);
    return 0;
}

static inline int files_compare(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static inline void files_list(const Fixture *f, const char *part, Files *ret)
{
    *ret = (Files){0};
    files_found = ret;
    files_part = part;
    assert_int_equal(nftw(f->path, files_visit, 16, FTW_PHYS), 0);
    qsort(ret->paths, ret->n, sizeof(*ret->paths), files_compare);
}

static inline void files_release(Files *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->paths[i]);
}

static inline size_t file_size(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

/* Of several days' packs the one of the first, which has no deltas. */
static inline char *files_biggest(const Files *l)
{
    size_t big = 0;
    for (size_t i = 1; i < l->n; i++)
        if (file_size(l->paths[i]) > file_size(l->paths[big]))
            big = i;
    return l->paths[big];
}

/* Flip bits of one byte; doing it again undoes it. */
static inline void flip(const char *path, size_t offset, uint8_t mask)
{
    uint8_t byte;
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static inline bool damage_names(const DamageList *l, DamageKind kind, const char *path)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].kind == kind && l->items[i].file && strstr(path, l->items[i].file))
            return true;
    return false;
}
