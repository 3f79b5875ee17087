#include "verify/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "verify/claims.h"
#include "verify/inventory.h"
#include "verify/records.h"
#include "verify/scrub.h"
#include "verify/walk.h"

typedef struct Verify {
    Store *store;
    const VerifyOptions *options;
    VerifyResult *result;
    Inventory *inventory;
    Claims *claims;
    /* One for each backup of the list: what its manifest says, and whether that is sound. */
    ObjectId *roots;
    bool *known;
    bool missing; /* objects that backups need are in no pack */
} Verify;

void verify_result_free(VerifyResult *r)
{
    if (!r)
        return;
    damage_list_release(&r->damage);
    backup_list_unref(r->backups);
    free(r->selected);
    free(r);
}

bool verify_touches(const VerifyResult *r, size_t i)
{
    return damage_touches(&r->damage, i);
}

static void tell(const Verify *v, VerifyPhase phase, uint64_t done, uint64_t total)
{
    if (v->options->progress)
        v->options->progress(v->options->ctx, phase, done, total);
}

static int select_backups(Verify *v, Error *e)
{
    VerifyResult *r = v->result;
    const BackupInfo *only = NULL;
    r->backups = store_backups(v->store);
    r->selected = calloc(r->backups->n + 1, sizeof(*r->selected));
    v->roots = calloc(r->backups->n + 1, sizeof(*v->roots));
    v->known = calloc(r->backups->n + 1, sizeof(*v->known));
    if (!r->selected || !v->roots || !v->known)
        return error_oom(e);
    if (v->options->backup) {
        int found = backup_list_find(r->backups, v->store, v->options->backup,
                                     v->options->collection, &only, e);
        if (found < 0)
            return found;
    }
    for (size_t i = 0; i < r->backups->n; i++) {
        const BackupInfo *b = &r->backups->items[i];
        const char *collection = v->options->collection;
        r->selected[i] = (!v->options->backup || b == only) &&
                         (!collection || strcmp(b->collection, collection) == 0);
        r->n_backups += r->selected[i];
    }
    if (r->n_backups || !v->options->collection)
        return 0;
    int failed = error_set(e, ENOENT, "no backup of collection %s", v->options->collection);
    error_hint(e, "'bakfs-store list' shows the backups and their collections");
    return failed;
}

static bool is_limited(const Verify *v)
{
    return v->options->backup || v->options->collection;
}

static int compare_ordinals(const void *x, const void *y)
{
    const BackupInfo *a = x, *b = y;
    return a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

static void on_manifest(void *ctx, const Manifest *m)
{
    Verify *v = ctx;
    const BackupList *l = v->result->backups;
    const BackupInfo *b =
        l->n ? bsearch(&m->info, l->items, l->n, sizeof(*l->items), compare_ordinals) : NULL;
    if (!b || id_compare(&b->manifest_sha256, &m->info.manifest_sha256) != 0)
        return; /* deleted, or newer than the list */
    v->roots[b - l->items] = m->info.root;
    v->known[b - l->items] = true;
    claims_manifest(v->claims, b, m);
}

static void on_event(void *ctx, const char *name, const Event *event)
{
    claims_event(((Verify *)ctx)->claims, name, event);
}

/* The damage of a backup's manifest is the backup's. */
static int touch_by_manifest(Verify *v, size_t i)
{
    DamageList *damage = &v->result->damage;
    const BackupInfo *b = &v->result->backups->items[i];
    int r = damage_touch(damage, &b->manifest_sha256, i, "/");
    if (r < 0 || v->known[i] || damage_touches(damage, i))
        return r;
    char name[MANIFEST_NAME_SIZE];
    manifest_name(b, name);
    r = damage_add(damage, DAMAGE_MANIFEST, name, &b->manifest_sha256, "is missing");
    return r < 0 ? r : damage_touch(damage, &b->manifest_sha256, i, "/");
}

static int check_records(Verify *v, Error *e)
{
    VerifyResult *r = v->result;
    RecordCounts counts;
    const RecordsOptions o = {
        .cancel = v->options->cancel, .manifest = on_manifest, .event = on_event, .ctx = v};
    if (claims_new(v->store, &v->claims) < 0)
        return error_oom(e);
    int failed = records_check(store_backend(v->store), &o, &r->damage, &counts, e);
    if (failed < 0)
        return failed;
    r->n_manifests = counts.manifests;
    r->n_events = counts.events;
    for (size_t i = 0; failed == 0 && i < r->backups->n; i++)
        if (r->selected[i])
            failed = touch_by_manifest(v, i);
    if (failed == 0)
        failed = claims_report(v->claims, &r->damage);
    return failed < 0 ? error_oom(e) : 0;
}

static void walk_progress(void *ctx, size_t done)
{
    const Verify *v = ctx;
    tell(v, VERIFY_TREES, done, v->result->n_backups);
}

/* What a backup's manifest does not say is not known: those with a sound one are walked. */
static int walk(Verify *v, DamageList *damage, Error *e)
{
    const BackupList *l = v->result->backups;
    _cleanup_free_ bool *selected = calloc(l->n + 1, sizeof(*selected));
    if (!selected)
        return error_oom(e);
    for (size_t i = 0; i < l->n; i++)
        selected[i] = v->result->selected[i] && v->known[i];
    const WalkOptions o = {.backups = l,
                           .selected = selected,
                           .roots = v->roots,
                           .cancel = v->options->cancel,
                           .progress = walk_progress,
                           .ctx = v};
    return walk_backups(v->inventory, store_objects(v->store), &o, damage, e);
}

/* Find out which packs the selected backups need. What is wrong is found again, with its full
 * reach, by the walk after the packs were read. */
static int want_packs(Verify *v, Error *e)
{
    if (is_limited(v)) {
        DamageList passing;
        damage_list_init(&passing);
        int r = walk(v, &passing, e);
        damage_list_release(&passing);
        return r;
    }
    inventory_want_all(v->inventory);
    return 0;
}

static void scrub_progress(void *ctx, const ScrubProgress *p)
{
    tell(ctx, VERIFY_PACKS, p->bytes, p->total_bytes);
}

static int read_packs(Verify *v, Error *e)
{
    const ScrubOptions o = {.threads = v->options->threads,
                            .cancel = v->options->cancel,
                            .progress = scrub_progress,
                            .ctx = v};
    ScrubProgress p;
    int r = scrub_packs(v->inventory, store_backend(v->store), store_packs(v->store), &o,
                        &v->result->damage, &p, e);
    if (r == 0)
        v->result->plain_bytes = p.plain_bytes;
    return r;
}

static const InventoryPack *find_pack(const Inventory *inventory, const ObjectId *sha256)
{
    const InventoryPack *packs = inventory->packs;
    size_t lo = 0, hi = inventory->n_packs;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (id_compare(&packs[mid].sha256, sha256) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < inventory->n_packs && id_compare(&packs[lo].sha256, sha256) == 0 ? &packs[lo]
                                                                                 : NULL;
}

static bool has_missing(const DamageList *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].kind == DAMAGE_MISSING)
            return true;
    return false;
}

/* Whether `file`, a pack's path in the store, is needed by what is being verified. */
static bool is_wanted_file(const Inventory *inventory, const char *file)
{
    char hex[ID_HEX_SIZE];
    ObjectId sha256;
    if (sscanf(file, "packs/%*2[0-9a-f]/%64[0-9a-f].pack", hex) != 1 ||
        id_from_hex(hex, &sha256) < 0)
        return false;
    const InventoryPack *p = find_pack(inventory, &sha256);
    return p && p->wanted;
}

/* Whether a finding concerns the backups that were asked about. */
static bool is_relevant(void *ctx, const Damage *d)
{
    const Verify *v = ctx;
    const InventoryObject *o = d->has_object ? inventory_find(v->inventory, &d->object) : NULL;
    switch (d->kind) {
    case DAMAGE_PACK: /* what is missing may have been in any pack that can't be read */
        return v->missing || is_wanted_file(v->inventory, d->file);
    case DAMAGE_OBJECT:
    case DAMAGE_BASE:
        return d->touched > 0 || (o && o->wanted);
    case DAMAGE_MANIFEST:
        return d->touched > 0;
    case DAMAGE_EVENT:
        return false;
    case DAMAGE_MISSING:
    case DAMAGE_TREE:
    case DAMAGE_CATALOGUE: /* it says which backup is meant */
        return true;
    }
    return true;
}

/* Objects are missing: name the packs that manifests list and that are not there. That alone would
 * be no damage, as a pack goes when nothing in it is needed. */
static int name_missing_packs(Verify *v, Error *e)
{
    VerifyResult *r = v->result;
    v->missing = has_missing(&r->damage);
    for (size_t i = 0; v->missing && i < r->backups->n; i++) {
        Manifest *m = NULL;
        if (store_manifest(v->store, &r->backups->items[i], &m, NULL) < 0)
            continue; /* a finding of its own */
        for (size_t k = 0; k < m->n_packs; k++) {
            char name[PACK_NAME_SIZE];
            pack_name(&m->packs[k], name);
            if (!find_pack(v->inventory, &m->packs[k]) &&
                damage_add(&r->damage, DAMAGE_PACK, name, NULL, "the pack is missing") < 0) {
                manifest_free(m);
                return error_oom(e);
            }
        }
        manifest_free(m);
    }
    return 0;
}

/* Note which records are damaged, so that the next dump that has their objects stores them again.
 */
static int note_damaged(Verify *v, Error *e)
{
    const Inventory *inventory = v->inventory;
    size_t n = 0;
    for (size_t i = 0; i < inventory->n_objects; i++)
        n += inventory->objects[i].damaged;
    _cleanup_free_ PackedObject *list = calloc(n + 1, sizeof(*list));
    if (!list)
        return error_oom(e);
    n = 0;
    for (size_t i = 0; i < inventory->n_objects; i++) {
        const InventoryObject *o = &inventory->objects[i];
        if (o->damaged)
            list[n++] = (PackedObject){.pack = inventory->packs[o->pack].sha256, .id = o->id};
    }
    store_note_damaged(v->store, list, n);
    return 0;
}

/* Note in the ledger which packs were read and found good. */
static int note_packs(Verify *v, Error *e)
{
    const Inventory *inventory = v->inventory;
    size_t n = 0;
    _cleanup_free_ ObjectId *read = calloc(inventory->n_packs + 1, sizeof(*read));
    if (!read)
        return error_oom(e);
    for (size_t i = 0; i < inventory->n_packs; i++) {
        char name[PACK_NAME_SIZE];
        pack_name(&inventory->packs[i].sha256, name);
        if (inventory->packs[i].wanted && !damage_has_file(&v->result->damage, name))
            read[n++] = inventory->packs[i].sha256;
    }
    store_note_read(v->store, read, n, clock_now());
    return 0;
}

static void count_packs(Verify *v)
{
    for (size_t i = 0; i < v->inventory->n_packs; i++) {
        const InventoryPack *p = &v->inventory->packs[i];
        if (!p->wanted)
            continue;
        v->result->n_packs++;
        v->result->objects += p->objects;
        v->result->bytes += p->size;
    }
}

/* That a mark can't be written (a read-only store) says nothing about the backups. A list that is
 * wrong may call them by each other's names: then there are none. */
static int mark_verified(Verify *v, Error *e)
{
    VerifyResult *r = v->result;
    size_t n = 0;
    if (!claims_agree(v->claims))
        return 0;
    _cleanup_free_ const BackupInfo **good = calloc(r->n_backups + 1, sizeof(*good));
    if (!good)
        return error_oom(e);
    for (size_t i = 0; i < r->backups->n; i++)
        if (r->selected[i] && !r->backups->items[i].verified && !verify_touches(r, i))
            good[n++] = &r->backups->items[i];
    if (store_mark_verified(v->store, good, n, NULL) == 0)
        r->n_marked = n;
    return 0;
}

static int run(Verify *v, Error *e)
{
    VerifyResult *result = v->result;
    tell(v, VERIFY_LISTS, 0, 0);
    /* The backups first: what they refer to was there before them. */
    int r = select_backups(v, e);
    if (r == 0)
        r = check_records(v, e);
    if (r == 0)
        r = inventory_new(store_backend(v->store), store_packs(v->store), &result->damage,
                          v->options->cancel, &v->inventory, e);
    if (r == 0)
        r = want_packs(v, e);
    if (r == 0 && !v->options->quick)
        r = read_packs(v, e);
    if (r == 0)
        r = walk(v, &result->damage, e);
    if (r == 0)
        r = name_missing_packs(v, e);
    if (r < 0)
        return r;
    if (is_limited(v) && damage_filter(&result->damage, is_relevant, v) < 0)
        return error_oom(e);
    count_packs(v);
    if (v->options->quick)
        return 0;
    r = note_packs(v, e);
    if (r == 0)
        r = note_damaged(v, e);
    return r < 0 ? r : mark_verified(v, e);
}

int verify_run(Store *s, const VerifyOptions *o, VerifyResult **ret_result, Error *e)
{
    double start = clock_monotonic();
    Verify v = {.store = s, .options = o, .result = calloc(1, sizeof(*v.result))};
    if (!v.result)
        return error_oom(e);
    damage_list_init(&v.result->damage);
    int r = run(&v, e);
    inventory_free(v.inventory);
    claims_free(v.claims);
    free(v.roots);
    free(v.known);
    if (r < 0) {
        if (r == -EINTR)
            error_exit_code(e, BK_EXIT_INTERRUPTED);
        verify_result_free(v.result);
        return r;
    }
    v.result->seconds = clock_monotonic() - start;
    *ret_result = v.result;
    return 0;
}
