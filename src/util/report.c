#include "util/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/io.h"

#define PROGRESS_INTERVAL 0.1 /* seconds */

/* Names from databases reach messages: an escape sequence in one must not reach a terminal. A line
 * break is followed by `indent`, so that what follows can't pass for a message of its own. */
static void print_escaped(FILE *f, const char *text, const char *indent)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '\n')
            fprintf(f, "\n%s", indent);
        else if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
            fprintf(f, "\\x%02x", *p);
        else
            putc(*p, f);
    }
}

void report_print(const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    va_end(ap);
    print_escaped(stdout, text ? text : format, "");
}

int report_error(const char *program, Error *e)
{
    int exit_code = e->exit_code ? e->exit_code : BK_EXIT_FAILED;
    fflush(stdout); /* in a pipe, what was printed first is to be read first */
    fprintf(stderr, "%s: ", program);
    print_escaped(stderr, e->message ? e->message : "out of memory", "  ");
    putc('\n', stderr);
    if (e->hint) {
        fputs("hint: ", stderr);
        print_escaped(stderr, e->hint, "  ");
        putc('\n', stderr);
    }
    error_release(e);
    return exit_code;
}

void report_note(const char *program, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    va_end(ap);
    fflush(stdout);
    fprintf(stderr, "%s: ", program);
    print_escaped(stderr, text ? text : format, "  ");
    putc('\n', stderr);
}

int report_options(const OptionProgram *p, int argc, char **argv, void *target, int *ret_first)
{
    _cleanup_(error_release) Error e = ERROR_INIT;
    _cleanup_(buf_release) Buf text = BUF_INIT;
    int r = io_fill_standard();
    if (r < 0)
        return BK_EXIT_FAILED; /* and nowhere to say so */
    r = options_parse(p, argc, argv, target, ret_first, &e);
    if (r == OPTIONS_RUN)
        return -1;
    if (r == OPTIONS_HELP)
        r = options_help(p, &text);
    else if (r == OPTIONS_VERSION)
        r = options_version(p, &text);
    if (r < 0 && !e.message)
        error_oom(&e);
    if (r < 0)
        return report_error(p->name, &e);
    fwrite(text.data, 1, text.len, stdout);
    return report_finish(p->name, BK_EXIT_OK);
}

void report_json(const json_t *doc)
{
    json_dumpf(doc, stdout, JSON_COMPACT);
    putchar('\n');
}

int report_finish(const char *program, int exit_code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    _cleanup_(error_release) Error e = ERROR_INIT;
    error_errno(&e, errno ? errno : EIO, "can't write the output");
    return report_error(program, &e);
}

void report_format_size(uint64_t bytes, char out[REPORT_SIZE_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(out, REPORT_SIZE_SIZE, "%u B", (unsigned)bytes);
        return;
    }
    double v = (double)bytes;
    size_t unit = 0;
    while (v >= 1023.95 && unit + 1 < sizeof(units) / sizeof(*units)) {
        v /= 1024;
        unit++;
    }
    snprintf(out, REPORT_SIZE_SIZE, "%.1f %s", v, units[unit]);
}

void report_format_duration(double seconds, char out[REPORT_DURATION_SIZE])
{
    if (seconds < 0)
        seconds = 0;
    unsigned s = seconds < 1e9 ? (unsigned)(seconds + 0.5) : 1000000000;
    if (seconds < 9.95)
        snprintf(out, REPORT_DURATION_SIZE, "%.1f s", seconds);
    else if (s < 120)
        snprintf(out, REPORT_DURATION_SIZE, "%u s", s);
    else if (s < 7200)
        snprintf(out, REPORT_DURATION_SIZE, "%u min %u s", s / 60, s % 60);
    else
        snprintf(out, REPORT_DURATION_SIZE, "%u h %u min", s / 3600, s / 60 % 60);
}

void report_progress_init(ReportProgress *p, bool quiet)
{
    *p = (ReportProgress){.on = !quiet && isatty(STDERR_FILENO) == 1};
}

bool report_progress_due(ReportProgress *p)
{
    return p->on && clock_monotonic() - p->last >= PROGRESS_INTERVAL;
}

static size_t terminal_width(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : 80;
}

void report_progress(ReportProgress *p, const char *format, ...)
{
    if (!report_progress_due(p))
        return;
    _cleanup_free_ char *text = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    va_end(ap);
    if (!text)
        return;
    size_t width = terminal_width() - 1; /* a line that wraps can't be replaced */
    if (strlen(text) > width)
        text[width] = 0;
    fputc('\r', stderr);
    print_escaped(stderr, text, "");
    fputs("\033[K", stderr);
    fflush(stderr);
    p->drawn = true;
    p->last = clock_monotonic();
}

void report_progress_clear(ReportProgress *p)
{
    if (!p->drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    p->drawn = false;
}
