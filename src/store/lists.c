#include "store/lists.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

void lists_release(Lists *l)
{
    for (size_t i = 0; i < l->n_manifests; i++)
        backup_info_release(&l->manifests[i].info);
    free(l->manifests);
    free(l->events);
    free(l->packs);
    free(l->extra_packs);
    *l = (Lists){0};
}

void listed_event_name(const ListedEvent *x, char out[EVENT_NAME_SIZE])
{
    char hex[ID_HEX_SIZE];
    id_to_hex(&x->sha256, hex);
    snprintf(out, EVENT_NAME_SIZE, "%010" PRIu64 "-%s.json", x->number, hex);
}

/* Room for one more of `size` bytes in an array of `n`; powers of two are full. */
static bool make_room(void **array, size_t n, size_t size)
{
    if (n & (n - 1))
        return true;
    void *bigger = reallocarray(*array, n ? 2 * n : 1, size);
    if (bigger)
        *array = bigger;
    return bigger != NULL;
}

static int add_manifest(void *ctx, const char *name)
{
    Lists *l = ctx;
    ListedManifest m = {0};
    if (!numbered_name_parse(name, &m.ordinal, &m.sha256))
        return 0;
    if (!make_room((void **)&l->manifests, l->n_manifests, sizeof(m)))
        return -ENOMEM;
    l->manifests[l->n_manifests++] = m;
    return 0;
}

static int add_event(void *ctx, const char *name)
{
    Lists *l = ctx;
    ListedEvent v = {0};
    if (!numbered_name_parse(name, &v.number, &v.sha256))
        return 0;
    if (!make_room((void **)&l->events, l->n_events, sizeof(v)))
        return -ENOMEM;
    l->events[l->n_events++] = v;
    return 0;
}

static int compare_numbered(uint64_t a, uint64_t b, const ObjectId *x, const ObjectId *y)
{
    return a != b ? (a < b ? -1 : 1) : id_compare(x, y);
}

static int compare_manifests(const void *x, const void *y)
{
    const ListedManifest *a = x, *b = y;
    return compare_numbered(a->ordinal, b->ordinal, &a->sha256, &b->sha256);
}

static int compare_events(const void *x, const void *y)
{
    const ListedEvent *a = x, *b = y;
    return compare_numbered(a->number, b->number, &a->sha256, &b->sha256);
}

static int compare_packs(const void *x, const void *y)
{
    return id_compare(&((const ListedPack *)x)->sha256, &((const ListedPack *)y)->sha256);
}

static int match_manifest(void *ctx, BackupInfo *info)
{
    Lists *l = ctx;
    ListedManifest key = {.ordinal = info->ordinal, .sha256 = info->manifest_sha256};
    ListedManifest *m =
        l->n_manifests ? bsearch(&key, l->manifests, l->n_manifests, sizeof(key), compare_manifests)
                       : NULL;
    if (m && !m->in_catalogue) {
        m->info = *info;
        m->in_catalogue = true;
    } else {
        backup_info_release(info);
        l->extra_lists = true;
    }
    return 0;
}

static int match_event(void *ctx, const char *name, const Event *event)
{
    Lists *l = ctx;
    ListedEvent key = {0}, *v = NULL;
    if (l->n_events && numbered_name_parse(name, &key.number, &key.sha256))
        v = bsearch(&key, l->events, l->n_events, sizeof(key), compare_events);
    if (v) {
        v->event = *event;
        v->in_catalogue = true;
    } else {
        l->extra_lists = true;
    }
    return 0;
}

static int match_pack(void *ctx, const ObjectId *sha256)
{
    Lists *l = ctx;
    ListedPack key = {.sha256 = *sha256};
    ListedPack *p =
        l->n_packs ? bsearch(&key, l->packs, l->n_packs, sizeof(key), compare_packs) : NULL;
    if (p) {
        p->in_catalogue = true;
        return 0;
    }
    if (!make_room((void **)&l->extra_packs, l->n_extra_packs, sizeof(*sha256)))
        return -ENOMEM;
    l->extra_packs[l->n_extra_packs++] = *sha256;
    return 0;
}

int manifest_load(Backend *b, uint64_t ordinal, const ObjectId *sha256, Manifest **ret_manifest,
                  Error *e)
{
    char name[MANIFEST_NAME_SIZE];
    _cleanup_(buf_release) Buf bytes = BUF_INIT;
    manifest_name(&(BackupInfo){.ordinal = ordinal, .manifest_sha256 = *sha256}, name);
    int r = b->ops->slurp(b, name, MANIFEST_MAX, &bytes, e);
    if (r < 0)
        return r;
    Manifest *m;
    r = manifest_parse(bytes.data, bytes.len, &m, e);
    if (r < 0) {
        error_prefix(e, "%s", name);
        return r;
    }
    if (id_compare(&m->info.manifest_sha256, sha256) != 0 || m->info.ordinal != ordinal) {
        manifest_free(m);
        return error_set(e, EBADMSG, "%s does not match its name", name);
    }
    *ret_manifest = m;
    return 0;
}

static int read_directories(Backend *b, PackSet *packs, Lists *l, Error *e)
{
    int r = b->ops->list(b, "manifests", add_manifest, l, e);
    if (r == 0)
        r = b->ops->list(b, "events", add_event, l, e);
    if (r == 0)
        r = packset_refresh(packs, e);
    _cleanup_free_ ObjectId *names = NULL;
    if (r == 0)
        r = packset_names(packs, &names, &l->n_packs);
    if (r == 0 && !(l->packs = calloc(l->n_packs + 1, sizeof(*l->packs))))
        r = -ENOMEM;
    if (r < 0)
        return r == -ENOMEM ? error_oom(e) : r;
    /* Copying tools may drop an empty directory, but this one was not empty: a store that lost
     * its backups must not pass for a new one. */
    if (l->n_packs && !l->n_manifests && !b->ops->stamp(b, "manifests")) {
        r = error_set(e, EBADMSG, "the store's directory manifests/ is missing");
        error_hint(e,
                   "copy it back from another copy of the store: without it there are no backups");
        return r;
    }
    for (size_t i = 0; i < l->n_packs; i++)
        l->packs[i].sha256 = names[i];
    if (l->n_manifests)
        qsort(l->manifests, l->n_manifests, sizeof(*l->manifests), compare_manifests);
    if (l->n_events)
        qsort(l->events, l->n_events, sizeof(*l->events), compare_events);
    qsort(l->packs, l->n_packs, sizeof(*l->packs), compare_packs);
    return 0;
}

/* Failures that say nothing about the file: a backup must not vanish for them. */
static bool may_pass(int r)
{
    return r == -ENOMEM || r == -EACCES || r == -EMFILE || r == -ENFILE || r == -EINTR;
}

/* Read the files of what the catalogue did not know. */
static int load_unknown(Backend *b, Lists *l, Error *e)
{
    for (size_t i = 0; i < l->n_manifests; i++) {
        ListedManifest *m = &l->manifests[i];
        Manifest *loaded = NULL;
        if (m->in_catalogue)
            continue;
        int r = manifest_load(b, m->ordinal, &m->sha256, &loaded, e);
        if (may_pass(r))
            return r;
        m->damaged = r < 0;
        if (r == 0) {
            m->info = loaded->info;
            loaded->info = (BackupInfo){0};
        }
        manifest_free(loaded);
    }
    for (size_t i = 0; i < l->n_events; i++) {
        ListedEvent *v = &l->events[i];
        char name[EVENT_NAME_SIZE];
        if (v->in_catalogue)
            continue;
        listed_event_name(v, name);
        int r = event_load(b, name, &v->event, e);
        if (may_pass(r))
            return r;
        v->damaged = r < 0;
    }
    error_release(e);
    return 0;
}

int lists_read(Backend *b, PackSet *packs, Catalogue *c, Lists *ret_lists, Error *e)
{
    _cleanup_(lists_release) Lists l = {0};
    int r = read_directories(b, packs, &l, e);
    if (r < 0)
        return r;
    if (c && (catalogue_manifests(c, match_manifest, &l) < 0 ||
              catalogue_events(c, match_event, &l) < 0 || catalogue_packs(c, match_pack, &l) < 0))
        l.catalogue_failed = true;
    r = load_unknown(b, &l, e);
    if (r < 0)
        return r;
    *ret_lists = l;
    l = (Lists){0};
    return 0;
}

static int compare_ordinals(const void *x, const void *y)
{
    const BackupInfo *a = x, *b = y;
    return a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

BackupList *lists_take_backups(Lists *l)
{
    BackupList *list = calloc(1, sizeof(*list));
    if (!list)
        return NULL;
    atomic_init(&list->refs, 1);
    list->items = calloc(l->n_manifests + 1, sizeof(*list->items));
    if (!list->items) {
        free(list);
        return NULL;
    }
    for (size_t i = 0; i < l->n_manifests; i++) {
        ListedManifest *m = &l->manifests[i];
        if (m->damaged) {
            list->damaged++;
        } else if (list->n == 0 || list->items[list->n - 1].ordinal != m->ordinal) {
            list->items[list->n++] = m->info;
            m->info = (BackupInfo){0};
        }
    }
    for (size_t i = 0; i < l->n_events; i++) {
        BackupInfo key = {.ordinal = l->events[i].event.ordinal};
        BackupInfo *b = list->n && !l->events[i].damaged
                            ? bsearch(&key, list->items, list->n, sizeof(key), compare_ordinals)
                            : NULL;
        if (b && l->events[i].event.type == EVENT_VERIFIED)
            b->verified = true;
        if (b && l->events[i].event.type == EVENT_DELETED)
            backup_info_release(b), b->ordinal = key.ordinal;
    }
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].id)
            list->items[kept++] = list->items[i];
    list->n = kept;
    return list;
}

bool lists_are_current(const Lists *l)
{
    for (size_t i = 0; i < l->n_packs; i++)
        if (!l->packs[i].in_catalogue)
            return false;
    for (size_t i = 0; i < l->n_manifests; i++)
        if (!l->manifests[i].in_catalogue && !l->manifests[i].damaged)
            return false;
    for (size_t i = 0; i < l->n_events; i++)
        if (!l->events[i].in_catalogue && !l->events[i].damaged)
            return false;
    return l->n_extra_packs == 0 && !l->extra_lists;
}
