#include "store/store.h"

#include <errno.h>

#include "fixture.h"
#include "store/catalogue.h"

static size_t count(Fixture *f)
{
    BackupList *l = store_backups(f->store);
    size_t n = l->n;
    backup_list_unref(l);
    return n;
}

static void test_init_refuses_what_is_not_empty(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    char path[512];
    assert_int_equal(store_init(f->path, NULL, &error), -EEXIST);
    error_release(&error);
    assert_int_equal(store_init(f->dir, NULL, &error), -ENOTEMPTY);
    assert_non_null(error.hint);
    error_release(&error);
    snprintf(path, sizeof(path), "%s/new", f->dir);
    assert_int_equal(store_init(path, "no collection", &error), -EINVAL);
    assert_int_equal(error.exit_code, BK_EXIT_USAGE);
    error_release(&error);
    assert_int_equal(access(path, F_OK), -1);
    assert_ok(store_init(path, "a/b", &error));
    Store *s = NULL;
    assert_ok(store_open(path, &s, &error));
    assert_string_equal(store_config(s)->default_collection, "a/b");
    assert_string_equal(store_path(s), path);
    store_close(s);
    store_close(NULL);
}

static void test_what_is_no_store(void **state)
{
    Fixture *f = *state;
    char absent[512];
    snprintf(absent, sizeof(absent), "%s/absent", f->dir);
    const char *const paths[] = {absent, f->dir, "/etc/passwd", ""};
    for (size_t i = 0; i < 4; i++) {
        Error error = ERROR_INIT;
        Store *s = NULL;
        assert_true(store_open(paths[i], &s, &error) < 0);
        assert_int_equal(error.exit_code, BK_EXIT_NO_STORE);
        assert_non_null(error.hint);
        assert_null(s);
        error_release(&error);
    }
}

static void test_changes_are_noticed(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Store *reader = NULL;
    BackupInfo info;
    assert_ok(store_open(f->path, &reader, &error));
    assert_false(store_changed(reader));
    fixture_backup(f, 1000, 1, &info);
    assert_true(store_changed(reader));
    BackupList *old = store_backups(reader);
    assert_ok(store_refresh(reader, &error));
    assert_false(store_changed(reader));
    assert_int_equal(old->n, 0); /* a list stays what it was */
    backup_list_unref(old);
    BackupList *l = store_backups(reader);
    assert_int_equal(l->n, 1);
    assert_ptr_equal(backup_list_latest(l, "test/shop"), &l->items[0]);

    assert_ok(store_delete_backup(f->store, &l->items[0], &error));
    assert_true(store_changed(reader));
    assert_ok(store_refresh(reader, &error));
    assert_int_equal(l->n, 1);
    backup_list_unref(l);
    l = store_backups(reader);
    assert_int_equal(l->n, 0);
    backup_list_unref(l);
    backup_info_release(&info);
    store_close(reader);
}

static void test_marks(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    for (int i = 0; i < 3; i++) {
        if (i > 0)
            fixture_begin(f);
        fixture_backup(f, 1000, (uint64_t)i, NULL);
    }
    BackupList *l = store_backups(f->store);
    const BackupInfo *const good[] = {&l->items[0], &l->items[2]};
    assert_ok(store_mark_verified(f->store, good, 2, &error));
    assert_ok(store_mark_verified(f->store, good, 0, &error));
    backup_list_unref(l);
    fixture_reopen(f);
    l = store_backups(f->store);
    assert_true(l->items[0].verified && !l->items[1].verified && l->items[2].verified);
    backup_list_unref(l);
}

static void remove_catalogue(Fixture *f, const char *garbage)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/metadata.db", f->path);
    assert_int_equal(unlink(path), 0);
    if (!garbage)
        return;
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(garbage, file);
    fclose(file);
}

static void check_content(Fixture *f, size_t backups)
{
    Error error = ERROR_INIT;
    BackupList *l = store_backups(f->store);
    assert_int_equal(l->n, backups);
    for (size_t i = 0; i < l->n; i++) {
        DirEntry x;
        uint8_t data[100];
        const uint8_t *node;
        size_t len;
        Object *holder;
        ObjectSource *s = store_objects(f->store);
        assert_ok(dir_resolve(s, &l->items[i].root, "d/e", &x, &error));
        assert_ok(dir_entry_rope(s, &x, &node, &len, &holder, &error));
        assert_int_equal(rope_read(s, node, len, x.size - 100, data, 100, &error), 100);
        object_unref(holder);
        dir_entry_release(&x);
    }
    backup_list_unref(l);
}

/* Without a usable catalogue everything is read from packs, manifests and events. */
static void test_the_catalogue_can_be_lost(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const char *const garbage[] = {NULL, "", "garbage", "SQLite format 3"};
    fixture_backup(f, 300000, 1, NULL);
    for (size_t i = 0; i < 4; i++) {
        remove_catalogue(f, garbage[i]);
        fixture_reopen(f);
        check_content(f, 1 + i);
        fixture_begin(f); /* the writer brings it back */
        fixture_backup(f, 300000, i + 2, NULL);
        check_content(f, 2 + i);
        fixture_reopen(f);
        assert_non_null(store_catalogue(f->store));
        check_content(f, 2 + i);
    }
    remove_catalogue(f, "x");
    assert_ok(store_reindex(f->store, 0, &error));
    assert_ok(store_refresh(f->store, &error));
    check_content(f, 5);
    fixture_reopen(f);
    check_content(f, 5);
}

static void test_reindex_needs_the_lock(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    assert_int_equal(store_reindex(f->store, 0, &error), -EAGAIN);
    assert_int_equal(error.exit_code, BK_EXIT_LOCKED);
    error_release(&error);
}

/* Who has the store open reads the catalogue that a reindex put in its place. */
static void test_a_new_catalogue_is_taken_up(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Store *reader = NULL;
    fixture_backup(f, 1000, 1, NULL);
    assert_ok(store_open(f->path, &reader, &error));
    assert_non_null(store_catalogue(reader));
    assert_false(catalogue_is_replaced(store_catalogue(reader), f->path));
    assert_ok(store_reindex(f->store, 0, &error));
    assert_true(catalogue_is_replaced(store_catalogue(reader), f->path));
    assert_ok(store_refresh(reader, &error));
    assert_non_null(store_catalogue(reader));
    assert_false(catalogue_is_replaced(store_catalogue(reader), f->path));
    store_close(reader);
}

/* A feature that writers must know keeps everything out that writes. */
static void test_unknown_features_of_writers(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    BackupInfo info;
    char command[700];
    fixture_backup(f, 1000, 1, &info);
    snprintf(command, sizeof(command),
             "sed -i 's/\"write\": \\[\\]/\"write\": [\"x\"]/' %s/config.json", f->path);
    assert_int_equal(system(command), 0);
    fixture_reopen(f);
    const BackupInfo *one = &info;
    assert_int_equal(store_delete_backup(f->store, one, &error), -EPROTONOSUPPORT);
    assert_int_equal(store_mark_verified(f->store, &one, 1, &error), -EPROTONOSUPPORT);
    assert_int_equal(store_reindex(f->store, 0, &error), -EPROTONOSUPPORT);
    error_release(&error);
    check_content(f, 1);
    backup_info_release(&info);
}

/* A damaged manifest hides its own backup only. */
static void test_damaged_manifests(void **state)
{
    Fixture *f = *state;
    BackupInfo info;
    fixture_backup(f, 1000, 1, &info);
    fixture_begin(f);
    fixture_backup(f, 1000, 2, NULL);
    char name[MANIFEST_NAME_SIZE], path[512];
    manifest_name(&info, name);
    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 10), 0);
    remove_catalogue(f, NULL);
    fixture_reopen(f);
    check_content(f, 1);
    BackupList *l = store_backups(f->store);
    assert_int_equal(l->damaged, 1);
    backup_list_unref(l);
    fixture_begin(f);
    BackupInfo third;
    fixture_backup(f, 1000, 3, &third);
    assert_int_equal(third.ordinal, 3);
    assert_int_equal(count(f), 2);
    backup_info_release(&info);
    backup_info_release(&third);
}

static void test_lost_manifests_are_no_new_store(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Store *again = NULL;
    char command[700];
    fixture_backup(f, 1000, 1, NULL);
    snprintf(command, sizeof(command), "rm -rf %s/manifests", f->path);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_open(f->path, &again, &error), -EBADMSG);
    assert_non_null(error.hint);
    error_release(&error);
    assert_int_equal(store_refresh(f->store, &error), -EBADMSG);
    error_release(&error);
    assert_int_equal(count(f), 1); /* the list from before */
    snprintf(command, sizeof(command), "rm -rf %s/packs", f->path);
    assert_int_equal(system(command), 0);
    fixture_reopen(f);
    assert_int_equal(count(f), 0);
}

static void test_locate(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    fixture_backup(f, 100000, 1, NULL);
    BackupList *l = store_backups(f->store);
    ObjectId pack;
    assert_ok(store_locate(f->store, &l->items[0].root, &pack, &error));
    Manifest *m = NULL;
    assert_ok(store_manifest(f->store, &l->items[0], &m, &error));
    bool listed = false;
    for (size_t i = 0; i < m->n_packs; i++)
        listed |= id_compare(&m->packs[i], &pack) == 0;
    assert_true(listed);
    manifest_free(m);
    assert_int_equal(store_locate(f->store, &(ObjectId){{1}}, &pack, &error), -ENOENT);
    error_release(&error);
    backup_list_unref(l);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_init_refuses_what_is_not_empty),
        WITH_STORE(test_what_is_no_store),
        WITH_STORE(test_changes_are_noticed),
        WITH_STORE(test_marks),
        WITH_STORE(test_the_catalogue_can_be_lost),
        WITH_STORE(test_reindex_needs_the_lock),
        WITH_STORE(test_a_new_catalogue_is_taken_up),
        WITH_STORE(test_unknown_features_of_writers),
        WITH_STORE(test_damaged_manifests),
        WITH_STORE(test_lost_manifests_are_no_new_store),
        WITH_STORE(test_locate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
