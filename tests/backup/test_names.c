#include "../fixture.h"

#include <errno.h>

#include "backup/names.h"

static int clear_environment(void **state)
{
    unsetenv("GITHUB_REPOSITORY");
    unsetenv("GITHUB_EVENT_NAME");
    unsetenv("GITHUB_SHA");
    return 0;
}

static void assert_archive(const char *repo, const char *event, const char *sha,
                           const char *expected)
{
    Error error = ERROR_INIT;
    BackupNames n;
    assert_ok(backup_names_find(repo, event, sha, &n, &error));
    char *archive = backup_names_archive(&n, 1768487445);
    assert_non_null(archive);
    assert_string_equal(archive, expected);
    free(archive);
    backup_names_release(&n);
}

static void test_nothing_given(void **state)
{
    assert_archive(NULL, NULL, NULL, "2026-01-15T14-30-45Z--standalone--standalone--standalone");
    assert_archive("", "", "", "2026-01-15T14-30-45Z--standalone--standalone--standalone");
}

static void test_options(void **state)
{
    assert_archive("myorg/myapp", "push", "abc1234def5678",
                   "2026-01-15T14-30-45Z--myorg-myapp--push--abc1234");
}

static void test_environment(void **state)
{
    setenv("GITHUB_REPOSITORY", "myorg/myapp", 1);
    setenv("GITHUB_EVENT_NAME", "pull_request", 1);
    setenv("GITHUB_SHA", "0123456789abcdef", 1);
    assert_archive(NULL, NULL, NULL, "2026-01-15T14-30-45Z--myorg-myapp--pr--0123456");
    assert_archive("other", NULL, NULL, "2026-01-15T14-30-45Z--other--pr--0123456");
    setenv("GITHUB_EVENT_NAME", "workflow_dispatch", 1);
    assert_archive(NULL, NULL, NULL, "2026-01-15T14-30-45Z--myorg-myapp--manual--0123456");
    setenv("GITHUB_EVENT_NAME", "release", 1);
    assert_archive(NULL, NULL, NULL, "2026-01-15T14-30-45Z--myorg-myapp--release--0123456");
}

static void test_odd_characters(void **state)
{
    assert_archive("a\nb", ".x", "%1", "2026-01-15T14-30-45Z--a%0Ab--%2Ex--%251");
}

static void test_too_long(void **state)
{
    Error error = ERROR_INIT;
    BackupNames n = {0};
    char name[200];
    memset(name, 'r', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    assert_int_equal(backup_names_find(name, NULL, NULL, &n, &error), -EINVAL);
    assert_int_equal(error.exit_code, BK_EXIT_USAGE);
    assert_non_null(error.hint);
    assert_null(n.repo);
    error_release(&error);
}

static void assert_collection(const char *database, const char *expected)
{
    char *collection = backup_default_collection(database);
    assert_non_null(collection);
    assert_string_equal(collection, expected);
    assert_true(collection_is_valid(collection));
    free(collection);
}

static void test_default_collection(void **state)
{
    char longest[300];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    assert_collection("shop", "default/shop");
    assert_collection("my shop/\xc3\xa4", "default/my_shop___");
    assert_collection(".hidden", "default/_hidden");
    assert_collection("a.b-c_d", "default/a.b-c_d");
    assert_collection("", "default/database");
    char *collection = backup_default_collection(longest);
    assert_true(collection_is_valid(collection));
    free(collection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_given, clear_environment),
        cmocka_unit_test_setup(test_options, clear_environment),
        cmocka_unit_test_setup(test_environment, clear_environment),
        cmocka_unit_test_setup(test_odd_characters, clear_environment),
        cmocka_unit_test_setup(test_too_long, clear_environment),
        cmocka_unit_test(test_default_collection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
