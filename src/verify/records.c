#include "verify/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/lists.h"
#include "util/cleanup.h"

/* A gap of more is no loss: a number that nobody gave. */
#define GAP_MAX (1u << 20)

typedef struct Numbers {
    uint64_t *list;
    size_t n, capacity;
    uint64_t highest; /* of a sound file: the names of others may be wrong */
} Numbers;

typedef struct Check {
    Backend *backend;
    DamageList *damage;
    const RecordsOptions *options;
    RecordCounts counts;
    Numbers manifests, events; /* which there are, and ordinals of backups that were deleted */
} Check;

static int add_number(Numbers *x, uint64_t number)
{
    if (x->n == x->capacity) {
        size_t capacity = x->capacity ? 2 * x->capacity : 64;
        uint64_t *list = reallocarray(x->list, capacity, sizeof(*list));
        if (!list)
            return -ENOMEM;
        x->list = list;
        x->capacity = capacity;
    }
    x->list[x->n++] = number;
    return 0;
}

static void note_highest(Numbers *x, uint64_t number)
{
    if (number > x->highest)
        x->highest = number;
}

static int interrupted(const Check *c)
{
    const atomic_bool *cancel = c->options->cancel;
    return cancel && atomic_load(cancel) ? -EINTR : 0;
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
    if (add_number(&c->manifests, ordinal) < 0)
        return -ENOMEM;
    int r = manifest_load(c->backend, ordinal, &sha256, &m, &why);
    if (r == 0)
        note_highest(&c->manifests, ordinal);
    if (r == 0 && c->options->manifest)
        c->options->manifest(c->options->ctx, m);
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
    if (add_number(&c->events, number) < 0)
        return -ENOMEM;
    int r = event_load(c->backend, name, &event, &why);
    if (r == 0)
        note_highest(&c->events, number);
    if (r == 0 && c->options->event)
        c->options->event(c->options->ctx, name, &event);
    if (r == 0 && event.type == EVENT_DELETED && add_number(&c->manifests, event.ordinal) < 0)
        return -ENOMEM;
    return report(c, DAMAGE_EVENT, path, &sha256, r, &why);
}

static int compare_numbers(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static void sort_numbers(Numbers *x)
{
    if (x->n)
        qsort(x->list, x->n, sizeof(*x->list), compare_numbers);
}

static int add_gap(Check *c, DamageKind kind, const char *dir, uint64_t first, uint64_t last)
{
    char path[64], message[128];
    snprintf(path, sizeof(path), "%s/%010" PRIu64 "-*.json", dir, first);
    if (first == last)
        snprintf(message, sizeof(message), "is missing");
    else
        snprintf(message, sizeof(message), "is missing, and those up to number %" PRIu64, last);
    return damage_add(c->damage, kind, path, NULL, message);
}

static int add_jump(Check *c, DamageKind kind, const char *dir, uint64_t number, uint64_t before)
{
    char path[64], message[128];
    snprintf(path, sizeof(path), "%s/%010" PRIu64 "-*.json", dir, number);
    snprintf(message, sizeof(message),
             "no program has given it this number: the one before it is %" PRIu64, before);
    return damage_add(c->damage, kind, path, NULL, message);
}

/* Numbers are given in turn, from 1: where one lacks a file is lost. But after a jump they say
 * nothing any more. How many gaps there are, or -ENOMEM; `add` makes findings of them. */
static int find_gaps(Check *c, DamageKind kind, const char *dir, const Numbers *x, bool add)
{
    uint64_t next = 1;
    int gaps = 0, r = 0;
    for (size_t i = 0; r == 0 && i < x->n && x->list[i] <= x->highest; i++) {
        uint64_t number = x->list[i];
        bool is_jump = number - next > GAP_MAX && number > next;
        gaps += number > next;
        if (number > next && add)
            r = is_jump ? add_jump(c, kind, dir, number, next - 1)
                        : add_gap(c, kind, dir, next, number - 1);
        if (is_jump)
            break;
        next = number + 1;
    }
    return r < 0 ? r : gaps;
}

static int add_name(void *ctx, const char *name)
{
    uint64_t number;
    ObjectId sha256;
    return numbered_name_parse(name, &number, &sha256) ? add_number(ctx, number) : 0;
}

/* A listing during which files were added may have one of them and not one before it. So a gap
 * counts only when a second look finds it too. */
static int check_gaps(Check *c, DamageKind kind, const char *dir, Numbers *x, Error *e)
{
    sort_numbers(x);
    if (find_gaps(c, kind, dir, x, false) == 0)
        return 0;
    int r = c->backend->ops->list(c->backend, dir, add_name, x, e);
    if (r < 0)
        return r;
    sort_numbers(x);
    r = find_gaps(c, kind, dir, x, true);
    return r < 0 ? r : 0;
}

int records_check(Backend *b, const RecordsOptions *o, DamageList *damage, RecordCounts *ret_counts,
                  Error *e)
{
    Check c = {.backend = b, .damage = damage, .options = o};
    int r = b->ops->list(b, "manifests", check_manifest, &c, e);
    if (r == 0)
        r = b->ops->list(b, "events", check_event, &c, e);
    if (r == 0)
        r = check_gaps(&c, DAMAGE_MANIFEST, "manifests", &c.manifests, e);
    if (r == 0)
        r = check_gaps(&c, DAMAGE_EVENT, "events", &c.events, e);
    free(c.manifests.list);
    free(c.events.list);
    if (r == -EINTR)
        return error_set(e, EINTR, "interrupted");
    if (r == -ENOMEM)
        return error_oom(e);
    if (r == 0)
        *ret_counts = c.counts;
    return r;
}
