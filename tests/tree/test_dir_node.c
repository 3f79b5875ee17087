#include "tree/dir_node.h"

#include <errno.h>

#include "fixture.h"

/* Nodes that an object source hands out under any id. */
typedef struct OneNode {
    ObjectSource base;
    const uint8_t *data;
    size_t len;
} OneNode;

static int one_node_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    OneNode *x = (OneNode *)s;
    (void)id;
    Object *o = object_new((uint32_t)x->len);
    if (!o)
        return error_oom(e);
    if (x->len)
        memcpy(o->data, x->data, x->len);
    *ret_object = o;
    return 0;
}

static int see(void *ctx, uint64_t position, const DirEntry *entry)
{
    int *left = ctx;
    (void)position;
    assert_true(entry->name_len >= 1 && entry->name_len <= 255);
    assert_null(memchr(entry->name, '/', entry->name_len));
    return --*left <= 0 ? -ECANCELED : 0;
}

static int see_file(void *ctx, const char *path, const DirEntry *entry)
{
    int *left = ctx;
    (void)path;
    (void)entry;
    return --*left <= 0 ? -ECANCELED : 0;
}

static int see_node(void *ctx, const char *path, const ObjectId *id, int height)
{
    int *left = ctx;
    (void)path;
    (void)id;
    (void)height;
    return --*left <= 0 ? -ECANCELED : 0;
}

static int see_damage(void *ctx, const char *path, const ObjectId *id, const Error *why)
{
    int *left = ctx;
    (void)path;
    (void)id;
    (void)why;
    return --*left <= 0 ? -ECANCELED : 0;
}

/* Everything that reads, on a node that may be nonsense: an answer or an error, no crash and no
 * endless loop. Every child of it is the node itself. */
static void try_node(const uint8_t *data, size_t len)
{
    static const DirWalk walk = {.node = see_node, .file = see_file, .damage = see_damage};
    OneNode s = {.base.get = one_node_get, .data = data, .len = len};
    Error error = ERROR_INIT;
    DirRef ref = {{{1}}, 0};
    DirEntry x;
    int left = 1000;
    if (dir_lookup(&s.base, &ref, "mm", 2, &x, &error) == 0)
        dir_entry_release(&x);
    if (dir_by_index(&s.base, &ref.id, 3, &x, &error) == 0)
        dir_entry_release(&x);
    if (dir_resolve(&s.base, &ref.id, "d/d/f", &x, &error) == 0)
        dir_entry_release(&x);
    dir_list(&s.base, &ref, 1, see, &left, &error);
    left = 1000;
    dir_walk(&s.base, &ref.id, &walk, &left, &error);
    error_release(&error);
}

static void try_damaged(uint8_t *data, size_t len)
{
    uint64_t random = 5;
    for (size_t at = 0; at < len; at++)
        for (int bit = 0; bit < 8; bit++) {
            data[at] ^= (uint8_t)(1 << bit);
            try_node(data, len);
            data[at] ^= (uint8_t)(1 << bit);
        }
    for (size_t cut = 0; cut < len; cut++)
        try_node(data, cut);
    uint8_t *copy = malloc(len);
    for (int k = 0; k < 3000; k++) {
        memcpy(copy, data, len);
        for (int j = 0; j < 3; j++)
            copy[test_random(&random) % len] = (uint8_t)test_random(&random);
        try_node(copy, len);
    }
    free(copy);
}

/* A leaf node with an entry of every kind and all attributes. */
static Object *make_leaf(Fixture *f)
{
    Error error = ERROR_INIT;
    static const Rope rope = {.node = {.data = (uint8_t *)"\x01\x00\x00\x00", .len = 4}};
    const DirEntry entries[] = {
        {.name = "d",
         .name_len = 1,
         .kind = ENTRY_DIR,
         .mode = 0555,
         .dir = {.entries = 4},
         .has_rows = true,
         .rows = 77},
        {.name = "f",
         .name_len = 1,
         .kind = ENTRY_FILE,
         .mode = 0444,
         .has_sha256 = true,
         .has_mtime = true,
         .mtime = 5,
         .object_name = "F",
         .object_name_len = 1},
        {.name = "mm",
         .name_len = 2,
         .kind = ENTRY_SYMLINK,
         .mode = 0777,
         .size = 2,
         .target = "to"},
    };
    DirBuilder *b = NULL;
    Dir dir;
    Object *o;
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    for (size_t i = 0; i < 3; i++)
        assert_ok(dir_builder_entry(b, &entries[i], &rope, &error));
    assert_ok(dir_builder_finish(b, &dir, &error));
    dir_builder_free(b);
    assert_ok(object_get(writer_objects(f->writer), &dir.id, &o, &error));
    return o;
}

static void test_damaged_leaves_never_crash(void **state)
{
    Object *o = make_leaf(*state);
    try_node(o->data, o->len);
    try_damaged(o->data, o->len);
    object_unref(o);
}

static void test_damaged_inner_nodes_never_crash(void **state)
{
    (void)state;
    Buf node = BUF_INIT;
    uint8_t id[ID_SIZE] = {3};
    buf_add_u8(&node, DIR_VERSION);
    buf_add_u8(&node, 1);
    buf_add_varint(&node, 3);
    for (int i = 0; i < 3; i++) {
        buf_add_varint(&node, 2);
        buf_add(&node, i == 0 ? "aa" : i == 1 ? "mm" : "zz", 2);
        buf_add(&node, id, ID_SIZE);
        buf_add_varint(&node, 2);
        buf_add_varint(&node, 5);
    }
    try_damaged(node.data, node.len);
    buf_release(&node);
}

static int open_and_read(const Buf *b)
{
    DirNode node;
    Error error = ERROR_INIT;
    int r = dir_node_open(b->data, b->len, &node, &error);
    while (r == 0 && node.n > 0) {
        DirEntry x;
        DirChild c;
        r = node.height ? dir_node_next_child(&node, &c, &error)
                        : dir_node_next_entry(&node, &x, &error);
    }
    error_release(&error);
    return r;
}

/* A file entry called `name` with one attribute. */
static Buf make_entry(const char *name, size_t name_len, uint8_t kind, uint64_t mode, uint8_t tag,
                      size_t attribute_len)
{
    Buf b = BUF_INIT;
    uint8_t zeros[64] = {0};
    buf_add_u8(&b, DIR_VERSION);
    buf_add_u8(&b, 0);
    buf_add_varint(&b, 1);
    buf_add_varint(&b, name_len);
    buf_add(&b, name, name_len);
    buf_add_u8(&b, kind);
    buf_add_varint(&b, mode);
    buf_add_varint(&b, 0); /* size */
    buf_add_u8(&b, 0);
    buf_add_varint(&b, 4);
    buf_add(&b, "\x01\x00\x00\x00", 4);
    buf_add_u8(&b, 1);
    buf_add_u8(&b, tag);
    buf_add_varint(&b, attribute_len);
    buf_add(&b, zeros, attribute_len);
    return b;
}

static void test_entries_out_of_bounds_are_refused(void **state)
{
    (void)state;
    char longest[256];
    memset(longest, 'n', sizeof(longest));
    const struct {
        const char *name;
        size_t len;
        uint8_t kind;
        uint64_t mode;
        uint8_t tag;
        size_t attribute_len;
        int result;
    } cases[] = {
        {"f", 1, 1, 0444, 99, 5, 0}, /* an attribute of a later version */
        {longest, 255, 1, 07777, 1, 32, 0},    {"f", 1, 1, 010000, 99, 5, -EBADMSG},
        {"f", 1, 0, 0444, 99, 5, -EBADMSG},    {"f", 1, 4, 0444, 99, 5, -EBADMSG},
        {"f", 1, 1, 0444, 1, 31, -EBADMSG},    {"f", 1, 1, 0444, 1, 33, -EBADMSG},
        {"f", 1, 1, 0444, 2, 7, -EBADMSG},     {"f", 1, 1, 0444, 3, 0, -EBADMSG},
        {"", 0, 1, 0444, 99, 5, -EBADMSG},     {".", 1, 1, 0444, 99, 5, -EBADMSG},
        {"..", 2, 1, 0444, 99, 5, -EBADMSG},   {"a/b", 3, 1, 0444, 99, 5, -EBADMSG},
        {"a\0b", 3, 1, 0444, 99, 5, -EBADMSG}, {longest, 256, 1, 0444, 99, 5, -EBADMSG},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        Buf b = make_entry(cases[i].name, cases[i].len, cases[i].kind, cases[i].mode, cases[i].tag,
                           cases[i].attribute_len);
        int r = open_and_read(&b);
        if (r != cases[i].result)
            fail_msg("case %zu: %d", i, r);
        buf_release(&b);
    }
}

static void test_names_compare_as_unsigned_bytes(void **state)
{
    (void)state;
    static const char *const sorted[] = {"A", "a",    "a\x01", "aa",  "ab",
                                         "b", "\x7f", "\x80",  "\xff"};
    size_t n = sizeof(sorted) / sizeof(*sorted);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            int order =
                dir_name_compare(sorted[i], strlen(sorted[i]), sorted[k], strlen(sorted[k]));
            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
        }
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_damaged_leaves_never_crash),
        cmocka_unit_test(test_damaged_inner_nodes_never_crash),
        cmocka_unit_test(test_entries_out_of_bounds_are_refused),
        cmocka_unit_test(test_names_compare_as_unsigned_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
