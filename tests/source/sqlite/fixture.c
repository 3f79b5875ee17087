#include "fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../../support.h"
#include "tree/dir.h"
#include "util/io.h"

#define FILE_MAX (1u << 30)

static void on_note(void *ctx, const char *text)
{
    Fixture *f = ctx;
    assert_int_equal(buf_add_str(&f->notes, text), 0);
    assert_int_equal(buf_add_str(&f->notes, "\n"), 0);
}

int fixture_setup(void **state)
{
    Fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->dir = test_dir_new();
    assert_non_null(f->dir);
    assert_int_equal(store_init(fixture_path(f, "store"), NULL, NULL), 0);
    assert_int_equal(store_open(fixture_path(f, "store"), &f->store, NULL), 0);
    assert_int_equal(writer_begin(f->store, &(WriterOptions){.workers = 1}, &f->writer, NULL), 0);
    f->options = (SourceOptions){.note = on_note, .ctx = f};
    *state = f;
    return 0;
}

static void forget(Fixture *f)
{
    json_decref(f->result.database);
    f->result = (SourceResult){0};
    error_release(&f->error);
}

int fixture_teardown(void **state)
{
    Fixture *f = *state;
    forget(f);
    buf_release(&f->notes);
    writer_end(f->writer);
    store_close(f->store);
    test_dir_remove(f->dir);
    free(f);
    return 0;
}

const char *fixture_path(Fixture *f, const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", f->dir, name);
    return path;
}

static sqlite3 *connect_file(Fixture *f, const char *name)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fixture_path(f, name), &db), SQLITE_OK);
    return db;
}

void fixture_sql(Fixture *f, const char *name, const char *sql)
{
    sqlite3 *db = connect_file(f, name);
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

char *fixture_query(Fixture *f, const char *name, const char *sql)
{
    sqlite3 *db = connect_file(f, name);
    sqlite3_stmt *stmt;
    Buf b = BUF_INIT;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        assert_int_equal(buf_addf(&b, "%s\n", text ? text : "NULL"), 0);
    }
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    char *text = buf_take_cstr(&b);
    assert_non_null(text);
    return text;
}

int fixture_dump(Fixture *f, const char *name)
{
    Source *s = NULL;
    forget(f);
    int r = sqlite_source_new(fixture_path(f, name), &f->options, &s, &f->error);
    if (r >= 0)
        r = s->ops->open(s, &f->error);
    if (r >= 0)
        r = s->ops->read(s, &(SourceRun){.writer = f->writer}, &f->result, &f->error);
    if (s)
        s->ops->free(s);
    return r;
}

void fixture_read(Fixture *f, const char *path, Buf *ret_bytes)
{
    ObjectSource *objects = writer_objects(f->writer);
    DirEntry entry;
    const uint8_t *node;
    size_t node_len;
    Object *holder = NULL;
    if (dir_resolve(objects, &f->result.root.id, path, &entry, NULL) < 0)
        fail_msg("no %s", path);
    assert_int_equal(entry.kind, ENTRY_FILE);
    assert_int_equal(dir_entry_rope(objects, &entry, &node, &node_len, &holder, NULL), 0);
    *ret_bytes = BUF_INIT;
    assert_int_equal(buf_reserve(ret_bytes, entry.size + 1), 0);
    if (entry.size > 0)
        assert_int_equal(rope_read(objects, node, node_len, 0, ret_bytes->data, entry.size, NULL),
                         entry.size);
    ret_bytes->len = entry.size;
    if (entry.has_sha256) {
        ObjectId digest;
        assert_int_equal(id_of(ret_bytes->data, ret_bytes->len, &digest), 0);
        assert_int_equal(id_compare(&digest, &entry.sha256), 0);
    }
    object_unref(holder);
    dir_entry_release(&entry);
}

void fixture_extract(Fixture *f, const char *path, const char *name)
{
    Buf b;
    fixture_read(f, path, &b);
    int fd = open(fixture_path(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, b.data, b.len), 0);
    close(fd);
    buf_release(&b);
}

void fixture_restore(Fixture *f, const char *name)
{
    Buf b;
    fixture_read(f, "restore.sql", &b);
    assert_non_null(buf_cstr(&b));
    fixture_sql(f, name, (const char *)b.data);
    buf_release(&b);
}

void fixture_slurp(Fixture *f, const char *name, Buf *ret_bytes)
{
    *ret_bytes = BUF_INIT;
    assert_int_equal(io_read_file(AT_FDCWD, fixture_path(f, name), FILE_MAX, ret_bytes), 0);
}
