#include "source/postgres/child.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/clock.h"

static Child *start(const char *script, const atomic_bool *cancel)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    Child *c = NULL;
    Error e = ERROR_INIT;
    assert_int_equal(
        child_start(&(ChildSpec){.argv = argv, .stdin_fd = -1, .cancel = cancel}, &c, &e), 0);
    return c;
}

static void test_output(void **state)
{
    _cleanup_(child_freep) Child *c = start("echo out; cat; echo warning >&2", NULL);
    _cleanup_(buf_release) Buf out = BUF_INIT;
    Error e = ERROR_INIT;
    assert_int_equal(child_read_all(c, 100, &out, &e), 0);
    assert_string_equal(buf_cstr(&out), "out\n");
    assert_int_equal(child_finish(c, &e), 0);
    assert_string_equal(child_messages(c), "warning");
}

/* Its own words end up in the error, on one line. */
static void test_failure(void **state)
{
    _cleanup_(child_freep) Child *c =
        start("echo first >&2; printf 'a\\033b\\n' >&2; exit 3", NULL);
    Error e = ERROR_INIT;
    assert_int_equal(child_finish(c, &e), -EIO);
    assert_string_equal(e.message, "sh failed: first; a b");
    error_release(&e);

    _cleanup_(child_freep) Child *silent = start("exit 4", NULL);
    assert_int_equal(child_finish(silent, &e), -EIO);
    assert_string_equal(e.message, "sh failed with status 4");
    error_release(&e);

    _cleanup_(child_freep) Child *killed = start("kill -9 $$", NULL);
    assert_int_equal(child_finish(killed, &e), -EIO);
    assert_string_equal(e.message, "sh was ended by signal 9");
    error_release(&e);
}

/* Of many, those at the beginning and at the end are kept: the reason often stands last. */
static void test_many_messages(void **state)
{
    _cleanup_(child_freep) Child *c =
        start("echo first >&2; for i in $(seq 3000); do echo line $i; done >&2;"
              " echo the reason >&2; exit 1",
              NULL);
    Error e = ERROR_INIT;
    assert_int_equal(child_finish(c, &e), -EIO);
    assert_non_null(strstr(e.message, "sh failed: first; line 1; line 2;"));
    assert_non_null(strstr(e.message, "; ...; "));
    const char *end = "; line 3000; the reason";
    assert_string_equal(e.message + strlen(e.message) - strlen(end), end);
    assert_true(strlen(e.message) < 6000);
    error_release(&e);
}

static void test_not_found(void **state)
{
    const char *argv[] = {"/nonexistent/pg_dump", NULL};
    Child *c = NULL;
    Error e = ERROR_INIT;
    assert_int_equal(child_start(&(ChildSpec){.argv = argv, .stdin_fd = -1}, &c, &e), -ENOENT);
    assert_non_null(strstr(e.message, "/nonexistent/pg_dump"));
    error_release(&e);
}

static void test_limit(void **state)
{
    _cleanup_(child_freep) Child *c = start("yes", NULL);
    _cleanup_(buf_release) Buf out = BUF_INIT;
    Error e = ERROR_INIT;
    assert_int_equal(child_read_all(c, 1000, &out, &e), -EFBIG);
    error_release(&e);
}

/* A child that says nothing and does not end is left within a moment. */
static void test_cancel(void **state)
{
    atomic_bool cancel = true;
    double began = clock_monotonic();
    Child *c = start("exec sleep 60", &cancel);
    char byte;
    Error e = ERROR_INIT;
    assert_int_equal(child_read(c, &byte, 1, &e), -EINTR);
    error_release(&e);
    assert_int_equal(child_finish(c, &e), -EINTR);
    error_release(&e);
    child_free(c);
    assert_true(clock_monotonic() - began < 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output),        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_many_messages), cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_limit),         cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
