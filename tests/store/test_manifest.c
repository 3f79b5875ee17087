#include "store/manifest.h"

#include <errno.h>

#include "fixture.h"

static json_t *make_doc(void)
{
    char hex[ID_HEX_SIZE];
    memset(hex, 'a', 64);
    hex[64] = 0;
    json_t *doc = json_pack(
        "{s:i, s:i, s:s, s:{s:s, s:s}, s:I, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:{s:s, s:i}, "
        "s:[s, s], s:s, s:{s:s}}",
        "format", 1, "ordinal", 7, "backup_id", "backup-0123456789abcdef", "collection",
        "namespace", "prod", "name", "shop", "timestamp", (json_int_t)1768487445, "latest_name",
        "latest_2026-01-15T14-30-45Z", "archive_name", "2026-01-15T14-30-45Z--a--push--b",
        "size_bytes", 10, "record_count", 20, "file_count", 30, "table_count", 40, "bytes_new", 50,
        "partial", 1, "root", "id", hex, "entries", 9, "packs", hex, hex, "source_repo", "a",
        "tags", "why", "demo");
    assert_non_null(doc);
    return doc;
}

static int parse(const json_t *doc, Manifest **ret)
{
    Error error = ERROR_INIT;
    char *text = json_dumps(doc, JSON_ENCODE_ANY);
    int r = manifest_parse(text, strlen(text), ret, &error);
    assert_true((r < 0) == (error.message != NULL));
    error_release(&error);
    free(text);
    return r;
}

static void test_a_sound_one(void **state)
{
    json_t *doc = make_doc();
    Manifest *m = NULL;
    assert_int_equal(parse(doc, &m), 0);
    const BackupInfo *b = &m->info;
    assert_string_equal(b->collection, "prod/shop");
    assert_string_equal(b->id, "backup-0123456789abcdef");
    assert_true(b->ordinal == 7 && b->size_bytes == 10 && b->record_count == 20 &&
                b->file_count == 30 && b->table_count == 40 && b->bytes_new == 50 &&
                b->entries == 9 && b->partial && !b->verified && b->timestamp == 1768487445);
    assert_int_equal(m->n_packs, 2);
    assert_int_equal(m->packs[1].b[0], 0xaa);
    char name[MANIFEST_NAME_SIZE];
    manifest_name(b, name);
    assert_memory_equal(name, "manifests/0000000007-", 21);
    assert_int_equal(strlen(name), 21 + 64 + 5);

    BackupInfo copy = {0};
    assert_int_equal(backup_info_copy(b, &copy), 0);
    assert_string_equal(copy.archive_name, b->archive_name);
    assert_ptr_not_equal(copy.archive_name, b->archive_name);
    backup_info_release(&copy);

    json_t *map = manifest_metadata(m);
    assert_string_equal(json_string_value(json_object_get(map, "why")), "demo");
    assert_string_equal(json_string_value(json_object_get(map, "source_repo")), "a");
    json_decref(map);
    manifest_free(m);
    manifest_free(NULL);
    json_decref(doc);
}

static void test_every_member_is_needed(void **state)
{
    static const char *const keys[] = {"format",       "ordinal",     "backup_id",    "collection",
                                       "timestamp",    "latest_name", "archive_name", "size_bytes",
                                       "record_count", "file_count",  "table_count",  "bytes_new",
                                       "partial",      "root",        "packs"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        Manifest *m = NULL;
        json_t *doc = make_doc();
        json_object_del(doc, keys[i]);
        if (parse(doc, &m) != -EBADMSG)
            fail_msg("without %s", keys[i]);
        /* And of the right kind. */
        json_object_set_new(doc, keys[i], json_real(1.5));
        if (parse(doc, &m) != -EBADMSG)
            fail_msg("%s is a fraction", keys[i]);
        json_object_set_new(doc, keys[i], json_array());
        if (strcmp(keys[i], "packs") != 0 && parse(doc, &m) != -EBADMSG)
            fail_msg("%s is an array", keys[i]);
        json_decref(doc);
    }
}

static void test_bad_values(void **state)
{
    static const struct {
        const char *key;
        const char *json;
    } cases[] = {
        {"format", "2"},
        {"format", "0"},
        {"ordinal", "0"},
        {"ordinal", "-1"},
        {"ordinal", "268435456"},
        {"timestamp", "-1"},
        {"timestamp", "253402300800"},
        {"size_bytes", "-1"},
        {"backup_id", "\"\""},
        {"backup_id", "\"b\""},
        {"backup_id", "\"backup-\""},
        {"backup_id", "\"backup-0123456789abcdeg\""},
        {"backup_id", "\"backup-0123456789abcdef0\""},
        {"backup_id", "\"../../etc/passwd\""},
        {"archive_name", "\"a/b\""},
        {"archive_name", "\"..\""},
        {"archive_name", "\"\""},
        {"latest_name", "\".\""},
        {"collection", "{\"namespace\": \"a\"}"},
        {"collection", "{\"namespace\": \"a\", \"name\": \"\"}"},
        {"collection", "{\"namespace\": \"a/b\", \"name\": \"c\"}"},
        {"collection", "{\"namespace\": \".a\", \"name\": \"c\"}"},
        {"collection", "{\"namespace\": \"a\", \"name\": \"c d\"}"},
        {"root", "{\"id\": \"xyz\", \"entries\": 1}"},
        {"root", "{\"entries\": 1}"},
        {"packs", "[5]"},
        {"packs", "[\"abc\"]"},
        {"packs", "{}"},
        {"partial", "1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        Manifest *m = NULL;
        json_t *doc = make_doc();
        json_object_set_new(doc, cases[i].key, json_loads(cases[i].json, JSON_DECODE_ANY, NULL));
        if (parse(doc, &m) != -EBADMSG)
            fail_msg("%s: %s", cases[i].key, cases[i].json);
        json_decref(doc);
    }
}

static void test_garbage(void **state)
{
    json_t *doc = make_doc();
    char *text = json_dumps(doc, JSON_INDENT(1));
    size_t len = strlen(text);
    uint64_t random = 3;
    Error error = ERROR_INIT;
    Manifest *m = NULL;
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(manifest_parse(text, i, &m, &error), -EBADMSG);
        error_release(&error);
    }
    for (int i = 0; i < 5000; i++) {
        char *copy = strdup(text);
        for (int k = 0; k < 3; k++)
            copy[test_random(&random) % len] = (char)test_random(&random);
        m = NULL;
        if (manifest_parse(copy, len, &m, &error) == 0)
            manifest_free(m);
        error_release(&error);
        free(copy);
    }
    /* Brackets without end. */
    memset(text, '[', len);
    assert_int_equal(manifest_parse(text, len, &m, &error), -EBADMSG);
    error_release(&error);
    free(text);
    json_decref(doc);
}

/* Lines at great depth are mostly blanks: they must not multiply what a manifest takes. */
static void test_print(void **state)
{
    const size_t depth = 1000, n = 500000;
    Error error = ERROR_INIT;
    Manifest *m;
    Buf text = BUF_INIT, printed = BUF_INIT;
    json_t *doc = make_doc();
    char *usual = json_dumps(doc, JSON_COMPACT);
    assert_ok(manifest_parse(usual, strlen(usual), &m, &error));
    assert_int_equal(buf_add_str(&printed, "before "), 0);
    assert_int_equal(manifest_print(m, &printed), 0);
    assert_non_null(strstr(buf_cstr(&printed), "before {\n  \""));
    manifest_free(m);

    assert_int_equal(buf_add(&text, usual, strlen(usual) - 1), 0);
    assert_int_equal(buf_add_str(&text, ",\"deep\":"), 0);
    for (size_t i = 0; i < depth; i++)
        assert_int_equal(buf_add_str(&text, "["), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_add_str(&text, i ? ",1" : "1"), 0);
    for (size_t i = 0; i < depth; i++)
        assert_int_equal(buf_add_str(&text, "]"), 0);
    assert_int_equal(buf_add_str(&text, "}"), 0);
    assert_ok(manifest_parse(text.data, text.len, &m, &error));
    buf_clear(&printed);
    assert_int_equal(buf_add_str(&printed, "before "), 0);
    assert_int_equal(manifest_print(m, &printed), 0);
    assert_in_range(printed.len, text.len, 2 * text.len);
    assert_memory_equal(printed.data, "before {\"", 9);
    json_t *again = json_loadb((char *)printed.data + 7, printed.len - 7, 0, NULL);
    assert_true(json_equal(again, m->doc));
    json_decref(again);
    manifest_free(m);
    buf_release(&text);
    buf_release(&printed);
    free(usual);
    json_decref(doc);
}

static void test_collection_names(void **state)
{
    static const char *const good[] = {"a/b", "A-1/b_2.c", "default/shop", "0/0"};
    static const char *const bad[] = {"",      "a",    "/",    "a/",    "/b",         "a/b/c",
                                      "a b/c", ".a/b", "a/.b", "a/b\n", "\xc3\xa9/b", "a//b"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(collection_is_valid(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(collection_is_valid(bad[i]));
    char long_name[204];
    memset(long_name, 'x', sizeof(long_name));
    long_name[100] = '/';
    long_name[201] = 0;
    assert_true(collection_is_valid(long_name));
    long_name[201] = 'x';
    long_name[202] = 0;
    assert_false(collection_is_valid(long_name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_one), cmocka_unit_test(test_every_member_is_needed),
        cmocka_unit_test(test_bad_values),  cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_print),       cmocka_unit_test(test_collection_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
