#include "verify/damage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/buf.h"
#include "util/cleanup.h"

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
    free(l->backups);
    idmap_release(&l->findings);
    idmap_release(&l->files);
    idmap_release(&l->objects);
    pthread_mutex_destroy(&l->lock);
    *l = (DamageList){0};
}

/* A key for the maps. Their keys must look random, which ids in a crafted pack need not. */
static int key_of(uint8_t kind, const char *file, const ObjectId *object, ObjectId *ret_key)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    int r = buf_add_u8(&b, kind);
    if (r == 0)
        r = buf_add_u8(&b, object != NULL);
    if (r == 0 && object)
        r = buf_add(&b, object->b, ID_SIZE);
    if (r == 0 && file)
        r = buf_add(&b, file, strlen(file));
    return r < 0 ? r : id_of(b.data, b.len, ret_key);
}

static const Location *find(const IdMap *map, uint8_t kind, const char *file,
                            const ObjectId *object)
{
    ObjectId key;
    return key_of(kind, file, object, &key) < 0 ? NULL : idmap_get(map, &key);
}

static int note(IdMap *map, uint8_t kind, const char *file, const ObjectId *object,
                const Location *at)
{
    ObjectId key;
    int r = key_of(kind, file, object, &key);
    return r < 0 ? r : idmap_put(map, &key, at);
}

/* Make finding `i` known: locations hold the first one (`offset`) and the last one (`length`). */
static int link_finding(DamageList *l, size_t i)
{
    Damage *d = &l->items[i];
    const ObjectId *object = d->has_object ? &d->object : NULL;
    Location at = {.offset = (uint32_t)i, .length = (uint32_t)i};
    int r = note(&l->findings, (uint8_t)d->kind, d->file, object, &at);
    if (r < 0)
        return r;
    const Location *known = find(&l->files, 0, d->file, NULL);
    d->first_of_file = known == NULL;
    d->next_of_file = d->next_of_object = DAMAGE_NONE;
    if (known) {
        l->items[known->length].next_of_file = i;
        at.offset = known->offset;
    }
    r = note(&l->files, 0, d->file, NULL, &at);
    if (r < 0 || !object)
        return r;
    at.offset = (uint32_t)i;
    known = find(&l->objects, 0, NULL, object);
    if (known) {
        l->items[known->length].next_of_object = i;
        at.offset = known->offset;
    }
    return note(&l->objects, 0, NULL, object, &at);
}

static int append(DamageList *l, DamageKind kind, const char *file, const ObjectId *object,
                  const char *message)
{
    if (l->n == UINT32_MAX)
        return -ENOMEM;
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
    return link_finding(l, l->n - 1);
}

int damage_add(DamageList *l, DamageKind kind, const char *file, const ObjectId *object,
               const char *message)
{
    pthread_mutex_lock(&l->lock);
    bool known = find(&l->findings, (uint8_t)kind, file, object) != NULL;
    int r = known ? 0 : append(l, kind, file, object, message);
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

static int touch_backup(DamageList *l, size_t backup)
{
    if (backup >= l->n_backups) {
        size_t n = backup < 32 ? 64 : 2 * backup;
        bool *backups = reallocarray(l->backups, n, sizeof(*backups));
        if (!backups)
            return -ENOMEM;
        memset(backups + l->n_backups, 0, n - l->n_backups);
        l->backups = backups;
        l->n_backups = n;
    }
    l->backups[backup] = true;
    return 0;
}

int damage_touch(DamageList *l, const ObjectId *object, size_t backup, const char *path)
{
    pthread_mutex_lock(&l->lock);
    const Location *known = find(&l->objects, 0, NULL, object);
    int r = known ? touch_backup(l, backup) : 0;
    for (size_t i = known ? known->offset : DAMAGE_NONE; r == 0 && i != DAMAGE_NONE;
         i = l->items[i].next_of_object)
        r = touch(&l->items[i], backup, path);
    pthread_mutex_unlock(&l->lock);
    return r;
}

bool damage_touches(const DamageList *l, size_t backup)
{
    return backup < l->n_backups && l->backups[backup];
}

bool damage_has_file(const DamageList *l, const char *file)
{
    return find(&l->files, 0, file, NULL) != NULL;
}

int damage_filter(DamageList *l, bool (*keep)(void *ctx, const Damage *d), void *ctx)
{
    size_t n = l->n;
    int r = 0;
    idmap_release(&l->findings);
    idmap_release(&l->files);
    idmap_release(&l->objects);
    l->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (r < 0 || !keep(ctx, &l->items[i])) {
            damage_release(&l->items[i]);
            continue;
        }
        l->items[l->n++] = l->items[i];
        r = link_finding(l, l->n - 1);
    }
    return r;
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
    case DAMAGE_CATALOGUE:
        return "catalogue";
    }
    return "unknown";
}
