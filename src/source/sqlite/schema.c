#include "source/sqlite/schema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

static const char *column_str(sqlite3_stmt *stmt, int i)
{
    const char *text = (const char *)sqlite3_column_text(stmt, i);
    return text ? text : "";
}

static int add_object(SqliteSchema *s, size_t *cap, sqlite3_stmt *stmt)
{
    if (s->n == *cap) {
        size_t grown = *cap ? 2 * *cap : 64;
        SchemaObject *items = reallocarray(s->items, grown, sizeof(*items));
        if (!items)
            return -ENOMEM;
        s->items = items;
        *cap = grown;
    }
    bool is_table = strcmp(column_str(stmt, 0), "table") == 0;
    SchemaObject *o = &s->items[s->n++];
    *o = (SchemaObject){
        .kind = !is_table                         ? KIND_OTHER
                : sqlite3_column_int(stmt, 4) > 0 ? KIND_TABLE
                                                  : KIND_VIRTUAL,
        .without_rowid = sqlite3_column_int(stmt, 5) != 0,
        .name = strdup(column_str(stmt, 1)),
        .table = strdup(column_str(stmt, 2)),
        .sql = strdup(column_str(stmt, 3)),
    };
    if (!o->name || !o->table || !o->sql)
        return -ENOMEM;
    o->internal = sqlite3_strnicmp(o->name, "sqlite_", 7) == 0;
    return 0;
}

static int compare_table(const void *x, const void *y, void *ctx)
{
    const SqliteSchema *s = ctx;
    size_t i = *(const size_t *)x, j = *(const size_t *)y;
    int c = sqlite3_stricmp(s->items[i].table, s->items[j].table);
    return c ? c : (i > j) - (i < j);
}

static int index_by_table(SqliteSchema *s)
{
    s->by_table = calloc(s->n + 1, sizeof(*s->by_table));
    if (!s->by_table)
        return -ENOMEM;
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].kind == KIND_OTHER)
            s->by_table[s->n_by_table++] = i;
    qsort_r(s->by_table, s->n_by_table, sizeof(*s->by_table), compare_table, s);
    return 0;
}

/* Only SQLite's parser knows for certain: it is told of a column, here of the primary key's. */
static int find_autoincrement(SqliteDb *db, SqliteSchema *s, Error *e)
{
    _cleanup_(sqlite_stmt_cleanup) sqlite3_stmt *stmt = NULL;
    int r = sqlite_db_prepare(db, "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE pk = 1",
                              &stmt, e);
    for (size_t i = 0; r >= 0 && i < s->n; i++) {
        SchemaObject *o = &s->items[i];
        if (o->kind != KIND_TABLE || o->internal || o->without_rowid)
            continue;
        int autoincrement = 0;
        int rc = sqlite3_bind_text(stmt, 1, o->name, -1, SQLITE_STATIC);
        if (rc == SQLITE_OK)
            rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            rc = sqlite3_table_column_metadata(db->handle, "main", o->name, column_str(stmt, 0),
                                               NULL, NULL, NULL, NULL, &autoincrement);
        if (rc != SQLITE_OK && rc != SQLITE_DONE)
            return sqlite_db_error(db, rc, "read the columns", e);
        o->autoincrement = autoincrement;
        s->has_autoincrement = s->has_autoincrement || autoincrement;
        sqlite3_reset(stmt);
    }
    return r;
}

static bool has_sequences(const SqliteSchema *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].internal && strcmp(s->items[i].name, "sqlite_sequence") == 0)
            return true;
    return false;
}

int sqlite_schema_load(SqliteDb *db, SqliteSchema *ret_schema, Error *e)
{
    _cleanup_(sqlite_stmt_cleanup) sqlite3_stmt *stmt = NULL;
    _cleanup_(sqlite_schema_release) SqliteSchema s = {0};
    size_t cap = 0;
    int r = sqlite_db_prepare(db,
                              "SELECT m.type, m.name, m.tbl_name, m.sql, m.rootpage, l.wr "
                              "FROM sqlite_master AS m LEFT JOIN (SELECT name, wr FROM "
                              "pragma_table_list WHERE schema = 'main' AND wr) AS l "
                              "ON l.name = m.name AND m.type = 'table' "
                              "WHERE m.sql IS NOT NULL ORDER BY m.rowid",
                              &stmt, e);
    if (r < 0)
        return r;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        if (add_object(&s, &cap, stmt) < 0)
            return error_oom(e);
    if (rc != SQLITE_DONE)
        return sqlite_db_error(db, rc, "read the schema", e);
    if (index_by_table(&s) < 0)
        return error_oom(e);
    r = has_sequences(&s) ? find_autoincrement(db, &s, e) : 0;
    if (r < 0)
        return r;
    *ret_schema = s;
    s = (SqliteSchema){0};
    return 0;
}

void sqlite_schema_release(SqliteSchema *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->items[i].name);
        free(s->items[i].table);
        free(s->items[i].sql);
    }
    free(s->items);
    free(s->by_table);
    *s = (SqliteSchema){0};
}

size_t sqlite_schema_dependents(const SqliteSchema *s, const char *table, size_t *ret_first)
{
    size_t low = 0, high = s->n_by_table;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (sqlite3_stricmp(s->items[s->by_table[mid]].table, table) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_first = low;
    size_t n = 0;
    while (low + n < s->n_by_table &&
           sqlite3_stricmp(s->items[s->by_table[low + n]].table, table) == 0)
        n++;
    return n;
}
