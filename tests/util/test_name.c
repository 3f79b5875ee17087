#include "util/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static const char *const reserved[] = {"roles.sql", "files", NULL};

static void encode(const char *name, size_t len, Buf *out, bool *ret_cut)
{
    assert_int_equal(name_encode(name, len, reserved, out, ret_cut), 0);
    assert_non_null(buf_cstr(out));
    assert_true(name_is_valid(out->data, out->len));
}

/* Names and the file names they must have, by the rule in docs/format.md. */
static void test_known_names(void **state)
{
    static const struct {
        const char *name, *encoded;
    } cases[] = {
        {"customers", "customers"},
        {"with space", "with space"},
        {"it's \"quoted\"", "it's \"quoted\""},
        {"a/b", "a%2Fb"},
        {"a\\b", "a%5Cb"},
        {"100%", "100%25"},
        {".hidden", "%2Ehidden"},
        {".", "%2E"},
        {"..", "%2E."},
        {"a.b", "a.b"},
        {"line\nbreak", "line%0Abreak"},
        {"\x7f", "%7F"},
        {"", "%"},
        {"%", "%25"},
        {"größe", "größe"},
        {"表", "表"},
        {"\xff\xfe", "%FF%FE"},
        {"\xc3", "%C3"},                      /* cut in the middle of a character */
        {"\xed\xa0\x80", "%ED%A0%80"},        /* a surrogate */
        {"\xc0\xaf", "%C0%AF"},               /* an overlong '/' */
        {"\xf4\x90\x80\x80", "%F4%90%80%80"}, /* beyond U+10FFFF */
        {"roles.sql", "%72oles.sql"},
        {"files", "%66iles"},
        {"roles.sql2", "roles.sql2"},
        {"Files", "Files"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        _cleanup_(buf_release) Buf out = BUF_INIT, back = BUF_INIT;
        bool cut = true;
        encode(cases[i].name, strlen(cases[i].name), &out, &cut);
        assert_string_equal((char *)out.data, cases[i].encoded);
        assert_false(cut);
        assert_int_equal(name_decode((char *)out.data, out.len, &back), 0);
        assert_int_equal(back.len, strlen(cases[i].name));
        if (back.len)
            assert_memory_equal(back.data, cases[i].name, back.len);
    }
}

static void test_every_byte_comes_back(void **state)
{
    char name[64];
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1664525 + 1013904223;
        size_t len = seed >> 26; /* 0 to 63, PostgreSQL's longest */
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525 + 1013904223;
            name[i] = (char)(seed >> 24);
        }
        _cleanup_(buf_release) Buf out = BUF_INIT, back = BUF_INIT;
        bool cut;
        encode(name, len, &out, &cut);
        assert_false(cut);
        assert_int_equal(name_decode((char *)out.data, out.len, &back), 0);
        assert_int_equal(back.len, len);
        if (len)
            assert_memory_equal(back.data, name, len);
    }
}

static void test_long_names_are_cut(void **state)
{
    /* 85 characters of 3 bytes are 255 bytes and stay; one more is cut at a character. */
    char name[3 * 86 + 1] = "";
    for (int i = 0; i < 85; i++)
        strcat(name, "表");
    _cleanup_(buf_release) Buf whole = BUF_INIT, cut_a = BUF_INIT, cut_b = BUF_INIT;
    bool cut;
    encode(name, 255, &whole, &cut);
    assert_false(cut);
    assert_int_equal(whole.len, 255);

    strcat(name, "表");
    encode(name, 258, &cut_a, &cut);
    assert_true(cut);
    assert_true(cut_a.len <= NAME_MAX_BYTES);
    assert_int_equal((cut_a.len - 18) % 3, 0);
    assert_memory_equal(cut_a.data, name, cut_a.len - 18);
    assert_memory_equal(cut_a.data + cut_a.len - 18, "%~", 2);
    assert_int_equal(name_decode((char *)cut_a.data, cut_a.len, &whole), -EINVAL);

    /* Two long names that differ only behind the cut stay apart. */
    memcpy(name + 255, "木", 3);
    encode(name, 258, &cut_b, &cut);
    assert_int_equal(cut_b.len, cut_a.len);
    assert_memory_not_equal(cut_a.data, cut_b.data, cut_a.len);
}

static void test_escapes_are_not_split_by_the_cut(void **state)
{
    char name[200];
    memset(name, '/', sizeof(name));
    _cleanup_(buf_release) Buf out = BUF_INIT;
    bool cut;
    encode(name, sizeof(name), &out, &cut);
    assert_true(cut);
    assert_int_equal((out.len - 18) % 3, 0);
    for (size_t i = 0; i + 18 < out.len; i += 3)
        assert_memory_equal(out.data + i, "%2F", 3);
}

static void test_malformed_names_do_not_decode(void **state)
{
    static const char *const bad[] = {"", "a%", "%4", "%zz", "%~0123456789abcdef", "a%2", "%2f"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        _cleanup_(buf_release) Buf out = BUF_INIT;
        assert_int_equal(name_decode(bad[i], strlen(bad[i]), &out), -EINVAL);
        assert_int_equal(out.len, 0);
    }
}

static void test_valid_in_a_directory(void **state)
{
    char longest[256];
    memset(longest, 'x', sizeof(longest));
    assert_true(name_is_valid("a", 1));
    assert_true(name_is_valid("...", 3));
    assert_true(name_is_valid(longest, 255));
    assert_false(name_is_valid(longest, 256));
    assert_false(name_is_valid("", 0));
    assert_false(name_is_valid(".", 1));
    assert_false(name_is_valid("..", 2));
    assert_false(name_is_valid("a/b", 3));
    assert_false(name_is_valid("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_names),
        cmocka_unit_test(test_every_byte_comes_back),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_escapes_are_not_split_by_the_cut),
        cmocka_unit_test(test_malformed_names_do_not_decode),
        cmocka_unit_test(test_valid_in_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
