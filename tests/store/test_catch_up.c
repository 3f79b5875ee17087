/* Bringing the catalogue up to date, and building it from nothing. */
#include <errno.h>
#include <sqlite3.h>

#include "fixture.h"
#include "store/store_private.h"

static int setup(void **state)
{
    Error error = ERROR_INIT;
    fixture_setup(state);
    Fixture *f = *state;
    BackupInfo first;
    fixture_backup(f, 100000, 1, &first);
    fixture_begin(f);
    fixture_backup(f, 200000, 2, NULL);
    assert_ok(store_delete_backup(f->store, &first, &error));
    backup_info_release(&first);
    fixture_begin(f); /* the next writer learns of the event */
    writer_end(f->writer);
    f->writer = NULL;
    return 0;
}

static int add_text(void *ctx, int n, char **values, char **names)
{
    (void)names;
    for (int i = 0; i < n; i++)
        buf_addf(ctx, "%s|", values[i] ? values[i] : "NULL");
    buf_add_str(ctx, "\n");
    return 0;
}

/* All that the catalogue says, as text. */
static void dump(Fixture *f, Buf *out)
{
    static const char *const queries[] = {
        "SELECT * FROM backups ORDER BY 1",
        "SELECT ordinal, hex(sha256), backup_id, archive_name, hex(root), entries FROM manifests"
        " ORDER BY 1",
        "SELECT * FROM events ORDER BY 1", "SELECT hex(sha256), size FROM packs ORDER BY 1",
        "SELECT hex(c.id), hex(p.sha256), c.offset, c.length FROM chunks c JOIN packs p"
        " ON p.pack = c.pack ORDER BY 1"};
    char path[512];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/metadata.db", f->path);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    for (size_t i = 0; i < sizeof(queries) / sizeof(*queries); i++)
        assert_int_equal(sqlite3_exec(db, queries[i], add_text, out, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static char synced[4096];
static int (*real_sync_dir)(Backend *b, const char *dir, Error *e);

static int note_sync_dir(Backend *b, const char *dir, Error *e)
{
    strcat(strcat(synced, dir), " ");
    return real_sync_dir(b, dir, e);
}

/* Packs of a writer that died before it synced their directories: whoever learns of them does. */
static void test_directories_of_unknown_packs_are_synced(void **state)
{
    Fixture *f = *state;
    Backend *b = store_backend(f->store);
    const BackendOps *real = b->ops;
    BackendOps ops = *real;
    ObjectId *names = NULL;
    size_t n;
    char path[600];
    real_sync_dir = ops.sync_dir;
    ops.sync_dir = note_sync_dir;
    synced[0] = 0;
    b->ops = &ops;
    fixture_begin(f);
    writer_end(f->writer);
    assert_string_equal(synced, ""); /* all are known */
    snprintf(path, sizeof(path), "%s/metadata.db", f->path);
    assert_int_equal(unlink(path), 0);
    fixture_begin(f);
    writer_end(f->writer);
    f->writer = NULL;
    b->ops = real;
    assert_non_null(strstr(synced, "packs "));
    assert_int_equal(packset_names(store_packs(f->store), &names, &n), 0);
    for (size_t i = 0; i < n; i++) {
        char dir[16];
        snprintf(dir, sizeof(dir), "packs/%02x ", names[i].b[0]);
        assert_non_null(strstr(synced, dir));
    }
    free(names);
}

/* Harm the catalogue with `command` (in the store's directory): the next writer puts it right. */
static void check(Fixture *f, const char *command)
{
    Buf before = BUF_INIT, after = BUF_INIT;
    char line[1200];
    dump(f, &before);
    snprintf(line, sizeof(line), "cd %s && %s", f->path, command);
    assert_int_equal(system(line), 0);
    fixture_reopen(f);
    fixture_begin(f);
    writer_end(f->writer);
    f->writer = NULL;
    dump(f, &after);
    if (before.len != after.len || memcmp(before.data, after.data, after.len) != 0)
        fail_msg("after: %s", command);
    buf_release(&before);
    buf_release(&after);
}

#define SQL(text) "sqlite3 metadata.db \"" text "\""

static void test_whatever_happened_to_it(void **state)
{
    Fixture *f = *state;
    if (system("sqlite3 --version > /dev/null 2>&1") != 0) {
        print_message("sqlite3 is not installed\n");
        skip();
    }
    check(f, "true");
    check(f, "rm metadata.db");
    check(f, "echo garbage > metadata.db");
    check(f, ": > metadata.db");
    check(f, SQL("DELETE FROM manifests WHERE ordinal = 2; DELETE FROM backups"));
    check(f, SQL("DELETE FROM events"));
    check(f, SQL("DELETE FROM chunks WHERE pack = (SELECT min(pack) FROM packs);"
                 "DELETE FROM packs WHERE pack = (SELECT min(pack) FROM packs)"));
    check(f, SQL("INSERT INTO packs (sha256, size) VALUES (zeroblob(32), 5)"));
    check(f, SQL("INSERT INTO events VALUES ('no such', 'deleted', 2, 0)"));
    check(f, SQL("UPDATE manifests SET sha256 = zeroblob(32) WHERE ordinal = 1"));
    check(f, SQL("DROP TABLE chunks"));
    check(f, SQL("UPDATE meta SET value = 'other'"));
}

static void test_from_scratch(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Buf before = BUF_INIT, after = BUF_INIT;
    dump(f, &before);
    assert_true(before.len > 1000);
    assert_ok(store_catch_up(f->store, true, &error));
    dump(f, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, after.len);
    buf_release(&before);
    buf_release(&after);
}

/* A pack that can't be read at all does not stop a writer. */
static void test_unreadable_packs(void **state)
{
    Fixture *f = *state;
    char command[900];
    snprintf(command, sizeof(command),
             "cd %s && rm metadata.db && x=$(ls packs/*/* | head -1) && chmod 600 $x && : > $x",
             f->path);
    assert_int_equal(system(command), 0);
    fixture_reopen(f);
    fixture_begin(f);
    fixture_backup(f, 1000, 5, NULL);
    BackupList *l = store_backups(f->store);
    assert_int_equal(l->n, 2);
    backup_list_unref(l);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_directories_of_unknown_packs_are_synced),
        WITH_STORE(test_whatever_happened_to_it),
        WITH_STORE(test_from_scratch),
        WITH_STORE(test_unreadable_packs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
