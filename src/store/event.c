#include "store/event.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/clock.h"

static const char *const type_names[] = {
    [EVENT_OTHER] = "other", [EVENT_DELETED] = "deleted", [EVENT_VERIFIED] = "verified"};

const char *event_type_name(EventType t)
{
    return type_names[t];
}

EventType event_type_parse(const char *name)
{
    if (strcmp(name, "deleted") == 0)
        return EVENT_DELETED;
    return strcmp(name, "verified") == 0 ? EVENT_VERIFIED : EVENT_OTHER;
}

bool numbered_name_parse(const char *name, uint64_t *ret_number, ObjectId *ret_sha256)
{
    uint64_t number = 0;
    char hex[ID_HEX_SIZE];
    if (strlen(name) != 10 + 1 + 64 + 5 || name[10] != '-' || strcmp(name + 75, ".json") != 0)
        return false;
    for (int i = 0; i < 10; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(name[i] - '0');
    }
    memcpy(hex, name + 11, 64);
    hex[64] = 0;
    if (number > NUMBER_MAX || id_from_hex(hex, ret_sha256) < 0)
        return false;
    *ret_number = number;
    return true;
}

int event_load(Backend *b, const char *name, Event *ret_event, Error *e)
{
    char path[EVENT_NAME_SIZE + 8];
    uint64_t number;
    ObjectId named, actual;
    _cleanup_(buf_release) Buf bytes = BUF_INIT;
    snprintf(path, sizeof(path), "events/%s", name);
    int r = b->ops->slurp(b, path, EVENT_MAX, &bytes, e);
    if (r < 0)
        return r;
    if (!numbered_name_parse(name, &number, &named) || id_of(bytes.data, bytes.len, &actual) < 0 ||
        id_compare(&named, &actual) != 0)
        return error_set(e, EBADMSG, "damaged event: %s does not match its name", path);
    json_t *doc = json_loadb((const char *)bytes.data, bytes.len, 0, NULL);
    const char *type = json_string_value(json_object_get(doc, "type"));
    json_int_t ordinal = json_integer_value(json_object_get(doc, "ordinal"));
    if (type && ordinal > 0)
        *ret_event = (Event){.type = event_type_parse(type), .ordinal = (uint64_t)ordinal};
    else
        r = error_set(e, EBADMSG, "damaged event: %s", path);
    json_decref(doc);
    return r;
}

int event_write(Backend *b, uint64_t number, EventType type, const char *backup_id,
                uint64_t ordinal, char ret_name[EVENT_NAME_SIZE], Error *e)
{
    json_t *doc =
        json_pack("{s:i, s:I, s:I, s:s, s:s, s:I}", "format", 1, "number", (json_int_t)number,
                  "time", (json_int_t)clock_now(), "type", event_type_name(type), "backup_id",
                  backup_id, "ordinal", (json_int_t)ordinal);
    _cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    ObjectId sha256;
    char hex[ID_HEX_SIZE], path[EVENT_NAME_SIZE + 8];
    if (!text || id_of(text, strlen(text), &sha256) < 0)
        return error_oom(e);
    id_to_hex(&sha256, hex);
    snprintf(ret_name, EVENT_NAME_SIZE, "%010" PRIu64 "-%s.json", number, hex);
    snprintf(path, sizeof(path), "events/%s", ret_name);
    BackendTemp *t = NULL;
    int r = b->ops->create(b, false, &t, e);
    if (r < 0)
        return r;
    r = b->ops->append(t, text, strlen(text), e);
    if (r < 0) {
        b->ops->discard(t);
        return r;
    }
    r = b->ops->publish(t, path, e);
    return r < 0 ? r : b->ops->sync_dir(b, "events", e);
}
