#include "util/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_escape(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"plain\n\\", "plain\n\\"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x98",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x98"},
        {"st\xffore", "st\\xffore"},
        {"\xc3", "\\xc3"},
        {"\xc3\xc3\xbc", "\\xc3\xc3\xbc"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xc0\xaf", "\\xc0\\xaf"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        Buf out = BUF_INIT;
        assert_int_equal(utf8_escape(cases[i][0], &out), 0);
        assert_string_equal(buf_cstr(&out), cases[i][1]);
        buf_release(&out);
    }
}

static void test_char(void **state)
{
    const uint8_t euro[] = {0xe2, 0x82, 0xac};
    assert_int_equal(utf8_char(euro, 3), 3);
    assert_int_equal(utf8_char(euro, 2), 0);
    assert_int_equal(utf8_char(euro + 1, 2), 0);
    assert_int_equal(utf8_char((const uint8_t *)"a", 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_char),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
