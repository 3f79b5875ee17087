#include "tree/dir.h"

#include <errno.h>

#include "reference.h"

static const Rope no_rope = {.node = {.data = (uint8_t *)"\x01\x00\x00\x00", .len = 4}};

/* Names that sort differently from their numbers. */
static void name_of(size_t i, char out[32])
{
    snprintf(out, 32, "t%zx_%zu", i * 2654435761u % 65536, i);
}

/* A directory of `n` files, every seventh being a directory of three. */
static Dir make_dir(Fixture *f, size_t n)
{
    Error error = ERROR_INIT;
    DirBuilder *b = NULL, *small = NULL;
    Dir inner, dir;
    char name[32];
    assert_int_equal(dir_builder_new(f->writer, &small), 0);
    assert_ok(dir_builder_file(small, "data.sql", 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_file(small, "schema.sql", 0444, &no_rope, NULL, &error));
    assert_ok(dir_builder_file(small, "x", 0400, &no_rope, NULL, &error));
    assert_ok(dir_builder_finish(small, &inner, &error));
    dir_builder_free(small);
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < n; i++) {
        name_of(i, name);
        if (i % 7 == 3)
            assert_ok(dir_builder_dir(b, name, &inner, &error));
        else
            assert_ok(dir_builder_file(b, name, 0444, &no_rope, NULL, &error));
    }
    assert_ok(dir_builder_finish(b, &dir, &error));
    dir_builder_free(b);
    return dir;
}

typedef struct Listing {
    uint64_t n, next_index, first, stop_after;
    char last[256];
    ObjectSource *source;
    const ObjectId *root; /* when set, every entry is looked up by its index too */
} Listing;

static int visit(void *ctx, uint64_t position, const DirEntry *entry)
{
    Listing *l = ctx;
    char name[256] = "";
    assert_int_equal(position, l->first + l->n);
    memcpy(name, entry->name, entry->name_len);
    if (l->n > 0)
        assert_true(strcmp(l->last, name) < 0);
    strcpy(l->last, name);
    if (l->next_index)
        assert_int_equal(entry->index, l->next_index);
    l->next_index = entry->index + 1 + (entry->kind == ENTRY_DIR ? entry->dir.entries : 0);
    l->n++;
    if (l->root) {
        Error error = ERROR_INIT;
        DirEntry same;
        assert_ok(dir_by_index(l->source, l->root, entry->index, &same, &error));
        assert_int_equal(same.name_len, entry->name_len);
        assert_memory_equal(same.name, entry->name, entry->name_len);
        assert_int_equal(same.index, entry->index);
        assert_int_equal(same.kind, entry->kind);
        dir_entry_release(&same);
    }
    return l->stop_after && l->n == l->stop_after ? 7 : 0;
}

static void check_dir(Fixture *f, size_t n)
{
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    Dir dir = make_dir(f, n);
    size_t subdirs = n > 3 ? (n - 4) / 7 + 1 : 0;
    assert_int_equal(dir.entries, n + 3 * subdirs);
    const DirRef ref = {.id = dir.id, .index = 0};
    Listing all = {.next_index = 1, .source = s, .root = n <= 10000 ? &dir.id : NULL};
    assert_ok(dir_list(s, &ref, 0, visit, &all, &error));
    assert_int_equal(all.n, n);
    assert_int_equal(all.next_index, dir.entries + 1);

    /* Every name is found, names beside it are not. */
    for (size_t i = 0; i<n; i += n> 1000 ? 13 : 1) {
        char name[32];
        DirEntry entry;
        name_of(i, name);
        assert_ok(dir_lookup(s, &ref, name, strlen(name), &entry, &error));
        assert_int_equal(entry.kind, i % 7 == 3 ? ENTRY_DIR : ENTRY_FILE);
        DirEntry same;
        assert_ok(dir_by_index(s, &dir.id, entry.index, &same, &error));
        assert_memory_equal(same.name, name, same.name_len);
        dir_entry_release(&same);
        dir_entry_release(&entry);
        assert_int_equal(dir_lookup(s, &ref, name, strlen(name) - 1, &entry, &error), -ENOENT);
        strcat(name, "!");
        assert_int_equal(dir_lookup(s, &ref, name, strlen(name), &entry, &error), -ENOENT);
    }
    DirEntry entry;
    assert_int_equal(dir_lookup(s, &ref, "\x01", 1, &entry, &error), -ENOENT);
    assert_int_equal(dir_lookup(s, &ref, "\xff", 1, &entry, &error), -ENOENT);
    assert_int_equal(dir_by_index(s, &dir.id, dir.entries + 1, &entry, &error), -ENOENT);
    assert_int_equal(dir_by_index(s, &dir.id, UINT64_MAX, &entry, &error), -ENOENT);
    assert_true(dir_by_index(s, &dir.id, 0, &entry, &error) < 0);

    /* From any position on. */
    for (size_t i = 0; i <= 20; i++) {
        uint64_t from = n * i / 20 + (i == 20);
        Listing rest = {.first = from};
        assert_ok((error_release(&error), dir_list(s, &ref, from, visit, &rest, &error)));
        assert_int_equal(rest.n, from < n ? n - from : 0);
    }
    if (n > 2) {
        Listing some = {.stop_after = 2};
        assert_int_equal(dir_list(s, &ref, 0, visit, &some, &error), 7);
        assert_int_equal(some.n, 2);
    }
    error_release(&error);
}

static void test_directories_of_all_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 31, 127, 128, 129, 1000, 10000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        check_dir(*state, sizes[i]);
}

static void test_a_very_large_directory(void **state)
{
    check_dir(*state, 100000);
}

static void test_attributes_round_trip(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    DirBuilder *b = NULL;
    Dir dir;
    const DirEntry file = {.name = "f",
                           .name_len = 1,
                           .kind = ENTRY_FILE,
                           .mode = 04755,
                           .has_sha256 = true,
                           .sha256 = {{9}},
                           .has_mtime = true,
                           .mtime = -86400,
                           .object_name = "a\0b",
                           .object_name_len = 3};
    const DirEntry link = {.name = "l",
                           .name_len = 1,
                           .kind = ENTRY_SYMLINK,
                           .mode = 0777,
                           .size = 5,
                           .target = "../ab"};
    DirEntry sub = {.name = "s",
                    .name_len = 1,
                    .kind = ENTRY_DIR,
                    .mode = 0555,
                    .has_rows = true,
                    .rows = UINT64_MAX};
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_ok(dir_builder_finish(b, &sub.dir, &error));
    assert_ok(dir_builder_entry(b, &file, &no_rope, &error));
    assert_ok(dir_builder_entry(b, &link, NULL, &error));
    assert_ok(dir_builder_entry(b, &sub, NULL, &error));
    assert_ok(dir_builder_finish(b, &dir, &error));
    dir_builder_free(b);

    const DirRef ref = {.id = dir.id};
    DirEntry x;
    assert_ok(dir_lookup(s, &ref, "f", 1, &x, &error));
    assert_int_equal(x.mode, 04755);
    assert_int_equal(x.size, 0);
    assert_true(x.has_sha256 && x.sha256.b[0] == 9 && x.has_mtime && x.mtime == -86400);
    assert_int_equal(x.object_name_len, 3);
    assert_memory_equal(x.object_name, "a\0b", 3);
    assert_false(x.has_rows);
    const uint8_t *node;
    size_t len;
    Object *holder;
    assert_ok(dir_entry_rope(s, &x, &node, &len, &holder, &error));
    assert_int_equal(len, no_rope.node.len);
    object_unref(holder);
    dir_entry_release(&x);
    assert_ok(dir_lookup(s, &ref, "l", 1, &x, &error));
    assert_int_equal(x.size, 5);
    assert_memory_equal(x.target, "../ab", 5);
    dir_entry_release(&x);
    assert_ok(dir_lookup(s, &ref, "s", 1, &x, &error));
    assert_true(x.has_rows && x.rows == UINT64_MAX && !x.has_mtime && !x.has_sha256);
    dir_entry_release(&x);
    dir_entry_release(NULL);
}

/* A rope too long to stand in its entry is fetched. */
static void test_files_with_long_ropes(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    DirBuilder *b = NULL;
    Dir dir;
    Rope ropes[3];
    Buf bytes[3];
    static const size_t counts[] = {3, 120, 5000};
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < 3; i++) {
        char name[] = {(char)('a' + i), 0};
        make_rope(f, counts[i], i, &ropes[i], &bytes[i]);
        assert_ok(dir_builder_file(b, name, 0444, &ropes[i], NULL, &error));
    }
    assert_ok(dir_builder_finish(b, &dir, &error));
    dir_builder_free(b);
    for (size_t i = 0; i < 3; i++) {
        char name[] = {(char)('a' + i), 0};
        DirEntry x;
        const uint8_t *node;
        size_t len;
        Object *holder;
        assert_ok(dir_resolve(s, &dir.id, name, &x, &error));
        assert_int_equal(x.size, bytes[i].len);
        assert_ok(dir_entry_rope(s, &x, &node, &len, &holder, &error));
        assert_int_equal(len, ropes[i].node.len);
        assert_memory_equal(node, ropes[i].node.data, len);
        object_unref(holder);
        dir_entry_release(&x);
        rope_release(&ropes[i]);
        buf_release(&bytes[i]);
    }
}

static void test_paths(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    Dir dir = make_dir(f, 1000);
    char name[32], path[64];
    name_of(3, name);
    DirEntry x, y;
    assert_ok(dir_resolve(s, &dir.id, name, &x, &error));
    assert_int_equal(x.kind, ENTRY_DIR);
    snprintf(path, sizeof(path), "%s/schema.sql", name);
    assert_ok(dir_resolve(s, &dir.id, path, &y, &error));
    assert_int_equal(y.index, x.index + 2);
    assert_int_equal(y.kind, ENTRY_FILE);
    dir_entry_release(&x);
    dir_entry_release(&y);
    static const char *const bad[] = {"", "/", "a//b", ".", "..", "a/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_true(dir_resolve(s, &dir.id, bad[i], &x, &error) < 0);
    snprintf(path, sizeof(path), "%s/schema.sql/x", name);
    assert_int_equal(dir_resolve(s, &dir.id, path, &x, &error), -ENOTDIR);
    snprintf(path, sizeof(path), "%s/absent", name);
    assert_int_equal(dir_resolve(s, &dir.id, path, &x, &error), -ENOENT);
    snprintf(path, sizeof(path), "%s/", name);
    assert_true(dir_resolve(s, &dir.id, path, &x, &error) < 0);
    error_release(&error);
}

typedef struct Walked {
    size_t nodes, files, damaged;
    char last_damage[256];
    size_t under_way;
    int skip_after; /* nodes after which all are skipped; 0 for never */
} Walked;

static int walk_node(void *ctx, const char *path, const ObjectId *id, int height)
{
    Walked *w = ctx;
    (void)id;
    assert_true(*path || w->nodes == 0 || height >= 0); /* the first is the root's */
    if (w->skip_after && w->nodes >= (size_t)w->skip_after) {
        w->nodes++;
        return 1;
    }
    w->nodes++;
    w->under_way++;
    return 0;
}

static int leave_node(void *ctx, const ObjectId *id, int height)
{
    Walked *w = ctx;
    (void)id;
    (void)height;
    assert_true(w->under_way > 0);
    w->under_way--;
    return 0;
}

static int walk_file(void *ctx, const char *path, const DirEntry *entry)
{
    Walked *w = ctx;
    (void)entry;
    assert_true(*path && path[0] != '/');
    w->files++;
    return 0;
}

static int walk_damage(void *ctx, const char *path, const ObjectId *id, const Error *why)
{
    Walked *w = ctx;
    (void)id;
    assert_non_null(why->message);
    snprintf(w->last_damage, sizeof(w->last_damage), "%s", path);
    w->damaged++;
    return 0;
}

static const DirWalk callbacks = {
    .node = walk_node, .file = walk_file, .damage = walk_damage, .leave = leave_node};

/* An object source that fails for one object. */
typedef struct Faulty {
    ObjectSource base;
    ObjectSource *real;
    ObjectId id;
} Faulty;

static int faulty_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Faulty *x = (Faulty *)s;
    if (id_compare(id, &x->id) == 0)
        return error_set(e, EIO, "test");
    return object_get(x->real, id, ret_object, e);
}

static void test_walks(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    Dir dir = make_dir(f, 1000);
    Walked all = {0}, skipped = {.skip_after = 2};
    assert_ok(dir_walk(s, &dir.id, &callbacks, &all, &error));
    assert_int_equal(all.files, 1000 - 143 + 3 * 143);
    assert_int_equal(all.damaged, 0);
    assert_true(all.nodes > 143 + 8);
    assert_ok(dir_walk(s, &dir.id, &callbacks, &skipped, &error));
    assert_true(skipped.files < all.files / 2);

    /* The small directory that is shared can't be read: all else is still visited. */
    char name[32];
    DirEntry x;
    name_of(3, name);
    assert_ok(dir_resolve(s, &dir.id, name, &x, &error));
    Faulty faulty = {.base.get = faulty_get, .real = s, .id = x.dir.id};
    dir_entry_release(&x);
    Walked rest = {0};
    assert_ok(dir_walk(&faulty.base, &dir.id, &callbacks, &rest, &error));
    assert_int_equal(rest.damaged, 143);
    assert_int_equal(rest.files, 1000 - 143);
    assert_true(rest.last_damage[0] == 't');
    assert_int_equal(all.under_way + skipped.under_way + rest.under_way, 0);
}

/* Directories in each other end at a depth, for readers too. */
static void test_depth_is_bounded(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    DirBuilder *b = NULL;
    Dir dir;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_ok(dir_builder_finish(b, &dir, &error));
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        assert_ok(dir_builder_dir(b, "d", &dir, &error));
        r = dir_builder_finish(b, &dir, &error);
    }
    dir_builder_free(b);
    if (r == 0) {
        Walked w = {0};
        assert_ok(dir_walk(s, &dir.id, &callbacks, &w, &error));
        assert_int_equal(w.damaged, 1);
        DirEntry x;
        assert_true(dir_by_index(s, &dir.id, 90, &x, &error) < 0);
    }
    error_release(&error);
}

/* Nodes by number: object n is what the n-th byte of its id says. */
typedef struct Crafted {
    ObjectSource source;
    Buf nodes[16];
    unsigned gets;
} Crafted;

static int crafted_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Crafted *c = (Crafted *)s;
    const Buf *node = &c->nodes[id->b[0]];
    c->gets++;
    *ret_object = object_new((uint32_t)node->len);
    memcpy((*ret_object)->data, node->data, node->len);
    return 0;
}

static int count_entry(void *ctx, uint64_t position, const DirEntry *entry)
{
    ++*(unsigned *)ctx;
    return 0;
}

/* Inner nodes that promise entries, down to a leaf that has none: not followed for ever. */
static void test_promised_entries_must_be_there(void **state)
{
    Crafted c = {.source.get = crafted_get};
    for (uint8_t height = 0; height < 8; height++) {
        Buf *node = &c.nodes[height];
        unsigned children = height ? 50 : 0;
        buf_add_u8(node, 1);
        buf_add_u8(node, height);
        buf_add_varint(node, children);
        for (unsigned i = 0; i < children; i++) {
            ObjectId below = {{height - 1}};
            char name[8];
            snprintf(name, sizeof(name), "%03u", i);
            buf_add_varint(node, 3);
            buf_add(node, name, 3);
            buf_add(node, below.b, ID_SIZE);
            buf_add_varint(node, 1);
            buf_add_varint(node, 1);
        }
    }
    Error error = ERROR_INIT;
    DirRef dir = {.id = {{7}}};
    unsigned entries = 0;
    assert_int_equal(dir_list(&c.source, &dir, 0, count_entry, &entries, &error), -EBADMSG);
    error_release(&error);
    assert_int_equal(entries, 0);
    assert_int_equal(c.gets, 8);
    for (int i = 0; i < 8; i++)
        buf_release(&c.nodes[i]);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_directories_of_all_sizes),
        WITH_STORE(test_a_very_large_directory),
        WITH_STORE(test_attributes_round_trip),
        WITH_STORE(test_files_with_long_ropes),
        WITH_STORE(test_paths),
        WITH_STORE(test_walks),
        WITH_STORE(test_depth_is_bounded),
        cmocka_unit_test(test_promised_entries_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
