#include "util/report.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_sizes(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {(1u << 20) - 1, "1.0 MiB"},
        {64u << 20, "64.0 MiB"},
        {5ull << 40, "5.0 TiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char out[REPORT_SIZE_SIZE];
        report_format_size(cases[i].bytes, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void test_durations(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {-1, "0.0 s"},          {0.04, "0.0 s"},     {9.94, "9.9 s"},
        {9.96, "10 s"},         {119.4, "119 s"},    {120, "2 min 0 s"},
        {7199, "119 min 59 s"}, {7200, "2 h 0 min"}, {90061, "25 h 1 min"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char out[REPORT_DURATION_SIZE];
        report_format_duration(cases[i].seconds, out);
        assert_string_equal(out, cases[i].text);
    }
}

/* Run `print` with stderr in a file and give back what it wrote. */
static void capture_stderr(void (*print)(void), char *out, size_t size)
{
    FILE *f = tmpfile();
    assert_non_null(f);
    int saved = dup(STDERR_FILENO);
    dup2(fileno(f), STDERR_FILENO);
    print();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(f);
    out[fread(out, 1, size - 1, f)] = 0;
    fclose(f);
}

static void print_hostile_error(void)
{
    Error e = ERROR_INIT;
    error_set(&e, 5, "can't read table \"a\nb\033[31m\x7f\"");
    error_hint(&e, "look at it");
    error_exit_code(&e, BK_EXIT_LOCKED);
    assert_int_equal(report_error("prog", &e), BK_EXIT_LOCKED);
    assert_null(e.message);
}

static void test_error_is_escaped(void **state)
{
    char out[512];
    capture_stderr(print_hostile_error, out, sizeof(out));
    assert_string_equal(out, "prog: can't read table \"a\n  b\\x1b[31m\\x7f\"\nhint: look at it\n");
}

static void print_plain_error(void)
{
    Error e = ERROR_INIT;
    assert_int_equal(report_error("prog", &e), BK_EXIT_FAILED);
}

static void test_error_without_details(void **state)
{
    char out[512];
    capture_stderr(print_plain_error, out, sizeof(out));
    assert_string_equal(out, "prog: out of memory\n");
}

static void print_progress(void)
{
    ReportProgress p;
    report_progress_init(&p, false);
    report_progress(&p, "%d %%", 10);
    report_progress_clear(&p);
}

static void test_no_progress_off_a_terminal(void **state)
{
    char out[512];
    capture_stderr(print_progress, out, sizeof(out));
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_error_is_escaped),
        cmocka_unit_test(test_error_without_details),
        cmocka_unit_test(test_no_progress_off_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
