#include "util/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_formats(void **state)
{
    char ts[CLOCK_TS_SIZE], compact[CLOCK_COMPACT_SIZE], iso[CLOCK_ISO_SIZE];
    const int64_t t = 1768487445; /* 2026-01-15 14:30:45 UTC */
    clock_format_ts(t, ts);
    clock_format_compact(t, compact);
    clock_format_iso(t, iso);
    assert_string_equal(ts, "2026-01-15T14-30-45Z");
    assert_string_equal(compact, "20260115_143045");
    assert_string_equal(iso, "2026-01-15T14:30:45Z");
}

static void test_time_zone_does_not_matter(void **state)
{
    char ts[CLOCK_TS_SIZE];
    setenv("TZ", "Pacific/Auckland", 1);
    tzset();
    clock_format_ts(0, ts);
    assert_string_equal(ts, "1970-01-01T00-00-00Z");
    unsetenv("TZ");
    tzset();
}

static void test_times_out_of_range_are_clamped(void **state)
{
    char ts[CLOCK_TS_SIZE];
    clock_format_ts(INT64_MAX, ts);
    assert_string_equal(ts, "9999-12-31T23-59-59Z");
    clock_format_ts(INT64_MIN, ts);
    assert_string_equal(ts, "1970-01-01T00-00-00Z");
    clock_format_ts(-1, ts);
    assert_string_equal(ts, "1970-01-01T00-00-00Z");
}

static void test_tests_can_set_the_clock(void **state)
{
    setenv("BAKFS_TEST_TIME", "1768487445", 1);
    assert_true(clock_now() == 1768487445);

    /* What is no number is not taken for one. */
    int64_t real = (int64_t)time(NULL);
    setenv("BAKFS_TEST_TIME", "tomorrow", 1);
    assert_in_range(clock_now(), real, real + 60);
    setenv("BAKFS_TEST_TIME", "12x", 1);
    assert_in_range(clock_now(), real, real + 60);
    setenv("BAKFS_TEST_TIME", "", 1);
    assert_in_range(clock_now(), real, real + 60);
    unsetenv("BAKFS_TEST_TIME");
    assert_in_range(clock_now(), real, real + 60);
}

static void test_monotonic_moves_forward(void **state)
{
    setenv("BAKFS_TEST_TIME", "5", 1);
    double before = clock_monotonic();
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    assert_true(clock_monotonic() - before >= 0.002);
    unsetenv("BAKFS_TEST_TIME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_time_zone_does_not_matter),
        cmocka_unit_test(test_times_out_of_range_are_clamped),
        cmocka_unit_test(test_tests_can_set_the_clock),
        cmocka_unit_test(test_monotonic_moves_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
