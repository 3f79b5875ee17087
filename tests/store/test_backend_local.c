#include "store/backend.h"

#include <errno.h>
#include <fcntl.h>

#include "fixture.h"

typedef struct Local {
    char *path;
    Backend *b;
} Local;

static int setup(void **state)
{
    Error error = ERROR_INIT;
    Local *l = calloc(1, sizeof(*l));
    l->path = test_dir_new();
    assert_ok(backend_local_new(l->path, &l->b, &error));
    assert_ok(l->b->ops->sweep(l->b, &error)); /* makes tmp/ */
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    Local *l = *state;
    l->b->ops->free(l->b);
    test_dir_remove(l->path);
    free(l);
    return 0;
}

static void publish(Local *l, const char *name, const char *text)
{
    Error error = ERROR_INIT;
    BackendTemp *t = NULL;
    assert_ok(l->b->ops->create(l->b, true, &t, &error));
    assert_ok(l->b->ops->append(t, text, strlen(text), &error));
    assert_ok(l->b->ops->publish(t, name, &error));
}

static void test_published_files_are_read_back(void **state)
{
    Local *l = *state;
    const BackendOps *ops = l->b->ops;
    Error error = ERROR_INIT;
    publish(l, "packs/ab/x.pack", "0123456789");
    BackendFile *f = NULL;
    char data[11] = "";
    assert_ok(ops->open(l->b, "packs/ab/x.pack", &f, &error));
    assert_int_equal(ops->size(f), 10);
    assert_ok(ops->read(f, 3, data, 4, &error));
    assert_string_equal(data, "3456");
    assert_ok(ops->read(f, 10, data, 0, &error));
    assert_int_equal(ops->read(f, 8, data, 3, &error), -EBADMSG);
    assert_int_equal(ops->read(f, 11, data, 1, &error), -EBADMSG);
    ops->close(f);
    assert_int_equal(ops->open(l->b, "packs/ab/y.pack", &f, &error), -ENOENT);
    assert_non_null(strstr(error.message, "packs/ab/y.pack"));
    error_release(&error);
    ops->close(NULL);

    char path[512];
    struct stat st;
    snprintf(path, sizeof(path), "%s/packs/ab/x.pack", l->path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    snprintf(path, sizeof(path), "%s/packs", l->path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_slurp_is_bounded(void **state)
{
    Local *l = *state;
    Error error = ERROR_INIT;
    Buf b = BUF_INIT;
    publish(l, "manifests/m", "0123456789");
    assert_ok(l->b->ops->slurp(l->b, "manifests/m", 10, &b, &error));
    assert_int_equal(b.len, 10);
    assert_int_equal(l->b->ops->slurp(l->b, "manifests/m", 9, &b, &error), -EFBIG);
    assert_int_equal(l->b->ops->slurp(l->b, "manifests/none", 9, &b, &error), -ENOENT);
    error_release(&error);
    buf_release(&b);
}

static void test_temporaries_are_invisible_and_readable(void **state)
{
    Local *l = *state;
    const BackendOps *ops = l->b->ops;
    Error error = ERROR_INIT;
    BackendTemp *t = NULL;
    char data[4] = "";
    assert_ok(ops->create(l->b, true, &t, &error));
    assert_ok(ops->append(t, "abc", 3, &error));
    assert_ok(ops->append(t, "def", 3, &error));
    assert_ok(ops->read_temp(t, 2, data, 3, &error));
    assert_string_equal(data, "cde");
    assert_int_equal(ops->read_temp(t, 5, data, 2, &error), -EBADMSG);
    ops->discard(t);
    ops->discard(NULL);
    char command[512];
    snprintf(command, sizeof(command), "test -z \"$(ls %s/tmp)\"", l->path);
    assert_int_equal(system(command), 0);
    error_release(&error);
}

static int collect(void *ctx, const char *name)
{
    Buf *b = ctx;
    buf_addf(b, "%s;", name);
    return strcmp(name, "stop") == 0 ? 42 : 0;
}

static void test_lists(void **state)
{
    Local *l = *state;
    Error error = ERROR_INIT;
    Buf b = BUF_INIT;
    assert_ok(l->b->ops->list(l->b, "no/such", collect, &b, &error));
    assert_int_equal(b.len, 0);
    publish(l, "d/one", "");
    publish(l, "d/.hidden", "");
    assert_ok(l->b->ops->list(l->b, "d", collect, &b, &error));
    assert_string_equal(buf_cstr(&b), "one;");
    publish(l, "e/stop", "");
    assert_int_equal(l->b->ops->list(l->b, "e", collect, &b, &error), 42);
    buf_release(&b);
}

static void test_replace_is_whole_or_nothing(void **state)
{
    Local *l = *state;
    const BackendOps *ops = l->b->ops;
    Error error = ERROR_INIT;
    Buf b = BUF_INIT;
    uint64_t before = ops->stamp(l->b, "generation");
    assert_int_equal(before, 0);
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        assert_ok(ops->replace(l->b, "generation", text, strlen(text), i % 2, &error));
        buf_clear(&b);
        assert_ok(ops->slurp(l->b, "generation", 100, &b, &error));
        assert_string_equal(buf_cstr(&b), text);
        uint64_t now = ops->stamp(l->b, "generation");
        assert_true(now != 0 && now != before);
        before = now;
    }
    assert_int_equal(ops->replace(l->b, "no/such/dir", "x", 1, false, &error), -ENOENT);
    error_release(&error);
    buf_release(&b);
}

static void test_stamps_notice_new_files(void **state)
{
    Local *l = *state;
    uint64_t before = l->b->ops->stamp(l->b, "events");
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof(name), "events/%d", i);
        publish(l, name, "x");
        uint64_t now = l->b->ops->stamp(l->b, "events");
        assert_true(now != before);
        assert_int_equal(l->b->ops->stamp(l->b, "events"), now);
        before = now;
        usleep(5000); /* a file system's clock ticks every few milliseconds */
    }
}

/* A writer sweeps what dead writers left, and nothing that an event being written needs. */
static void test_sweep(void **state)
{
    Local *l = *state;
    const BackendOps *ops = l->b->ops;
    Error error = ERROR_INIT;
    BackendTemp *event = NULL, *dead = NULL;
    assert_ok(ops->create(l->b, false, &event, &error));
    assert_ok(ops->create(l->b, true, &dead, &error));
    assert_ok(ops->append(event, "x", 1, &error));
    assert_ok(ops->sweep(l->b, &error));
    assert_ok(ops->publish(event, "events/e", &error));
    assert_int_equal(ops->publish(dead, "packs/p", &error), -ENOENT);
    error_release(&error);
}

static void test_what_is_no_regular_file_is_refused(void **state)
{
    Local *l = *state;
    Error error = ERROR_INIT;
    BackendFile *f = NULL;
    char path[512];
    snprintf(path, sizeof(path), "%s/fifo", l->path);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof(path), "%s/link", l->path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    static const char *const names[] = {"fifo", "link", "tmp"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(l->b->ops->open(l->b, names[i], &f, &error) < 0);
        error_release(&error);
    }
}

static void test_no_directory(void **state)
{
    Error error = ERROR_INIT;
    Backend *b = NULL;
    assert_int_equal(backend_local_new("/no/such", &b, &error), -ENOENT);
    assert_int_equal(backend_local_new("/etc/passwd", &b, &error), -ENOTDIR);
    assert_null(b);
    error_release(&error);
}

int main(void)
{
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_DIR(test_published_files_are_read_back),
        IN_DIR(test_slurp_is_bounded),
        IN_DIR(test_temporaries_are_invisible_and_readable),
        IN_DIR(test_lists),
        IN_DIR(test_replace_is_whole_or_nothing),
        IN_DIR(test_stamps_notice_new_files),
        IN_DIR(test_sweep),
        IN_DIR(test_what_is_no_regular_file_is_refused),
        cmocka_unit_test(test_no_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
