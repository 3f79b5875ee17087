#include <errno.h>
#include <sys/stat.h>

#include "restore/restore.h"

#include "../fixture.h"
#include "restore/tree_remove.h"

static char *path_in(const Fixture *f, const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", f->dir, name) > 0);
    return path;
}

static int agree(void *ctx, const char *what, Error *e)
{
    (void)e;
    *(char **)ctx = strdup(what);
    return 0;
}

static int restore(const Fixture *f, const char *to, bool overwrite, char **asked, Error *e)
{
    char *target = NULL;
    assert_true(asprintf(&target, "file:%s", to) > 0);
    const RestoreOptions o = {.store = f->path,
                              .backup = "latest",
                              .target = target,
                              .overwrite = overwrite,
                              .jobs = 1,
                              .confirm = asked ? agree : NULL,
                              .ctx = asked};
    RestoreResult result = {0};
    int r = restore_run(&o, &result, e);
    if (r == 0) {
        assert_int_equal(result.files, 7); /* with SHA256SUMS and so on */
        assert_string_equal(result.type, "file");
    }
    restore_result_release(&result);
    free(target);
    return r;
}

static void check_file(const char *dir, const char *name, const void *data, size_t len, mode_t mode)
{
    char *path = NULL;
    struct stat st;
    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    assert_int_equal(st.st_mtime, 1768487445);
    assert_int_equal(st.st_size, len);
    uint8_t *got = malloc(len + 1);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_int_equal(fread(got, 1, len + 1, in), len);
    assert_memory_equal(got, data, len);
    fclose(in);
    free(got);
    free(path);
}

static void test_tree(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    enum { SIZE = 400000 };
    uint8_t *data = malloc(SIZE);
    size_t len = test_fill_rows(data, SIZE, 1, 1);
    char *out = path_in(f, "out"), *asked = NULL;
    struct stat st;
    fixture_backup(f, SIZE, 1, NULL);

    assert_ok(restore(f, out, false, NULL, &error));
    check_file(out, "a", data, 0, 0444);
    check_file(out, "b", data, 100, 0444);
    check_file(out, "d/e", data, len, 0444);
    assert_int_equal(stat(out, &st), 0);
    assert_int_equal(st.st_mtime, 1768487445);

    /* Not over what is there, unless told so and agreed to. */
    assert_int_equal(restore(f, out, false, &asked, &error), -ENOTEMPTY);
    assert_null(asked);
    error_release(&error);
    assert_int_equal(restore(f, out, true, NULL, &error), -ECANCELED);
    error_release(&error);
    assert_ok(restore(f, out, true, &asked, &error));
    assert_non_null(strstr(asked, "not empty"));
    check_file(out, "c", data, len, 0444);

    tree_remove(out);
    assert_int_equal(stat(out, &st), -1);
    free(asked);
    free(out);
    free(data);
}

static void test_tree_remove(void **state)
{
    Fixture *f = *state;
    char *keep = path_in(f, "keep"), *top = path_in(f, "top"), *inner = path_in(f, "top/inner");
    char *link = path_in(f, "top/link"), *kept = path_in(f, "keep/kept");
    struct stat st;
    assert_int_equal(mkdir(keep, 0700), 0);
    assert_true(tree_is_empty(keep));
    assert_int_equal(mkdir(kept, 0700), 0);
    assert_false(tree_is_empty(keep));
    assert_int_equal(mkdir(top, 0700), 0);
    assert_int_equal(mkdir(inner, 0500), 0);
    assert_int_equal(symlink(keep, link), 0);
    assert_int_equal(chmod(top, 0500), 0);
    tree_remove(top);
    tree_remove(top); /* nothing there: nothing happens */
    assert_int_equal(lstat(top, &st), -1);
    assert_int_equal(stat(kept, &st), 0); /* behind a link */
    free(keep);
    free(kept);
    free(top);
    free(inner);
    free(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tree, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_tree_remove, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
