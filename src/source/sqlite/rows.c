#include "source/sqlite/rows.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define ROWS_PER_REPORT 4096
#define STATEMENT_MAX   1000000000u /* SQLITE_MAX_SQL_LENGTH of every usual build */

static int pragma_of(SqliteDb *db, const char *pragma, const char *table, sqlite3_stmt **ret_stmt,
                     Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    if (buf_addf(&sql, "PRAGMA main.%s(", pragma) < 0 || sql_quote_name(&sql, table) < 0 ||
        buf_add_str(&sql, ")") < 0 || !buf_cstr(&sql))
        return error_oom(e);
    return sqlite_db_prepare(db, (const char *)sql.data, ret_stmt, e);
}

/* The columns that INSERT without a column list expects: those that are not generated. */
static int add_columns(SqliteDb *db, const char *table, Buf *sql, Error *e)
{
    _cleanup_(sqlite_stmt_cleanup) sqlite3_stmt *stmt = NULL;
    int r = pragma_of(db, "table_xinfo", table, &stmt, e);
    if (r < 0)
        return r;
    int rc;
    bool first = true;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (sqlite3_column_int(stmt, 6) != 0) /* hidden: 2 and 3 are generated */
            continue;
        const char *name = (const char *)sqlite3_column_text(stmt, 1);
        if (!name || (!first && buf_add_str(sql, ",") < 0) || sql_quote_name(sql, name) < 0)
            return error_oom(e);
        first = false;
    }
    return rc == SQLITE_DONE ? 0 : sqlite_db_error(db, rc, "read the columns", e);
}

/* Keeps the planner from another index that happens to hold all columns: the order of the rows
 * should be that of the table, whatever indexes come and go. */
static int add_order(SqliteDb *db, const SchemaObject *table, Buf *sql, Error *e)
{
    if (!table->without_rowid)
        return buf_add_str(sql, " NOT INDEXED") < 0 ? error_oom(e) : 0;
    _cleanup_(sqlite_stmt_cleanup) sqlite3_stmt *stmt = NULL;
    int r = pragma_of(db, "index_list", table->name, &stmt, e);
    if (r < 0)
        return r;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 1);
        const char *origin = (const char *)sqlite3_column_text(stmt, 3);
        if (!name || !origin || strcmp(origin, "pk") != 0)
            continue;
        if (buf_add_str(sql, " INDEXED BY ") < 0 || sql_quote_name(sql, name) < 0)
            return error_oom(e);
        return 0;
    }
    return rc == SQLITE_DONE ? 0 : sqlite_db_error(db, rc, "read the indexes", e);
}

static int prepare_select(SqliteDb *db, const SchemaObject *table, sqlite3_stmt **ret_stmt,
                          Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    if (buf_add_str(&sql, "SELECT ") < 0)
        return error_oom(e);
    int r = add_columns(db, table->name, &sql, e);
    if (r < 0)
        return r;
    if (buf_add_str(&sql, " FROM main.") < 0 || sql_quote_name(&sql, table->name) < 0)
        return error_oom(e);
    r = add_order(db, table, &sql, e);
    if (r < 0)
        return r;
    if (!buf_cstr(&sql))
        return error_oom(e);
    return sqlite_db_prepare(db, (const char *)sql.data, ret_stmt, e);
}

static int out_value(SqlOut *o, sqlite3_stmt *stmt, int i, Error *e)
{
    const void *p;
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        return sql_out_integer(o, sqlite3_column_int64(stmt, i), e);
    case SQLITE_FLOAT:
        return sql_out_real(o, sqlite3_column_double(stmt, i), e);
    case SQLITE_TEXT:
        p = sqlite3_column_text(stmt, i);
        return p ? sql_out_text(o, p, (size_t)sqlite3_column_bytes(stmt, i), e) : error_oom(e);
    case SQLITE_BLOB:
        p = sqlite3_column_blob(stmt, i);
        return sql_out_blob(o, p, p ? (size_t)sqlite3_column_bytes(stmt, i) : 0, e);
    default:
        return buf_add_str(&o->buf, "NULL") < 0 ? error_oom(e) : 0;
    }
}

static int out_row(SqlOut *o, sqlite3_stmt *stmt, const Buf *prefix, Error *e)
{
    if (buf_add(&o->buf, prefix->data, prefix->len) < 0)
        return error_oom(e);
    int n = sqlite3_column_count(stmt);
    for (int i = 0; i < n; i++) {
        if (i > 0 && buf_add_u8(&o->buf, ',') < 0)
            return error_oom(e);
        int r = out_value(o, stmt, i, e);
        if (r < 0)
            return r;
    }
    if (buf_add_str(&o->buf, ");\n") < 0)
        return error_oom(e);
    return sql_out_flush(o, false, e);
}

static uint64_t bytes_out(const SqlOut *o)
{
    return stream_bytes(o->stream) + o->buf.len;
}

static void note_long_row(SqliteDb *db, const char *table)
{
    const SourceOptions *o = db->options;
    _cleanup_free_ char *text = NULL;
    if (!o->note)
        return;
    if (asprintf(&text,
                 "table \"%s\" has a row longer than SQLite reads as one statement: restore it "
                 "from the .db file, not from SQL",
                 table) < 0) {
        text = NULL;
        return;
    }
    o->note(o->ctx, text);
}

static int out_rows(SqliteDb *db, const SchemaObject *table, const RowsOptions *options,
                    SqlOut *out, sqlite3_stmt *stmt, uint64_t *ret_rows, Error *e)
{
    _cleanup_(buf_release) Buf prefix = BUF_INIT;
    if (buf_add_str(&prefix, "INSERT INTO ") < 0 || sql_quote_name(&prefix, table->name) < 0 ||
        buf_add_str(&prefix, " VALUES(") < 0)
        return error_oom(e);
    uint64_t rows = 0;
    bool noted = false;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        uint64_t before = bytes_out(out);
        int r = out_row(out, stmt, &prefix, e);
        if (r < 0)
            return r;
        if (bytes_out(out) - before > STATEMENT_MAX && !noted) {
            note_long_row(db, table->name);
            noted = true;
        }
        if (++rows % ROWS_PER_REPORT == 0)
            sqlite_db_report(db, options->bytes_before + stream_bytes(out->stream), table->name);
    }
    if (rc != SQLITE_DONE)
        return sqlite_db_error(db, rc, "read a table", e);
    int r = sql_out_flush(out, true, e);
    if (r < 0)
        return r;
    sqlite_db_report(db, options->bytes_before + stream_bytes(out->stream), table->name);
    *ret_rows = rows;
    return 0;
}

int sqlite_rows_write(SqliteDb *db, const SchemaObject *table, const RowsOptions *options,
                      Stream *stream, uint64_t *ret_rows, Error *e)
{
    _cleanup_(sqlite_stmt_cleanup) sqlite3_stmt *stmt = NULL;
    SqlOut out = {.stream = stream, .encoding = options->encoding};
    int r = prepare_select(db, table, &stmt, e);
    if (r >= 0)
        r = out_rows(db, table, options, &out, stmt, ret_rows, e);
    buf_release(&out.buf);
    if (r == -EBADMSG)
        error_hint(e,
                   "look at `sqlite3 %s 'PRAGMA integrity_check'`; `--no-text` stores the file's "
                   "pages as they are",
                   db->path);
    if (r < 0 && r != -EINTR)
        error_prefix(e, "table \"%s\"", table->name);
    return r;
}
