#include "util/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

#define HELP_WIDTH  79 /* columns of the help text */
#define HELP_INDENT 28 /* column where descriptions start */

/* getopt values: table position + VALUE_BASE, so that they can't meet a short option's. */
enum { VALUE_HELP = 256, VALUE_VERSION, VALUE_BASE };

static const Option common_options[] = {
    {OPTION_FLAG, 'h', "help", .help = "Print this help."},
    {OPTION_FLAG, 'V', "version", .help = "Print the version."},
    {OPTION_END},
};

void option_list_release(OptionList *l)
{
    if (!l)
        return;
    free(l->items);
    *l = (OptionList){0};
}

static size_t table_length(const Option *options)
{
    size_t n = 0;
    while (options[n].kind != OPTION_END)
        n++;
    return n;
}

int options_usage_error(const OptionProgram *p, Error *e, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    va_end(ap);
    if (!text)
        return error_oom(e);
    int r = error_set(e, EINVAL, "%s", text);
    error_hint(e, "'%s --help' explains the usage", p->name);
    error_exit_code(e, BK_EXIT_USAGE);
    return r;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);
    while (*choices) {
        size_t n = strcspn(choices, " ");
        if (n == len && n > 0 && memcmp(choices, value, n) == 0)
            return true;
        choices += n + strspn(choices + n, " ");
    }
    return false;
}

static int list_add(OptionList *l, const char *value)
{
    const char **items = reallocarray(l->items, l->n + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    items[l->n++] = value;
    l->items = items;
    return 0;
}

static bool parse_int(const char *text, int min, int max, int *ret)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < min || v > max)
        return false;
    *ret = (int)v;
    return true;
}

static bool parse_number(const char *text, int min, int max, double *ret)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(v) || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

/* Store `value`; `origin` names where it comes from ("--jobs", "$BAKFS_STORE"). */
static int set_value(const OptionProgram *p, const Option *o, const char *value, const char *origin,
                     void *target, Error *e)
{
    void *field = (char *)target + o->offset;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)field = value;
        return 0;
    case OPTION_LIST:
        return list_add(field, value) < 0 ? error_oom(e) : 0;
    case OPTION_CHOICE:
        if (!is_choice(o->choices, value))
            return options_usage_error(p, e, "%s is one of: %s; not '%s'", origin, o->choices,
                                       value);
        *(const char **)field = value;
        return 0;
    case OPTION_INT:
        if (!parse_int(value, o->min, o->max, field))
            return options_usage_error(p, e, "%s takes a whole number from %d to %d, not '%s'",
                                       origin, o->min, o->max, value);
        return 0;
    case OPTION_NUMBER:
        if (!parse_number(value, o->min, o->max, field))
            return options_usage_error(p, e, "%s takes a number from %d to %d, not '%s'", origin,
                                       o->min, o->max, value);
        return 0;
    case OPTION_END:
    case OPTION_HEADING:
        break;
    }
    return 0;
}

/* What getopt_long is driven by, made from the table. */
typedef struct GetoptTable {
    struct option *longs;
    char *shorts;
} GetoptTable;

static void getopt_table_release(GetoptTable *t)
{
    free(t->longs);
    free(t->shorts);
}

static int getopt_table_init(const OptionProgram *p, GetoptTable *t)
{
    size_t n = table_length(p->options), k = 0;
    _cleanup_(buf_release) Buf shorts = BUF_INIT;
    t->longs = calloc(n + 3, sizeof(*t->longs));
    if (!t->longs)
        return -ENOMEM;
    /* '+': stop at the first operand; ':': tell a missing value from an unknown option. */
    int r = buf_add_str(&shorts, p->stop_at_operand ? "+:hV" : ":hV");
    for (size_t i = 0; r == 0 && i < n; i++) {
        const Option *o = &p->options[i];
        if (o->kind == OPTION_HEADING)
            continue;
        bool has_arg = o->kind != OPTION_FLAG;
        t->longs[k++] = (struct option){.name = o->name,
                                        .has_arg = has_arg ? required_argument : no_argument,
                                        .val = VALUE_BASE + (int)i};
        if (o->short_name)
            r = buf_addf(&shorts, "%c%s", o->short_name, has_arg ? ":" : "");
    }
    t->longs[k++] = (struct option){.name = "help", .val = VALUE_HELP};
    t->longs[k++] = (struct option){.name = "version", .val = VALUE_VERSION};
    if (r == 0)
        t->shorts = buf_take_cstr(&shorts);
    return t->shorts ? 0 : -ENOMEM;
}

/* The table entry behind a getopt value, or NULL for --help, --version and the unknown. */
static const Option *find_option(const OptionProgram *p, int value)
{
    for (size_t i = 0; value > 0 && p->options[i].kind != OPTION_END; i++)
        if (value == VALUE_BASE + (int)i || value == p->options[i].short_name)
            return &p->options[i];
    return NULL;
}

/* Say what is wrong with `word`, the argument that getopt refused with '?'. */
static int refuse_option(const OptionProgram *p, const GetoptTable *t, int value, const char *word,
                         Error *e)
{
    if (value > 0 && value < VALUE_HELP) /* a short one: `word` may be its neighbour */
        return options_usage_error(p, e, "unknown option '-%c'", value);
    int len = (int)strcspn(word, "=");
    if (value) /* known, so it was a value given to a flag */
        return options_usage_error(p, e, "option '%.*s' takes no value", len, word);

    _cleanup_(buf_release) Buf fits = BUF_INIT;
    int n = 0;
    for (const struct option *o = t->longs; o->name; o++)
        if (strncmp(o->name, word + 2, (size_t)len - 2) == 0 &&
            buf_addf(&fits, "%s--%s", n++ ? ", " : "", o->name) < 0)
            return error_oom(e);
    if (n < 2)
        return options_usage_error(p, e, "unknown option '%.*s'", len, word);
    const char *names = buf_cstr(&fits);
    if (!names)
        return error_oom(e);
    return options_usage_error(p, e, "option '%.*s' could be any of %s", len, word, names);
}

static int parse_all(const OptionProgram *p, const GetoptTable *t, int argc, char **argv,
                     bool *given, void *target, Error *e)
{
    opterr = 0;
    optind = 0; /* glibc: start anew, whatever was parsed before */
    for (;;) {
        int value = getopt_long(argc, argv, t->shorts, t->longs, NULL);
        if (value == -1)
            return OPTIONS_RUN;
        if (value == 'h' || value == VALUE_HELP)
            return OPTIONS_HELP;
        if (value == 'V' || value == VALUE_VERSION)
            return OPTIONS_VERSION;
        /* getopt has moved past a bad long option, but not past a bundle of short ones. */
        const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
        if (value == '?')
            return refuse_option(p, t, optopt, word, e);
        const Option *o = find_option(p, value == ':' ? optopt : value);
        if (!o)
            return options_usage_error(p, e, "unknown option '%s'", word);
        char origin[64];
        if (o->name)
            snprintf(origin, sizeof(origin), "--%s", o->name);
        else
            snprintf(origin, sizeof(origin), "-%c", o->short_name);
        if (value == ':')
            return options_usage_error(p, e, "option '%s' needs a value: %s", origin, o->arg);
        int r = set_value(p, o, optarg, origin, target, e);
        if (r < 0)
            return r;
        given[o - p->options] = true;
    }
}

/* Whether a text has a value already: a verb's options may follow the program's own. */
static bool is_set(const Option *o, const void *target)
{
    return (o->kind == OPTION_TEXT || o->kind == OPTION_CHOICE) &&
           *(const char *const *)((const char *)target + o->offset);
}

static int apply_environment(const OptionProgram *p, const bool *given, void *target, Error *e)
{
    for (size_t i = 0; p->options[i].kind != OPTION_END; i++) {
        const Option *o = &p->options[i];
        const char *value = o->env && !given[i] ? getenv(o->env) : NULL;
        if (!value || !*value || is_set(o, target))
            continue;
        char origin[64];
        snprintf(origin, sizeof(origin), "$%s", o->env);
        int r = set_value(p, o, value, origin, target, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int options_parse(const OptionProgram *p, int argc, char **argv, void *target, int *ret_first,
                  Error *e)
{
    _cleanup_(getopt_table_release) GetoptTable t = {0};
    _cleanup_free_ bool *given = calloc(table_length(p->options) + 1, sizeof(*given));
    if (!given || getopt_table_init(p, &t) < 0)
        return error_oom(e);
    int r = parse_all(p, &t, argc, argv, given, target, e);
    if (r != OPTIONS_RUN)
        return r;
    r = apply_environment(p, given, target, e);
    if (r < 0)
        return r;
    *ret_first = optind;
    return OPTIONS_RUN;
}

static int pad_to(Buf *out, size_t line_start, size_t column)
{
    size_t at = out->len - line_start;
    return at < column ? buf_addf(out, "%*s", (int)(column - at), "") : 0;
}

/* Append `text` in lines that start at `indent`; the first line has begun at `line_start`. */
static int add_wrapped(Buf *out, size_t line_start, size_t indent, const char *text)
{
    int r = 0;
    while (r == 0 && *text) {
        size_t word = strcspn(text, " "), column = out->len - line_start;
        if (column > indent && column + 1 + word > HELP_WIDTH) {
            r = buf_add_str(out, "\n");
            line_start = out->len;
            if (r == 0)
                r = pad_to(out, line_start, indent);
        } else if (column > indent) {
            r = buf_add_str(out, " ");
        }
        if (r == 0)
            r = buf_add(out, text, word);
        text += word + strspn(text + word, " ");
    }
    return r == 0 ? buf_add_str(out, "\n") : r;
}

static int add_option_help(Buf *out, const Option *o)
{
    if (o->kind == OPTION_HEADING)
        return buf_addf(out, "\n%s:\n", o->help);
    size_t start = out->len;
    int r = o->short_name ? buf_addf(out, "  -%c", o->short_name) : buf_add_str(out, "    ");
    if (r == 0 && o->name)
        r = buf_addf(out, "%s --%s", o->short_name ? "," : " ", o->name);
    if (r == 0 && o->arg)
        r = buf_addf(out, " %s", o->arg);
    if (r == 0 && out->len - start > HELP_INDENT - 2) {
        r = buf_add_str(out, "\n");
        start = out->len;
    }
    _cleanup_(buf_release) Buf text = BUF_INIT;
    if (r == 0)
        r = buf_add_str(&text, o->help);
    if (r == 0 && o->choices)
        r = buf_addf(&text, " One of: %s.", o->choices);
    if (r == 0 && o->env)
        r = buf_addf(&text, " Default: $%s.", o->env);
    const char *help = r == 0 ? buf_cstr(&text) : NULL;
    if (!help)
        return -ENOMEM;
    r = pad_to(out, start, HELP_INDENT);
    return r == 0 ? add_wrapped(out, start, HELP_INDENT, help) : r;
}

static int add_usage(const OptionProgram *p, Buf *out)
{
    int r = 0;
    const char *line = p->synopsis, *lead = "Usage:";
    do {
        size_t n = strcspn(line, "\n");
        r = buf_addf(out, "%s %s %.*s\n", lead, p->name, (int)n, line);
        line += n + (line[n] == '\n');
        lead = "   or:";
    } while (r == 0 && *line);
    return r;
}

int options_help(const OptionProgram *p, Buf *out)
{
    int r = add_usage(p, out);
    if (r == 0)
        r = add_wrapped(out, out->len, 0, p->summary);
    if (r == 0 && p->options[0].kind != OPTION_HEADING)
        r = buf_add_str(out, "\nOptions:\n");
    for (const Option *o = p->options; r == 0 && o->kind != OPTION_END; o++)
        r = add_option_help(out, o);
    for (const Option *o = common_options; r == 0 && o->kind != OPTION_END; o++)
        r = add_option_help(out, o);
    if (r == 0 && p->epilogue)
        r = buf_addf(out, "\n%s\n", p->epilogue);
    return r;
}

int options_version(const OptionProgram *p, Buf *out)
{
    return buf_addf(out, "%s (bakfs) %s\n", p->name, BAKFS_VERSION);
}
