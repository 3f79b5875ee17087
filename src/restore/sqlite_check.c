/* Whether a restored database is sound, as far as can be told without the application whose
 * collations and functions its schema may use. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/sqlite.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/buf.h"
#include "util/cleanup.h"

#define FUNCTIONS_MAX 1000 /* the application's, before we give up */
#define NAMED_MAX     10   /* tables in the note */

static void cleanup_finalize(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

static int damaged(const char *said, Error *e)
{
    error_set(e, EBADMSG, "the restored database is damaged: %.200s", said ? said : "?");
    error_hint(e, "the original was so when it was backed up; try an earlier backup, or write "
                  "the file with --to file:DIR and recover what you can");
    return -EBADMSG;
}

/* With stand-ins for functions the values of generated columns are not what they were. */
static bool is_of_stand_in(const char *said, bool stand_ins)
{
    return stand_ins && said && strstr(said, " value in ");
}

/* 1: sound. 0: SQLite can't check it without the application, `ret_why` (owned) says what it lacks.
 * Negative: damaged, or the check failed. */
static int run_check(sqlite3 *db, const char *sql, bool stand_ins, char **ret_why, Error *e)
{
    _cleanup_(cleanup_finalize) sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK) {
        const char *said = sqlite3_errmsg(db);
        if ((rc & 0xff) != SQLITE_ERROR || !sqlite_lacks_application(said))
            return sqlite_fail(db, rc, e, "the restored database can't be checked");
        *ret_why = strdup(said);
        return *ret_why ? 0 : error_oom(e);
    }
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *said = (const char *)sqlite3_column_text(stmt, 0);
        if ((!said || strcmp(said, "ok") != 0) && !is_of_stand_in(said, stand_ins))
            return damaged(said, e);
    }
    return rc == SQLITE_DONE ? 1 : sqlite_fail(db, rc, e, "the restored database can't be checked");
}

bool sqlite_lacks_application(const char *message)
{
    return strstr(message, "no such collation sequence: ") ||
           strstr(message, "unknown function: ") || strstr(message, "no such function: ");
}

/* Neither the order of an index nor the result of a function is looked at where these are used. */
static int compare_bytes(void *ctx, int n1, const void *p1, int n2, const void *p2)
{
    int c = memcmp(p1, p2, (size_t)(n1 < n2 ? n1 : n2));
    return c ? c : n1 - n2;
}

static void on_collation_needed(void *ctx, sqlite3 *db, int encoding, const char *name)
{
    sqlite3_create_collation(db, name, encoding, NULL, compare_bytes);
}

static void stand_in(sqlite3_context *ctx, int n, sqlite3_value **values)
{
    sqlite3_result_text(ctx, "1", 1, SQLITE_STATIC);
}

/* Make the function that `why` ends with: "unknown function: f()". False when that can't be. */
static bool add_stand_in(sqlite3 *db, const char *why)
{
    const char *colon = strstr(why, "function: ");
    _cleanup_free_ char *name = colon ? strdup(colon + strlen("function: ")) : NULL;
    if (!name)
        return false;
    size_t len = strlen(name);
    if (len > 2 && strcmp(name + len - 2, "()") == 0)
        name[len - 2] = 0;
    return sqlite3_create_function(db, name, -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, stand_in,
                                   NULL, NULL) == SQLITE_OK;
}

/* The structure of all tables and indexes: what needs nothing of the application but, for SQLite to
 * begin, the names of its collations and functions. `ret_why` is left NULL when it was checked. */
static int check_structure(sqlite3 *db, char **ret_why, Error *e)
{
    sqlite3_collation_needed(db, NULL, on_collation_needed);
    TRY(sqlite_exec(db, "PRAGMA ignore_check_constraints = ON", e,
                    "the restored database can't be checked"));
    for (int i = 0; i <= FUNCTIONS_MAX; i++) {
        _cleanup_free_ char *why = NULL;
        int r = run_check(db, "PRAGMA quick_check", i > 0, &why, e);
        if (r != 0)
            return r < 0 ? r : 0;
        if (i == FUNCTIONS_MAX || !add_stand_in(db, why)) {
            *ret_why = TAKE_PTR(why);
            break;
        }
    }
    return 0;
}

/* Check the tables that can be, and name the others in `names`. */
static int check_tables(sqlite3 *db, Buf *names, unsigned *ret_n, Error *e)
{
    _cleanup_(cleanup_finalize) sqlite3_stmt *tables = NULL;
    int rc = sqlite3_prepare_v2(
        db, "SELECT name FROM main.sqlite_master WHERE type = 'table' AND rootpage > 0", -1,
        &tables, NULL);
    if (rc != SQLITE_OK)
        return sqlite_fail(db, rc, e, "the restored database can't be read");
    while ((rc = sqlite3_step(tables)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(tables, 0);
        _cleanup_free_ char *why = NULL;
        char *sql = sqlite3_mprintf("PRAGMA integrity_check(%Q)", name);
        int r = name && sql ? run_check(db, sql, false, &why, e) : error_oom(e);
        sqlite3_free(sql);
        if (r < 0)
            return r;
        if (r > 0 || ++*ret_n > NAMED_MAX)
            continue;
        if (buf_addf(names, "%s%s (%s)", names->len ? ", " : "", name, why) < 0)
            return error_oom(e);
    }
    return rc == SQLITE_DONE ? 0 : sqlite_fail(db, rc, e, "the restored database can't be read");
}

int sqlite_check(sqlite3 *db, const RestoreOptions *o, Error *e)
{
    _cleanup_free_ char *why = NULL, *structure = NULL;
    _cleanup_(buf_release) Buf names = BUF_INIT;
    unsigned n = 0;
    int r = run_check(db, "PRAGMA integrity_check", false, &why, e);
    if (r != 0)
        return r < 0 ? r : 0;
    TRY(check_tables(db, &names, &n, e));
    TRY(check_structure(db, &structure, e));
    const char *list = buf_cstr(&names);
    if (!list)
        return error_oom(e);
    char more[32] = "";
    if (n > NAMED_MAX)
        snprintf(more, sizeof(more), " and %u more", n - NAMED_MAX);
    restore_note(o,
                 "restored as it was backed up; only with the application can %s be checked: %s%s",
                 structure ? "these tables"
                           : "indexes, CHECK constraints and generated columns of these tables",
                 list, more);
    return 0;
}
