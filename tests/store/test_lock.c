#include "store/lock.h"

#include <errno.h>

#include "fixture.h"

static int setup(void **state)
{
    *state = test_dir_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    test_dir_remove(*state);
    return 0;
}

static Lock *acquire(const char *dir)
{
    Error error = ERROR_INIT;
    Lock *lock = NULL;
    assert_ok(lock_acquire(dir, 0, NULL, NULL, NULL, &lock, &error));
    return lock;
}

static void assert_locked(const char *dir)
{
    Error error = ERROR_INIT;
    Lock *lock = NULL;
    assert_int_equal(lock_acquire(dir, 0, NULL, NULL, NULL, &lock, &error), -EAGAIN);
    assert_null(lock);
    assert_int_equal(error.exit_code, BK_EXIT_LOCKED);
    char pid[24];
    snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
    assert_non_null(strstr(error.message, pid));
    assert_non_null(error.hint);
    error_release(&error);
}

static void test_one_at_a_time(void **state)
{
    Lock *lock = acquire(*state);
    assert_locked(*state); /* in the same process, too */
    lock_release(lock);
    lock_release(acquire(*state));
    lock_release(NULL);
}

/* The lock of the one process and what another one, started by fork, gets. */
static void test_exclusion_between_processes(void **state)
{
    const char *dir = *state;
    int ready[2], go[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        Lock *lock = NULL;
        int r = lock_acquire(dir, 0, NULL, NULL, NULL, &lock, NULL);
        (void)!write(ready[1], r == 0 ? "y" : "n", 1);
        (void)!read(go[0], &byte, 1);
        _exit(0); /* without a release: the lock goes with the process */
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    Error error = ERROR_INIT;
    Lock *lock = NULL;
    assert_int_equal(lock_acquire(dir, 0, NULL, NULL, NULL, &lock, &error), -EAGAIN);
    char holder[24];
    snprintf(holder, sizeof(holder), "pid %d", (int)pid);
    assert_non_null(strstr(error.message, holder));
    error_release(&error);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    lock_release(acquire(dir));
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

/* A program started while the lock is held must not keep it. */
static void test_programs_started_do_not_inherit(void **state)
{
    Lock *lock = acquire(*state);
    int in[2];
    assert_int_equal(pipe(in), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], STDIN_FILENO);
        close(in[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    lock_release(lock);
    /* The child holds it until its exec. */
    Error error = ERROR_INIT;
    assert_ok(lock_acquire(*state, 5, NULL, NULL, NULL, &lock, &error));
    lock_release(lock);
    close(in[1]);
    waitpid(pid, NULL, 0);
}

static void count_waits(void *ctx, const char *holder)
{
    (*(int *)ctx)++;
    assert_non_null(strstr(holder, "pid"));
}

static void test_waiting(void **state)
{
    Lock *lock = acquire(*state), *second = NULL;
    Error error = ERROR_INIT;
    int waits = 0;
    assert_int_equal(lock_acquire(*state, 0.3, NULL, count_waits, &waits, &second, &error),
                     -EAGAIN);
    assert_int_equal(waits, 1);
    assert_int_equal(error.exit_code, BK_EXIT_LOCKED);
    const atomic_bool cancel = true;
    assert_int_equal(lock_acquire(*state, 60, &cancel, NULL, NULL, &second, &error), -EINTR);
    assert_int_equal(error.exit_code, BK_EXIT_INTERRUPTED);
    assert_null(second);
    error_release(&error);
    lock_release(lock);
}

static void test_the_lock_file_may_hold_anything(void **state)
{
    static const char *const texts[] = {"",
                                        "garbage",
                                        "{}",
                                        "{\"host\": 5}",
                                        "[1, 2]",
                                        ("{\"host\": \"\\u001b[31m\", \"pid\": "
                                         "99999999999999999999, \"since\": 1, \"program\": \"\"}")};
    char path[256];
    snprintf(path, sizeof(path), "%s/lock", (char *)*state);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        Lock *lock = acquire(*state), *second = NULL;
        Error error = ERROR_INIT;
        FILE *f = fopen(path, "we");
        fputs(texts[i], f);
        fclose(f);
        assert_int_equal(lock_acquire(*state, 0, NULL, NULL, NULL, &second, &error), -EAGAIN);
        assert_non_null(error.message);
        error_release(&error);
        lock_release(lock);
    }
}

/* Someone took the file for stale: others lock the new one, and the holder can tell. */
static void test_the_lock_file_may_be_deleted(void **state)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/lock", (char *)*state);
    Lock *first = acquire(*state);
    assert_true(lock_is_effective(first));
    assert_int_equal(unlink(path), 0);
    assert_false(lock_is_effective(first));
    Lock *second = acquire(*state);
    assert_true(lock_is_effective(second));
    assert_false(lock_is_effective(first));
    lock_release(first);
    assert_locked(*state);
    lock_release(second);
}

static void test_no_directory(void **state)
{
    Error error = ERROR_INIT;
    Lock *lock = NULL;
    assert_int_equal(lock_acquire("/no/such/directory", 0, NULL, NULL, NULL, &lock, &error),
                     -ENOENT);
    assert_non_null(error.message);
    error_release(&error);
}

int main(void)
{
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_DIR(test_one_at_a_time),
        IN_DIR(test_exclusion_between_processes),
        IN_DIR(test_programs_started_do_not_inherit),
        IN_DIR(test_waiting),
        IN_DIR(test_the_lock_file_may_hold_anything),
        IN_DIR(test_the_lock_file_may_be_deleted),
        IN_DIR(test_no_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
