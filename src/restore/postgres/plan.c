#include "restore/postgres/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/select.h"
#include "restore/targets.h"
#include "source/postgres/model.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

static const char *const specials[] = {"ENCODING", "STDSTRINGS", "SEARCHPATH", NULL};
static const char *const privileges[] = {"ACL", "DEFAULT ACL", NULL};

void plan_release(Plan *p)
{
    free(p->chosen);
    free(p->wanted);
    dump_ids_release(&p->ids);
    free(p->toc.entries);
    free(p->phases);
    *p = (Plan){0};
}

/* Whether a COMMENT, ACL or SECURITY LABEL is on an object of the kind `what`. */
static bool is_about(const TocEntry *t, const char *what)
{
    size_t n = strlen(what);
    return t->tag && strncmp(t->tag, what, n) == 0 && t->tag[n] == ' ' &&
           (toc_is(t, "COMMENT") || toc_is(t, "ACL") || toc_is(t, "SECURITY LABEL"));
}

/* The database itself: dealt with where it is created. */
static bool is_database(const TocEntry *t)
{
    return toc_is(t, "DATABASE") || toc_is(t, "DATABASE PROPERTIES") || is_about(t, "DATABASE");
}

static bool is_of_schema(const RestoreOptions *o, const TocEntry *t)
{
    if (toc_is(t, "SCHEMA"))
        return t->tag && select_has_schema(o, t->tag);
    if (is_about(t, "SCHEMA"))
        return select_has_schema(o, t->tag + strlen("SCHEMA "));
    return t->namespace && !toc_is(t, "PUBLICATION TABLE") &&
           !toc_is(t, "PUBLICATION TABLES IN SCHEMA") && select_has_schema(o, t->namespace);
}

static bool is_table_named(const TocEntry *t, const ContentTable *table)
{
    return (toc_is(t, "TABLE") || toc_is(t, "FOREIGN TABLE") || toc_is(t, "TABLE DATA")) &&
           t->namespace && t->tag && strcmp(t->namespace, table->schema) == 0 &&
           strcmp(t->tag, table->name) == 0;
}

/* A partitioned table has its rows in its partitions: choose those with it. Whether any was added.
 */
static bool choose_partitions(Plan *p, const size_t *owners)
{
    bool added = false;
    for (size_t i = 0; i < p->all->n; i++) {
        const TocEntry *t = &p->all->entries[i];
        size_t owner = owners[i];
        if (!toc_is(t, "TABLE ATTACH") || owner == OWNER_NONE || p->chosen[owner])
            continue;
        for (size_t d = 0; d < t->n_deps; d++) {
            size_t parent = dump_ids_find(&p->ids, t->deps[d]);
            if (parent != OWNER_NONE && parent != owner && p->chosen[parent])
                added = p->chosen[owner] = true;
        }
    }
    return added;
}

static int choose_tables(const Content *c, Plan *p, Error *e)
{
    const Archive *a = p->all;
    _cleanup_free_ size_t *tables = NULL, *owners = NULL;
    TRY(select_tables(c, &tables, e));
    TRY(owners_find(a, &p->ids, &owners, e));
    for (size_t k = 0; k < c->options->n_tables; k++)
        for (size_t i = 0; i < a->n; i++)
            p->chosen[i] |= is_table_named(&a->entries[i], &c->tables[tables[k]]);
    while (choose_partitions(p, owners))
        ;
    /* Twice: a sequence belongs to a table, its value to the sequence. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < a->n; i++)
            p->chosen[i] |= owners[i] != OWNER_NONE && p->chosen[owners[i]];
    return 0;
}

/* Extensions that what is chosen needs: harmless where they exist. Backwards, for they need others
 * that come before them. */
static void choose_extensions(Plan *p)
{
    const Archive *a = p->all;
    for (size_t i = a->n; i-- > 0;)
        for (size_t d = 0; p->chosen[i] && d < a->entries[i].n_deps; d++) {
            size_t k = dump_ids_find(&p->ids, a->entries[i].deps[d]);
            if (k != OWNER_NONE && toc_is(&a->entries[k], "EXTENSION"))
                p->chosen[k] = true;
        }
}

static bool fits_mode(const RestoreOptions *o, const TocEntry *t)
{
    if (o->no_acl && toc_is_any(t, privileges))
        return false;
    if (o->schema_only)
        return model_is_schema(t);
    if (o->data_only)
        return !model_is_schema(t);
    return true;
}

int plan_make(const Content *c, const Archive *all, Plan *ret_plan, Error *e)
{
    const RestoreOptions *o = c->options;
    _cleanup_(plan_release) Plan p = {.all = all, .is_whole = !o->n_schemas && !o->n_tables};
    p.chosen = calloc(all->n + 1, sizeof(*p.chosen));
    p.wanted = calloc(all->n + 1, sizeof(*p.wanted));
    if (!p.chosen || !p.wanted)
        return error_oom(e);
    TRY(dump_ids_make(all, &p.ids, e));
    TRY(select_schemas(c, e));
    if (o->n_tables)
        TRY(choose_tables(c, &p, e));
    for (size_t i = 0; i < all->n; i++) {
        const TocEntry *t = &all->entries[i];
        p.chosen[i] |= p.is_whole ? !is_database(t) : o->n_schemas && is_of_schema(o, t);
    }
    if (!p.is_whole)
        choose_extensions(&p);
    for (size_t i = 0; i < all->n; i++) {
        p.wanted[i] = p.chosen[i];
        p.chosen[i] &= fits_mode(o, &all->entries[i]);
        p.chosen[i] |= toc_is_any(&all->entries[i], specials);
    }
    *ret_plan = p;
    p = (Plan){0};
    return 0;
}

/* Where the catalogue lists objects of a kind. */
static const struct {
    const char *desc, *sql;
} catalogues[] = {
    {"SCHEMA", "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1"},
    /* As pg_dump tells functions apart: by name and the types of the arguments. */
    {"FUNCTION", "SELECT count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n"
                 " ON n.oid = p.pronamespace WHERE n.nspname = $1"
                 " AND pg_catalog.starts_with($2, p.proname || '(') AND $2 = p.proname || '('"
                 " || coalesce((SELECT string_agg(pg_catalog.format_type(t, NULL), ', ' ORDER BY i)"
                 " FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i)), '') || ')'"},
    {"TYPE", "SELECT count(*) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n"
             " ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2"},
    {"DOMAIN", NULL}, /* as the one before */
    {"COLLATION", "SELECT count(*) FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n"
                  " ON n.oid = c.collnamespace WHERE n.nspname = $1 AND c.collname = $2"},
    {NULL, "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
           " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"},
};

/* Whether the target has what `t` defines. */
static int has_object(Session *s, const TocEntry *t, bool *ret_has, Error *e)
{
    const char *sql = NULL, *name = t->tag ? t->tag : "";
    int64_t n = 0;
    for (size_t i = 0; i < sizeof(catalogues) / sizeof(catalogues[0]); i++) {
        sql = catalogues[i].sql ? catalogues[i].sql : sql;
        if (!catalogues[i].desc || toc_is(t, catalogues[i].desc))
            break;
    }
    if (toc_is(t, "SCHEMA"))
        TRY(session_number(s, sql, name, NULL, &n, e));
    else
        TRY(session_number(s, sql, t->namespace ? t->namespace : "", name, &n, e));
    *ret_has = n > 0;
    return 0;
}

/* A domain's constraint that is added after the domain is made: its tag is "<domain> <name>". */
static bool is_constraint_of(const TocEntry *t, const TocEntry *domain)
{
    size_t n = domain->tag ? strlen(domain->tag) : 0;
    return toc_is(t, "CHECK CONSTRAINT") && toc_is(domain, "DOMAIN") && n && t->tag &&
           strncmp(t->tag, domain->tag, n) == 0 && t->tag[n] == ' ' && t->namespace &&
           domain->namespace && strcmp(t->namespace, domain->namespace) == 0;
}

/* Choose what describes or completes the entries `added`: comments, privileges, a sequence's value.
 * It comes after them in the archive. */
static void choose_details(Plan *p, const RestoreOptions *o, bool *added)
{
    static const char *const kinds[] = {"COMMENT", "ACL", "SECURITY LABEL", "SEQUENCE SET", NULL};
    const Archive *a = p->all;
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        for (size_t d = 0; !p->chosen[i] && fits_mode(o, t) && d < t->n_deps; d++) {
            size_t k = dump_ids_find(&p->ids, t->deps[d]);
            if (k != OWNER_NONE && added[k] &&
                (toc_is_any(t, kinds) || is_constraint_of(t, &a->entries[k])))
                p->chosen[i] = added[i] = true;
        }
    }
}

/* Choose what a table needs and the target lacks, and what that needs in turn. */
static int choose_needed(Plan *p, const RestoreOptions *o, Session *s, Error *e)
{
    static const char *const kinds[] = {"TYPE",     "DOMAIN",   "COLLATION",
                                        "SEQUENCE", "FUNCTION", NULL};
    const Archive *a = p->all;
    /* Backwards, for most dependencies point to earlier entries; until nothing is added. */
    for (bool again = true; again;) {
        again = false;
        for (size_t i = a->n; i-- > 0;) {
            const TocEntry *t = &a->entries[i];
            for (size_t d = 0; p->chosen[i] && d < t->n_deps; d++) {
                size_t k = dump_ids_find(&p->ids, t->deps[d]);
                bool has = false;
                if (k == OWNER_NONE || p->chosen[k] || !toc_is_any(&a->entries[k], kinds))
                    continue;
                TRY(has_object(s, &a->entries[k], &has, e));
                if (has)
                    continue;
                restore_note(o, "%s %s.%s is missing in the target: restoring it too",
                             a->entries[k].desc, a->entries[k].namespace, a->entries[k].tag);
                p->chosen[k] = again = true;
            }
        }
    }
    return 0;
}

/* Things that can be left out when what they refer to is missing. */
static bool may_lack(const TocEntry *t)
{
    static const char *const kinds[] = {"FK CONSTRAINT", "TABLE ATTACH", "INDEX ATTACH", "TRIGGER",
                                        NULL};
    return toc_is_any(t, kinds);
}

static bool is_referred(const TocEntry *t)
{
    static const char *const kinds[] = {"TABLE",      "FOREIGN TABLE", "INDEX",
                                        "CONSTRAINT", "FUNCTION",      NULL};
    return toc_is_any(t, kinds);
}

/* A constraint's tag is "<table> <name>", both perhaps with spaces, and its index bears its name.
 */
static const TocEntry *as_relation(const Plan *p, const TocEntry *t, TocEntry *copy)
{
    if (!toc_is(t, "CONSTRAINT") || !t->tag)
        return t;
    const char *space = strrchr(t->tag, ' '), *name = space ? space + 1 : t->tag;
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t k = dump_ids_find(&p->ids, t->deps[d]);
        const char *table = k != OWNER_NONE ? p->all->entries[k].tag : NULL;
        size_t n = table ? strlen(table) : 0;
        if (n && toc_is(&p->all->entries[k], "TABLE") && strncmp(t->tag, table, n) == 0 &&
            t->tag[n] == ' ')
            name = t->tag + n + 1;
    }
    *copy = *t;
    copy->tag = (char *)name; /* only read */
    return copy;
}

static int leave_out(Plan *p, size_t i, const TocEntry *lacks, RestoreResult *result, Error *e)
{
    const TocEntry *t = &p->all->entries[i];
    _cleanup_(buf_release) Buf what = BUF_INIT, why = BUF_INIT;
    p->chosen[i] = false;
    if (buf_addf(&what, "%s %s.%s", t->desc, t->namespace ? t->namespace : "",
                 t->tag ? t->tag : "") < 0 ||
        buf_addf(&why, "it refers to %s %s.%s, which is neither restored with it nor in the target",
                 lacks->desc, lacks->namespace ? lacks->namespace : "",
                 lacks->tag ? lacks->tag : "") < 0 ||
        !buf_cstr(&what) || !buf_cstr(&why))
        return error_oom(e);
    return restore_left_out(result, (const char *)what.data, (const char *)why.data, e);
}

static int check_references(Plan *p, Session *s, RestoreResult *result, Error *e)
{
    const Archive *a = p->all;
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        for (size_t d = 0; p->chosen[i] && may_lack(t) && d < t->n_deps; d++) {
            size_t k = dump_ids_find(&p->ids, t->deps[d]);
            TocEntry copy;
            bool has = true;
            if (k == OWNER_NONE || p->chosen[k] || !is_referred(&a->entries[k]))
                continue;
            TRY(has_object(s, as_relation(p, &a->entries[k], &copy), &has, e));
            if (!has)
                TRY(leave_out(p, i, &a->entries[k], result, e));
        }
    }
    return 0;
}

/* Whether what is chosen stands in the schema `t` (of tables chosen by name), or an extension that
 * is chosen does. */
static bool needs_schema(const Plan *p, const RestoreOptions *o, const TocEntry *t)
{
    for (size_t i = 0; i < p->all->n; i++) {
        const TocEntry *other = &p->all->entries[i];
        if (!p->chosen[i])
            continue;
        if (o->n_tables && other->namespace && strcmp(other->namespace, t->tag) == 0)
            return true;
        for (size_t d = 0; toc_is(other, "EXTENSION") && d < other->n_deps; d++)
            if (other->deps[d] == t->dump_id)
                return true;
    }
    return false;
}

/* Schemas: what is there need not be made, unless it is dropped first; tables chosen by name, and
 * extensions, bring theirs along where it is missing. */
static int check_schemas(Plan *p, const RestoreOptions *o, Session *s, Error *e)
{
    const Archive *a = p->all;
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        if (!toc_is(t, "SCHEMA") || !t->tag || o->data_only)
            continue;
        bool has = false;
        if (p->chosen[i] ? o->n_schemas && o->overwrite : !needs_schema(p, o, t))
            continue;
        TRY(has_object(s, t, &has, e));
        p->chosen[i] = !has;
    }
    return 0;
}

/* Where there are partitioned tables, sessions of pg_restore that make foreign keys and attach
 * indexes can end in a deadlock: the server locks partitions that the archive's dependencies don't
 * tell of. Foreign keys are then made afterwards, one by one. */
static bool has_partitioned(const Plan *p)
{
    for (size_t i = 0; i < p->all->n; i++) {
        const TocEntry *t = &p->all->entries[i];
        if (p->chosen[i] && toc_is(t, "TABLE") && t->defn && strstr(t->defn, "\nPARTITION BY "))
            return true;
    }
    return false;
}

static Phase phase_of(const TocEntry *t, int section)
{
    if (toc_is_any(t, specials))
        return PHASE_NONE;
    if (toc_is_any(t, privileges) || toc_is(t, "EVENT TRIGGER") ||
        toc_is(t, "MATERIALIZED VIEW DATA") || is_about(t, "EVENT"))
        return PHASE_LAST;
    if (toc_is(t, "BLOB METADATA")) /* makes large objects, though it stands among the data */
        return PHASE_PRE;
    return section == SECTION_DATA        ? PHASE_DATA
           : section == SECTION_POST_DATA ? PHASE_POST
                                          : PHASE_PRE;
}

/* Whether it depends on something of the archive that is not restored. */
static bool needs_unchosen(const Plan *p, const TocEntry *t)
{
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t i = dump_ids_find(&p->ids, t->deps[d]);
        if (i != OWNER_NONE && !p->chosen[i])
            return true;
    }
    return false;
}

bool plan_via_root(const TocEntry *data)
{
    static const char mark[] = "-- load via partition root "; /* pg_dump's */
    return data->defn && strncmp(data->defn, mark, strlen(mark)) == 0;
}

/* Whether rows go in through a table that is not restored itself, or may. */
static bool has_rows_via_root(const Plan *p)
{
    for (size_t i = 0; i < p->all->n; i++)
        if (p->chosen[i] && toc_is(&p->all->entries[i], "TABLE DATA") &&
            plan_via_root(&p->all->entries[i]))
            return true;
    return false;
}

/* Not to be restored: an index that the parent of its table gives it, and attaching it. */
static void leave_to_parent(Plan *p, size_t attach)
{
    const TocEntry *t = &p->all->entries[attach];
    p->chosen[attach] = false;
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t i = dump_ids_find(&p->ids, t->deps[d]);
        if (i != OWNER_NONE && toc_attaches(t, &p->all->entries[i]))
            p->chosen[i] = false;
    }
}

/* A partition whose parent is in the target and not restored gets the parent's keys and indexes
 * when it is attached, and those of the backup would be one too many. So it is attached when it is
 * complete, or, where rows need the parent to get in, without its own. For each entry whether it
 * has to wait: an array that the caller frees. */
static int find_late(Plan *p, bool **ret_late, Error *e)
{
    static const char *const kinds[] = {"TABLE ATTACH", "INDEX ATTACH", "TRIGGER", NULL};
    const Archive *a = p->all;
    bool at_once = has_rows_via_root(p);
    _cleanup_free_ size_t *owners = NULL;
    _cleanup_free_ bool *partitions = calloc(a->n + 1, sizeof(*partitions));
    _cleanup_free_ bool *late = calloc(a->n + 1, sizeof(*late));
    TRY(owners_find(a, &p->ids, &owners, e));
    if (!partitions || !late)
        return error_oom(e);
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        if (toc_is(t, "TABLE ATTACH") && p->chosen[i] && owners[i] != OWNER_NONE)
            partitions[owners[i]] = needs_unchosen(p, t);
    }
    for (size_t i = 0; i < a->n; i++) {
        if (owners[i] == OWNER_NONE || !partitions[owners[i]])
            continue;
        late[i] = !at_once && toc_is_any(&a->entries[i], kinds);
        if (at_once && toc_is(&a->entries[i], "INDEX ATTACH"))
            leave_to_parent(p, i);
    }
    *ret_late = TAKE_PTR(late);
    return 0;
}

/* Comments and the like have no section: they go with what stands before them. */
static int build_toc(Plan *p, const RestoreOptions *o, Error *e)
{
    const Archive *a = p->all;
    int section = SECTION_PRE_DATA;
    bool keys_apart = has_partitioned(p), is_late = false;
    _cleanup_free_ bool *late = NULL;
    TRY(find_late(p, &late, e));
    p->toc = *a;
    p->toc.n = 0;
    p->toc.entries = calloc(a->n + 1, sizeof(TocEntry));
    p->phases = calloc(a->n + 1, sizeof(Phase));
    if (!p->toc.entries || !p->phases)
        return error_oom(e);
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        if (t->section != SECTION_NONE) {
            section = t->section;
            is_late = late[i] || (keys_apart && toc_is(t, "FK CONSTRAINT"));
        }
        if (!p->chosen[i])
            continue;
        Phase phase = phase_of(t, section);
        bool waits = is_late && (phase == PHASE_PRE || phase == PHASE_POST);
        p->phases[p->toc.n] = waits ? PHASE_KEYS : phase;
        p->toc.entries[p->toc.n] = *t;
        if (o->no_owner)
            p->toc.entries[p->toc.n].owner = NULL;
        p->toc.n++;
    }
    return 0;
}

/* What was not chosen by name but is needed: see plan_adapt. */
static int adapt_part(Plan *p, const RestoreOptions *o, Session *s, RestoreResult *result, Error *e)
{
    size_t n = p->all->n;
    _cleanup_free_ bool *added = malloc(n + 1);
    if (!added)
        return error_oom(e);
    memcpy(added, p->chosen, n);
    if (o->n_tables && !o->data_only) {
        TRY(choose_needed(p, o, s, e));
        choose_extensions(p);
    }
    TRY(check_schemas(p, o, s, e));
    for (size_t i = 0; i < n; i++)
        added[i] = p->chosen[i] && !added[i] && !toc_is(&p->all->entries[i], "EXTENSION");
    choose_details(p, o, added);
    return o->data_only ? 0 : check_references(p, s, result, e);
}

int plan_adapt(Plan *p, const RestoreOptions *o, Session *s, RestoreResult *result, Error *e)
{
    if (!p->is_whole)
        TRY(adapt_part(p, o, s, result, e));
    return build_toc(p, o, e);
}
