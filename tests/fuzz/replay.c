/* Runs a fuzz target without libFuzzer: on every file of the directories and files given, and on
 * deterministic mutations of each, so that every test run covers the parsers a little. */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../support.h"
#include "fuzz.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/io.h"

#define INPUT_MAX (1u << 20)
#define MUTATIONS 2000

static uint64_t random_state;

static uint64_t next_random(void)
{
    return test_random(&random_state);
}

/* Change a few bytes, cut the end off, or repeat a stretch. */
static int mutate(const Buf *seed, Buf *out)
{
    buf_clear(out);
    int r = buf_add(out, seed->data, seed->len);
    if (r < 0 || seed->len == 0)
        return r;
    for (uint64_t n = next_random() % 4; n > 0; n--)
        out->data[next_random() % out->len] = (uint8_t)next_random();
    switch (next_random() % 4) {
    case 0:
        out->len = next_random() % (out->len + 1);
        break;
    case 1: {
        size_t at = next_random() % seed->len;
        r = buf_add(out, seed->data + at, next_random() % (seed->len - at + 1));
        break;
    }
    case 2:
        if (out->len > 8)
            memset(out->data + next_random() % (out->len - 8), 0xff, 1 + next_random() % 8);
        break;
    default:
        break;
    }
    return r;
}

/* An exact copy on the heap, so that a sanitizer sees a read past the end. */
static int run_one(const uint8_t *data, size_t len)
{
    _cleanup_free_ uint8_t *copy = calloc(1, len ? len : 1);
    if (!copy)
        return -1;
    if (len)
        memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    return 0;
}

static int replay_file(const char *path)
{
    _cleanup_(buf_release) Buf seed = BUF_INIT, mutated = BUF_INIT;
    if (io_read_file(AT_FDCWD, path, INPUT_MAX, &seed) < 0) {
        fprintf(stderr, "cannot read %s\n", path);
        return -1;
    }
    random_state = 0x9e3779b97f4a7c15 ^ seed.len;
    if (run_one(seed.data, seed.len) < 0)
        return -1;
    for (int i = 0; i < MUTATIONS; i++)
        if (mutate(&seed, &mutated) < 0 || run_one(mutated.data, mutated.len) < 0)
            return -1;
    return 0;
}

static int replay_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort), failed = n < 0 ? 1 : 0;
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && replay_file(file) < 0)
            failed++;
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return failed ? -1 : 0;
}

int main(int argc, char **argv)
{
    int failed = run_one(NULL, 0) < 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool directory = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        failed |= (directory ? replay_directory(argv[i]) : replay_file(argv[i])) < 0;
    }
    return failed;
}
