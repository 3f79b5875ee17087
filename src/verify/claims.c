#include "verify/claims.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/catalogue.h"

typedef struct EventClaim {
    char *name; /* owned */
    Event event;
} EventClaim;

struct Claims {
    EventClaim *events; /* by name */
    size_t n_events, capacity;
    size_t contradicted;             /* files */
    char first[EVENT_NAME_SIZE + 8]; /* of them */
};

static int add_event(void *ctx, const char *name, const Event *event)
{
    Claims *c = ctx;
    if (c->n_events == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 64;
        EventClaim *events = reallocarray(c->events, capacity, sizeof(*events));
        if (!events)
            return -ENOMEM;
        c->events = events;
        c->capacity = capacity;
    }
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    c->events[c->n_events++] = (EventClaim){.name = copy, .event = *event};
    return 0;
}

static int compare_events(const void *x, const void *y)
{
    return strcmp(((const EventClaim *)x)->name, ((const EventClaim *)y)->name);
}

int claims_new(Store *s, Claims **ret_claims)
{
    Claims *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    Catalogue *catalogue = store_catalogue(s);
    /* One that can't be read is not believed by anybody. */
    if (catalogue && catalogue_events(catalogue, add_event, c) == -ENOMEM) {
        claims_free(c);
        return -ENOMEM;
    }
    if (c->n_events)
        qsort(c->events, c->n_events, sizeof(*c->events), compare_events);
    *ret_claims = c;
    return 0;
}

void claims_free(Claims *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_events; i++)
        free(c->events[i].name);
    free(c->events);
    free(c);
}

/* All but `verified`, which is no matter of the manifest. */
static bool is_same(const BackupInfo *a, const BackupInfo *b)
{
    return a->ordinal == b->ordinal && strcmp(a->id, b->id) == 0 &&
           strcmp(a->collection, b->collection) == 0 && a->timestamp == b->timestamp &&
           strcmp(a->latest_name, b->latest_name) == 0 &&
           strcmp(a->archive_name, b->archive_name) == 0 && a->partial == b->partial &&
           a->size_bytes == b->size_bytes && a->record_count == b->record_count &&
           a->file_count == b->file_count && a->table_count == b->table_count &&
           a->bytes_new == b->bytes_new && id_compare(&a->root, &b->root) == 0 &&
           a->entries == b->entries;
}

static void contradict(Claims *c, const char *file)
{
    if (c->contradicted++ == 0)
        snprintf(c->first, sizeof(c->first), "%s", file);
}

void claims_manifest(Claims *c, const BackupInfo *listed, const Manifest *m)
{
    char name[MANIFEST_NAME_SIZE];
    manifest_name(&m->info, name);
    if (!is_same(listed, &m->info))
        contradict(c, name);
}

void claims_event(Claims *c, const char *name, const Event *event)
{
    char path[EVENT_NAME_SIZE + 8];
    const EventClaim key = {.name = (char *)name}; /* only compared */
    const EventClaim *claim =
        c->n_events ? bsearch(&key, c->events, c->n_events, sizeof(key), compare_events) : NULL;
    if (!claim || (claim->event.type == event->type && claim->event.ordinal == event->ordinal))
        return;
    snprintf(path, sizeof(path), "events/%s", name);
    contradict(c, path);
}

bool claims_agree(const Claims *c)
{
    return c->contradicted == 0;
}

int claims_report(const Claims *c, DamageList *damage)
{
    char others[48] = "", message[sizeof(c->first) + 160];
    if (claims_agree(c))
        return 0;
    if (c->contradicted > 1)
        snprintf(others, sizeof(others), " and %zu other file%s", c->contradicted - 1,
                 c->contradicted == 2 ? "" : "s");
    snprintf(message, sizeof(message),
             "the catalogue disagrees with %s%s; `bakfs-store reindex` builds it anew", c->first,
             others);
    return damage_add(damage, DAMAGE_CATALOGUE, "metadata.db", NULL, message);
}
