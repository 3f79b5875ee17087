/* backup_list_find and backup_list_latest. */
#include <errno.h>

#include "fixture.h"

static const char *const names[] = {"2026-01-15T14-30-45Z--a--push--b",
                                    "2026-01-15T18-00-00Z--a--push--c",
                                    "2026-02-01T00-00-00Z--x--manual--d"};
static const char *const ids[] = {"backup-0123456789abcdef", "backup-01ffffffffffffff",
                                  "backup-ab00000000000000"};

/* Three backups; the newest of test/shop is partial. */
static void make_list(BackupList *l, BackupInfo items[3])
{
    static char latest[3][32];
    for (int i = 0; i < 3; i++) {
        snprintf(latest[i], sizeof(latest[i]), "latest_%.20s", names[i]);
        items[i] = (BackupInfo){.ordinal = (uint64_t)i + 1,
                                .id = (char *)ids[i],
                                .collection = (char *)"test/shop",
                                .archive_name = (char *)names[i],
                                .latest_name = latest[i],
                                .partial = i == 2};
    }
    l->n = 3;
    l->items = items;
}

static int setup(void **state)
{
    fixture_setup(state);
    fixture_backup(*state, 1000, 1, NULL); /* makes test/shop the default collection */
    return 0;
}

static void test_all_spellings(void **state)
{
    Fixture *f = *state;
    BackupInfo items[3];
    BackupList l;
    make_list(&l, items);
    static const struct {
        const char *spec;
        int result; /* position, or negative */
        const char *collection;
    } cases[] = {
        {"backup-0123456789abcdef", 0},
        {"backup-012", 0},
        {"backup-01", -EEXIST},
        {"backup-ab", 2},
        {"0123", 0},
        {"01f", -ENOENT}, /* too short to be meant */
        {"01ff", 1},
        {"2026-01-15T14-30-45Z--a--push--b", 0},
        {"latest_2026-01-15T14-30-45Z", 0},
        {"2026-01-15T14-30-45Z", 0},
        {"2026-01-15T14", 0},
        {"2026-01-15T18:00:00Z", 1},
        {"2026-01-15T18:00", 1},
        {"2026-01-15", -EEXIST},
        {"2026-02", 2},
        {"2026", -EEXIST},
        {"1999", -ENOENT},
        {"latest", 1},
        {"lat", -ENOENT},
        {"", -ENOENT},
        {"backup-", -EEXIST},
        {"backup-0123456789abcdef0", -ENOENT},
        {"2026-01-15T14-30-45Z--a--push--b--and-more-than-the-name", -ENOENT},
        {"latest", 1, "test/shop"},
        {"latest", -ENOENT, "test/none"},
        {"backup-012", 0, "test/shop"},
        {"backup-012", -ENOENT, "test/none"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        Error error = ERROR_INIT;
        const BackupInfo *b = NULL;
        int r = backup_list_find(&l, f->store, cases[i].spec, cases[i].collection, &b, &error);
        int got = r < 0 ? r : (int)(b - items);
        if (got != cases[i].result)
            fail_msg("\"%s\": %d", cases[i].spec, got);
        assert_true((r < 0) == (error.message != NULL));
        if (r == -EEXIST) /* the candidates are named */
            assert_true(strstr(error.hint, ids[0]) || strstr(error.hint, ids[1]));
        error_release(&error);
    }
}

static void test_latest(void **state)
{
    (void)state;
    BackupInfo items[3];
    BackupList l;
    make_list(&l, items);
    assert_ptr_equal(backup_list_latest(&l, "test/shop"), &items[1]);
    assert_null(backup_list_latest(&l, "test/sho"));
    items[2].partial = false;
    assert_ptr_equal(backup_list_latest(&l, "test/shop"), &items[2]);
    l.n = 0;
    assert_null(backup_list_latest(&l, "test/shop"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_spellings, setup, fixture_teardown),
        cmocka_unit_test(test_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
