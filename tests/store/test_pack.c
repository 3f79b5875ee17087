#include "store/pack.h"

#include <errno.h>

#include "fixture.h"

typedef struct Pack {
    char *dir;
    Backend *b;
    Codec *codec;
    ObjectId sha256;
    char path[512];
} Pack;

static int setup(void **state)
{
    Error error = ERROR_INIT;
    Pack *p = calloc(1, sizeof(*p));
    p->dir = test_dir_new();
    assert_ok(backend_local_new(p->dir, &p->b, &error));
    assert_ok(p->b->ops->sweep(p->b, &error));
    assert_int_equal(codec_new(&p->codec), 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Pack *p = *state;
    codec_free(p->codec);
    p->b->ops->free(p->b);
    test_dir_remove(p->dir);
    free(p);
    return 0;
}

/* Append `data` raw, or as a delta of itself when `base` is given. */
static void add(Pack *p, PackWriter *w, const void *data, size_t len, const ObjectId *base)
{
    Error error = ERROR_INIT;
    PackEntry entry = {.type = OBJECT_DATA,
                       .encoding = base ? ENCODING_DELTA : ENCODING_RAW,
                       .depth = base ? 1 : 0,
                       .plain_len = (uint32_t)len,
                       .stored_len = (uint32_t)len,
                       .sketch.feature = {1, 2, 3}};
    Buf delta = BUF_INIT;
    const void *stored = data;
    assert_int_equal(id_of(data, len, &entry.id), 0);
    if (base) {
        assert_int_equal(codec_compress_delta(p->codec, 1, data, len, data, len, &delta), 0);
        stored = delta.data;
        entry.stored_len = (uint32_t)delta.len;
        entry.id.b[0] ^= 1; /* another object, as far as an index knows */
    }
    uint32_t offset;
    assert_ok(pack_writer_add(w, &entry, base, stored, &offset, &error));
    uint8_t magic[4];
    assert_ok(pack_writer_read(w, offset, magic, 4, &error));
    assert_memory_equal(magic, "BREC", 4);
    buf_release(&delta);
}

/* A pack of `n` objects of up to `max` bytes and, with `deltas`, one delta for each. */
static void make_pack(Pack *p, size_t n, size_t max, bool deltas)
{
    Error error = ERROR_INIT;
    PackWriter *w = NULL;
    uint8_t *data = malloc(max);
    assert_ok(pack_writer_new(p->b, PACK_DATA, &w, &error));
    for (size_t i = 0; i < n; i++) {
        ObjectId id;
        size_t len = max - i % max;
        test_fill_random(data, len, i);
        assert_int_equal(id_of(data, len, &id), 0);
        add(p, w, data, len, NULL);
        if (deltas)
            add(p, w, data, len, &id);
    }
    assert_ok(pack_writer_seal(w, &p->sha256, &error));
    assert_int_equal(pack_writer_index(w)->n, deltas ? 2 * n : n);
    assert_ok(pack_writer_publish(w, &error));
    pack_writer_free(w);
    free(data);
    char name[PACK_NAME_SIZE];
    pack_name(&p->sha256, name);
    snprintf(p->path, sizeof(p->path), "%s/%s", p->dir, name);
}

static BackendFile *open_pack(Pack *p)
{
    Error error = ERROR_INIT;
    BackendFile *f = NULL;
    char name[PACK_NAME_SIZE];
    pack_name(&p->sha256, name);
    assert_ok(p->b->ops->open(p->b, name, &f, &error));
    return f;
}

static void test_round_trip(void **state)
{
    Pack *p = *state;
    Error error = ERROR_INIT;
    static const size_t counts[] = {0, 1, 300};
    for (size_t c = 0; c < 3; c++)
        for (int deltas = 0; deltas < 2; deltas++) {
            make_pack(p, counts[c], 500, deltas);
            char command[700];
            char hex[ID_HEX_SIZE];
            id_to_hex(&p->sha256, hex);
            snprintf(command, sizeof(command), "test \"$(sha256sum < %s)\" = \"%s  -\"", p->path,
                     hex);
            assert_int_equal(system(command), 0);
            BackendFile *f = open_pack(p);
            PackIndex x = {0}, scanned = {0};
            uint64_t bad;
            assert_ok(pack_read_index(p->b, f, &x, &error));
            assert_ok(pack_scan(p->b, f, &scanned, &bad, &error));
            assert_int_equal(x.n, counts[c] * (deltas ? 2 : 1));
            assert_int_equal(x.n_bases, deltas ? counts[c] : 0);
            assert_int_equal(scanned.n, x.n);
            assert_int_equal(scanned.n_bases, x.n_bases);
            for (size_t i = 0; i < x.n; i++) {
                assert_memory_equal(&x.entries[i].id, &scanned.entries[i].id, ID_SIZE);
                assert_int_equal(x.entries[i].offset, scanned.entries[i].offset);
                assert_int_equal(x.entries[i].stored_len, scanned.entries[i].stored_len);
                assert_int_equal(x.entries[i].sketch.feature[1], 2);
            }
            if (x.n_bases)
                assert_memory_equal(x.bases, scanned.bases, x.n_bases * sizeof(*x.bases));
            pack_index_release(&x);
            pack_index_release(&scanned);
            p->b->ops->close(f);
        }
}

static void write_file(const char *path, const uint8_t *data, size_t len)
{
    chmod(path, 0600);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static uint8_t *read_file(const char *path, size_t *ret_len)
{
    Buf b = BUF_INIT;
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    int c;
    while ((c = getc(f)) != EOF)
        buf_add_u8(&b, (uint8_t)c);
    fclose(f);
    *ret_len = b.len;
    return b.data;
}

/* What can be noticed without the whole file's digest: every bit of header, trailer and index, and
 * of every record when it is read. */
static void test_every_bit_is_covered(void **state)
{
    Pack *p = *state;
    Error error = ERROR_INIT;
    make_pack(p, 3, 40, true);
    size_t len;
    uint8_t *data = read_file(p->path, &len);
    for (size_t at = 0; at < len; at++)
        for (int bit = 0; bit < 8; bit++) {
            data[at] ^= (uint8_t)(1 << bit);
            write_file(p->path, data, len);
            BackendFile *f = open_pack(p);
            PackIndex x = {0};
            bool noticed = pack_read_index(p->b, f, &x, &error) == -EBADMSG;
            for (size_t i = 0; i < x.n; i++) {
                PackRecord r;
                size_t offset = x.entries[i].offset;
                noticed |= pack_parse_record(data + offset, len - offset, &r, &error) < 0 ||
                           id_compare(&r.entry.id, &x.entries[i].id) != 0;
            }
            if (!noticed)
                fail_msg("bit %d of byte %zu", bit, at);
            pack_index_release(&x);
            /* The scan finds all records but the one that was hit. */
            assert_ok((error_release(&error), pack_scan(p->b, f, &x, NULL, &error)));
            assert_in_range(x.n, 5, 6);
            pack_index_release(&x);
            p->b->ops->close(f);
            data[at] ^= (uint8_t)(1 << bit);
        }
    error_release(&error);
    free(data);
}

static void test_truncated_and_random_files(void **state)
{
    Pack *p = *state;
    Error error = ERROR_INIT;
    make_pack(p, 5, 100, false);
    size_t len;
    uint8_t *data = read_file(p->path, &len), *copy = malloc(len);
    uint64_t random = 4;
    for (size_t i = 0; i < len + 500; i++) {
        memcpy(copy, data, len);
        size_t n = i < len ? i : len;
        for (int k = 0; i >= len && k < 20; k++)
            copy[test_random(&random) % len] = (uint8_t)test_random(&random);
        if (i % 5 == 0 && i >= len) /* nothing but noise behind a good header */
            test_fill_random(copy + 32, len - 32, i);
        write_file(p->path, copy, n);
        BackendFile *f = open_pack(p);
        PackIndex x = {0};
        if (pack_read_index(p->b, f, &x, &error) == 0)
            assert_true(i >= len);
        pack_index_release(&x);
        if (pack_scan(p->b, f, &x, NULL, &error) == 0)
            assert_true(x.n <= 5);
        pack_index_release(&x);
        p->b->ops->close(f);
    }
    error_release(&error);
    free(data);
    free(copy);
}

static void test_records_are_checked_against_their_id(void **state)
{
    Pack *p = *state;
    Error error = ERROR_INIT;
    make_pack(p, 1, 1000, false);
    size_t len;
    uint8_t *data = read_file(p->path, &len);
    PackRecord r;
    Object *o = NULL;
    assert_ok(pack_parse_record(data + PACK_HEADER_SIZE, len - PACK_HEADER_SIZE, &r, &error));
    assert_ok(pack_decompress(p->codec, &r, NULL, &o, &error));
    assert_ok(pack_check_id(&r.entry.id, o, &error));
    o->data[500] ^= 1;
    assert_int_equal(pack_check_id(&r.entry.id, o, &error), -EBADMSG);
    object_unref(o);
    /* Not enough bytes. */
    for (size_t n = 0; n < PACK_RECORD_SIZE + 1000; n += 7)
        assert_int_equal(pack_parse_record(data + PACK_HEADER_SIZE, n, &r, &error), -EBADMSG);
    error_release(&error);
    free(data);
}

static void test_discarded_packs_leave_nothing(void **state)
{
    Pack *p = *state;
    Error error = ERROR_INIT;
    PackWriter *w = NULL;
    assert_ok(pack_writer_new(p->b, PACK_NODES, &w, &error));
    add(p, w, "abc", 3, NULL);
    pack_writer_free(w);
    pack_writer_free(NULL);
    char command[600];
    snprintf(command, sizeof(command), "test -z \"$(find %s -type f)\"", p->dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_DIR(test_round_trip),
        IN_DIR(test_every_bit_is_covered),
        IN_DIR(test_truncated_and_random_files),
        IN_DIR(test_records_are_checked_against_their_id),
        IN_DIR(test_discarded_packs_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
