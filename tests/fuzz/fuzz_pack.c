#include <stdlib.h>

#include "fuzz.h"
#include "store/pack.h"

/* Any bytes are a pack record or refused with a message, and what decodes has its id. */
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
    Object *object = NULL;
    ObjectId id;
    if (codec_new(&codec) < 0)
        abort();
    r = pack_decode(codec, &record, &object, &e);
    if (r == 0 &&
        (object->len != record.entry.plain_len || id_of(object->data, object->len, &id) < 0 ||
         id_compare(&id, &record.entry.id) != 0))
        abort();
    object_unref(object);
    codec_free(codec);
    error_release(&e);
    return 0;
}
