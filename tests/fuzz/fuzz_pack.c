#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "store/pack.h"

/* Any bytes are a pack record or refused with a message; what decompresses is as long as promised.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PackRecord record;
    Error e = ERROR_INIT;
    int r = pack_parse_record(data, size, &record, &e);
    if (r < 0) {
        if (!e.message)
            abort();
        error_release(&e);
        return 0;
    }
    if (record.stored < data || record.entry.stored_len > size ||
        record.stored + record.entry.stored_len > data + size)
        abort();

    Codec *codec = NULL;
    Object *base = NULL, *object = NULL;
    if (codec_new(&codec) < 0)
        abort();
    if (record.entry.encoding == ENCODING_DELTA) {
        base = object_new(1000);
        if (!base)
            abort();
        memset(base->data, 'b', base->len);
    }
    if (pack_decompress(codec, &record, base, &object, &e) == 0 &&
        object->len != record.entry.plain_len)
        abort();
    object_unref(object);
    object_unref(base);
    codec_free(codec);
    error_release(&e);
    return 0;
}
