#include "chunk/id.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* FIPS 180-4 examples. */
static const struct {
    const char *text, *hex;
} known[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void test_known_digests(void **state)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        ObjectId id;
        char hex[ID_HEX_SIZE];
        assert_int_equal(id_of(known[i].text, strlen(known[i].text), &id), 0);
        id_to_hex(&id, hex);
        assert_string_equal(hex, known[i].hex);
    }
}

static void test_hex_round_trip(void **state)
{
    ObjectId id, back;
    char hex[ID_HEX_SIZE];
    for (size_t i = 0; i < ID_SIZE; i++)
        id.b[i] = (uint8_t)(i * 37 + 200);
    id_to_hex(&id, hex);
    assert_int_equal(id_from_hex(hex, &back), 0);
    assert_int_equal(id_compare(&id, &back), 0);
}

static void test_bad_hex_is_refused(void **state)
{
    ObjectId id, before;
    memset(&id, 0x5a, sizeof(id));
    before = id;
    char hex[ID_HEX_SIZE + 1];
    memset(hex, 'a', sizeof(hex));
    hex[ID_HEX_SIZE] = 0;
    assert_int_equal(id_from_hex(hex, &id), -EINVAL); /* 65 digits */
    hex[63] = 0;
    assert_int_equal(id_from_hex(hex, &id), -EINVAL); /* 63 */
    assert_int_equal(id_from_hex("", &id), -EINVAL);
    hex[63] = 'a';
    hex[64] = 0;
    static const char bad[] = {'A', 'g', '/', ':', '`', ' ', (char)0xe9};
    for (size_t i = 0; i < sizeof(bad); i++) {
        hex[i * 9] = bad[i];
        assert_int_equal(id_from_hex(hex, &id), -EINVAL);
        hex[i * 9] = 'a';
    }
    assert_int_equal(id_compare(&id, &before), 0); /* untouched on failure */
    assert_int_equal(id_from_hex(hex, &id), 0);
}

static void test_hasher_in_pieces(void **state)
{
    Hasher *h;
    assert_int_equal(hasher_new(&h), 0);
    uint8_t data[1000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    ObjectId whole, pieces;
    assert_int_equal(id_of(data, sizeof(data), &whole), 0);
    for (size_t piece = 1; piece < sizeof(data); piece = piece * 2 + 1) { /* starts anew */
        for (size_t at = 0; at < sizeof(data); at += piece) {
            size_t n = sizeof(data) - at < piece ? sizeof(data) - at : piece;
            assert_int_equal(hasher_add(h, data + at, n), 0);
        }
        assert_int_equal(hasher_finish(h, &pieces), 0);
        assert_int_equal(id_compare(&whole, &pieces), 0);
    }
    assert_int_equal(hasher_finish(h, &pieces), 0);
    assert_int_equal(id_of("", 0, &whole), 0);
    assert_int_equal(id_compare(&whole, &pieces), 0);
    hasher_free(h);
    hasher_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_digests),
        cmocka_unit_test(test_hex_round_trip),
        cmocka_unit_test(test_bad_hex_is_refused),
        cmocka_unit_test(test_hasher_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
