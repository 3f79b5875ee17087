#include "tree/dir.h"

#include <errno.h>

#include "reference.h"

static const Rope no_rope = {.node = {.data = (uint8_t *)"\x01\x00\x00\x00", .len = 4}};

static Dir build(Fixture *f, const char *const *names, size_t n)
{
    Error error = ERROR_INIT;
    DirBuilder *b = NULL;
    Dir dir;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < n; i++)
        assert_ok(dir_builder_file(b, names[i], 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_finish(b, &dir, &error));
    dir_builder_free(b);
    return dir;
}

static void test_the_order_of_adding_does_not_matter(void **state)
{
    static const char *const one[] = {"b", "a", "ab", "B", "\xc3\xa9", "a.b", "a-b", "a b"};
    static const char *const two[] = {"a b", "\xc3\xa9", "a-b", "B", "a.b", "b", "ab", "a"};
    Dir x = build(*state, one, 8), y = build(*state, two, 8);
    assert_memory_equal(&x.id, &y.id, ID_SIZE);
    assert_int_equal(x.entries, 8);
}

static void test_duplicates_are_refused(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const char *const names[] = {"x", "same", "y", "same"};
    DirBuilder *b = NULL;
    Dir dir;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < 4; i++)
        assert_ok(dir_builder_file(b, names[i], 0444, &no_rope, NULL, &error));
    assert_int_equal(dir_builder_finish(b, &dir, &error), -EEXIST);
    assert_non_null(strstr(error.message, "same"));
    error_release(&error);
    dir_builder_free(b);
    dir_builder_free(NULL);
}

static void test_bad_names_are_refused(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    char longest[257];
    memset(longest, 'n', 256);
    longest[256] = 0;
    const char *const names[] = {"", ".", "..", "a/b", "/", longest};
    DirBuilder *b = NULL;
    Dir dir;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        assert_int_equal(dir_builder_file(b, names[i], 0444, &no_rope, NULL, &error), -EINVAL);
        error_release(&error);
    }
    longest[255] = 0;
    assert_ok(dir_builder_file(b, longest, 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_file(b, "...", 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_file(b, ".x", 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_finish(b, &dir, &error));
    assert_int_equal(dir.entries, 3);
    dir_builder_free(b);
}

static void test_links_have_bounded_targets(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    DirBuilder *b = NULL;
    char target[5000];
    memset(target, 't', sizeof(target));
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    static const uint64_t sizes[] = {0, 4097, 5000};
    for (size_t i = 0; i < 3; i++) {
        const DirEntry link = {.name = "l",
                               .name_len = 1,
                               .kind = ENTRY_SYMLINK,
                               .mode = 0777,
                               .size = sizes[i],
                               .target = target};
        assert_true(dir_builder_entry(b, &link, NULL, &error) < 0);
        error_release(&error);
    }
    dir_builder_free(b);
}

/* One entry among 10,000 changes: few nodes are new. */
static void test_unchanged_entries_are_shared(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    WriterStats before, after;
    for (int round = 0; round < 3; round++) {
        DirBuilder *b = NULL;
        Dir dir;
        assert_int_equal(dir_builder_new(f->writer, &b), 0);
        for (int i = 0; i < 10000; i++) {
            char name[16];
            snprintf(name, sizeof(name), "t%d", i);
            uint16_t mode = round == 2 && i == 5000 ? 0400 : 0444;
            assert_ok(dir_builder_file(b, name, mode, &no_rope, NULL, &error));
        }
        writer_stats(f->writer, &before);
        assert_ok(dir_builder_finish(b, &dir, &error));
        writer_stats(f->writer, &after);
        assert_int_equal(dir.entries, 10000);
        size_t added = after.objects_new - before.objects_new;
        assert_true(round == 0 ? added > 100 : round == 1 ? added == 0 : added <= 4);
        dir_builder_free(b);
    }
}

/* A builder starts anew after it has finished. */
static void test_builders_can_be_used_again(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    DirBuilder *b = NULL;
    Dir first, second;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_ok(dir_builder_file(b, "x", 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_finish(b, &first, &error));
    assert_ok(dir_builder_finish(b, &second, &error));
    assert_int_equal(first.entries, 1);
    assert_int_equal(second.entries, 0);
    dir_builder_free(b);
}

static void test_entries_below_are_counted(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const char *const names[] = {"a", "b", "c"};
    Dir inner = build(f, names, 3), middle, outer;
    DirBuilder *b = NULL;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_ok(dir_builder_dir(b, "x", &inner, &error));
    assert_ok(dir_builder_dir(b, "y", &inner, &error));
    assert_ok(dir_builder_finish(b, &middle, &error));
    assert_int_equal(middle.entries, 8);
    assert_ok(dir_builder_dir(b, "m", &middle, &error));
    assert_ok(dir_builder_file(b, "f", 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_finish(b, &outer, &error));
    assert_int_equal(outer.entries, 10);
    dir_builder_free(b);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_the_order_of_adding_does_not_matter),
        WITH_STORE(test_duplicates_are_refused),
        WITH_STORE(test_bad_names_are_refused),
        WITH_STORE(test_links_have_bounded_targets),
        WITH_STORE(test_unchanged_entries_are_shared),
        WITH_STORE(test_builders_can_be_used_again),
        WITH_STORE(test_entries_below_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
