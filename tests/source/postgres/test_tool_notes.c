#include "source/postgres/tool_notes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static char said[8192];

static void note(void *ctx, const char *text)
{
    strcat(said, text);
    strcat(said, "|");
}

static void pass(ToolNotes *n, const char *script)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    _cleanup_(child_freep) Child *c = NULL;
    assert_int_equal(child_start(&(ChildSpec){.argv = argv, .stdin_fd = -1}, &c, NULL), 0);
    assert_int_equal(child_finish(c, NULL), 0);
    tool_notes_pass(n, c);
}

/* One note for each program's run, no advice, nothing twice. */
static void test_notes(void **state)
{
    ToolNotes n = {.note = note};
    pass(&n, "exit 0");
    assert_string_equal(said, "");
    pass(&n, "printf 'sh: warning: a\\nsh: detail: b\\nsh: hint: use --x\\nDETAIL:  c\\n' >&2");
    assert_string_equal(said, "sh: warning: a; detail: b; DETAIL:  c|");
    pass(&n, "printf 'sh: warning: a\\nsh: warning: \\033[2J\\n' >&2");
    assert_string_equal(said, "sh: warning: a; detail: b; DETAIL:  c|sh: warning:  [2J|");
    tool_notes_release(&n);
}

/* A program that never ends talking is not repeated without an end. */
static void test_bounds(void **state)
{
    ToolNotes n = {.note = note};
    said[0] = 0;
    pass(&n, "for i in $(seq 5000); do echo sh: warning: $i; done >&2");
    assert_true(strlen(said) > 1000 && strlen(said) < 6000);
    assert_non_null(strstr(said, "warning: 5000|"));
    tool_notes_release(&n);
    tool_notes_pass(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
