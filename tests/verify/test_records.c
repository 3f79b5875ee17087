#include "verify/records.h"

#include <errno.h>

#include "harm.h"

static void check(Fixture *f, DamageList *damage, RecordCounts *counts)
{
    Error error = ERROR_INIT;
    damage_list_init(damage);
    assert_ok(records_check(store_backend(f->store), &(RecordsOptions){0}, damage, counts, &error));
}

static int setup(void **state)
{
    Error error = ERROR_INIT;
    fixture_setup(state);
    Fixture *f = *state;
    BackupInfo info;
    fixture_backup(f, 1000, 1, &info);
    fixture_begin(f);
    fixture_backup(f, 1000, 2, NULL);
    assert_ok(store_delete_backup(f->store, &info, &error));
    backup_info_release(&info);
    return 0;
}

static void test_sound_records(void **state)
{
    DamageList damage;
    RecordCounts counts;
    check(*state, &damage, &counts);
    assert_int_equal(damage.n, 0);
    assert_int_equal(counts.manifests, 2);
    assert_int_equal(counts.events, 1);
    damage_list_release(&damage);
}

static void test_any_flipped_byte_is_noticed(void **state)
{
    static const struct {
        const char *part;
        DamageKind kind;
    } cases[] = {{"/manifests/", DAMAGE_MANIFEST}, {"/events/", DAMAGE_EVENT}};
    Fixture *f = *state;
    for (size_t c = 0; c < 2; c++) {
        Files files;
        files_list(f, cases[c].part, &files);
        assert_true(files.n > 0);
        size_t size = file_size(files.paths[0]);
        for (size_t i = 0; i < size; i++) {
            DamageList damage;
            RecordCounts counts;
            flip(files.paths[0], i, (uint8_t)(1 << (i % 8)));
            check(f, &damage, &counts);
            assert_int_equal(damage.n, 1);
            assert_true(damage_names(&damage, cases[c].kind, files.paths[0]));
            assert_true(damage.items[0].has_object);
            damage_list_release(&damage);
            flip(files.paths[0], i, (uint8_t)(1 << (i % 8)));
        }
        files_release(&files);
    }
}

static void test_a_manifest_under_another_number(void **state)
{
    Fixture *f = *state;
    Files files;
    files_list(f, "/manifests/", &files);
    char *renamed = strdup(files.paths[0]);
    char *number = strstr(renamed, "/manifests/") + strlen("/manifests/");
    memcpy(number, "0000000077", 10);
    assert_int_equal(rename(files.paths[0], renamed), 0);
    DamageList damage;
    RecordCounts counts;
    check(f, &damage, &counts);
    assert_int_equal(damage.n, 1);
    assert_true(damage_names(&damage, DAMAGE_MANIFEST, renamed));
    damage_list_release(&damage);
    files_release(&files);
    free(renamed);
}

static void test_truncated_and_empty_files(void **state)
{
    Fixture *f = *state;
    Files files;
    files_list(f, "/manifests/", &files);
    assert_int_equal(chmod(files.paths[0], 0600), 0);
    for (size_t size = file_size(files.paths[0]); size > 0; size /= 2) {
        DamageList damage;
        RecordCounts counts;
        assert_int_equal(truncate(files.paths[0], (off_t)(size - 1)), 0);
        check(f, &damage, &counts);
        assert_int_equal(damage.n, 1);
        damage_list_release(&damage);
    }
    files_release(&files);
}

/* A manifest or event that lies between others was there once. That of a deleted backup may go. */
static void test_gaps(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    for (int i = 3; i <= 5; i++) {
        fixture_begin(f);
        fixture_backup(f, 1000, (uint64_t)i, NULL);
    }
    BackupList *list = store_backups(f->store); /* 2 to 5 */
    const BackupInfo *last = &list->items[list->n - 1];
    assert_ok(store_mark_verified(f->store, &last, 1, &error));
    assert_ok(store_mark_verified(f->store, &last, 1, &error));
    backup_list_unref(list);

    static const char *const parts[] = {"/manifests/0000000001", "/manifests/0000000003",
                                        "/events/0000000002"};
    for (int i = 0; i < 3; i++) {
        Files files;
        DamageList damage;
        RecordCounts counts;
        files_list(f, parts[i], &files);
        assert_int_equal(files.n, 1);
        char away[600];
        snprintf(away, sizeof(away), "%s.away", files.paths[0]);
        assert_int_equal(rename(files.paths[0], away), 0);
        check(f, &damage, &counts);
        assert_int_equal(damage.n, i > 0);
        if (i > 0) {
            assert_int_equal(damage.items[0].kind, i == 1 ? DAMAGE_MANIFEST : DAMAGE_EVENT);
            assert_non_null(strstr(damage.items[0].file, parts[i] + 1));
        }
        damage_list_release(&damage);
        assert_int_equal(rename(away, files.paths[0]), 0);
        files_release(&files);
    }
}

/* One far beyond the others says nothing of any that were lost. */
static void test_a_number_out_of_turn(void **state)
{
    Fixture *f = *state;
    static const uint64_t numbers[] = {NUMBER_MAX, NUMBER_MAX - 5};
    for (size_t i = 0; i < 2; i++) {
        Error error = ERROR_INIT;
        DamageList damage;
        RecordCounts counts;
        char name[EVENT_NAME_SIZE];
        assert_ok(event_write(store_backend(f->store), numbers[i], EVENT_VERIFIED,
                              "backup-0000000000000001", 2, name, &error));
        check(f, &damage, &counts);
        assert_int_equal(damage.n, 1);
        assert_int_equal(damage.items[0].kind, DAMAGE_EVENT);
        assert_non_null(
            strstr(damage.items[0].file, i ? "events/0268435450" : "events/0268435455"));
        assert_non_null(strstr(damage.items[0].message, "before it is 1"));
        assert_null(strstr(damage.items[0].message, "missing"));
        damage_list_release(&damage);
    }
}

/* Lists as if what `hidden` names was added while they were made, but what came after it seen. */
static const BackendOps *real_ops;
static const char *hidden;

typedef struct Listing {
    int (*visit)(void *ctx, const char *name);
    void *ctx;
} Listing;

static int leave_out(void *ctx, const char *name)
{
    Listing *l = ctx;
    return hidden && strncmp(name, hidden, strlen(hidden)) == 0 ? 0 : l->visit(l->ctx, name);
}

static int list_early(Backend *b, const char *dir, int (*visit)(void *ctx, const char *name),
                      void *ctx, Error *e)
{
    Listing l = {visit, ctx};
    int r = real_ops->list(b, dir, leave_out, &l, e);
    if (strcmp(dir, "events") == 0)
        hidden = NULL;
    return r;
}

static void test_writers_during_the_listing(void **state)
{
    Fixture *f = *state;
    Backend *b = store_backend(f->store);
    DamageList damage;
    RecordCounts counts;
    for (int i = 3; i <= 4; i++) {
        fixture_begin(f);
        fixture_backup(f, 1000, (uint64_t)i, NULL);
    }
    real_ops = b->ops;
    BackendOps ops = *b->ops;
    ops.list = list_early;
    b->ops = &ops;
    hidden = "0000000003";
    check(f, &damage, &counts);
    b->ops = real_ops;
    assert_null(hidden);
    assert_int_equal(counts.manifests, 3);
    assert_int_equal(damage.n, 0);
    damage_list_release(&damage);
}

static void test_interruption(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    const atomic_bool cancel = true;
    const RecordsOptions o = {.cancel = &cancel};
    DamageList damage;
    RecordCounts counts;
    damage_list_init(&damage);
    assert_int_equal(records_check(store_backend(f->store), &o, &damage, &counts, &error), -EINTR);
    error_release(&error);
    damage_list_release(&damage);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_sound_records),
        WITH_STORE(test_any_flipped_byte_is_noticed),
        WITH_STORE(test_a_manifest_under_another_number),
        WITH_STORE(test_truncated_and_empty_files),
        WITH_STORE(test_gaps),
        WITH_STORE(test_a_number_out_of_turn),
        WITH_STORE(test_writers_during_the_listing),
        WITH_STORE(test_interruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
