#include "source/postgres/script.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "source/postgres/child.h"
#include "util/cleanup.h"
#include "util/io.h"

static const uint8_t secret[32] = "an example of a store's secret.";
static PgTools tools;

#define ODD_SPACE "od;\n\n--\n-- Name: \"\"d"

static TocEntry entries[] = {
    {.dump_id = 1,
     .tag = "ENCODING",
     .desc = "ENCODING",
     .section = SECTION_PRE_DATA,
     .defn = "SET client_encoding = 'UTF8';\n"},
    {.dump_id = 2,
     .tag = "STDSTRINGS",
     .desc = "STDSTRINGS",
     .section = SECTION_PRE_DATA,
     .defn = "SET standard_conforming_strings = 'on';\n"},
    {.dump_id = 3,
     .tag = "SEARCHPATH",
     .desc = "SEARCHPATH",
     .section = SECTION_PRE_DATA,
     .defn = "SELECT pg_catalog.set_config('search_path', '', false);\n"},
    {.dump_id = 4,
     .tag = "a",
     .desc = "TABLE",
     .section = SECTION_PRE_DATA,
     .tablespace = "",
     .defn = "CREATE TABLE public.a (\n    x integer\n);\n",
     .drop_stmt = "DROP TABLE public.a;\n",
     .namespace = "public",
     .tableam = "heap",
     .owner = "o"},
    {.dump_id = 5,
     .tag = "b\nc",
     .desc = "TABLE",
     .section = SECTION_PRE_DATA,
     .tablespace = "od;\n\n--\n-- Name: \"d",
     .defn = "CREATE TABLE public.b ();\n",
     .drop_stmt = "DROP TABLE public.b;\n",
     .namespace = "public",
     .tableam = "heap",
     .owner = "o"},
    {.dump_id = 6,
     .tag = "c",
     .desc = "TABLE",
     .section = SECTION_PRE_DATA,
     .tablespace = "",
     .defn = "CREATE TABLE public.c ();\n",
     .drop_stmt = "DROP TABLE public.c;\n",
     .namespace = "public",
     .tableam = "other",
     .owner = "o"},
    {.dump_id = 7,
     .tag = "TABLE a",
     .desc = "ACL",
     .section = SECTION_NONE,
     .defn = "GRANT SELECT ON TABLE public.a TO PUBLIC;\n",
     .namespace = "public",
     .owner = "o",
     .deps = (int32_t[]){4},
     .n_deps = 1},
    {.dump_id = 8,
     .tag = "et",
     .desc = "EVENT TRIGGER",
     .section = SECTION_POST_DATA,
     .defn = "CREATE EVENT TRIGGER et;\n",
     .drop_stmt = "DROP EVENT TRIGGER et;\n",
     .owner = "o"},
    {.dump_id = 9,
     .had_dumper = true,
     .oid = 4,
     .tag = "a",
     .desc = "TABLE DATA",
     .section = SECTION_DATA,
     .copy_stmt = "COPY public.a (x) FROM stdin;\n",
     .namespace = "public",
     .owner = "o",
     .deps = (int32_t[]){4},
     .n_deps = 1},
    {.dump_id = 10, .had_dumper = true, .tag = "BLOBS", .desc = "BLOBS", .section = SECTION_DATA},
    {.dump_id = 12,
     .tag = "EVENT TRIGGER et",
     .desc = "COMMENT",
     .section = SECTION_NONE,
     .defn = "COMMENT ON EVENT TRIGGER et IS 'x';\n",
     .owner = "o",
     .deps = (int32_t[]){8},
     .n_deps = 1},
    {.dump_id = 13, /* minor versions differ in when they print it */
     .tag = "EVENT TRIGGER et",
     .desc = "SECURITY LABEL",
     .section = SECTION_NONE,
     .defn = "SECURITY LABEL FOR dummy ON EVENT TRIGGER et IS 'classified';\n",
     .owner = "o",
     .deps = (int32_t[]){8},
     .n_deps = 1},
    {.dump_id = 11,
     .tag = "a_idx",
     .desc = "INDEX",
     .section = SECTION_POST_DATA,
     .defn = "CREATE INDEX a_idx ON public.a;\n",
     .tablespace = "",
     .namespace = "public",
     .owner = "o",
     .deps = (int32_t[]){4},
     .n_deps = 1},
};

static const Archive toc = {.minor = 14,
                            .dbname = "x",
                            .server_version = "15.1",
                            .tool_version = "15.1",
                            .n = sizeof(entries) / sizeof(entries[0]),
                            .entries = entries};

static int set_up(void **state)
{
    for (size_t i = 0; i < toc.n; i++)
        entries[i].data_state = entries[i].had_dumper ? DATA_POS_NOT_SET : DATA_NONE;
    (void)pg_tools_find(NULL, NULL, 12, &tools, NULL);
    return 0;
}

static int tear_down(void **state)
{
    pg_tools_release(&tools);
    return 0;
}

static void make(Script *s)
{
    Error e = ERROR_INIT;
    if (!tools.pg_restore)
        skip(); /* no pg_restore here */
    int r = script_make(&tools, &toc, NULL, NULL, s, &e);
    if (r < 0)
        print_error("%s\n", e.message);
    assert_int_equal(r, 0);
}

/* What pg_restore itself prints of the same archive with real data, each key replaced by K. */
static char *oracle(void)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    assert_int_equal(archive_encode(&toc, &b), 0);
    archive_encode_block(&b, BLOCK_DATA, 9);
    archive_encode_bytes(&b, "1\n2\n", 4);
    archive_encode_bytes(&b, COPY_END, strlen(COPY_END));
    archive_encode_end(&b);
    archive_encode_block(&b, BLOCK_BLOBS, 10);
    archive_encode_oid(&b, 77);
    archive_encode_bytes(&b, "AB", 2);
    archive_encode_end(&b);
    assert_int_equal(archive_encode_end(&b), 0);
    _cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
    assert_int_equal(io_write_all(fd, b.data, b.len), 0);
    lseek(fd, 0, SEEK_SET);
    const char *argv[] = {tools.pg_restore, "--file=-", NULL};
    _cleanup_(child_freep) Child *c = NULL;
    Error e = ERROR_INIT;
    Buf out = BUF_INIT;
    assert_int_equal(child_start(&(ChildSpec){.argv = argv, .stdin_fd = fd}, &c, &e), 0);
    assert_int_equal(child_read_all(c, 1 << 20, &out, &e), 0);
    assert_int_equal(child_finish(c, &e), 0);
    return buf_take_cstr(&out);
}

static void hide_keys(char *text)
{
    static const char *const commands[] = {"\n\\restrict ", "\n\\unrestrict "};
    for (size_t i = 0; i < 2; i++) {
        char *p = strstr(text, commands[i]);
        if (!p)
            continue;
        p += strlen(commands[i]);
        size_t n = strspn(p, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
        assert_true(n >= 32);
        memmove(p + 1, p + n, strlen(p + n) + 1);
        *p = 'K';
    }
}

static void add(Composer *c, Text t)
{
    assert_int_equal(composer_text(c, t.p, t.len), 0);
}

static void add_literal(Composer *c, const char *text)
{
    assert_int_equal(composer_text(c, text, strlen(text)), 0);
}

/* Every entry's text is found as its own. */
static void test_parts(void **state)
{
    _cleanup_(script_release) Script s = {0};
    make(&s);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        const ScriptPart *p = &s.parts[i];
        const char *defn = p->entry->defn;
        if (!defn)
            continue;
        assert_non_null(memmem(p->body.p, p->body.len, defn, strlen(defn)));
        for (size_t j = 3; j < toc.n; j++) {
            const char *other = toc.entries[j].defn;
            if (other && &toc.entries[j] != p->entry)
                assert_null(memmem(p->body.p, p->body.len, other, strlen(other)));
        }
        n++;
    }
    assert_int_equal(n, toc.n - 5); /* all but the settings and the data */
}

/* Put together again, the parts are what pg_restore prints. */
static void test_whole(void **state)
{
    _cleanup_(script_release) Script s = {0};
    make(&s);
    _cleanup_(composer_freep) Composer *c = NULL;
    assert_int_equal(composer_new(&s, true, &c), 0);
    for (size_t i = 0; i < s.n; i++) {
        const ScriptPart *p = &s.parts[i];
        assert_int_equal(composer_part(c, p), 0);
        if (toc_is(p->entry, "TABLE DATA"))
            add_literal(c, "1\n2\n" COPY_END);
        if (toc_is(p->entry, "BLOBS")) {
            add(c, p->blob.open_a);
            add_literal(c, "77");
            add(c, p->blob.open_b);
            add(c, p->blob.write_a);
            add_literal(c, "4142");
            add(c, p->blob.write_b);
            add(c, p->blob.close);
        }
        add(c, p->after);
    }
    const Buf *text;
    assert_int_equal(composer_finish(c, secret, &text, NULL), 0);
    _cleanup_free_ char *got = strndup((const char *)text->data, text->len);
    _cleanup_free_ char *want = oracle();
    hide_keys(got);
    hide_keys(want);
    assert_string_equal(got, want);
}

static const ScriptPart *part_of(const Script *s, int32_t dump_id)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->parts[i].entry->dump_id == dump_id)
            return &s->parts[i];
    fail_msg("no part of entry %d", dump_id);
    return NULL;
}

static char *compose(const Script *s, const int32_t *ids, size_t n, const uint8_t *key)
{
    _cleanup_(composer_freep) Composer *c = NULL;
    const Buf *text;
    assert_int_equal(composer_new(s, false, &c), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(composer_part(c, part_of(s, ids[i])), 0);
    assert_int_equal(composer_finish(c, key, &text, NULL), 0);
    return strndup((const char *)text->data, text->len);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

/* Parts taken out of their order still get the settings they were printed under. */
static void test_settings_follow(void **state)
{
    _cleanup_(script_release) Script s = {0};
    make(&s);
    _cleanup_free_ char *text = compose(&s, (int32_t[]){6, 4, 11, 5}, 4, secret);
    assert_int_equal(count(text, "SET statement_timeout = 0;"), 1);
    assert_int_equal(count(text, "Dumped"), 0); /* nothing that differs between versions */
    assert_int_equal(count(text, "SET default_tablespace = ''"), 1);
    assert_int_equal(count(text, "SET default_tablespace = \"" ODD_SPACE "\""), 1);
    assert_int_equal(count(text, "SET default_table_access_method = other"), 1);
    assert_int_equal(count(text, "SET default_table_access_method = heap"), 1);
    assert_true(strstr(text, "access_method = other") < strstr(text, "CREATE TABLE public.c"));
    assert_true(strstr(text, "access_method = heap") < strstr(text, "CREATE TABLE public.a"));
    assert_true(strstr(text, "CREATE TABLE public.a") < strstr(text, ODD_SPACE));
}

/* The key is of the content: the same for the same, another for another content or secret. */
static void test_keys(void **state)
{
    _cleanup_(script_release) Script s = {0}, again = {0};
    make(&s);
    make(&again);
    if (!s.is_restricted)
        skip();
    uint8_t other[32] = "another secret";
    _cleanup_free_ char *a = compose(&s, (int32_t[]){4}, 1, secret);
    _cleanup_free_ char *b = compose(&again, (int32_t[]){4}, 1, secret);
    _cleanup_free_ char *c = compose(&s, (int32_t[]){4}, 1, other);
    _cleanup_free_ char *d = compose(&s, (int32_t[]){6}, 1, secret);
    size_t line = strlen("\\restrict ") + 64;
    assert_string_equal(a, b);
    assert_memory_equal(a, "\\restrict ", 10);
    assert_memory_not_equal(a, c, line);
    assert_memory_not_equal(a, d, line);
    const char *end = strstr(a, "\\unrestrict ");
    assert_non_null(end);
    assert_memory_equal(a + 10, end + 12, 64);
}

static void test_place_of_rows(void **state)
{
    _cleanup_(script_release) Script s = {0};
    make(&s);
    _cleanup_(composer_freep) Composer *c = NULL;
    const Buf *text;
    size_t at;
    assert_int_equal(composer_new(&s, false, &c), 0);
    assert_int_equal(composer_part(c, part_of(&s, 9)), 0);
    assert_int_equal(composer_rope(c, NULL), 0);
    add_literal(c, COPY_END);
    assert_int_equal(composer_finish(c, secret, &text, &at), 0);
    static const char before[] = "COPY public.a (x) FROM stdin;\n";
    assert_memory_equal(text->data + at - strlen(before), before, strlen(before));
    assert_memory_equal(text->data + at, COPY_END, strlen(COPY_END));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),           cmocka_unit_test(test_whole),
        cmocka_unit_test(test_settings_follow), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_place_of_rows),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
