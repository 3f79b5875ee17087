/* Times as people write them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store-verbs.h"

#define YEAR_9999 253402300799 /* its last second */

/* An age: digits and a unit. */
static int parse_age(const char *text, int64_t now, int64_t *ret_time)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || errno || n < 0 || !*end || end[1])
        return -EINVAL;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (units[i].unit == *end && n <= YEAR_9999 / units[i].seconds) {
            *ret_time = now - n * units[i].seconds;
            return 0;
        }
    return -EINVAL;
}

/* Exactly `n` digits at *p, not above `max`; moves *p on. */
static bool take_digits(const char **p, int n, int max, int *ret)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        char c = (*p)[i];
        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (c - '0');
    }
    *p += n;
    *ret = v;
    return v <= max;
}

/* [Thh[:mm[:ss]]][Z] */
static bool take_clock(const char **p, struct tm *tm)
{
    int *const fields[] = {&tm->tm_hour, &tm->tm_min, &tm->tm_sec};
    static const int max[] = {23, 59, 60};
    for (int i = 0; i < 3; i++) {
        bool separator = i == 0 ? **p == 'T' || **p == ' ' : **p == ':' || **p == '-';
        if (!separator)
            break;
        (*p)++;
        if (!take_digits(p, 2, max[i], fields[i]))
            return false;
    }
    if (**p == 'Z')
        (*p)++;
    return **p == 0;
}

static int parse_date(const char *p, int64_t *ret_time)
{
    struct tm tm = {0};
    if (!take_digits(&p, 4, 9999, &tm.tm_year) || *p++ != '-' ||
        !take_digits(&p, 2, 12, &tm.tm_mon) || *p++ != '-' ||
        !take_digits(&p, 2, 31, &tm.tm_mday) || tm.tm_year < 1 || tm.tm_mon < 1 || tm.tm_mday < 1 ||
        !take_clock(&p, &tm))
        return -EINVAL;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm asked = tm;
    int64_t t = timegm(&tm);
    if (tm.tm_mday != asked.tm_mday) /* the 31st of a month of 30 days */
        return -EINVAL;
    *ret_time = t;
    return 0;
}

int parse_time(const char *text, int64_t now, int64_t *ret_time)
{
    if (text[0] != '@')
        return parse_date(text, ret_time) == 0 ? 0 : parse_age(text, now, ret_time);
    char *end;
    errno = 0;
    long long v = strtoll(text + 1, &end, 10);
    if (end == text + 1 || *end || errno)
        return -EINVAL;
    *ret_time = v;
    return 0;
}
