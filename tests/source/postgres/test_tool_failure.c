#include "source/postgres/tool_failure.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_reasons(void **state)
{
    static const struct {
        const char *messages;
        int errnum;
        const char *hint; /* NULL: none */
    } cases[] = {
        {"pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout\n"
         "pg_dump: detail: Query was: LOCK TABLE public.t IN ACCESS SHARE MODE",
         EBUSY, "--table-lock-wait"},
        {"pg_dump: error: no matching tables were found", ENOENT, "--table"},
        {"pg_dump: error: no matching tables were found for pattern \"x\"", ENOENT, "--table"},
        {"pg_dump: error: Dumping the contents of table \"t\" failed: PQgetResult() failed.\n"
         "pg_dump: detail: Error message from server: ERROR:  permission denied for table t\n"
         "pg_dump: detail: Command was: COPY public.t (a) TO stdout;",
         EACCES, "grant"},
        {"pg_dump: error: connection to server at \"a\" (10.0.0.1), port 5432 failed: refused\n"
         " Is the server running?\n"
         "connection to server at \"b\", port 5432 failed: FATAL:  sorry, too many clients already",
         ECONNRESET, NULL},
        {"pg_dump: warning: subscriptions not dumped because current user is not a superuser\n"
         "pg_dump: error: query failed: ERROR:  relation \"public.t\" does not exist",
         ESTALE, NULL},
        {"pg_dump: error: query failed: ERROR:  deadlock detected\n"
         "DETAIL:  Process 1 waits for AccessShareLock on relation 2 of database 3.\n"
         "HINT:  See server log for query details.\n"
         "pg_dump: detail: Query was: LOCK TABLE public.a, public.b IN ACCESS SHARE MODE",
         ESTALE, NULL},
        {"pg_dump: error: out of memory", EIO, NULL},
        {"", EIO, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *hint = NULL;
        assert_int_equal(tool_failure(cases[i].messages, &hint), cases[i].errnum);
        assert_int_equal(hint != NULL, cases[i].hint != NULL);
        if (hint)
            assert_non_null(strstr(hint, cases[i].hint));
    }
}

/* Names and queries may read like a reason. */
static void test_names_like_reasons(void **state)
{
    static const struct {
        const char *messages;
        int errnum;
    } cases[] = {
        {"pg_dump: error: query failed: ERROR:  relation \"public.due to lock timeout\" does not "
         "exist\n"
         "pg_dump: detail: Query was: LOCK TABLE public.\"due to lock timeout\" IN ACCESS SHARE "
         "MODE",
         ESTALE},
        {"pg_dump: error: query failed: ERROR:  division by zero\n"
         "pg_dump: detail: Query was: SELECT 'permission denied',\n"
         "'does not exist',\n"
         "'FATAL: '",
         EIO},
        {"pg_dump: error: query failed: ERROR:  relation \"a\"b\" does not exist", ESTALE},
        {"pg_dump: error: query failed: ERROR:  relation \"a\nb\" does not exist", ESTALE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *hint = NULL;
        assert_int_equal(tool_failure(cases[i].messages, &hint), cases[i].errnum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_names_like_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
