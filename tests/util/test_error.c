#include "util/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static void test_set_and_replace(void **state)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    errno = ENOTTY;
    assert_int_equal(error_set(&e, EIO, "pack %d", 7), -EIO);
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(e.errnum, EIO);
    assert_string_equal(e.message, "pack 7");
    assert_null(e.hint);
    error_hint(&e, "try %s", "verify");
    error_exit_code(&e, BK_EXIT_LOCKED);

    /* The new message may be made of the old one; hint and exit code belong to the old error. */
    assert_int_equal(error_set(&e, EBADMSG, "table: %s", e.message), -EBADMSG);
    assert_string_equal(e.message, "table: pack 7");
    assert_null(e.hint);
    assert_int_equal(e.exit_code, 0);
}

static void test_errno_text_is_appended(void **state)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    assert_int_equal(error_errno(&e, ENOSPC, "write %s", "x"), -ENOSPC);
    char expected[128];
    snprintf(expected, sizeof(expected), "write x: %s", strerror(ENOSPC));
    assert_string_equal(e.message, expected);
    assert_int_equal(e.errnum, ENOSPC);
}

static void test_prefix(void **state)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    error_prefix(&e, "nothing to prefix");
    assert_null(e.message);
    error_set(&e, EIO, "short read");
    error_hint(&e, "check the disk");
    error_prefix(&e, "pack %s", "ab");
    assert_string_equal(e.message, "pack ab: short read");
    assert_string_equal(e.hint, "check the disk");
    assert_int_equal(e.errnum, EIO);
}

static void test_null_is_allowed(void **state)
{
    assert_int_equal(error_set(NULL, EIO, "x"), -EIO);
    assert_int_equal(error_errno(NULL, ENOENT, "x"), -ENOENT);
    assert_int_equal(error_oom(NULL), -ENOMEM);
    error_hint(NULL, "x");
    error_prefix(NULL, "x");
    error_exit_code(NULL, 1);
    error_release(NULL);
    assert_int_equal(error_move(NULL, NULL), 0);
}

static void test_move(void **state)
{
    _cleanup_(error_release) Error to = ERROR_INIT, from = ERROR_INIT;
    error_set(&to, EPERM, "old");
    error_set(&from, ENOENT, "new");
    error_hint(&from, "hint");
    error_exit_code(&from, BK_EXIT_NO_STORE);
    assert_int_equal(error_move(&to, &from), -ENOENT);
    assert_string_equal(to.message, "new");
    assert_string_equal(to.hint, "hint");
    assert_int_equal(to.exit_code, BK_EXIT_NO_STORE);
    assert_null(from.message);
    assert_int_equal(from.errnum, 0);

    assert_int_equal(error_move(NULL, &to), -ENOENT);
    assert_null(to.message);
}

static void test_exit_codes_are_fixed(void **state)
{
    /* Scripts rely on these; docs/man and README list them. */
    assert_int_equal(BK_EXIT_OK, 0);
    assert_int_equal(BK_EXIT_FAILED, 1);
    assert_int_equal(BK_EXIT_USAGE, 2);
    assert_int_equal(BK_EXIT_PARTIAL, 3);
    assert_int_equal(BK_EXIT_NO_STORE, 10);
    assert_int_equal(BK_EXIT_LOCKED, 11);
    assert_int_equal(BK_EXIT_WRONG_KEY, 12);
    assert_int_equal(BK_EXIT_INTERRUPTED, 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_replace),
        cmocka_unit_test(test_errno_text_is_appended),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_null_is_allowed),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_exit_codes_are_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
