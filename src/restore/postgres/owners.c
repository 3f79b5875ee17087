/* What belongs to which table: the archive says it through dependencies, which also lead to other
 * things than the owner. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/postgres/plan.h"
#include "util/cleanup.h"

static const char *const relations[] = {"TABLE",   "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW",
                                        "SEQUENCE", NULL};
static const char *const parts[] = {"TABLE DATA",    "DEFAULT",           "CONSTRAINT",
                                    "CHECK CONSTRAINT", "FK CONSTRAINT",  "INDEX",
                                    "TRIGGER",       "RULE",              "POLICY",
                                    "ROW SECURITY",  "STATISTICS",        "TABLE ATTACH",
                                    "INDEX ATTACH",  "SEQUENCE OWNED BY", "SEQUENCE SET",
                                    "MATERIALIZED VIEW DATA", "COMMENT",  "ACL",
                                    "SECURITY LABEL", NULL};

bool plan_is_any(const TocEntry *t, const char *const *kinds)
{
    for (; *kinds; kinds++)
        if (toc_is(t, *kinds))
            return true;
    return false;
}

/* Entries by dump id. */
typedef struct ById {
    int32_t max;
    size_t *index; /* SIZE_MAX: none */
} ById;

static size_t find(const ById *b, int32_t id)
{
    return id > 0 && id <= b->max ? b->index[id] : SIZE_MAX;
}

static int index_ids(const Archive *a, ById *ret)
{
    int32_t max = 0;
    for (size_t i = 0; i < a->n; i++)
        max = a->entries[i].dump_id > max ? a->entries[i].dump_id : max;
    if ((size_t)max > 64 * (a->n + 1024)) /* ids are dense; a damaged archive's may not be */
        return -EBADMSG;
    ret->max = max;
    ret->index = malloc(((size_t)max + 1) * sizeof(size_t));
    if (!ret->index)
        return -ENOMEM;
    for (size_t i = 0; i <= (size_t)max; i++)
        ret->index[i] = SIZE_MAX;
    for (size_t i = 0; i < a->n; i++)
        ret->index[a->entries[i].dump_id] = i;
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

/* The owner among what `t` depends on, or SIZE_MAX. */
static size_t owner_of(const Archive *a, const ById *ids, const size_t *owners, const TocEntry *t)
{
    size_t best = SIZE_MAX;
    int best_fit = 0;
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t i = find(ids, t->deps[d]);
        size_t owner = i != SIZE_MAX ? owners[i] : SIZE_MAX;
        int fit = owner != SIZE_MAX ? fitness(t, &a->entries[owner]) : 0;
        if (fit > best_fit) {
            best = owner;
            best_fit = fit;
        }
    }
    return best;
}

/* Sequences belong to tables by an entry of their own, or, of identity columns, by depending on
 * one. */
static void own_sequences(const Archive *a, const ById *ids, size_t *owners)
{
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        bool owned_by = toc_is(t, "SEQUENCE OWNED BY");
        if (!owned_by && !toc_is(t, "SEQUENCE"))
            continue;
        size_t sequence = owned_by ? SIZE_MAX : i, table = SIZE_MAX;
        for (size_t d = 0; d < t->n_deps; d++) {
            size_t k = find(ids, t->deps[d]);
            if (k == SIZE_MAX)
                continue;
            if (owned_by && toc_is(&a->entries[k], "SEQUENCE"))
                sequence = k;
            else if (toc_is(&a->entries[k], "TABLE") || toc_is(&a->entries[k], "FOREIGN TABLE"))
                table = k;
        }
        if (sequence != SIZE_MAX && table != SIZE_MAX)
            owners[sequence] = table;
        if (owned_by)
            owners[i] = table;
    }
}

int plan_owners(const Archive *a, size_t **ret_owners, Error *e)
{
    ById ids = {0};
    int r = index_ids(a, &ids);
    if (r == -EBADMSG)
        return error_set(e, EBADMSG, "the archive's table of contents is damaged");
    size_t *owners = r == 0 ? malloc((a->n + 1) * sizeof(*owners)) : NULL;
    if (!owners) {
        free(ids.index);
        return error_oom(e);
    }
    for (size_t i = 0; i < a->n; i++)
        owners[i] = plan_is_any(&a->entries[i], relations) ? i : SIZE_MAX;
    own_sequences(a, &ids, owners);
    /* What a part depends on comes before it, but for a few that a second look settles. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < a->n; i++)
            if (owners[i] == SIZE_MAX && plan_is_any(&a->entries[i], parts))
                owners[i] = owner_of(a, &ids, owners, &a->entries[i]);
    free(ids.index);
    *ret_owners = owners;
    return 0;
}
