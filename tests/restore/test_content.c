#include "restore/content.h"

#include <errno.h>

#include "../fixture.h"

/* Content over a tree alone: <schema>/tables/<table>. */
static void add_dir(DirBuilder *b, const char *name, const Dir *dir, const uint64_t *rows,
                    const char *object)
{
    Error error = ERROR_INIT;
    const DirEntry entry = {.name = name,
                            .name_len = strlen(name),
                            .kind = ENTRY_DIR,
                            .mode = 0555,
                            .dir = *dir,
                            .has_rows = rows != NULL,
                            .rows = rows ? *rows : 0,
                            .object_name = object,
                            .object_name_len = object ? strlen(object) : 0};
    assert_ok(dir_builder_entry(b, &entry, NULL, &error));
}

static Dir finish(DirBuilder *b)
{
    Error error = ERROR_INIT;
    Dir dir;
    assert_ok(dir_builder_finish(b, &dir, &error));
    return dir;
}

static void test_tables(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    DirBuilder *b = NULL;
    const uint64_t rows = 7;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    fixture_add_file(f, b, "data.sql", "x", 1);
    Dir table = finish(b), none = finish(b);
    add_dir(b, "plain", &table, &rows, NULL);
    add_dir(b, "a%2Fb", &table, NULL, NULL);
    add_dir(b, "cut%~0123456789abcdef", &table, &rows, "a very long name");
    fixture_add_file(f, b, "stray", "x", 1);
    Dir tables = finish(b);
    add_dir(b, "tables", &tables, NULL, NULL);
    Dir schema = finish(b);
    add_dir(b, "%72estore.sql", &schema, NULL, NULL);
    add_dir(b, "empty", &none, NULL, NULL);
    fixture_add_file(f, b, "restore.sql", "x", 1);
    Dir root = finish(b);
    dir_builder_free(b);

    const RestoreOptions o = {0};
    Content c = {.options = &o, .objects = writer_objects(f->writer), .root = root.id};
    assert_ok(content_tables(&c, &error));
    assert_int_equal(c.n_tables, 3);
    const ContentTable *t = content_find_table(&c, "restore.sql", "a very long name");
    assert_non_null(t);
    assert_true(t->has_rows && t->rows == 7);
    assert_string_equal(t->path, "%72estore.sql/tables/cut%~0123456789abcdef");
    t = content_find_table(&c, "restore.sql", "a/b");
    assert_true(t && !t->has_rows);
    assert_null(content_find_table(&c, "restore.sql", "stray"));
    assert_null(content_find_table(&c, "empty", "plain"));

    Reader *r = NULL;
    assert_ok(content_file(&c, "%72estore.sql/tables/plain/data.sql", &r, &error));
    reader_close(r);
    assert_int_equal(content_file(&c, "nope", &r, &error), -ENOENT);
    error_release(&error);
    content_release(&c);
}

static int open_with(const Fixture *f, const RestoreOptions *o, const char *type, Error *e)
{
    BackupList *l = store_backups(f->store);
    Content c = {0};
    int r = content_open(o, f->store, &l->items[0], type, &c, e);
    content_release(&c);
    backup_list_unref(l);
    return r;
}

/* The fixture's backups hold no database. */
static void test_no_database(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    const RestoreOptions plain = {0}, named = {.database = "shop"};
    const char *const tables[] = {"t"};
    const RestoreOptions table = {.tables = tables, .n_tables = 1};
    fixture_backup(f, 1000, 1, NULL);
    assert_ok(open_with(f, &plain, NULL, &error));
    assert_int_equal(open_with(f, &plain, "sqlite", &error), -EINVAL);
    assert_non_null(error.hint);
    assert_int_equal(open_with(f, &named, "sqlite", &error), -ENOENT);
    assert_int_equal(open_with(f, &named, NULL, &error), -ENOENT);
    assert_int_equal(open_with(f, &table, NULL, &error), -EINVAL);
    error_release(&error);
}

/* What a list says, which is made from the catalogue, is believed as to which backup is meant, no
 * further: the manifest says what that one holds. */
static void test_the_manifest_decides(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    const RestoreOptions plain = {0};
    fixture_backup(f, 1000, 1, NULL);
    fixture_begin(f);
    fixture_backup(f, 1000, 2, NULL);
    BackupList *l = store_backups(f->store);
    BackupInfo wrong = l->items[1];
    wrong.root = l->items[0].root;
    wrong.entries = 7;
    Content c = {0};
    assert_ok(content_open(&plain, f->store, &wrong, NULL, &c, &error));
    assert_memory_equal(&c.root, &l->items[1].root, ID_SIZE);
    assert_memory_equal(&c.backup->root, &l->items[1].root, ID_SIZE);
    assert_int_equal(c.backup->entries, l->items[1].entries);
    content_release(&c);
    backup_list_unref(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tables, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_database, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_the_manifest_decides, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
