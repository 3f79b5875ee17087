#include "util/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int64_t clock_now(void)
{
    const char *fixed = getenv("BAKFS_TEST_TIME");
    if (fixed && *fixed) {
        char *end;
        errno = 0;
        long long v = strtoll(fixed, &end, 10);
        if (errno == 0 && *end == 0)
            return v;
    }
    return (int64_t)time(NULL);
}

double clock_monotonic(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct tm split(int64_t t)
{
    const int64_t min = 0, max = 253402300799;
    time_t clamped = (time_t)(t < min ? min : t > max ? max : t);
    struct tm tm;
    gmtime_r(&clamped, &tm);
    return tm;
}

void clock_format_ts(int64_t t, char out[CLOCK_TS_SIZE])
{
    struct tm tm = split(t);
    strftime(out, CLOCK_TS_SIZE, "%Y-%m-%dT%H-%M-%SZ", &tm);
}

void clock_format_compact(int64_t t, char out[CLOCK_COMPACT_SIZE])
{
    struct tm tm = split(t);
    strftime(out, CLOCK_COMPACT_SIZE, "%Y%m%d_%H%M%S", &tm);
}

void clock_format_iso(int64_t t, char out[CLOCK_ISO_SIZE])
{
    struct tm tm = split(t);
    strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
