/* postgres://…: a backup's archive into a database.
 *
 * How, and why so. `pg_restore -j` needs a file it can open by name and seek in, so streaming it
 * the archive would mean a second copy of the data on a disk; from a pipe it has one connection
 * only. So the definitions go through pg_restore, which knows how they are to be spelled, in an
 * archive in memory without any data; and the rows go from the store into COPY by our own
 * connections, each chunk fetched once. With one job all of it runs on one connection, in one
 * transaction. With more, tables are loaded at once and pg_restore runs what comes after, with as
 * many jobs: its scheduler knows which indexes and constraints get in each other's way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/postgres/conflicts.h"
#include "restore/postgres/database.h"
#include "restore/postgres/definitions.h"
#include "restore/postgres/existing.h"
#include "restore/postgres/place.h"
#include "restore/postgres/privileges.h"
#include "restore/postgres/publications.h"
#include "restore/postgres/referrers.h"
#include "restore/postgres/rows.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

#define LOCK_SHARE 0.7 /* of the server's lock table that one transaction may fill */

typedef struct Run {
    Content *c;
    const RestoreOptions *o;
    RestoreResult *result;
    const char *spec;
    ConnInfo given, pinned;
    Archive toc;
    PgTools tools;
    Plan plan;
    Definitions definitions;
    Rows rows;
    Referrers referrers;       /* with --data-only --overwrite */
    Publications publications; /* what is to be put back into them */
    Session session;           /* on the target */
    Place place;               /* with --create: the database that is made */
    Batch batch;               /* on the session */
    size_t commits_before;     /* of the batch before it loads rows; later ones make them stay */
} Run;

static void run_release(Run *r)
{
    session_close(&r->session);
    publications_release(&r->publications);
    referrers_release(&r->referrers);
    rows_release(&r->rows);
    definitions_release(&r->definitions);
    plan_release(&r->plan);
    pg_tools_release(&r->tools);
    archive_release(&r->toc);
    conninfo_release(&r->pinned);
    conninfo_release(&r->given);
}

/* The tools that can read the archive and suit the server. */
static int find_tools(Run *r, int server_major, Error *e)
{
    int needed = r->toc.minor >= 16 ? 17 : r->toc.minor == 15 ? 16 : 0;
    return pg_tools_find(r->o->pg_bindir, NULL, server_major > needed ? server_major : needed,
                         &r->tools, e);
}

/* Make the database, after all that can be known to fail has been looked at. */
static int create_database(Run *r, Error *e)
{
    Session admin = {0};
    TRY(database_open_admin(r->spec, r->o, &admin, e));
    int err = find_tools(r, conn_major(admin.conn), e);
    if (err == 0)
        err = place_make(&r->place, &admin, e);
    session_close(&admin);
    return err;
}

/* The archive's strings, and so what the catalogue is asked for, are in its encoding. */
static int set_encoding(Run *r, Error *e)
{
    for (size_t i = 0; i < r->toc.n; i++)
        if (toc_is(&r->toc.entries[i], "ENCODING") && r->toc.entries[i].defn)
            TRY(session_run(&r->session, r->toc.entries[i].defn, e));
    return 0;
}

static int connect_target(Run *r, Error *e)
{
    _cleanup_(conninfo_release) ConnInfo own = {0};
    if (r->o->create)
        TRY(place_conninfo(&r->place, &own, e));
    int err = session_open(r->o->create ? &own : &r->given, r->o, &r->session, e);
    if (err == -ENOENT)
        error_hint(e, "give --create to have it made");
    if (err == -EACCES && r->place.temporary[0])
        error_hint(e,
                   "the server must let you connect to %s too: see its pg_hba.conf; or drop the "
                   "old database yourself first",
                   r->place.temporary);
    if (err < 0)
        return err;
    TRY(conninfo_pin(&r->given, conn_pg(r->session.conn), &r->pinned, e));
    return set_encoding(r, e);
}

/* What will happen to what is there, as a question says it. */
static const char *consequence(const RestoreOptions *o)
{
    if (!o->overwrite)
        return "what is restored will be added to it";
    if (o->data_only)
        return "the rows of the tables that are restored will be replaced";
    if (o->schema_only)
        return "objects that the backup holds too will be dropped and made anew; their rows will "
               "be gone and not come back (--schema-only)";
    return "objects that the backup holds too will be dropped and restored";
}

static int open_target(Run *r, Error *e)
{
    int64_t n = 0;
    TRY(connect_target(r, e));
    if (r->o->create)
        return 0;
    TRY(find_tools(r, conn_major(r->session.conn), e));
    TRY(database_count_objects(&r->session, &n, e));
    if (n == 0)
        return 0;
    return restore_confirm(r->o, e, "the database %s is not empty; %s", r->given.masked,
                           consequence(r->o));
}

static int prepare(Run *r, Error *e)
{
    TRY(conninfo_parse(r->spec, &r->given, e));
    TRY(conninfo_check_pooler(&r->given, e));
    TRY(conninfo_check_secrets(&r->given, e));
    if (!(r->result->target = strdup(r->given.masked)))
        return error_oom(e);
    TRY(content_tables(r->c, e));
    TRY(dump_toc(r->c, &r->toc, e));
    TRY(plan_make(r->c, &r->toc, &r->plan, e));
    if (r->o->create)
        TRY(create_database(r, e));
    TRY(open_target(r, e));
    TRY(plan_adapt(&r->plan, r->o, &r->session, r->result, e));
    r->definitions.plan = &r->plan;
    r->definitions.tools = &r->tools;
    r->definitions.o = r->o;
    if (r->o->overwrite && !r->o->create && !r->o->data_only)
        TRY(conflicts_inherited(&r->plan, &r->session, &r->definitions.inherited, e));
    TRY(definitions_make(&r->definitions, conn_major(r->session.conn), e));
    r->rows.c = r->c;
    r->rows.plan = &r->plan;
    r->rows.ci = &r->pinned;
    r->rows.settings = (const char *)r->definitions.settings.data;
    return rows_prepare(&r->rows, e);
}

/* Entries of the server's lock table that an entry of the archive takes: a table has its TOAST
 * table and that one's index, and BLOB METADATA makes a large object for every line. */
static double count_locks(const TocEntry *t, Phase phase)
{
    double lines = 0;
    if (toc_is(t, "BLOB METADATA")) {
        for (const char *p = t->defn; p && (p = strchr(p, '\n')); p++)
            lines++;
        return lines;
    }
    if (toc_is(t, "TABLE") || toc_is(t, "MATERIALIZED VIEW"))
        return 3;
    return phase == PHASE_PRE || phase == PHASE_POST || phase == PHASE_KEYS ? 1 : 0;
}

/* Whether one transaction can hold the locks of all that is made: every table, index, sequence and
 * large object takes a place in the server's lock table. */
static int fits_locks(Run *r, bool *ret_fits, Error *e)
{
    int64_t room = 0;
    double needed = 0;
    for (size_t i = 0; i < r->plan.toc.n; i++)
        needed += count_locks(&r->plan.toc.entries[i], r->plan.phases[i]);
    needed *= r->o->overwrite ? 2 : 1;
    TRY(session_number(&r->session,
                       "SELECT current_setting('max_locks_per_transaction')::bigint"
                       " * (current_setting('max_connections')::bigint"
                       " + current_setting('max_prepared_transactions')::bigint)",
                       NULL, NULL, &room, e));
    *ret_fits = needed <= LOCK_SHARE * (double)room;
    return 0;
}

static int reset_privileges(Run *r, Phase first, Phase last, Error *e)
{
    if (r->o->no_acl || r->o->data_only)
        return 0;
    return privileges_reset(&r->plan, first, last, &r->session, e);
}

/* Before something is dropped or emptied: what would go with it. */
static int look_around(Run *r, Error *e)
{
    if (r->o->data_only)
        return conflicts_check_rows(&r->plan, &r->session, e);
    TRY(conflicts_check_drops(&r->plan, &r->session, e));
    return publications_remember(&r->plan, &r->session, &r->publications, e);
}

/* What comes before the rows. */
static int run_begin(Run *r, Batch *b, Error *e)
{
    if (r->o->overwrite && !r->o->create)
        TRY(look_around(r, e));
    TRY(definitions_drop(&r->definitions, b, e));
    TRY(definitions_run(&r->definitions, b, PHASE_PRE, e));
    TRY(reset_privileges(r, PHASE_PRE, PHASE_PRE, e));
    r->commits_before = b->commits;
    if (!r->o->data_only)
        return 0;
    if (!r->o->overwrite)
        return rows_count_before(&r->rows, &r->session, e);
    TRY(referrers_count(&r->referrers, &r->session, e));
    return existing_clear(&r->rows, &r->session, r->referrers.n > 0, r->result, e);
}

/* What comes after indexes and constraints. */
static int run_end(Run *r, Batch *b, Error *e)
{
    TRY(definitions_run(&r->definitions, b, PHASE_KEYS, e));
    TRY(reset_privileges(r, PHASE_POST, PHASE_KEYS, e));
    TRY(definitions_run(&r->definitions, b, PHASE_LAST, e));
    return publications_put_back(&r->publications, &r->session, r->result, e);
}

/* Everything on one connection. */
static int run_serial(Run *r, Batch *b, Error *e)
{
    TRY(batch_begin(b, e));
    TRY(run_begin(r, b, e));
    TRY(rows_load(&r->rows, &r->session, e));
    TRY(rows_load_blobs(&r->rows, &r->session, e));
    TRY(definitions_run(&r->definitions, b, PHASE_DATA, e));
    TRY(definitions_run(&r->definitions, b, PHASE_POST, e));
    TRY(run_end(r, b, e));
    TRY(rows_check(&r->rows, &r->session, e));
    TRY(referrers_check(&r->referrers, &r->session, e));
    return batch_end(b, e);
}

/* Indexes and constraints, by sessions of pg_restore unless those fail by their first command. */
static int run_post(Run *r, Batch *b, Error *e)
{
    if (!r->definitions.is_newer)
        return definitions_run_post(&r->definitions, &r->pinned, &r->session, r->o->jobs, e);
    restore_note(r->o,
                 "pg_restore %d can't connect to PostgreSQL %d itself: indexes and constraints are "
                 "made one after another",
                 r->tools.major, conn_major(r->session.conn));
    TRY(batch_begin(b, e));
    TRY(definitions_run(&r->definitions, b, PHASE_POST, e));
    return batch_end(b, e);
}

static int run_parallel(Run *r, Batch *b, Error *e)
{
    TRY(batch_begin(b, e));
    TRY(run_begin(r, b, e));
    TRY(batch_end(b, e));
    TRY(rows_load_parallel(&r->rows, r->o->jobs, e));
    TRY(batch_begin(b, e));
    TRY(rows_load_blobs(&r->rows, &r->session, e));
    TRY(definitions_run(&r->definitions, b, PHASE_DATA, e));
    TRY(batch_end(b, e));
    TRY(run_post(r, b, e));
    TRY(batch_begin(b, e));
    TRY(run_end(r, b, e));
    TRY(batch_end(b, e));
    return rows_check_parallel(&r->rows, r->o->jobs, e);
}

/* What the rows will meet. Where tables refer to them that stay, it is all or nothing. */
static int look_at_tables(Run *r, bool *ret_whole, Error *e)
{
    if (!r->o->data_only)
        return 0;
    TRY(existing_keys(&r->rows, &r->session, e));
    if (r->o->overwrite)
        TRY(referrers_find(&r->rows, &r->session, &r->referrers, e));
    if (r->referrers.n == 0)
        return 0;
    if (r->rows.in_order)
        return referrers_refuse(&r->referrers,
                                "nothing was changed: restore them too; or connect as a role that "
                                "may set session_replication_role, e.g. a superuser",
                                e);
    restore_note(r->o,
                 "tables whose rows stay refer to some that are restored, e.g. %s to %s: "
                 "those are not truncated but deleted from, in one transaction, and the keys "
                 "are checked at its end",
                 r->referrers.items[0].table, r->referrers.items[0].referred);
    *ret_whole = true;
    return 0;
}

static int run_all(Run *r, Error *e)
{
    bool fits = false, serial = r->o->jobs <= 1, whole = false;
    TRY(session_run(&r->session, r->rows.settings, e));
    TRY(look_at_tables(r, &whole, e));
    TRY(fits_locks(r, &fits, e));
    serial |= whole;
    fits |= whole;
    r->batch = (Batch){.session = &r->session, .is_single = fits};
    if (serial && !fits)
        restore_note(r->o, "too many objects for one transaction on this server (see "
                           "max_locks_per_transaction): committing as it goes");
    TRY(serial ? run_serial(r, &r->batch, e) : run_parallel(r, &r->batch, e));
    r->result->one_transaction = serial && fits;
    if (!r->o->create)
        return 0;
    TRY(database_describe(&r->session, &r->toc, r->given.dbname, r->result, e));
    session_close(&r->session);
    return place_finish(&r->place, e);
}

/* Rows were added to tables that had some: running it again would add them again, and emptying the
 * tables first would take away what was there before. */
static void tell_added(Run *r, Error *e)
{
    _cleanup_(named_release) Named tables = {0};
    const char *text = NULL;
    bool stay = r->o->jobs > 1 || r->batch.commits > r->commits_before;
    if (stay && existing_loaded(&r->rows, &tables) == 0 && tables.n)
        text = named_text(&tables);
    if (!text) {
        error_prefix(e, "a part of what was to be added stays in the target");
        return;
    }
    error_prefix(e, "rows were added to %s and stay there", text);
    error_hint(e, "delete them before you run it again, or they are there twice; or name the "
                  "tables that are missing with --table. --overwrite would also take away the "
                  "rows that were there before");
}

static void tell_half(Run *r, Error *e)
{
    publications_tell(&r->publications, e);
    error_prefix(e, "the target is left half restored; run it again with --overwrite");
}

/* After a failure: what is ours goes; of what stays the message tells. */
static void clean_up(Run *r, Error *e)
{
    if (r->o->create) {
        session_close(&r->session);
        place_abandon(&r->place, e);
    } else if (r->batch.commits > 0) {
        if (r->o->data_only && !r->o->overwrite)
            tell_added(r, e);
        else
            tell_half(r, e);
    }
}

static void count(Run *r)
{
    for (size_t i = 0; i < r->plan.toc.n; i++)
        r->result->objects += r->plan.phases[i] != PHASE_NONE;
    for (size_t i = 0; i < r->plan.toc.n; i++)
        r->result->tables += !r->o->data_only && toc_is(&r->plan.toc.entries[i], "TABLE");
    if (r->o->data_only)
        r->result->tables = r->rows.n;
    r->result->rows = atomic_load(&r->rows.rows);
    r->result->bytes = atomic_load(&r->rows.bytes);
}

int restore_to_postgres(Content *c, const char *spec, RestoreResult *result, Error *e)
{
    _cleanup_(run_release) Run r = {.c = c, .o = c->options, .result = result, .spec = spec};
    r.place = (Place){.o = r.o, .spec = spec, .given = &r.given, .toc = &r.toc};
    int err = prepare(&r, e);
    if (err == 0)
        err = run_all(&r, e);
    if (err < 0) {
        clean_up(&r, e);
        return err;
    }
    count(&r);
    return 0;
}
