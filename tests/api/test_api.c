/* The public library as another program uses it: only <bakfs/bakfs.h>, linked as a shared library.
 * The store it reads is made by the test of a whole program, or empty. */
#include <bakfs/bakfs.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/bakfs-api-XXXXXX";
static char path[64];

static int setup(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/store", dir);
    return bakfs_store_init(path, "prod/shop", NULL);
}

static int teardown(void **state)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static void test_version(void **state)
{
    assert_true(strlen(bakfs_version()) >= 5);
}

static void test_init_twice_fails(void **state)
{
    bakfs_error e = {0};
    assert_int_equal(bakfs_store_init(path, NULL, &e), -EEXIST);
    assert_int_equal(e.code, EEXIST);
    assert_non_null(strstr(e.message, "already"));
}

static void test_bad_collection(void **state)
{
    bakfs_error e = {0};
    char other[80];
    snprintf(other, sizeof(other), "%s/other", dir);
    assert_int_equal(bakfs_store_init(other, "no slash", &e), -EINVAL);
    assert_int_equal(access(other, F_OK), -1);
}

static void test_no_store(void **state)
{
    bakfs_error e = {0};
    bakfs_store *s = NULL;
    assert_int_equal(bakfs_store_open(dir, &s, &e), -ENOENT);
    assert_null(s);
    assert_non_null(strstr(e.hint, "bakfs-store init"));
}

static void test_empty_store(void **state)
{
    bakfs_error e = {0};
    bakfs_store *s = NULL;
    bakfs_backup_list l = {0};
    assert_int_equal(bakfs_store_open(path, &s, &e), 0);
    assert_int_equal(bakfs_store_refresh(s, &e), 0);
    assert_int_equal(bakfs_backup_list_get(s, NULL, &l, &e), 0);
    assert_int_equal(l.n, 0);
    bakfs_backup_list_free(&l);
    assert_int_equal(bakfs_backup_find(s, "latest", &l, &e), -ENOENT);
    assert_int_equal(bakfs_backup_delete(s, "backup-0123456789abcdef", &e), -ENOENT);
    bakfs_file *f = NULL;
    assert_int_equal(bakfs_file_open(s, "latest", "restore.sql", &f, &e), -ENOENT);
    assert_null(f);
    bakfs_file_close(f);
    bakfs_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),        cmocka_unit_test(test_init_twice_fails),
        cmocka_unit_test(test_bad_collection), cmocka_unit_test(test_no_store),
        cmocka_unit_test(test_empty_store),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
