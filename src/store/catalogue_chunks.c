/* Where objects lie, as the catalogue knows. */
#include <errno.h>

#include "store/catalogue_private.h"

/* Chunks of one transaction. Its pages, one or two a chunk in a large catalogue, stay in memory
 * until it ends, and only then are readers kept waiting: not for longer than writing them takes. */
#define BATCH 8192

int catalogue_prepare_find(Catalogue *c, Error *e)
{
    if (sqlite3_prepare_v3(c->db,
                           "SELECT p.sha256, c.offset, c.length FROM chunks c"
                           " JOIN packs p ON p.pack = c.pack WHERE c.id = ?1",
                           -1, SQLITE_PREPARE_PERSISTENT, &c->find, NULL) != SQLITE_OK)
        return error_set(e, EBADMSG, "the catalogue is damaged: %s", sqlite3_errmsg(c->db));
    return 0;
}

/* What a row of pack, offset and length says; false when that can't be. */
static bool read_place(sqlite3_stmt *stmt, Place *ret_place)
{
    Place place;
    sqlite3_int64 offset = sqlite3_column_int64(stmt, 1);
    sqlite3_int64 length = sqlite3_column_int64(stmt, 2);
    if (!catalogue_column_id(stmt, 0, &place.pack) || offset < PACK_HEADER_SIZE ||
        offset > PACK_MAX || length <= PACK_RECORD_SIZE ||
        length > (sqlite3_int64)(PACK_RECORD_SIZE + OBJECT_MAX))
        return false;
    place.offset = (uint32_t)offset;
    place.length = (uint32_t)length;
    *ret_place = place;
    return true;
}

int catalogue_find(Catalogue *c, const ObjectId *id, Place *ret_place)
{
    pthread_mutex_lock(&c->lock);
    catalogue_bind_id(c->find, 1, id);
    int code = sqlite3_step(c->find);
    int r = code == SQLITE_DONE                                    ? -ENOENT
            : code == SQLITE_ROW && read_place(c->find, ret_place) ? 0
                                                                   : -EIO;
    sqlite3_reset(c->find);
    pthread_mutex_unlock(&c->lock);
    return r;
}

size_t catalogue_copies(Catalogue *c, const ObjectId *id, Place *places, size_t max)
{
    sqlite3_stmt *stmt;
    size_t n = 0;
    pthread_mutex_lock(&c->lock);
    if (catalogue_prepare(c,
                          "SELECT p.sha256, c.offset, c.length FROM copies c"
                          " JOIN packs p ON p.pack = c.pack WHERE c.id = ?1",
                          &stmt, NULL) == 0) {
        catalogue_bind_id(stmt, 1, id);
        while (n < max && sqlite3_step(stmt) == SQLITE_ROW)
            n += read_place(stmt, &places[n]);
        sqlite3_finalize(stmt);
    }
    pthread_mutex_unlock(&c->lock);
    return n;
}

int catalogue_run_with_id(Catalogue *c, const char *sql, const ObjectId *id, Error *e)
{
    sqlite3_stmt *stmt;
    int r = catalogue_prepare(c, sql, &stmt, e);
    if (r < 0)
        return r;
    catalogue_bind_id(stmt, 1, id);
    return catalogue_step_done(c, stmt, e);
}

static int add_chunk(Catalogue *c, sqlite3_int64 pack, const PackEntry *p, Error *e)
{
    catalogue_bind_id(c->add_chunk, 1, &p->id);
    sqlite3_bind_int64(c->add_chunk, 2, pack);
    sqlite3_bind_int64(c->add_chunk, 3, p->offset);
    sqlite3_bind_int64(c->add_chunk, 4, (sqlite3_int64)PACK_RECORD_SIZE + p->stored_len);
    int r = sqlite3_step(c->add_chunk) == SQLITE_DONE ? 0 : catalogue_failed(c, e);
    sqlite3_reset(c->add_chunk);
    return r;
}

/* An object that another pack holds too is found in the newer one first. */
static int add_chunks(Catalogue *c, sqlite3_int64 pack, const PackIndex *index, Error *e)
{
    int r = 0;
    if (!c->add_chunk)
        r = catalogue_prepare(c, "INSERT OR IGNORE INTO chunks VALUES (?1, ?2, ?3, ?4)",
                              &c->add_chunk, e);
    for (size_t i = 0; r == 0 && i < index->n; i++) {
        const ObjectId *id = &index->entries[i].id;
        r = add_chunk(c, pack, &index->entries[i], e);
        if (r < 0 || sqlite3_changes(c->db) > 0)
            continue;
        r = catalogue_run_with_id(
            c, "INSERT OR REPLACE INTO copies SELECT * FROM chunks WHERE id = ?1", id, e);
        if (r == 0)
            r = catalogue_run_with_id(c, "DELETE FROM chunks WHERE id = ?1", id, e);
        if (r == 0)
            r = add_chunk(c, pack, &index->entries[i], e);
    }
    return r;
}

int catalogue_add_pack(Catalogue *c, const ObjectId *sha256, uint64_t size, const PackIndex *index,
                       Error *e)
{
    sqlite3_stmt *stmt;
    pthread_mutex_lock(&c->lock);
    int r = catalogue_prepare(c, "INSERT INTO packs (sha256, size) VALUES (?1, ?2)", &stmt, e);
    if (r == 0) {
        catalogue_bind_id(stmt, 1, sha256);
        sqlite3_bind_int64(stmt, 2, (sqlite3_int64)size);
        r = catalogue_step_done(c, stmt, e);
    }
    if (r == 0)
        r = add_chunks(c, sqlite3_last_insert_rowid(c->db), index, e);
    c->n_added += index->n;
    if (r == 0 && c->n_added >= BATCH) {
        c->n_added = 0;
        r = catalogue_run(c, "COMMIT; BEGIN IMMEDIATE", e);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

int catalogue_remove_pack(Catalogue *c, const ObjectId *sha256, Error *e)
{
    pthread_mutex_lock(&c->lock);
    int r = catalogue_run_with_id(c,
                                  "DELETE FROM chunks WHERE pack ="
                                  " (SELECT pack FROM packs WHERE sha256 = ?1)",
                                  sha256, e);
    if (r == 0)
        r = catalogue_run_with_id(c,
                                  "DELETE FROM copies WHERE pack ="
                                  " (SELECT pack FROM packs WHERE sha256 = ?1)",
                                  sha256, e);
    if (r == 0)
        r = catalogue_run_with_id(c, "DELETE FROM packs WHERE sha256 = ?1", sha256, e);
    if (r == 0) /* what only another pack holds now; few objects ever have copies */
        r = catalogue_run(c, "INSERT OR IGNORE INTO chunks SELECT * FROM copies", e);
    pthread_mutex_unlock(&c->lock);
    return r;
}
