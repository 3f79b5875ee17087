/* Measures the catalogue as it grows: `bench-catalogue DIRECTORY CHUNKS...` adds chunks until there
 * are as many as each argument says (rising) and prints one JSON line a size. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store/catalogue.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define STORE_ID     "00000000000000000000000000000001"
#define PACK_RECORDS 1500u /* a 64 MiB pack of compressed 128 KiB chunks */
#define BULK_PACKS   500u  /* packs a transaction, where nothing is measured */
#define BACKUP_PACKS 5u    /* of a backup with 1 GB of changed data */
#define LOOK_UPS     50000u

/* SplitMix64: the same ids in every run. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static ObjectId make_id(uint64_t kind, uint64_t number)
{
    ObjectId id;
    for (uint64_t i = 0; i < ID_SIZE / 8; i++) {
        uint64_t word = mix(kind << 56 ^ number << 2 ^ i);
        memcpy(id.b + 8 * i, &word, 8);
    }
    return id;
}

static int add_pack(Catalogue *c, uint64_t number, PackEntry *entries, Error *e)
{
    uint32_t offset = PACK_HEADER_SIZE;
    for (uint32_t i = 0; i < PACK_RECORDS; i++) {
        entries[i] = (PackEntry){.id = make_id(1, number * PACK_RECORDS + i),
                                 .offset = offset,
                                 .stored_len = 44000,
                                 .plain_len = 131072,
                                 .type = OBJECT_DATA,
                                 .encoding = ENCODING_ZSTD};
        offset += PACK_RECORD_SIZE + entries[i].stored_len;
    }
    ObjectId name = make_id(2, number);
    return catalogue_add_pack(c, &name, offset, &(PackIndex){.n = PACK_RECORDS, .entries = entries},
                              e);
}

/* Add the next `count` packs in one transaction. */
static int add_packs(Catalogue *c, uint64_t *packs, uint64_t count, Error *e)
{
    static PackEntry entries[PACK_RECORDS];
    int r = catalogue_begin(c, e);
    for (uint64_t i = 0; r == 0 && i < count; i++)
        r = add_pack(c, (*packs)++, entries, e);
    return r == 0 ? catalogue_commit(c, e) : r;
}

/* Add packs until `chunks` are there, then those of one more backup, which takes `ret_time`. */
static int grow(const char *dir, uint64_t *packs, uint64_t chunks, double *ret_time, Error *e)
{
    Catalogue *c = NULL;
    int r = catalogue_open(dir, STORE_ID, *packs ? CATALOGUE_WRITE : CATALOGUE_NEW, &c, e);
    while (r == 0 && *packs * PACK_RECORDS < chunks) {
        uint64_t missing = chunks / PACK_RECORDS + 1 - *packs;
        r = add_packs(c, packs, missing < BULK_PACKS ? missing : BULK_PACKS, e);
    }
    double start = clock_monotonic();
    if (r == 0)
        r = add_packs(c, packs, BACKUP_PACKS, e);
    *ret_time = clock_monotonic() - start;
    catalogue_free(c);
    return r;
}

/* Microseconds a look-up takes on average: of chunks that are there (kind 1) or not (kind 3). */
static int look_up(Catalogue *c, uint64_t kind, uint64_t chunks, double *ret_us, Error *e)
{
    double start = clock_monotonic();
    for (uint32_t i = 0; i < LOOK_UPS; i++) {
        ObjectId id = make_id(kind, mix(i) % chunks);
        Place place;
        int r = catalogue_find(c, &id, &place);
        if (r != (kind == 1 ? 0 : -ENOENT))
            return error_set(e, EIO, "a look-up gave %d", r);
    }
    *ret_us = (clock_monotonic() - start) / LOOK_UPS * 1e6;
    return 0;
}

static int measure(const char *dir, uint64_t *packs, uint64_t chunks, Error *e)
{
    double adding, hit_us = 0, miss_us = 0;
    int r = grow(dir, packs, chunks, &adding, e);
    if (r < 0)
        return r;
    chunks = *packs * PACK_RECORDS;
    _cleanup_free_ char *path = NULL;
    struct stat st;
    if (asprintf(&path, "%s/metadata.db", dir) < 0)
        return error_oom(e);
    if (stat(path, &st) < 0)
        return error_errno(e, errno, "stat %s", path);

    double start = clock_monotonic();
    Catalogue *c = NULL;
    r = catalogue_open(dir, STORE_ID, CATALOGUE_READ, &c, e);
    double open_ms = (clock_monotonic() - start) * 1e3;
    if (r == 0)
        r = look_up(c, 1, chunks, &hit_us, e);
    if (r == 0)
        r = look_up(c, 3, chunks, &miss_us, e);
    catalogue_free(c);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (r == 0)
        printf("{\"chunks\": %" PRIu64
               ", \"adding_ms\": %.3f, \"open_ms\": %.3f, \"hit_us\": %.3f, "
               "\"miss_us\": %.3f, \"file_bytes\": %" PRIu64 ", \"rss_bytes\": %ld}\n",
               chunks, adding * 1e3, open_ms, hit_us, miss_us, (uint64_t)st.st_size,
               usage.ru_maxrss * 1024);
    return r;
}

int main(int argc, char **argv)
{
    Error e = ERROR_INIT;
    uint64_t packs = 0;
    int r = argc < 3 ? error_set(&e, EINVAL, "usage: bench-catalogue DIRECTORY CHUNKS...") : 0;
    for (int i = 2; r == 0 && i < argc; i++)
        r = measure(argv[1], &packs, strtoull(argv[i], NULL, 10), &e);
    if (r < 0)
        fprintf(stderr, "bench-catalogue: %s\n", e.message);
    error_release(&e);
    return r < 0;
}
