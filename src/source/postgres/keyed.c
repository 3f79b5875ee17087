#include "source/postgres/keyed.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

int restrict_key(const uint8_t secret[32], const void *text, size_t len,
                 char out[RESTRICT_KEY_SIZE])
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!HMAC(EVP_sha256(), secret, 32, len ? text : "", len, mac, &n) || n != 32)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", mac[i]);
    return 0;
}
