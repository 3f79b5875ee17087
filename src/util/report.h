/* Report: how the programs speak to people. Only tools/ uses it; libraries fill an Error and never
 * print. Results go to stdout, all else to stderr. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/options.h"

/* Print "program: message" and, when there is one, "hint: …" to stderr, control bytes escaped.
 * Releases `e` and returns the exit code that goes with it. */
int report_error(const char *program, Error *e);

/* Print to stdout, control bytes but line breaks and tabs escaped. */
void report_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print "program: text" to stderr. */
void report_note(const char *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What main does first: open those of the standard descriptors that are closed (io_fill_standard),
 * parse argv (see options_parse) and answer --help, --version and wrong usage. Negative: go on;
 * else the exit code to leave with. */
int report_options(const OptionProgram *p, int argc, char **argv, void *target, int *ret_first);

/* Print `doc` as one line to stdout. */
void report_json(const json_t *doc);

/* Flush stdout. `exit_code`, or BK_EXIT_FAILED with a message when stdout could not be written. */
int report_finish(const char *program, int exit_code);

/* 1.2 MiB, 17 B. Sizes with the terminating zero. */
#define REPORT_SIZE_SIZE     16
#define REPORT_DURATION_SIZE 24
void report_format_size(uint64_t bytes, char out[REPORT_SIZE_SIZE]);

/* 0.3 s, 75 s, 4 min 10 s, 3 h 5 min. */
void report_format_duration(double seconds, char out[REPORT_DURATION_SIZE]);

/* One line on the terminal that replaces itself. Drawn on stderr when that is a terminal and
 * `quiet` is false, at most ten times a second. Not thread-safe. */
typedef struct ReportProgress {
    bool on;
    bool drawn;
    double last;
} ReportProgress;
void report_progress_init(ReportProgress *p, bool quiet);

/* Whether a line would be drawn now: saves the work of wording it. */
bool report_progress_due(ReportProgress *p);
void report_progress(ReportProgress *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Take the line away, before anything else is printed. */
void report_progress_clear(ReportProgress *p);
