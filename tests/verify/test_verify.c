#include "verify/verify.h"

#include <errno.h>

#include "harm.h"
#include "store/catalogue.h"

static VerifyResult *verify(Fixture *f, const VerifyOptions *o)
{
    Error error = ERROR_INIT;
    VerifyResult *r = NULL;
    assert_ok(verify_run(f->store, o, &r, &error));
    return r;
}

static bool touches(const VerifyResult *r, const char *path)
{
    for (size_t i = 0; i < r->damage.n; i++)
        for (size_t k = 0; k < r->damage.items[i].n_touches; k++)
            if (strcmp(r->damage.items[i].touches[k].path, path) == 0)
                return true;
    return false;
}

/* Two backups: the second has everything of the first and rows of its own. */
static int setup(void **state)
{
    fixture_setup(state);
    Fixture *f = *state;
    fixture_backup(f, 2 << 20, 1, NULL);
    fixture_begin(f);
    fixture_backup(f, 3 << 20, 2, NULL);
    return 0;
}

static void test_a_sound_store(void **state)
{
    static const VerifyOptions full = {0}, quick = {.quick = true};
    VerifyResult *r = verify(*state, &quick);
    assert_int_equal(r->damage.n, 0);
    assert_int_equal(r->n_backups, 2);
    assert_int_equal(r->plain_bytes, 0);
    assert_int_equal(r->n_marked, 0);
    verify_result_free(r);
    r = verify(*state, &full);
    assert_int_equal(r->damage.n, 0);
    assert_int_equal(r->n_packs, 4);
    assert_true(r->plain_bytes >= 5 << 20);
    assert_int_equal(r->n_marked, 2);
    verify_result_free(r);
    r = verify(*state, &full);
    assert_int_equal(r->n_marked, 0); /* they are marked already */
    assert_int_equal(r->n_events, 2);
    assert_true(r->backups->items[0].verified && r->backups->items[1].verified);
    verify_result_free(r);
    verify_result_free(NULL);
}

static void test_one_backup_needs_its_packs_only(void **state)
{
    Fixture *f = *state;
    const VerifyOptions o = {.backup = "2026-01-15"};
    VerifyResult *r = verify(f, &o);
    assert_int_equal(r->n_backups, 1);
    assert_int_equal(r->n_packs, 2);
    assert_int_equal(r->n_marked, 1);
    verify_result_free(r);

    const VerifyOptions none = {.backup = "1999"};
    Error error = ERROR_INIT;
    assert_int_equal(verify_run(f->store, &none, &r, &error), -ENOENT);
    assert_non_null(error.hint);
    error_release(&error);
}

static void test_collections(void **state)
{
    Fixture *f = *state;
    const VerifyOptions here = {.collection = "test/shop"}, absent = {.collection = "test/other"};
    VerifyResult *r = verify(f, &here);
    assert_int_equal(r->n_backups, 2);
    verify_result_free(r);
    Error error = ERROR_INIT;
    assert_int_equal(verify_run(f->store, &absent, &r, &error), -ENOENT);
    error_release(&error);
}

/* A flip in the middle of each pack: named, with files that it touches, and only the backups that
 * are intact are marked as verified. */
static void test_damage_names_pack_and_files(void **state)
{
    Fixture *f = *state;
    static const VerifyOptions full = {0};
    Files packs;
    files_list(f, ".pack", &packs);
    assert_int_equal(packs.n, 4);
    for (size_t i = 0; i < packs.n; i++) {
        size_t at = file_size(packs.paths[i]) / 3;
        flip(packs.paths[i], at, 0x40);
        fixture_reopen(f);
        VerifyResult *r = verify(f, &full);
        assert_true(damage_names(&r->damage, DAMAGE_PACK, packs.paths[i]));
        assert_true(verify_touches(r, 0) != verify_touches(r, 1));
        assert_true(touches(r, "c") || touches(r, "d/e") || touches(r, "d") || touches(r, "/"));
        assert_true(r->n_marked <= 1);
        verify_result_free(r);
        flip(packs.paths[i], at, 0x40);
    }
    files_release(&packs);
}

static void test_a_data_chunk_touches_all_its_files(void **state)
{
    Fixture *f = *state;
    static const VerifyOptions full = {0};
    Files packs;
    files_list(f, ".pack", &packs);
    const char *big = files_biggest(&packs);
    flip(big, file_size(big) / 2, 0x01);
    VerifyResult *r = verify(f, &full);
    assert_true(touches(r, "c"));
    assert_true(touches(r, "d/e"));
    assert_false(touches(r, "a"));
    assert_false(touches(r, "b"));
    assert_false(verify_touches(r, 0));
    assert_true(verify_touches(r, 1));
    verify_result_free(r);
    files_release(&packs);
}

static void test_missing_packs(void **state)
{
    Fixture *f = *state;
    Files packs;
    files_list(f, ".pack", &packs);
    for (size_t i = 0; i < packs.n; i++) {
        char away[512];
        snprintf(away, sizeof(away), "%s/away", f->dir);
        assert_int_equal(rename(packs.paths[i], away), 0);
        for (int quick = 0; quick < 2; quick++) {
            const VerifyOptions o = {.quick = quick};
            fixture_reopen(f);
            VerifyResult *r = verify(f, &o);
            assert_true(damage_names(&r->damage, DAMAGE_PACK, packs.paths[i]));
            assert_true(verify_touches(r, 0) || verify_touches(r, 1));
            verify_result_free(r);
        }
        assert_int_equal(rename(away, packs.paths[i]), 0);
    }
    files_release(&packs);
}

static void test_deleted_backups_are_not_missed(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    static const VerifyOptions full = {0};
    BackupList *l = store_backups(f->store);
    assert_int_equal(l->n, 2);
    Manifest *m = NULL;
    assert_ok(store_manifest(f->store, &l->items[0], &m, &error));
    assert_ok(store_delete_backup(f->store, &l->items[0], &error));
    /* Its packs may go: no other backup needs them. */
    for (size_t i = 0; i < m->n_packs; i++) {
        char hex[ID_HEX_SIZE], path[512];
        id_to_hex(&m->packs[i], hex);
        snprintf(path, sizeof(path), "%s/packs/%.2s/%s.pack", f->path, hex, hex);
        assert_int_equal(unlink(path), 0);
    }
    fixture_reopen(f);
    VerifyResult *r = verify(f, &full);
    assert_int_equal(r->damage.n, 0);
    assert_int_equal(r->n_backups, 1);
    verify_result_free(r);
    manifest_free(m);
    backup_list_unref(l);
}

static void test_a_damaged_manifest_touches_its_backup(void **state)
{
    Fixture *f = *state;
    static const VerifyOptions full = {0};
    Files manifests;
    files_list(f, "/manifests/", &manifests);
    flip(manifests.paths[1], 40, 1);
    VerifyResult *r = verify(f, &full); /* the list was read before */
    assert_true(damage_names(&r->damage, DAMAGE_MANIFEST, manifests.paths[1]));
    assert_false(verify_touches(r, 0));
    assert_true(verify_touches(r, 1));
    verify_result_free(r);
    files_release(&manifests);
}

/* Make the catalogue say of the second backup what `change` does. */
static void misinform(Fixture *f, void (*change)(BackupInfo *second, const BackupInfo *first))
{
    Error error = ERROR_INIT;
    Catalogue *c = NULL;
    Manifest *m = NULL;
    BackupList *l = store_backups(f->store);
    assert_ok(store_manifest(f->store, &l->items[1], &m, &error));
    change(&m->info, &l->items[0]);
    assert_ok(
        catalogue_open(f->path, store_config(f->store)->store_id, CATALOGUE_WRITE, &c, &error));
    assert_ok(catalogue_begin(c, &error));
    assert_ok(catalogue_add_manifest(c, m, &error));
    assert_ok(catalogue_commit(c, &error));
    catalogue_free(c);
    manifest_free(m);
    backup_list_unref(l);
    fixture_reopen(f);
}

static void take_root(BackupInfo *second, const BackupInfo *first)
{
    second->root = first->root;
}

static void take_name(BackupInfo *second, const BackupInfo *first)
{
    second->archive_name[0]++;
}

static void take_collection(BackupInfo *second, const BackupInfo *first)
{
    second->collection[0]++;
}

static void be_partial(BackupInfo *second, const BackupInfo *first)
{
    second->partial = true;
}

static void be_shorter(BackupInfo *second, const BackupInfo *first)
{
    second->entries--;
}

static void check_claims(Fixture *f, bool agree)
{
    static const VerifyOptions full = {0}, quick = {.quick = true}, one = {.backup = "2026-01-15"};
    const VerifyOptions *const options[] = {&quick, &one, &full};
    for (size_t i = 0; i < 3; i++) {
        VerifyResult *r = verify(f, options[i]);
        assert_int_equal(r->damage.n, !agree);
        assert_int_equal(r->n_marked > 0, agree && i > 0);
        if (!agree) {
            assert_int_equal(r->damage.items[0].kind, DAMAGE_CATALOGUE);
            assert_string_equal(r->damage.items[0].file, "metadata.db");
            assert_non_null(strstr(r->damage.items[0].message, "reindex"));
            assert_false(verify_touches(r, 0) || verify_touches(r, 1));
        }
        verify_result_free(r);
    }
}

/* What backups are is their manifests' to say. */
static void test_a_catalogue_that_disagrees(void **state)
{
    static void (*const changes[])(BackupInfo *, const BackupInfo *) = {
        take_root, take_name, take_collection, be_partial, be_shorter};
    Fixture *f = *state;
    Error error = ERROR_INIT;
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        misinform(f, changes[i]);
        check_claims(f, false);
    }
    fixture_reopen(f);
    assert_ok(store_reindex(f->store, 0, &error));
    fixture_reopen(f);
    check_claims(f, true);
}

/* The second backup's data is damaged, and the catalogue says that it is the first. */
static void test_a_manifest_says_what_is_walked(void **state)
{
    Fixture *f = *state;
    static const VerifyOptions full = {0};
    misinform(f, take_root);
    Files packs;
    files_list(f, ".pack", &packs);
    const char *big = files_biggest(&packs);
    flip(big, file_size(big) / 2, 0x01);
    VerifyResult *r = verify(f, &full);
    assert_true(r->damage.n > 1);
    assert_false(verify_touches(r, 0));
    assert_true(verify_touches(r, 1));
    verify_result_free(r);
    files_release(&packs);
}

/* One that is deleted as far as the catalogue says, and only there. */
static void test_events_that_the_catalogue_invents(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Catalogue *c = NULL;
    Files events;
    static const VerifyOptions full = {0};
    verify_result_free(verify(f, &full)); /* marks both */
    files_list(f, "/events/", &events);
    assert_int_equal(events.n, 2);
    assert_ok(store_reindex(f->store, 0, &error));
    assert_ok(
        catalogue_open(f->path, store_config(f->store)->store_id, CATALOGUE_WRITE, &c, &error));
    assert_ok(catalogue_begin(c, &error));
    assert_ok(catalogue_add_event(c, strrchr(events.paths[1], '/') + 1,
                                  &(Event){.type = EVENT_DELETED, .ordinal = 2}, &error));
    assert_ok(catalogue_commit(c, &error));
    catalogue_free(c);
    fixture_reopen(f);
    VerifyResult *r = verify(f, &full);
    assert_int_equal(r->n_backups, 1);
    assert_int_equal(r->damage.n, 1);
    assert_int_equal(r->damage.items[0].kind, DAMAGE_CATALOGUE);
    assert_non_null(strstr(r->damage.items[0].message, "events/0000000002-"));
    verify_result_free(r);
    files_release(&events);
}

/* It was there when the list was read. */
static void test_a_manifest_that_is_gone(void **state)
{
    Fixture *f = *state;
    static const VerifyOptions full = {0};
    Files manifests;
    files_list(f, "/manifests/", &manifests);
    assert_int_equal(unlink(manifests.paths[1]), 0);
    VerifyResult *r = verify(f, &full);
    assert_true(damage_names(&r->damage, DAMAGE_MANIFEST, manifests.paths[1]));
    assert_int_equal(r->damage.n, 1);
    assert_true(verify_touches(r, 1));
    assert_int_equal(r->n_marked, 1);
    verify_result_free(r);
    files_release(&manifests);
}

typedef struct Seen {
    int phases[3];
    uint64_t last;
} Seen;

static void see(void *ctx, VerifyPhase phase, uint64_t done, uint64_t total)
{
    Seen *s = ctx;
    s->phases[phase]++;
    assert_true(done <= total);
}

static void test_progress(void **state)
{
    Seen seen = {0};
    const VerifyOptions o = {.progress = see, .ctx = &seen};
    verify_result_free(verify(*state, &o));
    assert_true(seen.phases[VERIFY_LISTS] && seen.phases[VERIFY_PACKS] &&
                seen.phases[VERIFY_TREES]);
}

static void test_interruption(void **state)
{
    Fixture *f = *state;
    const atomic_bool cancel = true;
    const VerifyOptions o = {.cancel = &cancel};
    VerifyResult *r = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(verify_run(f->store, &o, &r, &error), -EINTR);
    assert_int_equal(error.exit_code, BK_EXIT_INTERRUPTED);
    assert_null(r);
    error_release(&error);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_a_sound_store),
        WITH_STORE(test_one_backup_needs_its_packs_only),
        WITH_STORE(test_collections),
        WITH_STORE(test_damage_names_pack_and_files),
        WITH_STORE(test_a_data_chunk_touches_all_its_files),
        WITH_STORE(test_missing_packs),
        WITH_STORE(test_deleted_backups_are_not_missed),
        WITH_STORE(test_a_damaged_manifest_touches_its_backup),
        WITH_STORE(test_a_catalogue_that_disagrees),
        WITH_STORE(test_a_manifest_says_what_is_walked),
        WITH_STORE(test_events_that_the_catalogue_invents),
        WITH_STORE(test_a_manifest_that_is_gone),
        WITH_STORE(test_progress),
        WITH_STORE(test_interruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
