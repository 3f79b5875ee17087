#include "store/event.h"

#include <errno.h>

#include "fixture.h"

static void test_names(void **state)
{
    (void)state;
    char good[EVENT_NAME_SIZE], bad[EVENT_NAME_SIZE + 4];
    uint64_t number = 0;
    ObjectId sha256;
    snprintf(good, sizeof(good), "0000000042-%064d.json", 7);
    assert_true(numbered_name_parse(good, &number, &sha256));
    assert_int_equal(number, 42);
    assert_int_equal(sha256.b[31], 7);
    for (size_t i = 0; good[i]; i++) {
        strcpy(bad, good);
        bad[i] = 'x';
        assert_false(numbered_name_parse(bad, &number, &sha256));
        bad[i] = 0;
        assert_false(numbered_name_parse(bad, &number, &sha256));
    }
    snprintf(bad, sizeof(bad), "%sx", good);
    assert_false(numbered_name_parse(bad, &number, &sha256));
    snprintf(bad, sizeof(bad), "0%s", good);
    assert_false(numbered_name_parse(bad, &number, &sha256));

    /* Beyond what a backup can have: counting on from there would leave the ten digits. */
    strcpy(bad, good);
    memcpy(bad, "0268435455", 10);
    assert_true(numbered_name_parse(bad, &number, &sha256));
    memcpy(bad, "0268435456", 10);
    assert_false(numbered_name_parse(bad, &number, &sha256));
}

static void test_types(void **state)
{
    (void)state;
    assert_int_equal(event_type_parse(event_type_name(EVENT_DELETED)), EVENT_DELETED);
    assert_int_equal(event_type_parse(event_type_name(EVENT_VERIFIED)), EVENT_VERIFIED);
    assert_int_equal(event_type_parse("of-a-later-version"), EVENT_OTHER);
    assert_int_equal(event_type_parse(""), EVENT_OTHER);
}

static void test_round_trip(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Backend *b = store_backend(f->store);
    char name[EVENT_NAME_SIZE];
    Event event;
    assert_ok(event_write(b, 12, EVENT_DELETED, "backup-0123456789abcdef", 3, name, &error));
    assert_memory_equal(name, "0000000012-", 11);
    assert_ok(event_load(b, name, &event, &error));
    assert_int_equal(event.type, EVENT_DELETED);
    assert_int_equal(event.ordinal, 3);
    /* Number and content make the name: another event with the number is another file. */
    char other[EVENT_NAME_SIZE];
    assert_ok(event_write(b, 12, EVENT_VERIFIED, "backup-0123456789abcdef", 3, other, &error));
    assert_string_not_equal(name, other);
}

/* Write `text` as an event under the name it must have; what loading it gives. */
static int load_text(Fixture *f, const char *text, Event *event)
{
    Error error = ERROR_INIT;
    Backend *b = store_backend(f->store);
    BackendTemp *t = NULL;
    ObjectId sha256;
    char hex[ID_HEX_SIZE], name[EVENT_NAME_SIZE], path[EVENT_NAME_SIZE + 8];
    assert_int_equal(id_of(text, strlen(text), &sha256), 0);
    id_to_hex(&sha256, hex);
    snprintf(name, sizeof(name), "0000000001-%s.json", hex);
    snprintf(path, sizeof(path), "events/%s", name);
    assert_ok(b->ops->create(b, false, &t, &error));
    assert_ok(b->ops->append(t, text, strlen(text), &error));
    assert_ok(b->ops->publish(t, path, &error));
    int r = event_load(b, name, event, &error);
    error_release(&error);
    return r;
}

static void test_content(void **state)
{
    Event event;
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "null",
                                      "{\"type\": \"deleted\"}",
                                      "{\"type\": \"deleted\", \"ordinal\": 0}",
                                      "{\"type\": \"deleted\", \"ordinal\": -1}",
                                      "{\"type\": \"deleted\", \"ordinal\": \"1\"}",
                                      "{\"type\": 1, \"ordinal\": 1}",
                                      "{\"type\": \"deleted\", \"ordinal\": 1",
                                      "{\"type\": \"del\xff\", \"ordinal\": 1}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (load_text(*state, bad[i], &event) != -EBADMSG)
            fail_msg("%s", bad[i]);
    assert_int_equal(load_text(*state, "{\"type\": \"new\", \"ordinal\": 9, \"x\": []}", &event),
                     0);
    assert_int_equal(event.type, EVENT_OTHER);
    assert_int_equal(event.ordinal, 9);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_types),
        WITH_STORE(test_round_trip),
        WITH_STORE(test_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
