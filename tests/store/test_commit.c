/* What writer_commit makes of a backup: names, ordinals, files. */
#include <errno.h>

#include "fixture.h"
#include "store/backend.h"
#include "store/packset.h"

static void test_nothing_is_there_before(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    BackupList *l = store_backups(f->store);
    assert_int_equal(l->n, 0);
    backup_list_unref(l);
    assert_null(store_config(f->store)->default_collection);
    BackupInfo info;
    fixture_backup(f, 100000, 1, &info);
    assert_int_equal(info.ordinal, 1);
    assert_string_equal(info.latest_name, "latest_2026-01-15T14-30-45Z");
    assert_string_equal(info.archive_name, "2026-01-15T14-30-45Z--a--push--b");
    assert_string_equal(store_config(f->store)->default_collection, "test/shop");
    l = store_backups(f->store);
    assert_int_equal(l->n, 1);
    backup_list_unref(l);
    backup_info_release(&info);

    /* Another process sees the same. */
    fixture_reopen(f);
    l = store_backups(f->store);
    assert_int_equal(l->n, 1);
    assert_string_equal(l->items[0].collection, "test/shop");
    backup_list_unref(l);
    Object *o;
    l = store_backups(f->store);
    assert_ok(object_get(store_objects(f->store), &l->items[0].root, &o, &error));
    object_unref(o);
    backup_list_unref(l);
}

/* Several backups of one second: names are numbered, ids differ, ordinals rise. */
static void test_duplicate_names(void **state)
{
    Fixture *f = *state;
    BackupInfo info[4];
    for (size_t i = 0; i < 4; i++) {
        if (i > 0)
            fixture_begin(f);
        f->time = 1768487445;
        fixture_backup(f, 1000, i, &info[i]);
        assert_int_equal(info[i].ordinal, i + 1);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(info[i].id, info[k].id);
            assert_string_not_equal(info[i].archive_name, info[k].archive_name);
        }
    }
    assert_string_equal(info[1].archive_name, "2026-01-15T14-30-45Z--a--push--b--2");
    assert_string_equal(info[3].archive_name, "2026-01-15T14-30-45Z--a--push--b--4");
    for (size_t i = 0; i < 4; i++)
        backup_info_release(&info[i]);
}

/* What a deleted backup had is never given again. */
static void test_names_and_ordinals_are_not_reused(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    BackupInfo first, second;
    fixture_backup(f, 1000, 1, &first);
    assert_ok(store_delete_backup(f->store, &first, &error));
    fixture_begin(f);
    f->time = 1768487445;
    fixture_backup(f, 1000, 1, &second);
    assert_int_equal(second.ordinal, 2);
    assert_string_not_equal(first.id, second.id);
    assert_string_not_equal(first.archive_name, second.archive_name);
    backup_info_release(&first);
    backup_info_release(&second);
}

static void test_bad_documents_commit_nothing(void **state)
{
    Fixture *f = *state;
    static const char *const docs[] = {
        "{}", "{\"collection\": {\"namespace\": \"a\", \"name\": \"b/c\"}}",
        "{\"collection\": {\"namespace\": \"a\", \"name\": \"b\"}}",
        ("{\"collection\": {\"namespace\": \"a\", \"name\": \"b\"}, \"archive_name\": \"x/y\","
         " \"timestamp\": 1}")};
    for (size_t i = 0; i < sizeof(docs) / sizeof(*docs); i++) {
        Error error = ERROR_INIT;
        BackupInfo info;
        json_t *doc = json_loads(docs[i], 0, NULL);
        assert_true(writer_commit(f->writer, doc, &info, &error) < 0);
        assert_non_null(error.message);
        json_decref(doc);
        error_release(&error);
        writer_end(f->writer);
        f->writer = NULL;
        fixture_begin(f);
    }
    fixture_reopen(f);
    BackupList *l = store_backups(f->store);
    assert_int_equal(l->n, 0);
    backup_list_unref(l);
}

/* Without the lock's file another writer may run: nothing is committed beside it. */
static void test_a_deleted_lock_commits_nothing(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    BackupInfo info;
    char path[512];
    snprintf(path, sizeof(path), "%s/lock", f->path);
    assert_int_equal(unlink(path), 0);
    json_t *doc = json_loads("{\"collection\": {\"namespace\": \"a\", \"name\": \"b\"}}", 0, NULL);
    assert_int_equal(writer_commit(f->writer, doc, &info, &error), -ESTALE);
    assert_non_null(strstr(error.message, "/lock"));
    assert_non_null(error.hint);
    json_decref(doc);
    error_release(&error);
}

/* Chunks whose delta bases were lost are stored anew, not referred to. */
static void test_lost_bases_are_not_built_upon(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectId *packs = NULL;
    size_t n, size = 1 << 20, removed = 0;
    uint8_t *data = malloc(size), *back = malloc(size);
    size = test_fill_rows(data, size, 1, 1);
    fixture_follow(f, data, size, NULL);
    assert_int_equal(packset_names(store_packs(f->store), &packs, &n), 0);
    for (size_t at = 0; at < size; at += 40000)
        data[at] = 'A';
    fixture_begin(f);
    fixture_follow(f, data, size, NULL);
    for (size_t i = 0; i < n; i++) { /* the first backup's data */
        PackIndex x = {0};
        char path[600], name[PACK_NAME_SIZE];
        assert_ok(packset_load_index(store_packs(f->store), &packs[i], &x, NULL, &error));
        pack_name(&packs[i], name);
        snprintf(path, sizeof(path), "%s/%s", f->path, name);
        if (x.entries[0].type == OBJECT_DATA) {
            assert_int_equal(unlink(path), 0);
            removed++;
        }
        pack_index_release(&x);
    }
    assert_true(removed > 0);
    fixture_reopen(f);
    fixture_begin(f);
    fixture_follow(f, data, size, NULL);
    fixture_reopen(f);

    BackupList *l = store_backups(f->store);
    ObjectSource *objects = store_objects(f->store);
    DirEntry file;
    const uint8_t *node;
    size_t len;
    Object *holder;
    assert_ok(dir_resolve(objects, &l->items[l->n - 1].root, "c", &file, &error));
    assert_ok(dir_entry_rope(objects, &file, &node, &len, &holder, &error));
    assert_int_equal(rope_read(objects, node, len, 0, back, size, &error), size);
    assert_memory_equal(back, data, size);
    object_unref(holder);
    dir_entry_release(&file);
    backup_list_unref(l);
    free(packs);
    free(data);
    free(back);
}

static void test_files_are_named_by_their_digest(void **state)
{
    Fixture *f = *state;
    fixture_backup(f, 300000, 1, NULL);
    char command[900];
    snprintf(command, sizeof(command),
             "cd %s && for x in packs/*/*.pack manifests/*.json; do "
             "case $x in *$(sha256sum < $x | cut -c1-64)*) ;; *) exit 1;; esac; "
             "test $(stat -c %%a $x) = 400 || exit 1; done; test -z \"$(ls tmp)\"",
             f->path);
    assert_int_equal(system(command), 0);
}

/* An unchanged backup adds a manifest and no pack. */
static void test_an_unchanged_backup_costs_nothing(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    BackupInfo first, second;
    Manifest *m = NULL;
    fixture_backup(f, 300000, 1, &first);
    fixture_begin(f);
    fixture_backup(f, 300000, 1, &second);
    assert_memory_equal(&first.root, &second.root, ID_SIZE);
    assert_int_equal(second.bytes_new, 0);
    assert_ok(store_manifest(f->store, &second, &m, &error));
    assert_int_equal(m->n_packs, 0);
    manifest_free(m);
    backup_info_release(&first);
    backup_info_release(&second);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_nothing_is_there_before),
        WITH_STORE(test_duplicate_names),
        WITH_STORE(test_names_and_ordinals_are_not_reused),
        WITH_STORE(test_bad_documents_commit_nothing),
        WITH_STORE(test_a_deleted_lock_commits_nothing),
        WITH_STORE(test_lost_bases_are_not_built_upon),
        WITH_STORE(test_files_are_named_by_their_digest),
        WITH_STORE(test_an_unchanged_backup_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
