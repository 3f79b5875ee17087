#include "tree/rope.h"

#include <errno.h>

#include "reference.h"

static void test_leaves_cover_the_file(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Rope rope;
    Buf bytes;
    make_rope(f, 3000, 3, &rope, &bytes);
    ObjectSource *s = writer_objects(f->writer);
    uint64_t at = 0;
    while (at < rope.length) {
        RopeLeaf leaf, last;
        assert_ok(rope_find(s, rope.node.data, rope.node.len, at, &leaf, &error));
        assert_int_equal(leaf.start, at);
        assert_true(leaf.len >= 1);
        if (leaf.is_literal)
            assert_memory_equal(leaf.literal, bytes.data + at, leaf.len);
        assert_ok(rope_find(s, rope.node.data, rope.node.len, at + leaf.len - 1, &last, &error));
        assert_int_equal(last.start, at);
        at += leaf.len;
        rope_leaf_release(&leaf);
        rope_leaf_release(&last);
    }
    assert_int_equal(at, rope.length);
    RopeLeaf leaf;
    assert_int_equal(rope_find(s, rope.node.data, rope.node.len, at, &leaf, &error), -ERANGE);
    assert_int_equal(rope_find(s, rope.node.data, rope.node.len, UINT64_MAX, &leaf, &error),
                     -ERANGE);
    error_release(&error);
    rope_release(&rope);
    buf_release(&bytes);
}

static void test_copies(void **state)
{
    Fixture *f = *state;
    Rope rope, copy = ROPE_INIT;
    Buf bytes;
    make_rope(f, 50, 1, &rope, &bytes);
    assert_int_equal(rope_copy(&rope, &copy), 0);
    rope_release(&rope);
    check_rope(writer_objects(f->writer), &copy, &bytes);
    rope_release(&copy);
    buf_release(&bytes);
}

typedef struct Count {
    size_t nodes, objects;
    uint64_t bytes;
    int answer;  /* for nodes */
    int stop_at; /* visits until -ECANCELED */
} Count;

static int count(void *ctx, const RopeVisit *v)
{
    Count *c = ctx;
    if (c->stop_at && --c->stop_at == 0)
        return -ECANCELED;
    if (v->is_node) {
        c->nodes++;
        return c->answer;
    }
    c->objects++;
    c->bytes += v->len;
    return 0;
}

static void test_walks(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Rope rope;
    Buf bytes;
    ObjectSource *s = writer_objects(f->writer);
    make_rope(f, 4000, 5, &rope, &bytes);
    Count all = {0}, top = {.answer = 1}, stopped = {.stop_at = 100};
    assert_ok(rope_walk(s, rope.node.data, rope.node.len, count, &all, &error));
    assert_int_equal(all.objects, 4000);
    assert_int_equal(all.bytes, rope.length - 1000 * 10);
    assert_true(all.nodes > 16);
    assert_ok(rope_walk(s, rope.node.data, rope.node.len, count, &top, &error));
    assert_int_equal(top.objects, 0);
    assert_int_equal(top.nodes, rope.n);
    assert_int_equal(rope_walk(s, rope.node.data, rope.node.len, count, &stopped, &error),
                     -ECANCELED);
    error_release(&error);
    rope_release(&rope);
    buf_release(&bytes);
}

/* Every second node below the root is said to be damaged. */
typedef struct Tour {
    ObjectSource base;
    ObjectSource *real;
    size_t gets, visited, damaged, left;
} Tour;

static int tour_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Tour *t = (Tour *)s;
    if (t->gets++ % 2)
        return error_set(e, EIO, "test");
    return object_get(t->real, id, ret_object, e);
}

static int tour_visit(void *ctx, const RopeVisit *v)
{
    Tour *t = ctx;
    t->visited += v->is_node;
    assert_true(!v->is_node || v->height > 0);
    return 0;
}

static int tour_damage(void *ctx, const RopeVisit *v, const Error *why)
{
    Tour *t = ctx;
    assert_true(v->is_node);
    assert_string_equal(why->message, "test");
    t->damaged++;
    return 0;
}

static int tour_leave(void *ctx, const RopeVisit *v)
{
    Tour *t = ctx;
    assert_true(v->is_node);
    t->left++;
    return 0;
}

static void test_walks_go_on_after_damage(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    Rope rope;
    Buf bytes;
    const RopeWalk walk = {.visit = tour_visit, .damage = tour_damage, .leave = tour_leave};
    Tour t = {.base.get = tour_get, .real = writer_objects(f->writer)};
    make_rope(f, 4000, 5, &rope, &bytes);
    assert_ok(rope_walk_all(&t.base, rope.node.data, rope.node.len, &walk, &t, &error));
    assert_true(t.damaged > 4);
    assert_int_equal(t.visited, t.gets);
    assert_int_equal(t.left, t.visited);
    assert_int_equal(t.damaged, t.gets / 2);
    rope_release(&rope);
    buf_release(&bytes);
}

/* Try everything that reads on a node that may be nonsense: an error or an answer, never more. */
static void try_node(ObjectSource *s, const void *data, size_t len)
{
    uint64_t length = 0;
    unsigned height;
    uint32_t n;
    Error error = ERROR_INIT;
    uint8_t out[512];
    RopeLeaf leaf = {0};
    Count c = {.stop_at = 10000};
    uint8_t *exact = malloc(len ? len : 1); /* so that a read past the end is noticed */
    memcpy(exact, data, len);
    int r = rope_node_check(exact, len, &length, &height, &n, &error);
    if (r < 0)
        assert_int_equal(r, -EBADMSG);
    if (rope_find(s, exact, len, length ? length - 1 : 0, &leaf, &error) == 0)
        rope_leaf_release(&leaf);
    rope_read(s, exact, len, 0, out, sizeof(out), &error);
    rope_read(s, exact, len, length / 2, out, sizeof(out), &error);
    rope_walk(s, exact, len, count, &c, &error);
    error_release(&error);
    free(exact);
}

static void test_damaged_nodes_never_crash(void **state)
{
    Fixture *f = *state;
    ObjectSource *s = writer_objects(f->writer);
    static const size_t counts[] = {0, 1, 6, 400};
    uint64_t random = 99;
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        Rope rope;
        Buf bytes;
        make_rope(f, counts[i], 5, &rope, &bytes);
        Buf *node = &rope.node;
        for (size_t at = 0; at < node->len && at < 400; at++)
            for (int bit = 0; bit < 8; bit++) {
                node->data[at] ^= (uint8_t)(1 << bit);
                try_node(s, node->data, node->len);
                node->data[at] ^= (uint8_t)(1 << bit);
            }
        for (size_t cut = 0; cut < node->len && cut < 400; cut++)
            try_node(s, node->data, cut);
        for (int k = 0; k < 2000 && node->len; k++) { /* several bytes at once */
            uint8_t saved[4096];
            size_t len = node->len < sizeof(saved) ? node->len : sizeof(saved);
            memcpy(saved, node->data, len);
            for (int j = 0; j < 4; j++)
                node->data[test_random(&random) % len] = (uint8_t)test_random(&random);
            try_node(s, node->data, len);
            memcpy(node->data, saved, len);
        }
        rope_release(&rope);
        buf_release(&bytes);
    }
    try_node(s, "", 0);
}

/* Nodes that are well-formed and wrong: each is refused as damage. */
static void test_contradictions_are_refused(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    uint8_t id[ID_SIZE] = {1};
    struct {
        const char *what;
        Buf node;
    } cases[12] = {0};
    size_t n = 0;
#define CASE(text, version, height, count_, length)                                                \
    Buf *b = &cases[n].node;                                                                       \
    cases[n++].what = text;                                                                        \
    buf_add_u8(b, version);                                                                        \
    buf_add_u8(b, height);                                                                         \
    buf_add_varint(b, count_);                                                                     \
    buf_add_varint(b, length)
#define OBJECT(kind, length)                                                                       \
    buf_add_u8(b, kind);                                                                           \
    buf_add_varint(b, length);                                                                     \
    buf_add(b, id, ID_SIZE)
    {
        CASE("another version", 2, 0, 1, 5);
        OBJECT(1, 5);
    }
    {
        CASE("too high", 1, 33, 1, 5);
        OBJECT(3, 5);
    }
    {
        CASE("a length of 0", 1, 0, 1, 0);
        OBJECT(1, 0);
    }
    {
        CASE("lengths that do not add up", 1, 0, 2, 11);
        OBJECT(1, 5);
        OBJECT(1, 5);
    }
    {
        CASE("a node below height 0", 1, 0, 1, 5);
        OBJECT(3, 5);
    }
    {
        CASE("an object beyond the limit", 1, 0, 1, (1 << 20) + 1);
        OBJECT(1, (1 << 20) + 1);
    }
    {
        CASE("an unknown kind", 1, 0, 1, 5);
        OBJECT(4, 5);
    }
    {
        CASE("bytes after the end", 1, 0, 1, 5);
        OBJECT(1, 5);
        buf_add_u8(b, 0);
    }
    {
        CASE("more entries than bytes", 1, 0, 60000, 5);
        OBJECT(1, 5);
    }
    {
        CASE("a length that overflows", 1, 1, 2, 5);
        OBJECT(3, INT64_MAX);
        OBJECT(3, INT64_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t length;
        unsigned height;
        uint32_t count_;
        int r = rope_node_check(cases[i].node.data, cases[i].node.len, &length, &height, &count_,
                                &error);
        if (r != -EBADMSG)
            fail_msg("%s: %d", cases[i].what, r);
        Count walked = {.answer = 1}; /* at nodes: their children are not there */
        r = rope_walk(s, cases[i].node.data, cases[i].node.len, count, &walked, &error);
        if (r != -EBADMSG)
            fail_msg("walking %s: %d", cases[i].what, r);
        try_node(s, cases[i].node.data, cases[i].node.len);
        buf_release(&cases[i].node);
    }
    error_release(&error);
}

/* A child that is not as long as its parent says must not give other bytes. */
static void test_children_must_be_what_parents_say(void **state)
{
    Fixture *f = *state;
    Error error = ERROR_INIT;
    ObjectSource *s = writer_objects(f->writer);
    Rope rope;
    Buf bytes, parent = BUF_INIT;
    ObjectId id, data_id;
    uint8_t out[100];
    make_rope(f, 5, 1, &rope, &bytes);
    assert_ok(writer_put(f->writer, OBJECT_ROPE, rope.node.data, rope.node.len, &id, &error));
    for (int wrong = 0; wrong < 2; wrong++) {
        buf_clear(&parent);
        buf_add_u8(&parent, 1);
        buf_add_u8(&parent, 1);
        buf_add_varint(&parent, 1);
        buf_add_varint(&parent, rope.length + (uint64_t)wrong);
        buf_add_u8(&parent, 3);
        buf_add_varint(&parent, rope.length + (uint64_t)wrong);
        buf_add(&parent, id.b, ID_SIZE);
        ssize_t n = rope_read(s, parent.data, parent.len, 0, out, sizeof(out), &error);
        assert_int_equal(n, wrong ? -EBADMSG : (ssize_t)sizeof(out));
    }
    /* The same for an object. */
    assert_ok(
        (error_release(&error), writer_put(f->writer, OBJECT_DATA, "12345", 5, &data_id, &error)));
    buf_clear(&parent);
    buf_add_u8(&parent, 1);
    buf_add_u8(&parent, 0);
    buf_add_varint(&parent, 1);
    buf_add_varint(&parent, 4);
    buf_add_u8(&parent, 1);
    buf_add_varint(&parent, 4);
    buf_add(&parent, data_id.b, ID_SIZE);
    assert_int_equal(rope_read(s, parent.data, parent.len, 0, out, 4, &error), -EBADMSG);
    error_release(&error);
    rope_release(&rope);
    buf_release(&bytes);
    buf_release(&parent);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_leaves_cover_the_file),
        WITH_STORE(test_copies),
        WITH_STORE(test_walks),
        WITH_STORE(test_walks_go_on_after_damage),
        WITH_STORE(test_damaged_nodes_never_crash),
        WITH_STORE(test_contradictions_are_refused),
        WITH_STORE(test_children_must_be_what_parents_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
