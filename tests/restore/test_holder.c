#include "restore/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "../fixture.h"

static int make_file(char path[static 32])
{
    strcpy(path, "/tmp/bakfs-holder-XXXXXX");
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void test_nobody(void **state)
{
    (void)state;
    char path[32];
    Error error = ERROR_INIT;
    Holder h = {.pid = -1};
    int fd = make_file(path); /* one's own does not count */
    assert_ok(holder_find(path, &h, &error));
    assert_int_equal(h.pid, 0);
    close(fd);
    unlink(path);
    h.pid = -1;
    assert_ok(holder_find(path, &h, &error));
    assert_int_equal(h.pid, 0);
}

static void test_another_process(void **state)
{
    (void)state;
    char path[32];
    Error error = ERROR_INIT;
    Holder h = {0};
    int fd = make_file(path);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pause();
        _exit(0);
    }
    close(fd);
    assert_ok(holder_find(path, &h, &error));
    assert_int_equal(h.pid, child);
    assert_true(h.name[0] != 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_ok(holder_find(path, &h, &error));
    assert_int_equal(h.pid, 0);
    unlink(path);
}

static void test_no_way_there(void **state)
{
    (void)state;
    Error error = ERROR_INIT;
    Holder h;
    assert_int_equal(holder_find("/dev/null/x", &h, &error), -ENOTDIR);
    error_release(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_another_process),
        cmocka_unit_test(test_no_way_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
