#include "restore/reader.h"

#include <errno.h>

#include "../fixture.h"

#define ROWS (3u << 20)

/* A backup with file c of rows; the entry, whose holder stays alive, and its bytes. */
typedef struct File {
    DirEntry entry;
    uint8_t *bytes;
    size_t len;
} File;

static void file_make(Fixture *f, File *ret)
{
    Error error = ERROR_INIT;
    BackupInfo info;
    fixture_backup(f, ROWS, 1, &info);
    *ret = (File){.bytes = malloc(ROWS)};
    ret->len = test_fill_rows(ret->bytes, ROWS, 1, 1);
    assert_ok(dir_resolve(store_objects(f->store), &info.root, "c", &ret->entry, &error));
    backup_info_release(&info);
}

static void file_release(File *f)
{
    dir_entry_release(&f->entry);
    free(f->bytes);
}

static void test_whole(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    File file;
    Reader *r = NULL;
    Buf all = BUF_INIT;
    file_make(f, &file);
    assert_ok(reader_open(store_objects(f->store), &file.entry, NULL, &r, &error));
    assert_int_equal(reader_size(r), file.len);
    assert_int_equal(reader_all(r, file.len - 1, &all, &error), -EFBIG);
    error_release(&error);
    assert_ok(reader_all(r, file.len, &all, &error));
    assert_int_equal(all.len, file.len);
    assert_memory_equal(all.data, file.bytes, file.len);
    const uint8_t *p;
    size_t n;
    assert_int_equal(reader_next(r, 1, &p, &n, &error), 0);
    buf_release(&all);
    reader_close(r);
    file_release(&file);
}

static void test_from_anywhere(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    File file;
    Reader *r = NULL;
    uint64_t random = 7;
    static uint8_t got[200000];
    file_make(f, &file);
    assert_ok(reader_open(store_objects(f->store), &file.entry, NULL, &r, &error));
    for (int i = 0; i < 200; i++) {
        size_t at = test_random(&random) % (file.len + 1), len = test_random(&random) % 200000;
        size_t expected = len < file.len - at ? len : file.len - at;
        assert_ok(reader_seek(r, at, &error));
        assert_int_equal(reader_read(r, got, len, &error), expected);
        assert_memory_equal(got, file.bytes + at, expected);
        assert_int_equal(reader_offset(r), at + expected);
    }
    assert_int_equal(reader_seek(r, file.len + 1, &error), -EBADMSG);
    error_release(&error);
    assert_ok(reader_seek(r, file.len - 3, &error));
    assert_int_equal(reader_exactly(r, got, 4, &error), -EBADMSG);
    error_release(&error);
    reader_close(r);
    file_release(&file);
}

static void test_interrupted(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    File file;
    Reader *r = NULL;
    atomic_bool cancel = true;
    uint8_t byte;
    file_make(f, &file);
    assert_ok(reader_open(store_objects(f->store), &file.entry, &cancel, &r, &error));
    assert_int_equal(reader_read(r, &byte, 1, &error), -EINTR);
    error_release(&error);
    reader_close(r);
    file_release(&file);
}

static void test_no_file(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    DirEntry dir = {.kind = ENTRY_DIR, .name = "d", .name_len = 1};
    Reader *r = NULL;
    assert_int_equal(reader_open(store_objects(f->store), &dir, NULL, &r, &error), -EISDIR);
    assert_null(r);
    error_release(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_from_anywhere, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_interrupted, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_file, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
