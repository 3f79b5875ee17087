#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "util/cleanup.h"
#include "util/name.h"

/* Any bytes make a valid file name, and those that were not cut come back from it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const reserved[] = {"roles.sql", "restore.sql", NULL};
    _cleanup_(buf_release) Buf encoded = BUF_INIT, decoded = BUF_INIT, any = BUF_INIT;
    bool cut = false;
    if (name_encode((const char *)data, size, reserved, &encoded, &cut) < 0)
        abort();
    if (!name_is_valid(encoded.data, encoded.len))
        abort();
    int r = name_decode((const char *)encoded.data, encoded.len, &decoded);
    if (cut ? r == 0 : (r < 0 || decoded.len != size))
        abort();
    if (!cut && size > 0 && memcmp(decoded.data, data, size) != 0)
        abort();
    (void)!name_decode((const char *)data, size, &any);
    return 0;
}
