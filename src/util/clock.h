/* The clock, and the two spellings of a backup's time. All times are UTC. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Lengths with the terminating zero. */
#define CLOCK_TS_SIZE      21 /* 2026-01-15T14-30-45Z */
#define CLOCK_COMPACT_SIZE 16 /* 20260115_143045 */
#define CLOCK_ISO_SIZE     21 /* 2026-01-15T14:30:45Z */

/* Seconds since 1970. $BAKFS_TEST_TIME (seconds since 1970), when set, replaces the clock: for
 * tests only. */
int64_t clock_now(void);

/* Seconds of a clock that only moves forward, for durations. */
double clock_monotonic(void);

/* Spell `t` (1970 to 9999; others are clamped) as file name part, compact, or ISO 8601. */
void clock_format_ts(int64_t t, char out[CLOCK_TS_SIZE]);
void clock_format_compact(int64_t t, char out[CLOCK_COMPACT_SIZE]);
void clock_format_iso(int64_t t, char out[CLOCK_ISO_SIZE]);
