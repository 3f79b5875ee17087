#include "store/catalogue.h"

#include <errno.h>
#include <sqlite3.h>

#include "fixture.h"

#define STORE_ID "0123456789abcdef0123456789abcdef"

static int setup(void **state)
{
    *state = test_dir_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    test_dir_remove(*state);
    return 0;
}

static Catalogue *open_catalogue(const char *dir, CatalogueMode mode)
{
    Error error = ERROR_INIT;
    Catalogue *c = NULL;
    assert_ok(catalogue_open(dir, STORE_ID, mode, &c, &error));
    return c;
}

/* Run SQL on the file from outside. */
static void run_sql(const char *dir, const char *sql)
{
    char path[512];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/metadata.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void add_pack(Catalogue *c, uint8_t number, size_t objects)
{
    Error error = ERROR_INIT;
    PackIndex x = {.n = objects, .entries = calloc(objects, sizeof(PackEntry))};
    for (size_t i = 0; i < objects; i++)
        x.entries[i] = (PackEntry){.id = {.b = {number, (uint8_t)i, (uint8_t)(i >> 8)}},
                                   .offset = PACK_HEADER_SIZE + (uint32_t)i * 100,
                                   .stored_len = 12};
    assert_ok(catalogue_add_pack(c, &(ObjectId){{number}}, 1000, &x, &error));
    pack_index_release(&x);
}

static void test_objects(void **state)
{
    Error error = ERROR_INIT;
    Catalogue *c = open_catalogue(*state, CATALOGUE_WRITE);
    assert_ok(catalogue_begin(c, &error));
    add_pack(c, 1, 1000);
    add_pack(c, 2, 3);
    assert_ok(catalogue_commit(c, &error));
    for (int round = 0; round < 2; round++) {
        Place place;
        assert_int_equal(catalogue_find(c, &(ObjectId){{1, 5, 2}}, &place), 0);
        assert_int_equal(place.pack.b[0], 1);
        assert_int_equal(place.offset, PACK_HEADER_SIZE + 517 * 100);
        assert_int_equal(place.length, PACK_RECORD_SIZE + 12);
        assert_int_equal(catalogue_find(c, &(ObjectId){{3}}, &place), -ENOENT);
        catalogue_free(c);
        c = open_catalogue(*state, CATALOGUE_READ);
    }
    catalogue_free(c);
    c = open_catalogue(*state, CATALOGUE_WRITE);
    assert_ok(catalogue_begin(c, &error));
    assert_ok(catalogue_remove_pack(c, &(ObjectId){{1}}, &error));
    assert_ok(catalogue_commit(c, &error));
    Place place;
    assert_int_equal(catalogue_find(c, &(ObjectId){{1, 5, 2}}, &place), -ENOENT);
    assert_int_equal(catalogue_find(c, &(ObjectId){{2, 1}}, &place), 0);
    catalogue_free(c);
    catalogue_free(NULL);
}

/* An object that several packs hold: the newest is found first, the others besides. */
static void test_copies(void **state)
{
    Error error = ERROR_INIT;
    Catalogue *c = open_catalogue(*state, CATALOGUE_WRITE);
    PackEntry entry = {.id = {{7}}, .offset = PACK_HEADER_SIZE, .stored_len = 12};
    const PackIndex x = {.n = 1, .entries = &entry};
    const ObjectId packs[] = {{{1}}, {{2}}, {{3}}};
    Place place, copies[4];
    assert_ok(catalogue_begin(c, &error));
    for (size_t i = 0; i < 3; i++) {
        entry.offset = PACK_HEADER_SIZE + (uint32_t)i;
        assert_ok(catalogue_add_pack(c, &packs[i], 1000, &x, &error));
        assert_int_equal(catalogue_find(c, &entry.id, &place), 0);
        assert_int_equal(place.pack.b[0], i + 1);
        assert_int_equal(place.offset, PACK_HEADER_SIZE + i);
        assert_int_equal(catalogue_copies(c, &entry.id, copies, 4), i);
    }
    assert_int_equal(copies[0].pack.b[0], 1);
    assert_int_equal(copies[1].pack.b[0], 2);
    assert_int_equal(catalogue_copies(c, &entry.id, copies, 1), 1);
    assert_int_equal(catalogue_copies(c, &(ObjectId){{8}}, copies, 4), 0);
    /* The first goes: another takes its place. */
    assert_ok(catalogue_remove_pack(c, &packs[2], &error));
    assert_int_equal(catalogue_find(c, &entry.id, &place), 0);
    assert_true(place.pack.b[0] == 1 || place.pack.b[0] == 2);
    assert_ok(catalogue_remove_pack(c, &place.pack, &error));
    assert_int_equal(catalogue_find(c, &entry.id, &place), 0);
    assert_ok(catalogue_remove_pack(c, &place.pack, &error));
    assert_int_equal(catalogue_find(c, &entry.id, &place), -ENOENT);
    assert_ok(catalogue_commit(c, &error));
    catalogue_free(c);
}

static void test_rollback(void **state)
{
    Error error = ERROR_INIT;
    Catalogue *c = open_catalogue(*state, CATALOGUE_WRITE);
    Place place;
    assert_ok(catalogue_begin(c, &error));
    add_pack(c, 1, 10);
    catalogue_rollback(c);
    assert_int_equal(catalogue_find(c, &(ObjectId){{1}}, &place), -ENOENT);
    assert_ok(catalogue_begin(c, &error));
    add_pack(c, 1, 10);
    assert_ok(catalogue_commit(c, &error));
    assert_int_equal(catalogue_find(c, &(ObjectId){{1}}, &place), 0);
    catalogue_free(c);
}

/* What is no catalogue of this store: refused when reading, replaced when writing. */
static void test_unusable_ones(void **state)
{
    static const char *const changes[] = {
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 7",
        "UPDATE meta SET value = 'ffffffffffffffffffffffffffffffff' WHERE key = 'store_id'",
        "DROP TABLE chunks",
        "DROP TABLE meta",
    };
    const char *dir = *state;
    Error error = ERROR_INIT;
    Catalogue *c = NULL;
    assert_int_equal(catalogue_open(dir, STORE_ID, CATALOGUE_READ, &c, &error), -ENOENT);
    error_release(&error);
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        catalogue_free(open_catalogue(dir, CATALOGUE_WRITE));
        catalogue_free(open_catalogue(dir, CATALOGUE_READ));
        run_sql(dir, changes[i]);
        if (catalogue_open(dir, STORE_ID, CATALOGUE_READ, &c, &error) == 0)
            fail_msg("%s", changes[i]);
        error_release(&error);
        assert_null(c);
    }
    char path[512];
    snprintf(path, sizeof(path), "%s/metadata.db", dir);
    for (size_t size = 0; size < 9000; size = size * 3 + 1) {
        catalogue_free(open_catalogue(dir, CATALOGUE_WRITE));
        assert_int_equal(truncate(path, (off_t)size), 0);
        if (catalogue_open(dir, STORE_ID, CATALOGUE_READ, &c, &error) == 0)
            catalogue_free(c);
        c = NULL;
        error_release(&error);
    }
    catalogue_free(open_catalogue(dir, CATALOGUE_WRITE));
}

/* Rows of nonsense must not lead a reader out of bounds. */
static void test_nonsense_rows(void **state)
{
    Error error = ERROR_INIT;
    Catalogue *c = open_catalogue(*state, CATALOGUE_WRITE);
    assert_ok(catalogue_begin(c, &error));
    add_pack(c, 1, 6);
    assert_ok(catalogue_commit(c, &error));
    catalogue_free(c);
    run_sql(*state, "UPDATE chunks SET offset = -1 WHERE substr(hex(id), 3, 2) = '00';"
                    "UPDATE chunks SET offset = 99999999999 WHERE substr(hex(id), 3, 2) = '01';"
                    "UPDATE chunks SET length = 0 WHERE substr(hex(id), 3, 2) = '02';"
                    "UPDATE chunks SET length = 9999999 WHERE substr(hex(id), 3, 2) = '03';"
                    "UPDATE chunks SET pack = 77 WHERE substr(hex(id), 3, 2) = '04';"
                    "UPDATE chunks SET offset = 'x' WHERE substr(hex(id), 3, 2) = '05';");
    c = open_catalogue(*state, CATALOGUE_READ);
    for (uint8_t i = 0; i < 6; i++) {
        Place place;
        assert_true(catalogue_find(c, &(ObjectId){{1, i}}, &place) < 0);
    }
    catalogue_free(c);
}

static void test_the_ledger(void **state)
{
    Error error = ERROR_INIT;
    Catalogue *c = open_catalogue(*state, CATALOGUE_WRITE);
    int64_t time = -1;
    assert_int_equal(catalogue_ledger_get(c, &(ObjectId){{1}}, &time), 0);
    assert_int_equal(time, 0);
    assert_ok(catalogue_ledger_set(c, &(ObjectId){{1}}, 1000, &error));
    assert_ok(catalogue_ledger_set(c, &(ObjectId){{1}}, 2000, &error));
    assert_int_equal(catalogue_ledger_get(c, &(ObjectId){{1}}, &time), 0);
    assert_int_equal(time, 2000);
    catalogue_free(c);
}

static void test_a_read_only_one_is_not_written(void **state)
{
    catalogue_free(open_catalogue(*state, CATALOGUE_WRITE));
    Catalogue *c = open_catalogue(*state, CATALOGUE_READ);
    Error error = ERROR_INIT;
    assert_true(catalogue_ledger_set(c, &(ObjectId){{1}}, 1000, &error) < 0);
    assert_non_null(error.message);
    error_release(&error);
    catalogue_free(c);
}

int main(void)
{
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_DIR(test_objects),       IN_DIR(test_copies),
        IN_DIR(test_objects),       IN_DIR(test_rollback),
        IN_DIR(test_unusable_ones), IN_DIR(test_nonsense_rows),
        IN_DIR(test_the_ledger),    IN_DIR(test_a_read_only_one_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
