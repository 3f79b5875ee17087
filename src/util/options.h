/* Options: one table a program drives getopt_long, yields the --help text, and names what each
 * option fills. Values point into argv and live as long as it does. getopt keeps global state: use
 * from one thread. --help (-h) and --version (-V) need no entry: every program has them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"
#include "util/error.h"

typedef enum OptionKind {
    OPTION_END = 0, /* ends a table */
    OPTION_HEADING, /* only `help`: starts a group of options in the help */
    OPTION_FLAG,    /* bool, becomes true */
    OPTION_TEXT,    /* const char *, the last one given */
    OPTION_LIST,    /* OptionList, every one given, in order */
    OPTION_CHOICE,  /* const char *, one of the words of `choices` */
    OPTION_INT,     /* int, from `min` to `max` */
    OPTION_NUMBER,  /* double, from `min` to `max`, e.g. seconds */
} OptionKind;

typedef struct OptionList {
    const char **items; /* the array is owned, the texts belong to argv */
    size_t n;
} OptionList;
void option_list_release(OptionList *l); /* NULL is allowed */

typedef struct Option {
    OptionKind kind;
    char short_name;  /* 0 for none; 'h' and 'V' are taken */
    const char *name; /* long name without dashes */
    const char *arg;  /* what stands for the value in the help, e.g. "DIR"; NULL for flags */
    size_t offset;    /* of the field in the program's struct */
    const char *help; /* one or more sentences; wrapped when printed */
    const char *env; /* environment variable (when not empty) that stands in for what was not given;
                      * a text that has a value already keeps it */
    const char *choices; /* OPTION_CHOICE: words separated by spaces */
    int min, max;        /* OPTION_INT and OPTION_NUMBER, inclusive */
} Option;

typedef struct OptionProgram {
    const char *name;     /* "bakfs-dump" */
    const char *synopsis; /* one usage a line, without the name: "[OPTION]... [SOURCE...]" */
    const char *summary;  /* what it does */
    const Option *options;
    const char *epilogue; /* printed after the options as it is; may be NULL */
    bool stop_at_operand; /* options after the first operand belong to someone else (a verb) */
} OptionProgram;

typedef enum OptionResult {
    OPTIONS_RUN = 0, /* go on */
    OPTIONS_HELP,    /* print options_help() and exit 0 */
    OPTIONS_VERSION, /* print options_version() and exit 0 */
} OptionResult;

/* Fill `target` (a struct of the program, with its defaults) from argv. `*ret_first` is the index
 * of the first operand in argv, which is reordered so that operands come last. An OptionResult, or
 * -EINVAL with a message, a hint and exit code BK_EXIT_USAGE; -ENOMEM. */
int options_parse(const OptionProgram *p, int argc, char **argv, void *target, int *ret_first,
                  Error *e);

/* Append the help text. 0 or -ENOMEM. */
int options_help(const OptionProgram *p, Buf *out);

/* Append "NAME (bakfs) VERSION" and a newline. 0 or -ENOMEM. */
int options_version(const OptionProgram *p, Buf *out);

/* An error about operands, worded like the parser's own: exit code BK_EXIT_USAGE and a hint that
 * points to --help. Returns -EINVAL. */
int options_usage_error(const OptionProgram *p, Error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
