#include "chunk/codec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

#define OBJECT (1u << 20)

static int setup(void **state)
{
    Codec *c;
    if (codec_new(&c) < 0)
        return -1;
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    codec_free(*state);
    codec_free(NULL);
    return 0;
}

static void round_trip(Codec *c, const uint8_t *plain, size_t len, int level, Encoding expected)
{
    Buf out = BUF_INIT;
    Encoding encoding = ENCODING_DELTA;
    assert_int_equal(codec_compress(c, level, plain, len, &out, &encoding), 0);
    assert_int_equal(encoding, expected);
    uint8_t *back = malloc(len);
    if (encoding == ENCODING_RAW) {
        assert_int_equal(out.len, 0);
        assert_int_equal(codec_decompress(c, encoding, NULL, 0, plain, len, back, len), 0);
    } else {
        assert_true(out.len < len);
        assert_int_equal(codec_decompress(c, encoding, NULL, 0, out.data, out.len, back, len), 0);
    }
    assert_memory_equal(plain, back, len);
    free(back);
    buf_release(&out);
}

static void test_text_is_compressed(void **state)
{
    uint8_t *data = malloc(OBJECT);
    size_t len = test_fill_rows(data, OBJECT, 1, 7);
    static const int levels[] = {1, 3, 9};
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
        round_trip(*state, data, len, levels[i], ENCODING_ZSTD);
    memset(data, 0, OBJECT);
    round_trip(*state, data, OBJECT, 3, ENCODING_ZSTD);
    free(data);
}

static void test_noise_stays_raw(void **state)
{
    uint8_t *data = malloc(OBJECT);
    test_fill_random(data, OBJECT, 1);
    static const size_t sizes[] = {1, 2, 15, 100, 4096, 70000, OBJECT};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        round_trip(*state, data, sizes[i], 3, ENCODING_RAW);
    free(data);
}

static void test_output_is_replaced(void **state)
{
    Buf out = BUF_INIT;
    assert_int_equal(buf_add_str(&out, "left over"), 0);
    uint8_t zeros[1000] = {0}, back[1000];
    Encoding encoding;
    assert_int_equal(codec_compress(*state, 3, zeros, sizeof(zeros), &out, &encoding), 0);
    assert_int_equal(
        codec_decompress(*state, encoding, NULL, 0, out.data, out.len, back, sizeof(back)), 0);
    buf_release(&out);
}

static void test_wrong_lengths_are_damage(void **state)
{
    uint8_t data[5000], back[5001];
    size_t len = test_fill_rows(data, sizeof(data), 1, 1);
    Buf out = BUF_INIT;
    Encoding encoding;
    assert_int_equal(codec_compress(*state, 3, data, len, &out, &encoding), 0);
    assert_int_equal(encoding, ENCODING_ZSTD);
    assert_int_equal(codec_decompress(*state, encoding, NULL, 0, out.data, out.len, back, len - 1),
                     -EBADMSG);
    assert_int_equal(codec_decompress(*state, encoding, NULL, 0, out.data, out.len, back, len + 1),
                     -EBADMSG);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_int_equal(codec_decompress(*state, encoding, NULL, 0, out.data, cut, back, len),
                         -EBADMSG);
    assert_int_equal(codec_decompress(*state, ENCODING_RAW, NULL, 0, data, len, back, len - 1),
                     -EBADMSG);
    assert_int_equal(codec_decompress(*state, ENCODING_RAW, NULL, 0, data, 0, back, 1), -EBADMSG);
    buf_release(&out);
}

static void test_other_encodings(void **state)
{
    uint8_t byte = 0, back;
    assert_int_equal(codec_decompress(*state, ENCODING_DELTA, &byte, 1, &byte, 1, &back, 1),
                     -EBADMSG);
    assert_int_equal(codec_decompress(*state, (Encoding)3, NULL, 0, &byte, 1, &back, 1), -EBADMSG);
    assert_int_equal(codec_decompress(*state, (Encoding)255, NULL, 0, &byte, 1, &back, 1),
                     -EBADMSG);
}

/* Damaged frames may decode to other bytes (the id tells), but never more than asked for. */
static void test_damaged_frames_stay_in_bounds(void **state)
{
    uint8_t data[3000], *back;
    size_t len = test_fill_rows(data, sizeof(data), 1, 3);
    Buf out = BUF_INIT;
    Encoding encoding;
    assert_int_equal(codec_compress(*state, 3, data, len, &out, &encoding), 0);
    back = malloc(len);
    for (size_t i = 0; i < out.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            out.data[i] ^= (uint8_t)(1 << bit);
            int r = codec_decompress(*state, encoding, NULL, 0, out.data, out.len, back, len);
            assert_true(r == 0 || r == -EBADMSG);
            out.data[i] ^= (uint8_t)(1 << bit);
        }
    assert_int_equal(codec_decompress(*state, encoding, NULL, 0, out.data, out.len, back, len), 0);
    assert_memory_equal(back, data, len);
    free(back);
    buf_release(&out);
}

static void test_deltas(void **state)
{
    uint8_t *base = malloc(OBJECT), *plain = malloc(OBJECT), *back = malloc(OBJECT);
    size_t len = test_fill_rows(base, OBJECT, 1, 7), whole;
    memcpy(plain, base, len);
    for (size_t i = 0; i < len; i += 50000)
        plain[i] ^= 1;
    Buf full = BUF_INIT, delta = BUF_INIT;
    Encoding encoding;
    assert_int_equal(codec_compress(*state, 3, plain, len, &full, &encoding), 0);
    whole = full.len;
    assert_int_equal(codec_compress_delta(*state, 3, base, len, plain, len, &delta), 0);
    assert_true(delta.len < whole / 10);
    assert_int_equal(
        codec_decompress(*state, ENCODING_DELTA, base, len, delta.data, delta.len, back, len), 0);
    assert_memory_equal(back, plain, len);
    /* What comes before and after leaves no trace in the codec. */
    assert_int_equal(codec_compress(*state, 3, plain, len, &full, &encoding), 0);
    assert_int_equal(full.len, whole);
    assert_int_equal(codec_decompress(*state, encoding, NULL, 0, full.data, full.len, back, len),
                     0);
    assert_memory_equal(back, plain, len);
    /* Another base gives an error or other bytes, never more than asked for. */
    test_fill_random(base, len, 3);
    int r = codec_decompress(*state, ENCODING_DELTA, base, len, delta.data, delta.len, back, len);
    assert_true(r == -EBADMSG || memcmp(back, plain, len) != 0);
    r = codec_decompress(*state, ENCODING_DELTA, base, 1, delta.data, delta.len, back, len);
    assert_true(r == -EBADMSG || memcmp(back, plain, len) != 0);
    buf_release(&full);
    buf_release(&delta);
    free(base);
    free(plain);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_compressed),
        cmocka_unit_test(test_noise_stays_raw),
        cmocka_unit_test(test_output_is_replaced),
        cmocka_unit_test(test_wrong_lengths_are_damage),
        cmocka_unit_test(test_other_encodings),
        cmocka_unit_test(test_damaged_frames_stay_in_bounds),
        cmocka_unit_test(test_deltas),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
