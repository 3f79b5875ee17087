#include "chunk/id.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

/* Fetched once: EVP_sha256() costs a provider look-up at every use under OpenSSL 3. */
static const EVP_MD *sha256(void)
{
    static EVP_MD *fetched;
    EVP_MD *md = __atomic_load_n(&fetched, __ATOMIC_ACQUIRE);
    if (md)
        return md;
    md = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD *expected = NULL;
    if (md && !__atomic_compare_exchange_n(&fetched, &expected, md, 0, __ATOMIC_ACQ_REL,
                                           __ATOMIC_ACQUIRE)) {
        EVP_MD_free(md);
        md = expected;
    }
    return md;
}

int id_of(const void *data, size_t len, ObjectId *ret_id)
{
    const EVP_MD *md = sha256();
    if (!md || !EVP_Digest(data, len, ret_id->b, NULL, md, NULL))
        return -ENOMEM;
    return 0;
}

void id_to_hex(const ObjectId *id, char out[ID_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < ID_SIZE; i++) {
        out[2 * i] = digits[id->b[i] >> 4];
        out[2 * i + 1] = digits[id->b[i] & 15];
    }
    out[2 * ID_SIZE] = 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int id_from_hex(const char *hex, ObjectId *ret_id)
{
    ObjectId id;
    if (strnlen(hex, 2 * ID_SIZE + 1) != 2 * ID_SIZE)
        return -EINVAL;
    for (size_t i = 0; i < ID_SIZE; i++) {
        int hi = hex_value(hex[2 * i]), lo = hex_value(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return -EINVAL;
        id.b[i] = (uint8_t)(hi << 4 | lo);
    }
    *ret_id = id;
    return 0;
}

struct Hasher {
    EVP_MD_CTX *ctx;
};

int hasher_new(Hasher **ret_h)
{
    Hasher *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || !sha256() || !EVP_DigestInit_ex(h->ctx, sha256(), NULL)) {
        hasher_free(h);
        return -ENOMEM;
    }
    *ret_h = h;
    return 0;
}

void hasher_free(Hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

int hasher_add(Hasher *h, const void *data, size_t len)
{
    return EVP_DigestUpdate(h->ctx, data, len) ? 0 : -ENOMEM;
}

int hasher_finish(Hasher *h, ObjectId *ret_digest)
{
    if (!EVP_DigestFinal_ex(h->ctx, ret_digest->b, NULL) ||
        !EVP_DigestInit_ex(h->ctx, sha256(), NULL))
        return -ENOMEM;
    return 0;
}
