#include "source/postgres/tools.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../../support.h"
#include "util/cleanup.h"

static char *scratch;

static int set_up(void **state)
{
    scratch = test_dir_new();
    setenv("PATH", "/nowhere:relative", 1);
    return scratch ? 0 : -1;
}

static int tear_down(void **state)
{
    setenv("PATH", "/usr/bin:/bin", 1);
    test_dir_remove(scratch);
    return 0;
}

/* A directory with programs that claim to be of `version`. */
static void install(const char *dir, const char *version)
{
    static const char *const names[] = {"pg_dump", "pg_restore", "pg_dumpall"};
    char path[512];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s/", scratch, dir);
        for (char *p = path + 1; (p = strchr(p, '/')); p++) {
            *p = 0;
            mkdir(path, 0755);
            *p = '/';
        }
        strcat(path, names[i]);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fprintf(f, "#!/bin/sh\necho '%s (PostgreSQL) %s'\n", names[i], version);
        fclose(f);
        assert_int_equal(chmod(path, 0755), 0);
    }
}

static void test_versions(void **state)
{
    assert_int_equal(pg_tools_parse_version("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0)\n"), 15);
    assert_int_equal(pg_tools_parse_version("pg_dump (PostgreSQL) 18beta1\n"), 18);
    assert_int_equal(pg_tools_parse_version("pg_dump (PostgreSQL) 9.6.24\n"), 0);
    assert_int_equal(pg_tools_parse_version("pg_dump\n"), 0);
    assert_int_equal(pg_tools_parse_version(""), 0);
}

/* `want` 0: none fits, and the message holds `said`. */
static void expect(const char *bindir, int server, int want, const char *said)
{
    _cleanup_(pg_tools_release) PgTools t = {0};
    Error e = ERROR_INIT;
    int r = pg_tools_find(bindir, scratch, server, &t, &e);
    assert_int_equal(r, want ? 0 : -ENOENT);
    if (want) {
        assert_int_equal(t.major, want);
        assert_non_null(strstr(t.pg_restore, "/pg_restore"));
    } else {
        assert_non_null(strstr(e.message, said));
        assert_non_null(strstr(e.hint, "postgresql-client-"));
    }
    error_release(&e);
}

static void test_find(void **state)
{
    expect(NULL, 15, 0, "no pg_dump found for PostgreSQL 15");
    install("14/bin", "14.2");
    expect(NULL, 15, 0, "newest pg_dump found is of version 14");
    install("18/bin", "18.1");
    install("17/bin", "17.4 (Debian)");
    expect(NULL, 15, 17, NULL); /* the lowest that can */
    install("15/bin", "15.9");
    expect(NULL, 15, 15, NULL);
    expect(NULL, 19, 0, "newest pg_dump found is of version 18");
    install("16/bin", "17.0"); /* a directory that lies */
    expect(NULL, 16, 17, NULL);
}

static void test_path_and_bindir(void **state)
{
    char dir[300], path[700];
    snprintf(dir, sizeof(dir), "%s/mine", scratch);
    expect(dir, 20, 0, "no pg_dump in");
    install("mine", "20.0");
    expect(dir, 20, 20, NULL);
    expect(dir, 21, 0, "is of version 20");
    snprintf(path, sizeof(path), "/nowhere:%s", dir);
    setenv("PATH", path, 1);
    expect(NULL, 20, 20, NULL);
    setenv("PATH", "/nowhere", 1);
    expect(NULL, 20, 0, "is of version 18");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_path_and_bindir),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
