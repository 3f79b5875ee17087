#include <errno.h>

#include "source/postgres/archive_file.h"
#include "source/postgres/blob_writer.h"

#include "../../fixture.h"

static const char after[] = "\\.\n\n\n";

/* `len` bytes as a rope of `n` objects, or of what a stream makes of them when `n` is 0. */
static void make_rows(Fixture *f, size_t len, size_t n, Rope *ret_rope, Buf *ret_bytes)
{
    Error error = ERROR_INIT;
    Buf bytes = BUF_INIT;
    assert_int_equal(buf_reserve(&bytes, len + 1), 0);
    test_fill_random(bytes.data, len, len + n);
    bytes.len = len;
    if (n == 0) {
        Stream *s = NULL;
        assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
        assert_ok(stream_write(s, bytes.data, len, &error));
        assert_ok(stream_finish(s, ret_rope, NULL, &error));
        stream_free(s);
    } else {
        RopeBuilder *b = NULL;
        assert_int_equal(rope_builder_new(f->writer, &b), 0);
        for (size_t i = 0; i < n; i++) {
            size_t from = len / n * i, to = i + 1 < n ? len / n * (i + 1) : len;
            ObjectId id;
            assert_ok(
                writer_put(f->writer, OBJECT_DATA, bytes.data + from, to - from, &id, &error));
            assert_ok(rope_builder_object(b, &id, (uint32_t)(to - from), &error));
        }
        assert_ok(rope_builder_finish(b, ret_rope, &error));
        rope_builder_free(b);
    }
    *ret_bytes = bytes;
}

static void read_rope(Fixture *f, const Rope *rope, Buf *ret_bytes)
{
    Error error = ERROR_INIT;
    Buf out = BUF_INIT;
    assert_int_equal(buf_reserve(&out, rope->length + 1), 0);
    while (out.len < rope->length) {
        ssize_t n = rope_read(writer_objects(f->writer), rope->node.data, rope->node.len, out.len,
                              out.data + out.len, rope->length - out.len, &error);
        assert_ok((int)(n < 0 ? n : 0));
        assert_true(n > 0);
        out.len += (size_t)n;
    }
    *ret_bytes = out;
}

/* A number as archives hold it. */
static uint32_t take_number(Cursor *c)
{
    assert_int_equal(cursor_u8(c), 0);
    return cursor_u32(c);
}

static void check_frames(Fixture *f, size_t len, size_t n)
{
    Error error = ERROR_INIT;
    Rope rows = ROPE_INIT, framed = ROPE_INIT;
    Buf bytes, all;
    make_rows(f, len, n, &rows, &bytes);
    assert_ok(archive_frame_rows(f->writer, &rows, after, &framed, &error));
    read_rope(f, &framed, &all);
    Cursor c = cursor_init(all.data, all.len);
    size_t at = 0;
    while (at < len) {
        uint32_t frame = take_number(&c);
        assert_in_range(frame, 1, 16 << 20);
        assert_true(frame >= 64 << 10 || at + frame == len);
        const uint8_t *p = cursor_bytes(&c, frame);
        assert_non_null(p);
        assert_true(at + frame <= len);
        assert_memory_equal(p, bytes.data + at, frame);
        at += frame;
    }
    assert_int_equal(take_number(&c), strlen(after));
    assert_memory_equal(cursor_bytes(&c, strlen(after)), after, strlen(after));
    assert_int_equal(take_number(&c), 0);
    assert_false(c.failed);
    assert_int_equal(cursor_left(&c), 0);
    rope_release(&rows);
    rope_release(&framed);
    buf_release(&bytes);
    buf_release(&all);
}

static void test_frames(void **state)
{
    static const size_t sizes[][2] = {{0, 0},          {1, 1},        {512, 0},
                                      {513, 0},        {4 << 20, 4},  {(4 << 20) + 1, 5},
                                      {3000001, 0},    {40 << 20, 0}, {17 << 20, 17},
                                      {30 << 20, 200}, {60 << 20, 60}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_frames(*state, sizes[i][0], sizes[i][1]);
}

static ssize_t read_buf(void *ctx, void *data, size_t len, Error *e)
{
    Cursor *c = ctx;
    (void)e;
    size_t n = cursor_left(c) < len ? cursor_left(c) : len;
    if (n > 0)
        memcpy(data, cursor_bytes(c, n), n);
    return (ssize_t)n;
}

static void check_bytes(ArchiveReader *r, const void *expected, size_t len)
{
    Error error = ERROR_INIT;
    const uint8_t *data;
    size_t n, at = 0;
    int more;
    while ((more = archive_next_bytes(r, &data, &n, &error)) > 0) {
        assert_true(at + n <= len);
        assert_memory_equal(data, (const uint8_t *)expected + at, n);
        at += n;
    }
    assert_ok(more);
    assert_int_equal(at, len);
}

/* Large objects of these lengths: bunched small ones, of several commands, of several pieces. */
static const size_t blob_sizes[] = {0, 1, 10, 4096, 4097, 16384, 1 << 20, (2 << 20) + 3, 7, 0, 5};
#define N_BLOBS (sizeof(blob_sizes) / sizeof(blob_sizes[0]))

static uint32_t blob_oid(size_t i)
{
    return i == 3 ? 4294967290u : 5000 + (uint32_t)i;
}

static void make_blobs(Fixture *f, const uint8_t *random, BlobData *ret_data)
{
    Error error = ERROR_INIT;
    const BlobTemplate t = {.open_a = {"open(", 5},
                            .open_b = {")\n", 2},
                            .write_a = {"write(", 6},
                            .write_b = {")\n", 2},
                            .close = {"close\n\n", 7}};
    BlobWriter *w = NULL;
    assert_int_equal(blob_writer_new(f->writer, &t, &w), 0);
    assert_int_equal(blob_writer_begin(w, 0, NULL), -EBADMSG);
    for (size_t i = 0; i < N_BLOBS; i++) {
        assert_ok(blob_writer_begin(w, blob_oid(i), &error));
        for (size_t at = 0, n = 0; at < blob_sizes[i]; at += n) { /* in pieces of any size */
            n = i % 2 ? blob_sizes[i] : 1 + at % 70001;
            n = n < blob_sizes[i] - at ? n : blob_sizes[i] - at;
            assert_ok(blob_writer_write(w, random + i + at, n, &error));
        }
        assert_ok(blob_writer_end(w, &error));
    }
    assert_ok(blob_writer_finish(w, ret_data, &error));
    blob_writer_free(w);
}

static void check_blob_script(Fixture *f, const Rope *script, const uint8_t *random)
{
    Buf found, expected = BUF_INIT;
    read_rope(f, script, &found);
    for (size_t i = 0; i < N_BLOBS; i++) {
        assert_int_equal(buf_addf(&expected, "open(%u)\n", blob_oid(i)), 0);
        for (size_t at = 0; at < blob_sizes[i]; at++) {
            if (at % 16384 == 0)
                assert_int_equal(buf_add_str(&expected, at ? ")\nwrite(" : "write("), 0);
            assert_int_equal(buf_addf(&expected, "%02x", random[i + at]), 0);
        }
        assert_int_equal(buf_add_str(&expected, blob_sizes[i] ? ")\nclose\n\n" : "close\n\n"), 0);
    }
    assert_int_equal(found.len, expected.len);
    assert_memory_equal(found.data, expected.data, found.len);
    buf_release(&found);
    buf_release(&expected);
}

/* Write an archive of three tables and large objects, read it back, follow its offsets. */
static void test_archive(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Rope rows[2] = {ROPE_INIT, ROPE_INIT}, framed[2] = {ROPE_INIT, ROPE_INIT}, file = ROPE_INIT;
    Buf bytes[2], all;
    uint8_t *random = malloc((2 << 20) + 100);
    test_fill_random(random, (2 << 20) + 100, 5);
    static const size_t sizes[2] = {20 << 20, 0};
    BlobData blobs;
    make_blobs(f, random, &blobs);
    check_blob_script(f, &blobs.script, random);
    for (size_t i = 0; i < 2; i++) {
        make_rows(f, sizes[i], 0, &rows[i], &bytes[i]);
        assert_ok(archive_frame_rows(f->writer, &rows[i], after, &framed[i], &error));
    }
    TocEntry entries[] = {
        {.dump_id = 9, .desc = "TABLE", .tag = "t", .defn = "CREATE", .data_state = DATA_NONE},
        {.dump_id = 3, .desc = "TABLE DATA", .had_dumper = true, .data_state = DATA_POS_NOT_SET},
        {.dump_id = 4, .desc = "TABLE DATA", .had_dumper = true, .data_state = DATA_POS_NOT_SET},
        {.dump_id = 5, .desc = "BLOBS", .had_dumper = true, .data_state = DATA_POS_NOT_SET},
        {.dump_id = 6, .desc = "TABLE DATA", .had_dumper = true, .data_state = DATA_POS_NOT_SET},
        {.dump_id = 7, .desc = "INDEX", .tag = "i", .defn = "CREATE", .data_state = DATA_NONE},
    };
    const size_t n = sizeof(entries) / sizeof(entries[0]);
    const Rope *data[] = {NULL, &framed[0], &framed[1], &blobs.archive, NULL, NULL};
    const bool chosen[] = {true, false, true, true, false, false};
    const SourceRun run = {.writer = f->writer, .timestamp = 1768487445};
    for (uint8_t minor = 14; minor <= 16; minor++) {
        for (int part = 0; part < 2; part++) {
            const Archive toc = {.minor = minor, .compression = 6, .n = n, .entries = entries};
            Archive found = {0};
            ArchiveReader *r = NULL;
            assert_ok(archive_file_write(&run, &toc, data, part ? chosen : NULL, &file, &error));
            read_rope(f, &file, &all);
            Cursor c = cursor_init(all.data, all.len);
            assert_int_equal(archive_reader_new(read_buf, &c, &r), 0);
            assert_ok(archive_read_toc(r, &found, &error));
            assert_int_equal(found.minor, minor);
            assert_int_equal(found.compression, 0);
            assert_int_equal(found.n, part ? 3 : n);
            for (size_t i = 0; i < found.n; i++) {
                const TocEntry *t = &found.entries[i];
                int type;
                int32_t id;
                uint32_t oid;
                assert_int_equal(t->data_state, t->had_dumper ? DATA_POS_SET : DATA_NONE);
                if (!t->had_dumper)
                    continue;
                assert_true(t->data_offset < all.len);
                assert_int_equal(all.data[t->data_offset],
                                 toc_is(t, "BLOBS") ? BLOCK_BLOBS : BLOCK_DATA);
                assert_int_equal(load_u32(all.data + t->data_offset + 2), t->dump_id);
                assert_int_equal(archive_next_block(r, &type, &id, &error), 1);
                assert_int_equal(id, t->dump_id);
                if (t->dump_id == 3) { /* left unread: it is passed over */
                    continue;
                } else if (t->dump_id == 4) {
                    check_bytes(r, after, strlen(after));
                } else if (t->dump_id == 6) {
                    check_bytes(r, NULL, 0);
                } else {
                    for (size_t k = 0; k < N_BLOBS; k++) {
                        assert_int_equal(archive_next_blob(r, &oid, &error), 1);
                        assert_int_equal(oid, blob_oid(k));
                        if (k != 4)
                            check_bytes(r, random + k, blob_sizes[k]);
                    }
                    assert_int_equal(archive_next_blob(r, &oid, &error), 0);
                }
            }
            int type;
            int32_t id;
            assert_int_equal(archive_next_block(r, &type, &id, &error), 0);
            archive_reader_free(r);
            archive_release(&found);
            rope_release(&file);
            buf_release(&all);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        rope_release(&rows[i]);
        rope_release(&framed[i]);
        buf_release(&bytes[i]);
    }
    blob_data_release(&blobs);
    free(random);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_frames),
        WITH_STORE(test_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
