/* What verify found: when it last read a pack in full, and records that are damaged. */
#include <errno.h>

#include "store/catalogue_private.h"

int catalogue_ledger_get(Catalogue *c, const ObjectId *sha256, int64_t *ret_time)
{
    sqlite3_stmt *stmt;
    pthread_mutex_lock(&c->lock);
    int r = catalogue_prepare(c, "SELECT read_at FROM ledger WHERE sha256 = ?1", &stmt, NULL);
    if (r == 0) {
        catalogue_bind_id(stmt, 1, sha256);
        *ret_time = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
        sqlite3_finalize(stmt);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

int catalogue_ledger_set(Catalogue *c, const ObjectId *sha256, int64_t time, Error *e)
{
    sqlite3_stmt *stmt;
    pthread_mutex_lock(&c->lock);
    int r = catalogue_prepare(c, "INSERT OR REPLACE INTO ledger VALUES (?1, ?2)", &stmt, e);
    if (r == 0) {
        catalogue_bind_id(stmt, 1, sha256);
        sqlite3_bind_int64(stmt, 2, time);
        r = catalogue_step_done(c, stmt, e);
    }
    if (r == 0)
        r = catalogue_run_with_id(c, "DELETE FROM damaged WHERE sha256 = ?1", sha256, e);
    pthread_mutex_unlock(&c->lock);
    return r;
}

int catalogue_add_damaged(Catalogue *c, const ObjectId *pack, const ObjectId *id, Error *e)
{
    sqlite3_stmt *stmt;
    pthread_mutex_lock(&c->lock);
    int r = catalogue_prepare(c, "INSERT OR IGNORE INTO damaged VALUES (?1, ?2)", &stmt, e);
    if (r == 0) {
        catalogue_bind_id(stmt, 1, pack);
        catalogue_bind_id(stmt, 2, id);
        r = catalogue_step_done(c, stmt, e);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

int catalogue_is_damaged(Catalogue *c, const ObjectId *pack, const ObjectId *id)
{
    sqlite3_stmt *stmt;
    pthread_mutex_lock(&c->lock);
    int r =
        catalogue_prepare(c, "SELECT 1 FROM damaged WHERE sha256 = ?1 AND id = ?2", &stmt, NULL);
    if (r == 0) {
        catalogue_bind_id(stmt, 1, pack);
        catalogue_bind_id(stmt, 2, id);
        r = sqlite3_step(stmt) == SQLITE_ROW;
        sqlite3_finalize(stmt);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

bool catalogue_knows_damage(Catalogue *c)
{
    sqlite3_stmt *stmt;
    bool any = false;
    pthread_mutex_lock(&c->lock);
    if (catalogue_prepare(c, "SELECT 1 FROM damaged LIMIT 1", &stmt, NULL) == 0) {
        any = sqlite3_step(stmt) == SQLITE_ROW;
        sqlite3_finalize(stmt);
    }
    pthread_mutex_unlock(&c->lock);
    return any;
}
