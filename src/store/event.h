/* Events: what happened to a backup after its commit. docs/format.md, "Events". */
#pragma once

#include "chunk/id.h"
#include "store/backend.h"

#define EVENT_MAX       (1u << 20)       /* bytes */
#define NUMBER_MAX      ((1u << 28) - 1) /* of ordinals and event numbers */
#define EVENT_NAME_SIZE 96               /* "<10 digits>-<64 hex>.json" and zero */

typedef enum EventType {
    EVENT_OTHER, /* of a later version: ignored */
    EVENT_DELETED,
    EVENT_VERIFIED,
} EventType;

typedef struct Event {
    EventType type;
    uint64_t ordinal; /* of the backup it is about */
} Event;

const char *event_type_name(EventType t);
EventType event_type_parse(const char *name);

/* Read and check events/<name>. -EBADMSG when it is damaged. */
int event_load(Backend *b, const char *name, Event *ret_event, Error *e);

/* Write one, durable on return. `number` is the highest in use + 1. `ret_name` gets its file's
 * name. */
int event_write(Backend *b, uint64_t number, EventType type, const char *backup_id,
                uint64_t ordinal, char ret_name[EVENT_NAME_SIZE], Error *e);

/* Take a name "<10 digits>-<64 hex>.json" apart, for events and manifests. Whether it is one. */
bool numbered_name_parse(const char *name, uint64_t *ret_number, ObjectId *ret_sha256);
