/* What several unit tests share: reproducible bytes and a scratch directory. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* xorshift64*: the same bytes on every machine. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static inline void test_fill_random(uint8_t *data, size_t len, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(test_random(&state) >> 32);
}

/* Rows of text of some 60 bytes, as COPY gives them, numbered from `first`. Returns the bytes
 * written, at most `len`; whole rows only. */
static inline size_t test_fill_rows(uint8_t *data, size_t len, uint64_t first, uint64_t seed)
{
    size_t at = 0;
    for (uint64_t i = first;; i++) {
        uint64_t state = (i + seed) * 0x9e3779b97f4a7c15ULL + 1;
        char row[128];
        int n = snprintf(row, sizeof(row), "%llu\tcustomer-%llx@example.org\t%llu\tactive\n",
                         (unsigned long long)i, (unsigned long long)test_random(&state),
                         (unsigned long long)(test_random(&state) % 100000));
        if (at + (size_t)n > len)
            return at;
        memcpy(data + at, row, (size_t)n);
        at += (size_t)n;
    }
}

/* A new scratch directory; test_dir_remove takes it away and frees the path. */
static inline char *test_dir_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/bakfs-test-XXXXXX", base && *base ? base : "/tmp") < 0)
        return NULL;
    if (!mkdtemp(path)) {
        free(path);
        return NULL;
    }
    return path;
}

static inline void test_dir_remove(char *path)
{
    if (!path)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    free(path);
}
