#include <stdlib.h>

#include "fuzz.h"
#include "store/manifest.h"

/* Any bytes are a manifest or refused with a message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Manifest *m = NULL;
    Error e = ERROR_INIT;
    int r = manifest_parse(data, size, &m, &e);
    if (r < 0 ? (m || !e.message) : !m)
        abort();
    manifest_free(m);
    error_release(&e);
    return 0;
}
