#include "store/lists.h"

#include <errno.h>

#include "fixture.h"

static int setup(void **state)
{
    Error error = ERROR_INIT;
    fixture_setup(state);
    Fixture *f = *state;
    BackupInfo second;
    for (int i = 0; i < 3; i++) {
        if (i > 0)
            fixture_begin(f);
        fixture_backup(f, 1000, (uint64_t)i, i == 1 ? &second : NULL);
    }
    assert_ok(store_delete_backup(f->store, &second, &error));
    backup_info_release(&second);
    return 0;
}

static void read_lists(Fixture *f, Catalogue *c, Lists *l)
{
    Error error = ERROR_INIT;
    assert_ok(lists_read(store_backend(f->store), store_packs(f->store), c, l, &error));
}

static void test_without_a_catalogue(void **state)
{
    Fixture *f = *state;
    Lists l = {0};
    read_lists(f, NULL, &l);
    assert_int_equal(l.n_manifests, 3);
    assert_int_equal(l.n_events, 1);
    assert_int_equal(l.n_packs, 6);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(l.manifests[i].ordinal, i + 1);
        assert_false(l.manifests[i].in_catalogue || l.manifests[i].damaged);
        assert_string_equal(l.manifests[i].info.collection, "test/shop");
    }
    assert_int_equal(l.events[0].event.type, EVENT_DELETED);
    BackupList *b = lists_take_backups(&l);
    assert_int_equal(b->n, 2);
    assert_int_equal(b->items[0].ordinal, 1);
    assert_int_equal(b->items[1].ordinal, 3);
    backup_list_unref(b);
    lists_release(&l);
}

static void test_with_a_catalogue(void **state)
{
    Fixture *f = *state;
    Lists l = {0};
    read_lists(f, store_catalogue(f->store), &l);
    for (size_t i = 0; i < 3; i++)
        assert_true(l.manifests[i].in_catalogue);
    for (size_t i = 0; i < l.n_packs; i++)
        assert_true(l.packs[i].in_catalogue);
    assert_false(l.events[0].in_catalogue); /* written without the lock */
    assert_false(l.catalogue_failed || l.extra_lists);
    assert_int_equal(l.n_extra_packs, 0);
    lists_release(&l);
}

static void test_what_the_catalogue_knows_and_is_gone(void **state)
{
    Fixture *f = *state;
    Lists l = {0};
    char command[900];
    snprintf(command, sizeof(command),
             "cd %s && rm -f $(ls manifests/* | head -1) "
             "$(ls packs/*/* | head -2)",
             f->path);
    assert_int_equal(system(command), 0);
    read_lists(f, store_catalogue(f->store), &l);
    assert_int_equal(l.n_manifests, 2);
    assert_true(l.extra_lists);
    assert_int_equal(l.n_extra_packs, 2);
    lists_release(&l);
}

static void test_damaged_files_are_marked(void **state)
{
    Fixture *f = *state;
    Lists l = {0};
    char command[900];
    snprintf(command, sizeof(command),
             "cd %s && chmod 600 manifests/* events/* && echo x > $(ls manifests/* | tail -1) && "
             "echo x > $(ls events/*) && touch manifests/notes.txt events/README packs/zz",
             f->path);
    assert_int_equal(system(command), 0);
    read_lists(f, NULL, &l);
    assert_int_equal(l.n_manifests, 3);
    assert_false(l.manifests[0].damaged || l.manifests[1].damaged);
    assert_true(l.manifests[2].damaged);
    assert_true(l.events[0].damaged);
    BackupList *b = lists_take_backups(&l);
    assert_int_equal(b->n, 2); /* the deletion can't be read, the third can't be listed */
    backup_list_unref(b);
    lists_release(&l);
}

/* Two manifests of one number: one of them is a copy gone wrong. */
static void test_a_damaged_twin(void **state)
{
    Fixture *f = *state;
    Lists l = {0};
    char command[900];
    snprintf(command, sizeof(command),
             "cd %s/manifests && for d in 0000 ffff; do "
             "echo x > $(ls | head -1 | sed \"s/-..../-$d/\"); done",
             f->path);
    assert_int_equal(system(command), 0);
    read_lists(f, NULL, &l);
    assert_int_equal(l.n_manifests, 5);
    BackupList *b = lists_take_backups(&l);
    assert_int_equal(b->n, 2);
    assert_int_equal(b->items[0].ordinal, 1);
    backup_list_unref(b);
    lists_release(&l);
}

static void test_manifest_load(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    BackupList *b = store_backups(f->store);
    Backend *backend = store_backend(f->store);
    Manifest *m = NULL;
    const BackupInfo *info = &b->items[0];
    assert_ok(manifest_load(backend, info->ordinal, &info->manifest_sha256, &m, &error));
    assert_string_equal(m->info.id, info->id);
    manifest_free(m);
    m = NULL;
    assert_int_equal(manifest_load(backend, 99, &info->manifest_sha256, &m, &error), -ENOENT);
    assert_null(m);
    error_release(&error);
    backup_list_unref(b);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_without_a_catalogue),
        WITH_STORE(test_with_a_catalogue),
        WITH_STORE(test_what_the_catalogue_knows_and_is_gone),
        WITH_STORE(test_damaged_files_are_marked),
        WITH_STORE(test_a_damaged_twin),
        WITH_STORE(test_manifest_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
