#include "restore/postgres/place.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "restore/postgres/database.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

static bool is_temporary(const Place *p)
{
    return p->temporary[0] != 0;
}

/* What it is called for now. */
static const char *name_of(const Place *p)
{
    return is_temporary(p) ? p->temporary : p->given->dbname;
}

static int choose_name(Place *p, Error *e)
{
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(e, EIO, "no random numbers");
    snprintf(p->temporary, sizeof(p->temporary), "bakfs_%016llx", (unsigned long long)random);
    return 0;
}

/* The old one is to be replaced. */
static int check_old(Place *p, Session *admin, Error *e)
{
    const char *masked = p->given->masked;
    if (!p->o->overwrite) {
        error_set(e, EEXIST, "the database %s exists", masked);
        error_hint(e, "leave out --create to restore into it, or give --overwrite to have it "
                      "replaced by one made anew");
        return -EEXIST;
    }
    TRY(restore_confirm(p->o, e,
                        "the database %s will be dropped, with all that is in it, once the "
                        "restored one is complete",
                        masked));
    TRY(choose_name(p, e));
    return database_check_drop(admin, p->given->dbname, p->temporary, e);
}

int place_make(Place *p, Session *admin, Error *e)
{
    bool exists = false;
    TRY(database_exists(admin, p->given->dbname, &exists, e));
    if (exists)
        TRY(check_old(p, admin, e));
    TRY(database_create(admin, p->toc, name_of(p), &p->is_made, e));
    if (is_temporary(p))
        restore_note(p->o, "restoring into %s, which becomes %s when it is complete", p->temporary,
                     p->given->dbname);
    return 0;
}

int place_conninfo(const Place *p, ConnInfo *ret_ci, Error *e)
{
    return database_conninfo(p->spec, name_of(p), ret_ci, e);
}

static int tell_under_name(Place *p, int r, const char *why, const char *drop, Error *e)
{
    const char *name = p->given->dbname;
    error_prefix(e, "the restored database is complete, but under the name %s, for %s",
                 p->temporary, why);
    error_hint(e, "%s%s%sALTER DATABASE %s RENAME TO \"%s\"", drop, *drop ? name : "",
               *drop ? "\"; " : "", p->temporary, name);
    return r;
}

static int replace_old(Place *p, Session *admin, Error *e)
{
    int r = database_drop(admin, p->given->dbname, e);
    if (r < 0)
        return tell_under_name(p, r, "the old one could not be dropped",
                               "when nothing uses the old one any more: DROP DATABASE IF EXISTS \"",
                               e);
    r = database_rename(admin, p->temporary, p->given->dbname, e);
    return r < 0 ? tell_under_name(p, r, "it could not be renamed after the old one was dropped",
                                   "", e)
                 : 0;
}

int place_finish(Place *p, Error *e)
{
    RestoreOptions o = *p->o;
    Session admin = {0};
    if (is_temporary(p))
        TRY(restore_check_cancel(&o, e));
    p->is_complete = true;
    if (!is_temporary(p))
        return 0;
    o.cancel = NULL; /* drop and rename are not to be stopped between */
    int r = database_open_admin(p->spec, &o, &admin, e);
    if (r < 0)
        return tell_under_name(p, r, "the server can't be reached to drop the old one",
                               "DROP DATABASE IF EXISTS \"", e);
    r = replace_old(p, &admin, e);
    session_close(&admin);
    return r;
}

/* A subscription keeps its database from being dropped. Ours never connected to anything. */
static int drop_subscriptions(Place *p, const RestoreOptions *o, Error *e)
{
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    Session s = {0};
    TRY(place_conninfo(p, &ci, e));
    TRY(session_open(&ci, o, &s, e));
    int r = session_run(
        &s,
        "DO $$DECLARE s text; BEGIN FOR s IN SELECT pg_catalog.quote_ident(subname)"
        " FROM pg_catalog.pg_subscription WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database"
        " WHERE datname = pg_catalog.current_database()) LOOP"
        " EXECUTE 'ALTER SUBSCRIPTION ' || s || ' DISABLE';"
        " EXECUTE 'ALTER SUBSCRIPTION ' || s || ' SET (slot_name = NONE)';"
        " EXECUTE 'DROP SUBSCRIPTION ' || s; END LOOP; END$$",
        e);
    session_close(&s);
    return r;
}

static int drop_new(Place *p, Error *e)
{
    RestoreOptions o = *p->o;
    Session admin = {0};
    o.cancel = NULL; /* also when interrupted */
    o.force = true;  /* nobody has business in it but us */
    TRY(database_open_admin(p->spec, &o, &admin, e));
    int r = database_drop(&admin, name_of(p), e);
    if (r < 0 && drop_subscriptions(p, &o, e) == 0)
        r = database_drop(&admin, name_of(p), e);
    session_close(&admin);
    return r;
}

void place_abandon(Place *p, Error *e)
{
    Error why = ERROR_INIT;
    if (p->is_complete)
        return; /* what became of it is told already */
    if (p->is_made && drop_new(p, &why) < 0)
        error_prefix(e, "the new database %s is left behind half restored", name_of(p));
    if (is_temporary(p))
        error_prefix(e, "the old database %s is as it was", p->given->dbname);
    error_release(&why);
}
