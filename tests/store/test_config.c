#include "store/config.h"

#include <errno.h>

#include "fixture.h"

static void test_round_trip(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Backend *b = store_backend(f->store);
    static const char *const collections[] = {NULL, "prod/shop"};
    for (size_t i = 0; i < 2; i++) {
        StoreConfig c = {0}, back = {0};
        assert_ok(store_config_new(collections[i], &c, &error));
        assert_int_equal(strlen(c.store_id), 32);
        assert_ok(store_config_save(b, &c, &error));
        assert_ok(store_config_load(b, f->path, true, &back, &error));
        assert_string_equal(back.store_id, c.store_id);
        assert_memory_equal(back.secret, c.secret, sizeof(c.secret));
        assert_int_equal(back.created, c.created);
        assert_int_equal(back.format_version, STORE_FORMAT_VERSION);
        if (collections[i])
            assert_string_equal(back.default_collection, collections[i]);
        else
            assert_null(back.default_collection);
        store_config_release(&c);
        store_config_release(&back);
    }
}

static void test_two_stores_differ(void **state)
{
    Error error = ERROR_INIT;
    StoreConfig x = {0}, y = {0};
    (void)state;
    assert_ok(store_config_new(NULL, &x, &error));
    assert_ok(store_config_new(NULL, &y, &error));
    assert_string_not_equal(x.store_id, y.store_id);
    assert_memory_not_equal(x.secret, y.secret, sizeof(x.secret));
    store_config_release(&x);
    store_config_release(&y);
}

#define ID32  "0123456789abcdef0123456789abcdef"
#define SOUND "\"store_id\": \"" ID32 "\", \"created\": 1, \"restrict_secret\": \"" ID32 ID32 "\""

static int load(Fixture *f, const char *text, bool writing, Error *e)
{
    StoreConfig c = {0};
    Backend *b = store_backend(f->store);
    Error error = ERROR_INIT;
    assert_ok(b->ops->replace(b, "config.json", text, strlen(text), false, &error));
    int r = store_config_load(b, f->path, writing, &c, e);
    store_config_release(&c);
    return r;
}

static void test_versions_and_features(void **state)
{
    static const struct {
        const char *text;
        bool writing;
        int result;
    } cases[] = {
        {"{\"format\": 1, " SOUND "}", true, 0},
        {"{\"format\": 1, \"later\": {}, " SOUND "}", true, 0},
        {"{\"format\": 2, " SOUND "}", false, -EPROTONOSUPPORT},
        {"{\"format\": 2}", false, -EPROTONOSUPPORT},
        {"{\"format\": 1, \"features\": {\"read\": [], \"write\": []}, " SOUND "}", true, 0},
        {"{\"format\": 1, \"features\": {\"read\": [\"x\"]}, " SOUND "}", false, -EPROTONOSUPPORT},
        {"{\"format\": 1, \"features\": {\"write\": [\"x\"]}, " SOUND "}", false, 0},
        {"{\"format\": 1, \"features\": {\"write\": [\"x\"]}, " SOUND "}", true, -EPROTONOSUPPORT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        Error error = ERROR_INIT;
        if (load(*state, cases[i].text, cases[i].writing, &error) != cases[i].result)
            fail_msg("%s", cases[i].text);
        assert_true((cases[i].result < 0) == (error.hint != NULL));
        error_release(&error);
    }
}

static void test_damage(void **state)
{
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"format\": \"1\"}",
        "{\"format\": 0, " SOUND "}",
        "{\"format\": 1}",
        "{\"format\": 1, \"store_id\": \"" ID32 "\"}",
        "{\"format\": 1, \"store_id\": 1, \"restrict_secret\": \"" ID32 ID32 "\"}",
        "{\"format\": 1, \"store_id\": \"" ID32 "\", \"restrict_secret\": \"" ID32 "\"}",
        "{\"format\": 1, \"default_collection\": \"x\", " SOUND "}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        Error error = ERROR_INIT;
        if (load(*state, texts[i], false, &error) != -EBADMSG)
            fail_msg("%s", texts[i]);
        assert_non_null(error.hint);
        error_release(&error);
    }
}

static void test_no_config(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    StoreConfig c = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s/config.json", f->path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(store_config_load(store_backend(f->store), f->path, false, &c, &error),
                     -ENOENT);
    assert_int_equal(error.exit_code, BK_EXIT_NO_STORE);
    assert_non_null(strstr(error.message, f->path));
    error_release(&error);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_round_trip),
        cmocka_unit_test(test_two_stores_differ),
        WITH_STORE(test_versions_and_features),
        WITH_STORE(test_damage),
        WITH_STORE(test_no_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
