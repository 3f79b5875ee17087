#include "verify/damage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void damage_list_init(DamageList *l)
{
    *l = (DamageList){0};
    pthread_mutex_init(&l->lock, NULL);
}

static void damage_release(Damage *d)
{
    free(d->file);
    free(d->message);
    for (size_t i = 0; i < d->n_touches; i++)
        free(d->touches[i].path);
    free(d->touches);
}

void damage_list_release(DamageList *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++)
        damage_release(&l->items[i]);
    free(l->items);
    pthread_mutex_destroy(&l->lock);
    *l = (DamageList){0};
}

static bool same_file(const char *x, const char *y)
{
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool is_about(const Damage *d, const ObjectId *object)
{
    return d->has_object && id_compare(&d->object, object) == 0;
}

static bool is_known(const DamageList *l, DamageKind kind, const char *file, const ObjectId *object)
{
    for (size_t i = 0; i < l->n; i++) {
        const Damage *d = &l->items[i];
        if (d->kind == kind && d->has_object == (object != NULL) &&
            (!object || id_compare(&d->object, object) == 0) && same_file(d->file, file))
            return true;
    }
    return false;
}

static int append(DamageList *l, DamageKind kind, const char *file, const ObjectId *object,
                  const char *message)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 16;
        Damage *items = reallocarray(l->items, capacity, sizeof(*items));
        if (!items)
            return -ENOMEM;
        l->items = items;
        l->capacity = capacity;
    }
    Damage d = {.kind = kind, .has_object = object != NULL};
    if (object)
        d.object = *object;
    d.file = file ? strdup(file) : NULL;
    d.message = strdup(message);
    if (!d.message || (file && !d.file)) {
        damage_release(&d);
        return -ENOMEM;
    }
    l->items[l->n++] = d;
    return 0;
}

int damage_add(DamageList *l, DamageKind kind, const char *file, const ObjectId *object,
               const char *message)
{
    pthread_mutex_lock(&l->lock);
    int r = is_known(l, kind, file, object) ? 0 : append(l, kind, file, object, message);
    pthread_mutex_unlock(&l->lock);
    return r;
}

static int touch(Damage *d, size_t backup, const char *path)
{
    const DamageTouch *last = d->n_touches ? &d->touches[d->n_touches - 1] : NULL;
    if (last && last->backup == backup && strcmp(last->path, path) == 0)
        return 0;
    d->touched++;
    if (d->n_touches == DAMAGE_TOUCHES_MAX)
        return 0;
    /* Capacities are powers of two: grow when the count is one. */
    if ((d->n_touches & (d->n_touches - 1)) == 0) {
        size_t capacity = d->n_touches ? d->n_touches * 2 : 1;
        DamageTouch *touches = reallocarray(d->touches, capacity, sizeof(*touches));
        if (!touches)
            return -ENOMEM;
        d->touches = touches;
    }
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    d->touches[d->n_touches++] = (DamageTouch){.backup = backup, .path = copy};
    return 0;
}

int damage_touch(DamageList *l, const ObjectId *object, size_t backup, const char *path)
{
    int r = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; r == 0 && i < l->n; i++)
        if (is_about(&l->items[i], object))
            r = touch(&l->items[i], backup, path);
    pthread_mutex_unlock(&l->lock);
    return r;
}

void damage_filter(DamageList *l, bool (*keep)(void *ctx, const Damage *d), void *ctx)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (keep(ctx, &l->items[i]))
            l->items[kept++] = l->items[i];
        else
            damage_release(&l->items[i]);
    }
    l->n = kept;
}

const char *damage_kind_name(DamageKind kind)
{
    switch (kind) {
    case DAMAGE_PACK:
        return "pack";
    case DAMAGE_OBJECT:
        return "object";
    case DAMAGE_BASE:
        return "base";
    case DAMAGE_MISSING:
        return "missing";
    case DAMAGE_MANIFEST:
        return "manifest";
    case DAMAGE_EVENT:
        return "event";
    case DAMAGE_TREE:
        return "tree";
    }
    return "unknown";
}
