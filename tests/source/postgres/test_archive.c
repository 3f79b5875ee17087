#include "source/postgres/archive.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

/* An archive in memory, handed out in steps of up to `step` bytes. */
typedef struct Input {
    const uint8_t *data;
    size_t len, at, step;
} Input;

static ssize_t read_input(void *ctx, void *data, size_t len, Error *e)
{
    Input *in = ctx;
    size_t n = in->len - in->at;
    n = n < len ? n : len;
    n = n < in->step ? n : in->step;
    if (n)
        memcpy(data, in->data + in->at, n);
    in->at += n;
    return (ssize_t)n;
}

static int32_t deps[] = {3, 1};

static TocEntry entries[] = {
    {.dump_id = 3,
     .table_oid = 1259,
     .oid = 4294967295u,
     .tag = "customers",
     .desc = "TABLE",
     .section = SECTION_PRE_DATA,
     .defn = "CREATE TABLE public.customers ();\n",
     .drop_stmt = "DROP TABLE public.customers;\n",
     .namespace = "public",
     .tablespace = "",
     .tableam = "heap",
     .owner = "postgres",
     .data_state = DATA_NONE},
    {.dump_id = 7,
     .had_dumper = true,
     .oid = 16384,
     .tag = "customers",
     .desc = "TABLE DATA",
     .section = SECTION_DATA,
     .copy_stmt = "COPY public.customers (id) FROM stdin;\n",
     .namespace = "public",
     .owner = "postgres",
     .deps = deps,
     .n_deps = 2,
     .data_state = DATA_POS_SET,
     .data_offset = 0x123456789abcull},
    {.dump_id = 8,
     .had_dumper = true,
     .tag = "BLOBS",
     .desc = "BLOBS",
     .section = SECTION_DATA,
     .data_state = DATA_POS_NOT_SET},
};

static Archive sample(uint8_t minor)
{
    entries[0].relkind = minor >= 16 ? 'r' : 0;
    return (Archive){.minor = minor,
                     .created = {59, 58, 23, 31, 11, 125, -1},
                     .dbname = "shop",
                     .server_version = "15.20",
                     .n = 3,
                     .entries = entries};
}

static void add_blocks(Buf *b)
{
    assert_int_equal(archive_encode_block(b, BLOCK_BLOBS, 8), 0);
    assert_int_equal(archive_encode_oid(b, 4294967295u), 0);
    assert_int_equal(archive_encode_bytes(b, "large", 5), 0);
    assert_int_equal(archive_encode_bytes(b, "object", 6), 0);
    assert_int_equal(archive_encode_end(b), 0);
    assert_int_equal(archive_encode_oid(b, 5), 0);
    assert_int_equal(archive_encode_end(b), 0); /* an empty one */
    assert_int_equal(archive_encode_end(b), 0);
    assert_int_equal(archive_encode_block(b, BLOCK_DATA, 9), 0);
    assert_int_equal(archive_encode_end(b), 0);
    assert_int_equal(archive_encode_block(b, BLOCK_DATA, 7), 0);
    assert_int_equal(archive_encode_bytes(b, "1\n", 2), 0);
    assert_int_equal(archive_encode_bytes(b, "22\n", 3), 0);
    assert_int_equal(archive_encode_end(b), 0);
}

static void encode(uint8_t minor, Buf *b)
{
    const Archive a = sample(minor);
    assert_int_equal(archive_encode(&a, b), 0);
    add_blocks(b);
}

static void assert_same_text(const char *x, const char *y)
{
    if (x && y)
        assert_string_equal(x, y);
    else
        assert_ptr_equal(x, y);
}

static void assert_same_entry(const TocEntry *x, const TocEntry *y)
{
    assert_int_equal(x->dump_id, y->dump_id);
    assert_int_equal(x->had_dumper, y->had_dumper);
    assert_int_equal(x->table_oid, y->table_oid);
    assert_int_equal(x->oid, y->oid);
    assert_int_equal(x->section, y->section);
    assert_int_equal(x->relkind, y->relkind);
    assert_same_text(x->tag, y->tag);
    assert_same_text(x->desc, y->desc);
    assert_same_text(x->defn, y->defn);
    assert_same_text(x->drop_stmt, y->drop_stmt);
    assert_same_text(x->copy_stmt, y->copy_stmt);
    assert_same_text(x->namespace, y->namespace);
    assert_same_text(x->tablespace, y->tablespace);
    assert_same_text(x->tableam, y->tableam);
    assert_same_text(x->owner, y->owner);
    assert_int_equal(x->n_deps, y->n_deps);
    for (size_t i = 0; i < x->n_deps; i++)
        assert_int_equal(x->deps[i], y->deps[i]);
    assert_int_equal(x->data_state, y->data_state);
    assert_int_equal(x->data_offset, y->data_offset);
}

/* Read header, TOC and the rows of entry 7. 0 or the first error, which must have a message. */
static int read_all(const Buf *b, size_t len, size_t step, Archive *a, Buf *rows)
{
    Input in = {b->data, len, 0, step};
    ArchiveReader *r = NULL;
    Error e = ERROR_INIT;
    int type, more = 0;
    int32_t id;
    assert_int_equal(archive_reader_new(read_input, &in, &r), 0);
    int err = archive_read_toc(r, a, &e);
    while (err == 0 && (more = archive_next_block(r, &type, &id, &e)) > 0) {
        const uint8_t *data;
        size_t n;
        if (id != 7)
            continue;
        while ((more = archive_next_bytes(r, &data, &n, &e)) > 0)
            assert_int_equal(buf_add(rows, data, n), 0);
        if (more < 0)
            break;
    }
    if (err == 0)
        err = more;
    assert_true(err == 0 || e.message != NULL);
    error_release(&e);
    archive_reader_free(r);
    return err;
}

static void test_round_trip(void **state)
{
    for (uint8_t minor = ARCHIVE_MINOR_MIN; minor <= ARCHIVE_MINOR_MAX; minor++) {
        static const size_t steps[] = {1, 7, 100000};
        for (size_t s = 0; s < 3; s++) {
            _cleanup_(buf_release) Buf b = BUF_INIT, rows = BUF_INIT;
            _cleanup_(archive_release) Archive a = {0};
            encode(minor, &b);
            assert_int_equal(read_all(&b, b.len, steps[s], &a, &rows), 0);
            const Archive want = sample(minor);
            assert_int_equal(a.minor, minor);
            assert_string_equal(a.dbname, "shop");
            assert_string_equal(a.server_version, "15.20");
            assert_null(a.tool_version);
            assert_memory_equal(a.created, want.created, sizeof(a.created));
            assert_int_equal(a.n, want.n);
            for (size_t i = 0; i < a.n; i++)
                assert_same_entry(&a.entries[i], &want.entries[i]);
            assert_int_equal(rows.len, 5);
            assert_memory_equal(rows.data, "1\n22\n", 5);
        }
    }
}

/* An archive cut anywhere is an error, but for the borders of data blocks. */
static void test_truncated(void **state)
{
    _cleanup_(buf_release) Buf whole = BUF_INIT, toc = BUF_INIT;
    const Archive want = sample(14);
    encode(14, &whole);
    assert_int_equal(archive_encode(&want, &toc), 0);
    size_t complete = 0;
    for (size_t len = 0; len < whole.len; len++) {
        _cleanup_(buf_release) Buf rows = BUF_INIT;
        _cleanup_(archive_release) Archive a = {0};
        int r = read_all(&whole, len, 64, &a, &rows);
        assert_true(r == 0 || r == -EPIPE);
        assert_true(r == -EPIPE || len >= toc.len);
        complete += r == 0;
    }
    assert_int_equal(complete, 3); /* after the TOC and after each block but the last */
}

static void expect_refused(size_t at, uint8_t value, int want)
{
    _cleanup_(buf_release) Buf b = BUF_INIT, rows = BUF_INIT;
    _cleanup_(archive_release) Archive a = {0};
    encode(14, &b);
    b.data[at] = value;
    assert_int_equal(read_all(&b, b.len, 64, &a, &rows), want);
}

static void test_refused(void **state)
{
    expect_refused(0, 'X', -EBADMSG);        /* magic */
    expect_refused(5, 2, -EPROTONOSUPPORT);  /* major version */
    expect_refused(6, 13, -EPROTONOSUPPORT); /* PostgreSQL 11 */
    expect_refused(6, 17, -EPROTONOSUPPORT); /* not yet invented */
    expect_refused(8, 8, -EPROTONOSUPPORT);  /* size of numbers */
    expect_refused(9, 4, -EPROTONOSUPPORT);  /* size of offsets */
    expect_refused(10, 3, -EPROTONOSUPPORT); /* tar */
    expect_refused(11, 2, -EBADMSG);         /* a number's sign */
    expect_refused(12, 6, -EPROTONOSUPPORT); /* compressed: TOC yes, data no */
}

/* A length far beyond what is there must not be believed. */
static void test_huge_string(void **state)
{
    _cleanup_(buf_release) Buf b = BUF_INIT, rows = BUF_INIT;
    _cleanup_(archive_release) Archive a = {0};
    const Archive want = sample(14);
    assert_int_equal(archive_encode(&want, &b), 0);
    size_t dbname = 11 + 5 + 7 * 5;
    store_u32(b.data + dbname + 1, ARCHIVE_STRING_MAX);
    assert_int_equal(read_all(&b, b.len, 64, &a, &rows), -EBADMSG); /* a zero byte comes */
    store_u32(b.data + dbname + 1, ARCHIVE_STRING_MAX + 1);
    assert_int_equal(read_all(&b, b.len, 64, &a, &rows), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_huge_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
