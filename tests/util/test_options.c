#include "util/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

typedef struct Values {
    bool quiet, json;
    const char *store, *kind;
    OptionList tags;
    int jobs;
    double wait;
} Values;

static const Option table[] = {
    {OPTION_TEXT, 's', "store", "DIR", offsetof(Values, store), "The store.",
     .env = "TEST_OPTIONS_STORE"},
    {OPTION_LIST, 0, "tag", "KEY=VALUE", offsetof(Values, tags), "A tag; may be repeated."},
    {OPTION_CHOICE, 0, "kind", "KIND", offsetof(Values, kind), "What it is for.",
     .choices = "daily pre_change manual"},
    {OPTION_HEADING, .help = "Speed"},
    {OPTION_INT, 'j', "jobs", "N", offsetof(Values, jobs), "Connections.", .min = 1, .max = 64,
     .env = "TEST_OPTIONS_JOBS"},
    {OPTION_NUMBER, 0, "lock-wait", "SECONDS", offsetof(Values, wait),
     "How long to wait for another writer, who may be at work for hours before giving up.",
     .min = 0, .max = 86400},
    {OPTION_FLAG, 'q', "quiet", NULL, offsetof(Values, quiet), "Say nothing."},
    {OPTION_FLAG, 0, "json", NULL, offsetof(Values, json), "For programs."},
    {OPTION_END},
};

static const OptionProgram program = {
    .name = "prog",
    .synopsis = "[OPTION]... [FILE]...\n--list",
    .summary = "Does a thing.",
    .options = table,
    .epilogue = "The end.",
};

static const OptionProgram verb_program = {
    .name = "prog", .synopsis = "VERB", .summary = "", .options = table, .stop_at_operand = true};

typedef struct Parsed {
    Values v;
    int result, first;
    char *argv[16];
    int argc;
    Error e;
} Parsed;

static void parse(Parsed *p, const OptionProgram *program_, const char *const *words)
{
    *p = (Parsed){.v.jobs = 4, .v.wait = 600, .first = -1};
    p->argv[p->argc++] = (char *)"prog";
    for (; *words; words++)
        p->argv[p->argc++] = (char *)*words;
    p->result = options_parse(program_, p->argc, p->argv, &p->v, &p->first, &p->e);
}

static void parsed_release(Parsed *p)
{
    option_list_release(&p->v.tags);
    error_release(&p->e);
}

#define PARSE(name, ...)                                                                           \
    _cleanup_(parsed_release) Parsed name;                                                         \
    parse(&name, &program, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void expect_usage(const Parsed *p, const char *part)
{
    assert_int_equal(p->result, -22);
    assert_int_equal(p->e.exit_code, BK_EXIT_USAGE);
    assert_int_equal(p->first, -1);
    assert_non_null(p->e.message);
    if (!strstr(p->e.message, part))
        fail_msg("'%s' lacks '%s'", p->e.message, part);
    assert_non_null(p->e.hint);
    assert_non_null(strstr(p->e.hint, "prog --help"));
}

static void test_nothing_keeps_defaults(void **state)
{
    PARSE(p);
    assert_int_equal(p.result, OPTIONS_RUN);
    assert_int_equal(p.first, 1);
    assert_int_equal(p.v.jobs, 4);
    assert_null(p.v.store);
    assert_false(p.v.quiet);
}

static void test_every_kind(void **state)
{
    PARSE(p, "one", "--store", "d", "--tag=a=b", "-j3", "two", "-q", "--tag", "c", "--kind=manual",
          "--lock-wait", "0.5");
    assert_int_equal(p.result, OPTIONS_RUN);
    assert_string_equal(p.v.store, "d");
    assert_int_equal(p.v.tags.n, 2);
    assert_string_equal(p.v.tags.items[0], "a=b");
    assert_string_equal(p.v.tags.items[1], "c");
    assert_int_equal(p.v.jobs, 3);
    assert_string_equal(p.v.kind, "manual");
    assert_true(p.v.wait == 0.5);
    assert_true(p.v.quiet);
    assert_false(p.v.json);
    assert_int_equal(p.argc - p.first, 2);
    assert_string_equal(p.argv[p.first], "one");
    assert_string_equal(p.argv[p.first + 1], "two");
}

static void test_last_one_wins_and_prefixes(void **state)
{
    PARSE(p, "--store=a", "-s", "b", "--js");
    assert_int_equal(p.result, OPTIONS_RUN);
    assert_string_equal(p.v.store, "b");
    assert_true(p.v.json);
}

static void test_double_dash_ends_options(void **state)
{
    PARSE(p, "--", "--json", "-q");
    assert_int_equal(p.result, OPTIONS_RUN);
    assert_int_equal(p.argc - p.first, 2);
    assert_false(p.v.json);
}

static void test_stop_at_operand(void **state)
{
    _cleanup_(parsed_release) Parsed p;
    parse(&p, &verb_program, (const char *const[]){"-q", "list", "--limit", "3", NULL});
    assert_int_equal(p.result, OPTIONS_RUN);
    assert_true(p.v.quiet);
    assert_string_equal(p.argv[p.first], "list");
    assert_int_equal(p.argc - p.first, 3);
}

static void test_help_and_version(void **state)
{
    static const struct {
        const char *word;
        int result;
    } cases[] = {{"--help", OPTIONS_HELP},
                 {"-h", OPTIONS_HELP},
                 {"--version", OPTIONS_VERSION},
                 {"-V", OPTIONS_VERSION},
                 {"-qh", OPTIONS_HELP}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        PARSE(p, cases[i].word);
        assert_int_equal(p.result, cases[i].result);
    }
}

static void test_refusals(void **state)
{
    static const struct {
        const char *words[4];
        const char *part;
    } cases[] = {
        {{"--bogus"}, "unknown option '--bogus'"},
        {{"--bogus=secret"}, "unknown option '--bogus'"},
        {{"-x"}, "unknown option '-x'"},
        {{"--json", "-qx"}, "unknown option '-x'"},
        {{"--j"}, "could be any of --jobs, --json"},
        {{"--json=1"}, "'--json' takes no value"},
        {{"--store"}, "'--store' needs a value: DIR"},
        {{"-s"}, "'--store' needs a value: DIR"},
        {{"--jobs", "0"}, "--jobs takes a whole number from 1 to 64"},
        {{"--jobs", "65"}, "not '65'"},
        {{"--jobs", "4x"}, "not '4x'"},
        {{"--jobs", ""}, "not ''"},
        {{"--jobs", "99999999999999999999"}, "--jobs"},
        {{"--lock-wait", "-1"}, "--lock-wait takes a number from 0 to 86400"},
        {{"--lock-wait", "nan"}, "not 'nan'"},
        {{"--lock-wait", "inf"}, "not 'inf'"},
        {{"--kind", "weekly"}, "--kind is one of: daily pre_change manual"},
        {{"--kind", ""}, "not ''"},
        {{"--kind", "daily pre_change"}, "--kind"},
        {{"--kind", "dail"}, "--kind"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        _cleanup_(parsed_release) Parsed p;
        parse(&p, &program, cases[i].words);
        expect_usage(&p, cases[i].part);
        assert_null(strstr(p.e.message, "secret"));
    }
}

static void test_environment(void **state)
{
    setenv("TEST_OPTIONS_STORE", "from-env", 1);
    PARSE(p);
    assert_string_equal(p.v.store, "from-env");
    PARSE(q, "--store", "given");
    assert_string_equal(q.v.store, "given");
    setenv("TEST_OPTIONS_STORE", "", 1);
    PARSE(r);
    assert_null(r.v.store);
    unsetenv("TEST_OPTIONS_STORE");

    setenv("TEST_OPTIONS_JOBS", "many", 1);
    PARSE(s);
    expect_usage(&s, "$TEST_OPTIONS_JOBS takes a whole number");
    unsetenv("TEST_OPTIONS_JOBS");
}

static void test_help_text(void **state)
{
    _cleanup_(buf_release) Buf out = BUF_INIT;
    assert_int_equal(options_help(&program, &out), 0);
    const char *text = buf_cstr(&out);
    static const char *const parts[] = {
        "Usage: prog [OPTION]... [FILE]...\n   or: prog --list\n",
        "Does a thing.\n\nOptions:\n",
        "  -s, --store DIR           The store. Default: $TEST_OPTIONS_STORE.\n",
        "      --kind KIND           What it is for. One of: daily pre_change manual.\n",
        "\nSpeed:\n  -j, --jobs N ",
        "  -h, --help                Print this help.\n",
        "\nThe end.\n",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (!strstr(text, parts[i]))
            fail_msg("help lacks '%s':\n%s", parts[i], text);
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        assert_true(n < 80);
        line += n + (line[n] != 0);
    }
}

static void test_version_text(void **state)
{
    _cleanup_(buf_release) Buf out = BUF_INIT;
    assert_int_equal(options_version(&program, &out), 0);
    assert_string_equal(buf_cstr(&out), "prog (bakfs) " BAKFS_VERSION "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_keeps_defaults),
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_last_one_wins_and_prefixes),
        cmocka_unit_test(test_double_dash_ends_options),
        cmocka_unit_test(test_stop_at_operand),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_help_text),
        cmocka_unit_test(test_version_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
