/* A scratch store for unit tests of the layers above it. */
#pragma once

#include "support.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#include "store/writer.h"
#include "tree/dir.h"
#include "tree/stream.h"
#include "util/clock.h"

typedef struct Fixture {
    char *dir;  /* scratch */
    char *path; /* of the store */
    Store *store;
    StoreWriter *writer; /* NULL between fixture_commit and fixture_begin */
    int64_t time;        /* of the next backup */
} Fixture;

#define assert_ok(call) fixture_assert_ok((call), #call, &error, __FILE__, __LINE__)

/* Fails with the error's message. Expects a variable `error`. */
static inline void fixture_assert_ok(int r, const char *what, Error *e, const char *file, int line)
{
    if (r < 0) {
        print_error("%s: %d, %s\n", what, r, e->message ? e->message : "no message");
        _fail(file, line);
    }
    error_release(e);
}

static inline void fixture_begin(Fixture *f)
{
    Error error = ERROR_INIT;
    const WriterOptions o = {.workers = 2, .level = 1};
    assert_ok(writer_begin(f->store, &o, &f->writer, &error));
}

static inline int fixture_setup(void **state)
{
    Error error = ERROR_INIT;
    Fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->dir = test_dir_new();
    assert_non_null(f->dir);
    assert_true(asprintf(&f->path, "%s/store", f->dir) > 0);
    assert_ok(store_init(f->path, NULL, &error));
    assert_ok(store_open(f->path, &f->store, &error));
    f->time = 1768487445;
    fixture_begin(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    Fixture *f = *state;
    writer_end(f->writer);
    store_close(f->store);
    test_dir_remove(f->dir);
    free(f->path);
    free(f);
    return 0;
}

/* Close the store and open it again, as another process would. */
static inline void fixture_reopen(Fixture *f)
{
    Error error = ERROR_INIT;
    writer_end(f->writer);
    f->writer = NULL;
    store_close(f->store);
    f->store = NULL;
    assert_ok(store_open(f->path, &f->store, &error));
}

/* A file of `len` bytes in directory `b`. */
static inline void fixture_add_file(Fixture *f, DirBuilder *b, const char *name, const void *data,
                                    size_t len)
{
    Error error = ERROR_INIT;
    Stream *s = NULL;
    Rope rope = ROPE_INIT;
    ObjectId sha256;
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    assert_ok(stream_write(s, data, len, &error));
    assert_ok(stream_finish(s, &rope, &sha256, &error));
    assert_ok(dir_builder_file(b, name, 0444, &rope, &sha256, &error));
    rope_release(&rope);
    stream_free(s);
}

/* Commit `root` as a backup of `collection` ("ns/name") and end the writer. `ret_info` (release
 * it) may be NULL. */
static inline void fixture_commit(Fixture *f, const char *collection, const Dir *root, bool partial,
                                  BackupInfo *ret_info)
{
    Error error = ERROR_INIT;
    const char *slash = strchr(collection, '/');
    char hex[ID_HEX_SIZE], ns[101] = "", name[64];
    clock_format_ts(f->time, name);
    strcat(name, "--a--push--b");
    memcpy(ns, collection, (size_t)(slash - collection));
    id_to_hex(&root->id, hex);
    json_t *doc = json_pack(
        "{s:{s:s, s:s}, s:I, s:I, s:s, s:s, s:s, s:s, s:[], s:i, s:i, s:i, s:i, s:b, s:{s:s, s:I}, "
        "s:b}",
        "collection", "namespace", ns, "name", slash + 1, "timestamp", (json_int_t)f->time,
        "finished", (json_int_t)f->time + 1, "archive_name", name, "source_repo", "a",
        "trigger_event", "push", "commit_sha", "b", "databases", "size_bytes", 100, "record_count",
        10, "file_count", 3, "table_count", 1, "includes_files", 0, "root", "id", hex, "entries",
        (json_int_t)root->entries, "partial", partial);
    assert_non_null(doc);
    BackupInfo info;
    assert_ok(writer_commit(f->writer, doc, &info, &error));
    json_decref(doc);
    f->time += 86400;
    if (ret_info)
        *ret_info = info;
    else
        backup_info_release(&info);
    writer_end(f->writer);
    f->writer = NULL;
    assert_ok(store_refresh(f->store, &error));
}

/* A backup with files a (nothing), b (100 bytes), c (`rows_bytes` of rows), d/e (the same). */
static inline void fixture_backup(Fixture *f, size_t rows_bytes, uint64_t seed,
                                  BackupInfo *ret_info)
{
    Error error = ERROR_INIT;
    uint8_t *data = malloc(rows_bytes + 1);
    assert_non_null(data);
    size_t len = test_fill_rows(data, rows_bytes, 1, seed);
    DirBuilder *b = NULL, *d = NULL;
    Dir sub, root;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_int_equal(dir_builder_new(f->writer, &d), 0);
    fixture_add_file(f, d, "e", data, len);
    assert_ok(dir_builder_finish(d, &sub, &error));
    fixture_add_file(f, b, "a", data, 0);
    fixture_add_file(f, b, "b", data, len < 100 ? len : 100);
    fixture_add_file(f, b, "c", data, len);
    assert_ok(dir_builder_dir(b, "d", &sub, &error));
    assert_ok(dir_builder_finish(b, &root, &error));
    dir_builder_free(b);
    dir_builder_free(d);
    free(data);
    fixture_commit(f, "test/shop", &root, false, ret_info);
}

/* A backup of one file, c, whose chunks are deltas of the newest backup's where that pays. */
static inline void fixture_follow(Fixture *f, const uint8_t *data, size_t len, BackupInfo *ret_info)
{
    Error error = ERROR_INIT;
    Stream *s = NULL;
    Rope rope = ROPE_INIT;
    DirBuilder *b = NULL;
    Dir root;
    DirEntry before = {0};
    const uint8_t *node = NULL;
    size_t node_len = 0;
    Object *holder = NULL;
    ObjectSource *objects = store_objects(f->store);
    BackupList *l = store_backups(f->store);
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &s, &error));
    if (l->n) {
        assert_ok(dir_resolve(objects, &l->items[l->n - 1].root, "c", &before, &error));
        assert_ok(dir_entry_rope(objects, &before, &node, &node_len, &holder, &error));
        assert_ok(stream_follow(s, objects, node, node_len, &error));
    }
    assert_ok(stream_write(s, data, len, &error));
    assert_ok(stream_finish(s, &rope, NULL, &error));
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_ok(dir_builder_file(b, "c", 0444, &rope, NULL, &error));
    assert_ok(dir_builder_finish(b, &root, &error));
    dir_builder_free(b);
    rope_release(&rope);
    stream_free(s);
    object_unref(holder);
    dir_entry_release(&before);
    backup_list_unref(l);
    fixture_commit(f, "test/shop", &root, false, ret_info);
}

/* `days` backups of 1 MiB of rows, some bytes of which change every day. The writer has ended. */
static inline void fixture_days(Fixture *f, int days)
{
    size_t size = 1 << 20;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    size = test_fill_rows(data, size, 1, 1);
    for (int day = 0; day < days; day++) {
        if (!f->writer)
            fixture_begin(f);
        for (size_t at = (size_t)day * 10; at < size; at += 40000)
            data[at] = (uint8_t)('A' + day);
        fixture_follow(f, data, size, NULL);
    }
    free(data);
}
