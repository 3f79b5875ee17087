/* Single tables of a SQLite backup, from their SQL text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "restore/select.h"
#include "restore/sqlite.h"
#include "restore/targets.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

#define SCHEMA_MAX (64u << 20) /* bytes of one table's schema.sql */
#define ROW_MAX    (3u << 30)  /* bytes of one row's statement: a value of 10^9 bytes in hex */

typedef struct Tables {
    const Content *c;
    sqlite3 *db;
    RestoreResult *result;
} Tables;

static int open_part(const Tables *t, const ContentTable *table, const char *part, Reader **ret,
                     Error *e)
{
    _cleanup_free_ char *path = NULL;
    if (asprintf(&path, "%s/%s", table->path, part) < 0)
        return error_oom(e);
    return content_file(t->c, path, ret, e);
}

static int has_table(const Tables *t, const char *name, bool *ret_has, Error *e)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(t->db,
                                "SELECT 1 FROM main.sqlite_master WHERE type IN ('table', 'view')"
                                " AND lower(name) = lower(?)",
                                -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_TRANSIENT);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    *ret_has = rc == SQLITE_ROW;
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE
                ? 0
                : sqlite_fail(t->db, rc, e, "the target can't be read");
    sqlite3_finalize(stmt);
    return r;
}

static int exec_name(const Tables *t, const char *before, const char *name, Error *e)
{
    char *sql = sqlite3_mprintf("%s main.\"%w\"", before, name);
    int r = sql ? sqlite_exec(t->db, sql, e, name) : error_oom(e);
    sqlite3_free(sql);
    return r;
}

/* Make way: with --overwrite what is there goes, else it must not be there. */
static int prepare(const Tables *t, const ContentTable *table, Error *e)
{
    const RestoreOptions *o = t->c->options;
    bool has;
    TRY(has_table(t, table->name, &has, e));
    if (o->data_only) {
        if (has)
            return o->overwrite ? exec_name(t, "DELETE FROM", table->name, e) : 0;
        error_set(e, ENOENT, "the target has no table %s", table->name);
        error_hint(e, "leave out --data-only to make it");
        return -ENOENT;
    }
    if (!has)
        return 0;
    if (o->overwrite)
        return exec_name(t, "DROP TABLE", table->name, e);
    error_set(e, EEXIST, "the target has a table %s already", table->name);
    error_hint(e, "give --overwrite to replace it, or --data-only to add rows to it");
    return -EEXIST;
}

static int run_schema(const Tables *t, const ContentTable *table, Error *e)
{
    _cleanup_(reader_closep) Reader *r = NULL;
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    TRY(open_part(t, table, "schema.sql", &r, e));
    TRY(reader_all(r, SCHEMA_MAX, &sql, e));
    const char *text = buf_cstr(&sql);
    return text ? sqlite_exec(t->db, text, e, table->name) : error_oom(e);
}

/* The file brings a transaction of its own; here all tables share one. */
static bool is_framing(const char *line)
{
    return strcmp(line, "BEGIN TRANSACTION;\n") == 0 || strcmp(line, "COMMIT;\n") == 0 ||
           strncmp(line, "PRAGMA ", 7) == 0;
}

/* The counter behind the rows: of no use where the target's table is without AUTOINCREMENT. */
static int is_idle_counter(const Tables *t, const char *line, bool *ret_idle, Error *e)
{
    bool has = true;
    if (strncmp(line, "INSERT INTO sqlite_sequence(", 28) == 0 ||
        strncmp(line, "UPDATE sqlite_sequence ", 23) == 0)
        TRY(has_table(t, "sqlite_sequence", &has, e));
    *ret_idle = !has;
    return 0;
}

static int run_statement(Tables *t, const ContentTable *table, Buf *statement, Error *e)
{
    const char *sql = buf_cstr(statement);
    bool skip;
    if (!sql)
        return error_oom(e);
    TRY(is_idle_counter(t, sql, &skip, e));
    if (!skip && !is_framing(sql))
        TRY(sqlite_exec(t->db, sql, e, table->name));
    buf_clear(statement);
    return 0;
}

/* At the end of a line. A statement is one, for line breaks inside of values are spelled otherwise,
 * but the table's name may hold some. */
static int end_line(Tables *t, const ContentTable *table, bool has_breaks, Buf *statement, Error *e)
{
    const char *sql = buf_cstr(statement);
    if (!sql)
        return error_oom(e);
    return has_breaks && !sqlite3_complete(sql) ? 0 : run_statement(t, table, statement, e);
}

static int run_rows(Tables *t, const ContentTable *table, Error *e)
{
    _cleanup_(reader_closep) Reader *r = NULL;
    _cleanup_(buf_release) Buf line = BUF_INIT;
    const bool has_breaks = strchr(table->name, '\n');
    TRY(open_part(t, table, "data.sql", &r, e));
    for (;;) {
        const uint8_t *p;
        size_t n;
        int more = reader_next(r, SIZE_MAX, &p, &n, e);
        if (more < 0)
            return more;
        if (more == 0)
            return line.len ? run_statement(t, table, &line, e) : 0;
        t->result->bytes += n;
        restore_progress(t->c->options, t->result->bytes, 0, table->name);
        while (n > 0) {
            const uint8_t *end = memchr(p, '\n', n);
            size_t take = end ? (size_t)(end - p) + 1 : n;
            if (line.len > ROW_MAX - take)
                return error_set(e, EFBIG, "a row of table %s is too long", table->name);
            if (buf_add(&line, p, take) < 0)
                return error_oom(e);
            if (end)
                TRY(end_line(t, table, has_breaks, &line, e));
            p += take;
            n -= take;
        }
    }
}

static int restore_table(Tables *t, const ContentTable *table, Error *e)
{
    const RestoreOptions *o = t->c->options;
    uint64_t before = 0, after = 0;
    if (!table->has_rows) {
        error_set(e, EOPNOTSUPP, "%s is a virtual table: its rows are in other tables",
                  table->name);
        error_hint(e, "restore the whole database to a new file");
        return -EOPNOTSUPP;
    }
    TRY(prepare(t, table, e));
    if (!o->data_only)
        TRY(run_schema(t, table, e));
    t->result->tables++;
    if (o->schema_only)
        return 0;
    TRY(sqlite_count(t->db, table->name, &before, e));
    TRY(run_rows(t, table, e));
    TRY(sqlite_count(t->db, table->name, &after, e));
    if (after - before != table->rows)
        return sqlite_count_error(table->name, table->rows, after - before, e);
    t->result->rows += table->rows;
    return 0;
}

/* In one transaction. Triggers of a table come with its schema.sql: they must not fire for rows
 * that had them fire once. */
static int restore_all(Tables *t, const size_t *indices, Error *e)
{
    TRY(sqlite_exec(t->db, "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE", e,
                    "the target can't be written"));
    sqlite3_db_config(t->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->c->options->n_tables; i++)
        r = restore_table(t, &t->c->tables[indices[i]], e);
    if (r == 0)
        r = sqlite_exec(t->db, "COMMIT", e, "the target can't be written");
    if (r < 0)
        sqlite3_exec(t->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static int restore_into(Tables *t, const char *path, const size_t *indices, bool is_new, Error *e)
{
    static const char *const encodings[][2] = {{"UTF-16le", "PRAGMA encoding = 'UTF-16le'"},
                                               {"UTF-16be", "PRAGMA encoding = 'UTF-16be'"}};
    const char *encoding = content_text(t->c, "encoding");
    const char *mode = content_text(t->c, "journal_mode");
    TRY(sqlite_open(t->c->options, path, &t->db, e));
    int r = 0;
    for (size_t i = 0; is_new && encoding && r == 0 && i < 2; i++)
        if (strcmp(encoding, encodings[i][0]) == 0)
            r = sqlite_exec(t->db, encodings[i][1], e, path);
    if (r == 0)
        r = restore_all(t, indices, e);
    if (r == 0 && is_new && mode && strcmp(mode, "wal") == 0)
        r = sqlite_exec(t->db, "PRAGMA journal_mode = WAL", e, path);
    if (sqlite3_close(t->db) != SQLITE_OK && r == 0)
        r = error_set(e, EIO, "%s can't be closed", path);
    t->db = NULL;
    return r;
}

int restore_sqlite_tables(Content *c, const char *path, RestoreResult *result, Error *e)
{
    Tables t = {.c = c, .result = result};
    _cleanup_free_ size_t *indices = NULL;
    TRY(content_tables(c, e));
    if (c->n_tables == 0) {
        error_set(e, ENOENT, "the backup was made without SQL text (--no-text): no single tables");
        error_hint(e, "restore the whole database to a new file");
        return -ENOENT;
    }
    TRY(select_tables(c, &indices, e));
    result->one_transaction = true;
    if (sqlite_exists(path)) {
        TRY(restore_confirm(c->options, e, "%s exists and will be changed", path));
        return restore_into(&t, path, indices, false, e);
    }
    _cleanup_free_ char *temporary = NULL;
    int fd;
    TRY(sqlite_temporary(path, &temporary, &fd, e));
    close(fd);
    int r = restore_into(&t, temporary, indices, true, e);
    if (r == 0)
        r = sqlite_put_in_place(temporary, path, false, e);
    if (r < 0)
        sqlite_remove(temporary);
    return r;
}
