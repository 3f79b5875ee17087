#include "verify/records.h"

#include <errno.h>
#include <stdio.h>

#include "store/event.h"
#include "store/lists.h"
#include "util/cleanup.h"

typedef struct Check {
    Backend *backend;
    DamageList *damage;
    const atomic_bool *cancel;
    RecordCounts counts;
} Check;

static int interrupted(const Check *c)
{
    return c->cancel && atomic_load(c->cancel) ? -EINTR : 0;
}

/* Turn a failure to load `path` into a finding; only what stops the verify stays an error. */
static int report(Check *c, DamageKind kind, const char *path, const ObjectId *named, int r,
                  const Error *why)
{
    if (r >= 0 || r == -ENOMEM)
        return r;
    return damage_add(c->damage, kind, path, named, why->message ? why->message : "can't be read");
}

static int check_manifest(void *ctx, const char *name)
{
    Check *c = ctx;
    _cleanup_(error_release) Error why = ERROR_INIT;
    char path[MANIFEST_NAME_SIZE];
    Manifest *m = NULL;
    uint64_t ordinal;
    ObjectId sha256;
    if (!numbered_name_parse(name, &ordinal, &sha256))
        return 0;
    if (interrupted(c) < 0)
        return -EINTR;
    snprintf(path, sizeof(path), "manifests/%s", name);
    c->counts.manifests++;
    int r = manifest_load(c->backend, ordinal, &sha256, &m, &why);
    manifest_free(m);
    return report(c, DAMAGE_MANIFEST, path, &sha256, r, &why);
}

static int check_event(void *ctx, const char *name)
{
    Check *c = ctx;
    _cleanup_(error_release) Error why = ERROR_INIT;
    char path[EVENT_NAME_SIZE + 8];
    uint64_t number;
    ObjectId sha256;
    Event event;
    if (!numbered_name_parse(name, &number, &sha256))
        return 0;
    if (interrupted(c) < 0)
        return -EINTR;
    snprintf(path, sizeof(path), "events/%s", name);
    c->counts.events++;
    int r = event_load(c->backend, name, &event, &why);
    return report(c, DAMAGE_EVENT, path, &sha256, r, &why);
}

int records_check(Backend *b, DamageList *damage, const atomic_bool *cancel,
                  RecordCounts *ret_counts, Error *e)
{
    Check c = {.backend = b, .damage = damage, .cancel = cancel};
    int r = b->ops->list(b, "manifests", check_manifest, &c, e);
    if (r == 0)
        r = b->ops->list(b, "events", check_event, &c, e);
    if (r == -EINTR)
        return error_set(e, EINTR, "interrupted");
    if (r == -ENOMEM)
        return error_oom(e);
    if (r == 0)
        *ret_counts = c.counts;
    return r;
}
