#include "store/summary.h"

#include "fixture.h"

static char *format(const char *json)
{
    Buf out = BUF_INIT;
    json_t *doc = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(doc);
    assert_int_equal(summary_format(doc, &out), 0);
    json_decref(doc);
    return buf_take_cstr(&out);
}

static void test_everything_is_told(void **state)
{
    (void)state;
    char *text =
        format("{\"backup_id\": \"backup-1\", \"archive_name\": \"A\", \"timestamp\": 1768487445,"
               " \"environment\": \"staging\", \"bytes_read\": 2097152, \"bytes_new\": 1048576,"
               " \"duration\": 3.25, \"partial\": false, \"databases\": [{\"type\": \"postgres\","
               " \"name\": \"shop\", \"server_version\": \"15.20\", \"connection\": "
               "\"postgres://u@h/shop\","
               " \"size_bytes\": 1048576, \"table_count\": 3, \"record_count\": 99, \"schemas\":"
               " [{\"name\": \"public\", \"tables\": 3, \"rows\": 99, \"bytes\": 2048}]}]}");
    static const char *const parts[] = {"backup-1",  "2026-01-15T14:30:45Z",
                                        "staging",   "shop",
                                        "15.20",     "postgres://u@h/shop",
                                        "1.0 MiB",   "public",
                                        "99",        "2.0 KiB",
                                        "ratio 2.0", "complete"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (!strstr(text, parts[i]))
            fail_msg("no '%s' in\n%s", parts[i], text);
    free(text);
}

static void test_what_was_left_out(void **state)
{
    (void)state;
    char *text = format("{\"partial\": true, \"left_out\": [{\"what\": \"schema x\", \"why\":"
                        " \"no permission\"}, {}]}");
    assert_non_null(strstr(text, "schema x: no permission"));
    assert_non_null(strstr(text, "partial"));
    free(text);
}

/* Any document gives some text. */
static void test_odd_documents(void **state)
{
    (void)state;
    static const char *const docs[] = {
        "{}", "{\"databases\": 5}", "{\"databases\": [5, {}, {\"schemas\": [1, {}]}]}",
        "{\"timestamp\": -99999999999999, \"duration\": \"x\", \"bytes_new\": -5}",
        "{\"left_out\": [1, null]}"};
    for (size_t i = 0; i < sizeof(docs) / sizeof(*docs); i++) {
        char *text = format(docs[i]);
        assert_non_null(strstr(text, "Status:"));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_told),
        cmocka_unit_test(test_what_was_left_out),
        cmocka_unit_test(test_odd_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
