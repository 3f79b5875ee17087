/* Deltas over many revisions of a file: chains stay short, little is stored, everything reads back.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>

#include "store/packset.h"

#define SIZE      (4u << 20)
#define REVISIONS 60

typedef struct Series {
    Fixture *f;
    uint8_t *data;
    size_t len;
    uint64_t seed;
    BackupInfo backups[REVISIONS];
    ObjectId sha256[REVISIONS];
    size_t n;
} Series;

/* Change one row in 50. */
static void change(Series *s)
{
    for (size_t at = 0; at < s->len;) {
        uint8_t *nl = memchr(s->data + at, '\n', s->len - at);
        size_t end = (size_t)(nl - s->data);
        if (test_random(&s->seed) % 50 == 0)
            for (size_t i = end - 12; i < end - 7; i++)
                s->data[i] = (uint8_t)('0' + test_random(&s->seed) % 10);
        at = end + 1;
    }
}

/* Back the file up as the next revision, following the one before. */
static void add_revision(Series *s)
{
    Fixture *f = s->f;
    Error error = ERROR_INIT;
    Stream *stream;
    Rope rope = ROPE_INIT;
    DirBuilder *b;
    Dir root;
    if (!f->writer)
        fixture_begin(f);
    assert_ok(stream_new(f->writer, (CutRule){.kind = CUT_ROWS}, &stream, &error));
    if (s->n > 0) {
        DirEntry x;
        const uint8_t *node;
        size_t len;
        Object *holder;
        ObjectSource *objects = store_objects(f->store);
        assert_ok(dir_resolve(objects, &s->backups[s->n - 1].root, "t", &x, &error));
        assert_ok(dir_entry_rope(objects, &x, &node, &len, &holder, &error));
        assert_ok(stream_follow(stream, objects, node, len, &error));
        object_unref(holder);
        dir_entry_release(&x);
    }
    assert_ok(stream_write(stream, s->data, s->len, &error));
    assert_ok(stream_finish(stream, &rope, &s->sha256[s->n], &error));
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_ok(dir_builder_file(b, "t", 0444, &rope, NULL, &error));
    assert_ok(dir_builder_finish(b, &root, &error));
    fixture_commit(f, "default/t", &root, false, &s->backups[s->n++]);
    dir_builder_free(b);
    rope_release(&rope);
    stream_free(stream);
}

static int setup(void **state)
{
    Series *s = calloc(1, sizeof(*s));
    void *fixture = NULL;
    assert_non_null(s);
    fixture_setup(&fixture);
    s->f = fixture;
    s->data = malloc(SIZE);
    assert_non_null(s->data);
    s->len = test_fill_rows(s->data, SIZE, 1000000, 5);
    s->seed = 99;
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    Series *s = *state;
    void *fixture = s->f;
    for (size_t i = 0; i < s->n; i++)
        backup_info_release(&s->backups[i]);
    free(s->data);
    free(s);
    return fixture_teardown(&fixture);
}

typedef struct Count {
    size_t chunks, deltas, whole_bytes, all_bytes;
    unsigned max_depth;
} Count;

/* What the packs that revision `i` added hold. */
static Count count_packs(Series *s, size_t i)
{
    Error error = ERROR_INIT;
    Manifest *m;
    Count n = {0};
    assert_ok(store_manifest(s->f->store, &s->backups[i], &m, &error));
    for (size_t p = 0; p < m->n_packs; p++) {
        PackIndex x;
        assert_ok(packset_load_index(store_packs(s->f->store), &m->packs[p], &x, NULL, &error));
        for (size_t k = 0; k < x.n; k++) {
            const PackEntry *entry = &x.entries[k];
            if (entry->type != OBJECT_DATA)
                continue;
            bool delta = entry->encoding == ENCODING_DELTA;
            n.chunks++;
            n.deltas += delta;
            n.all_bytes += entry->stored_len;
            n.whole_bytes += delta ? 0 : entry->stored_len;
            if (entry->depth > n.max_depth)
                n.max_depth = entry->depth;
        }
        pack_index_release(&x);
    }
    manifest_free(m);
    return n;
}

static void check_reads_back(Series *s, size_t i)
{
    Error error = ERROR_INIT;
    ObjectSource *objects = store_objects(s->f->store);
    uint8_t *back = malloc(s->len);
    ObjectId sha256;
    DirEntry x;
    const uint8_t *node;
    size_t len;
    Object *holder;
    assert_ok(dir_resolve(objects, &s->backups[i].root, "t", &x, &error));
    assert_int_equal(x.size, s->len);
    assert_ok(dir_entry_rope(objects, &x, &node, &len, &holder, &error));
    assert_int_equal(rope_read(objects, node, len, 0, back, s->len, &error), s->len);
    assert_int_equal(id_of(back, s->len, &sha256), 0);
    assert_memory_equal(sha256.b, s->sha256[i].b, ID_SIZE);
    object_unref(holder);
    dir_entry_release(&x);
    free(back);
}

static void test_sixty_revisions(void **state)
{
    Series *s = *state;
    size_t first = 0;
    unsigned deepest = 0;
    for (size_t i = 0; i < REVISIONS; i++) {
        if (i > 0)
            change(s);
        add_revision(s);
        Count n = count_packs(s, i);
        if (i == 0) {
            assert_int_equal(n.deltas, 0);
            first = n.all_bytes;
            continue;
        }
        assert_true(n.all_bytes < first / 2);         /* grows by what changed */
        assert_true(n.whole_bytes <= first / 16 * 4); /* never all anew on one day */
        assert_true(n.max_depth <= DELTA_MAX_DEPTH);
        deepest = n.max_depth > deepest ? n.max_depth : deepest;
    }
    assert_true(deepest >= 3); /* it did go deep */
    fixture_reopen(s->f);
    for (size_t i = 0; i < REVISIONS; i++)
        check_reads_back(s, i);
}

static void test_rewritten_file_is_stored_whole(void **state)
{
    Series *s = *state;
    add_revision(s);
    test_fill_random(s->data, s->len, 77);
    add_revision(s);
    Count n = count_packs(s, 1);
    assert_int_equal(n.deltas, 0);
    check_reads_back(s, 1);
}

static void test_unchanged_file_adds_no_chunk(void **state)
{
    Series *s = *state;
    add_revision(s);
    add_revision(s);
    assert_int_equal(count_packs(s, 1).chunks, 0);
}

static void test_reindexed_store_finds_bases(void **state)
{
    Series *s = *state;
    Error error = ERROR_INIT;
    add_revision(s);
    assert_ok(store_reindex(s->f->store, 0, &error));
    change(s);
    add_revision(s);
    assert_true(count_packs(s, 1).deltas > 0);
    check_reads_back(s, 1);
}

/* Damage to a base makes its deltas unreadable, never wrong. */
static void test_damaged_base(void **state)
{
    Series *s = *state;
    Error error = ERROR_INIT;
    add_revision(s);
    change(s);
    add_revision(s);
    Manifest *m;
    int damaged = 0;
    assert_ok(store_manifest(s->f->store, &s->backups[0], &m, &error));
    for (size_t i = 0; i < m->n_packs; i++) {
        char name[PACK_NAME_SIZE], path[256];
        pack_name(&m->packs[i], name);
        snprintf(path, sizeof(path), "%s/%s", s->f->path, name);
        assert_int_equal(chmod(path, 0600), 0);
        int fd = open(path, O_RDWR);
        uint8_t byte;
        if (pread(fd, &byte, 1, 50000) == 1) { /* the pack of nodes is shorter */
            byte ^= 4;
            assert_int_equal(pwrite(fd, &byte, 1, 50000), 1);
            damaged++;
        }
        close(fd);
    }
    manifest_free(m);
    assert_int_equal(damaged, 1);
    fixture_reopen(s->f);

    ObjectSource *objects = store_objects(s->f->store);
    DirEntry x;
    const uint8_t *node;
    size_t len;
    Object *holder;
    assert_ok(dir_resolve(objects, &s->backups[1].root, "t", &x, &error));
    assert_ok(dir_entry_rope(objects, &x, &node, &len, &holder, &error));
    int failed = 0;
    for (uint64_t at = 0; at < x.size;) {
        RopeLeaf leaf;
        Object *o;
        assert_ok(rope_find(objects, node, len, at, &leaf, &error));
        int r = object_get(objects, &leaf.id, &o, &error);
        if (r < 0)
            assert_int_equal(r, -EIO);
        else
            object_unref(o);
        failed += r < 0;
        error_release(&error);
        at = leaf.start + leaf.len;
        rope_leaf_release(&leaf);
    }
    assert_int_equal(failed, 1);
    object_unref(holder);
    dir_entry_release(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sixty_revisions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewritten_file_is_stored_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unchanged_file_adds_no_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reindexed_store_finds_bases, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_base, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
