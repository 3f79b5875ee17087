/* The archive says what belongs to which table through dependencies, which also lead to other
 * things than the owner. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/postgres/owners.h"

#include "util/cleanup.h"

static const char *const relations[] = {
    "TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", NULL};
static const char *const parts[] = {"TABLE DATA",     "DEFAULT",
                                    "CONSTRAINT",     "CHECK CONSTRAINT",
                                    "FK CONSTRAINT",  "INDEX",
                                    "TRIGGER",        "RULE",
                                    "POLICY",         "ROW SECURITY",
                                    "STATISTICS",     "TABLE ATTACH",
                                    "INDEX ATTACH",   "SEQUENCE OWNED BY",
                                    "SEQUENCE SET",   "MATERIALIZED VIEW DATA",
                                    "COMMENT",        "ACL",
                                    "SECURITY LABEL", NULL};

bool toc_is_any(const TocEntry *t, const char *const *kinds)
{
    for (; *kinds; kinds++)
        if (toc_is(t, *kinds))
            return true;
    return false;
}

void dump_ids_release(DumpIds *ids)
{
    free(ids->index);
    *ids = (DumpIds){0};
}

size_t dump_ids_find(const DumpIds *ids, int32_t id)
{
    return id > 0 && id <= ids->max ? ids->index[id] : OWNER_NONE;
}

int dump_ids_make(const Archive *a, DumpIds *ret_ids, Error *e)
{
    int32_t max = 0;
    for (size_t i = 0; i < a->n; i++)
        max = a->entries[i].dump_id > max ? a->entries[i].dump_id : max;
    if ((size_t)max > 64 * (a->n + 1024)) /* ids are dense; a damaged archive's may not be */
        return error_set(e, EBADMSG, "the archive's table of contents is damaged");
    DumpIds ids = {.max = max, .index = malloc(((size_t)max + 1) * sizeof(size_t))};
    if (!ids.index)
        return error_oom(e);
    for (size_t i = 0; i <= (size_t)max; i++)
        ids.index[i] = OWNER_NONE;
    for (size_t i = 0; i < a->n; i++)
        ids.index[a->entries[i].dump_id] = i;
    *ret_ids = ids;
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* How well the table of entry `owner` fits `t`: the tags of constraints, triggers and policies are
 * "<table> <name>", those of data and attachments "<table>". */
static int fitness(const TocEntry *t, const TocEntry *owner)
{
    size_t n = owner->tag ? strlen(owner->tag) : 0;
    if (!same_text(t->namespace, owner->namespace))
        return 1;
    if (!t->tag || !owner->tag || strncmp(t->tag, owner->tag, n) != 0 ||
        (t->tag[n] != 0 && t->tag[n] != ' '))
        return 2;
    return 3 + (int)n; /* of "a" and "a b" the longer one */
}

bool toc_attaches(const TocEntry *t, const TocEntry *i)
{
    if (!toc_is(t, "INDEX ATTACH") || !same_text(t->namespace, i->namespace) || !t->tag || !i->tag)
        return false;
    size_t n = strlen(t->tag), m = strlen(i->tag);
    if (toc_is(i, "CONSTRAINT")) /* "<table> <name>" */
        return m > n && i->tag[m - n - 1] == ' ' && strcmp(i->tag + m - n, t->tag) == 0;
    return toc_is(i, "INDEX") && strcmp(i->tag, t->tag) == 0;
}

/* The owner among what `t` depends on, or OWNER_NONE: a partition's index depends on its table and
 * on an index of the parent, so a table itself counts more than what leads to one. */
static size_t owner_of(const Archive *a, const DumpIds *ids, const size_t *owners,
                       const TocEntry *t)
{
    size_t best = OWNER_NONE;
    int best_fit = 0;
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t i = dump_ids_find(ids, t->deps[d]);
        size_t owner = i != OWNER_NONE ? owners[i] : OWNER_NONE;
        int fit = owner != OWNER_NONE ? 2 * fitness(t, &a->entries[owner]) + (owner == i) : 0;
        if (owner != OWNER_NONE && toc_attaches(t, &a->entries[i]))
            return owner;
        if (fit > best_fit) {
            best = owner;
            best_fit = fit;
        }
    }
    return best;
}

/* Sequences belong to tables by an entry of their own, or, of identity columns, by depending on
 * one. */
static void own_sequences(const Archive *a, const DumpIds *ids, size_t *owners)
{
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        bool owned_by = toc_is(t, "SEQUENCE OWNED BY");
        if (!owned_by && !toc_is(t, "SEQUENCE"))
            continue;
        size_t sequence = owned_by ? OWNER_NONE : i, table = OWNER_NONE;
        for (size_t d = 0; d < t->n_deps; d++) {
            size_t k = dump_ids_find(ids, t->deps[d]);
            if (k == OWNER_NONE)
                continue;
            if (owned_by && toc_is(&a->entries[k], "SEQUENCE"))
                sequence = k;
            else if (toc_is(&a->entries[k], "TABLE") || toc_is(&a->entries[k], "FOREIGN TABLE"))
                table = k;
        }
        if (sequence != OWNER_NONE && table != OWNER_NONE)
            owners[sequence] = table;
        if (owned_by)
            owners[i] = table;
    }
}

int owners_find(const Archive *a, const DumpIds *ids, size_t **ret_owners, Error *e)
{
    size_t *owners = malloc((a->n + 1) * sizeof(*owners));
    if (!owners)
        return error_oom(e);
    for (size_t i = 0; i < a->n; i++)
        owners[i] = toc_is_any(&a->entries[i], relations) ? i : OWNER_NONE;
    own_sequences(a, ids, owners);
    /* What a part depends on comes before it, but for a few that a second look settles. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < a->n; i++)
            if (owners[i] == OWNER_NONE && toc_is_any(&a->entries[i], parts))
                owners[i] = owner_of(a, ids, owners, &a->entries[i]);
    *ret_owners = owners;
    return 0;
}
