/* Objects that a store holds more than once. */
#include <errno.h>

#include "harm.h"
#include "verify/inventory.h"
#include "verify/verify.h"

#define PLAIN 300 /* bytes of an object */

/* A record: object and base are letters, a base of 0 for one that stands alone. */
typedef struct Copy {
    char object, base;
    uint8_t depth;
    bool damaged;
} Copy;

static void plain_of(char object, uint8_t out[PLAIN], ObjectId *ret_id)
{
    test_fill_random(out, PLAIN, (uint64_t)object);
    assert_int_equal(id_of(out, PLAIN, ret_id), 0);
}

static void add_record(PackWriter *w, Codec *codec, const Copy *c)
{
    Error error = ERROR_INIT;
    uint8_t plain[PLAIN], base[PLAIN];
    ObjectId base_id;
    PackEntry entry = {.type = OBJECT_DATA,
                       .encoding = c->base ? ENCODING_DELTA : ENCODING_RAW,
                       .depth = c->depth,
                       .plain_len = PLAIN};
    Buf stored = BUF_INIT;
    plain_of(c->object, plain, &entry.id);
    if (c->damaged)
        plain[7] ^= 1;
    if (c->base) {
        plain_of(c->base, base, &base_id);
        assert_int_equal(codec_compress_delta(codec, 1, base, PLAIN, plain, PLAIN, &stored), 0);
    } else {
        assert_int_equal(buf_add(&stored, plain, PLAIN), 0);
    }
    entry.stored_len = (uint32_t)stored.len;
    uint32_t offset;
    assert_ok(pack_writer_add(w, &entry, c->base ? &base_id : NULL, stored.data, &offset, &error));
    buf_release(&stored);
}

/* A pack with these records. */
static void add_pack(Fixture *f, const Copy *copies, size_t n)
{
    Error error = ERROR_INIT;
    PackWriter *w = NULL;
    Codec *codec = NULL;
    ObjectId sha256;
    char hex[ID_HEX_SIZE], dir[512];
    assert_int_equal(codec_new(&codec), 0);
    assert_ok(pack_writer_new(store_backend(f->store), PACK_DATA, &w, &error));
    for (size_t i = 0; i < n; i++)
        add_record(w, codec, &copies[i]);
    assert_ok(pack_writer_seal(w, &sha256, &error));
    id_to_hex(&sha256, hex);
    snprintf(dir, sizeof(dir), "%s/packs/%.2s", f->path, hex);
    mkdir(dir, 0700);
    assert_ok(pack_writer_publish(w, &error));
    pack_writer_free(w);
    codec_free(codec);
}

/* A backup with a file for each of the objects, named by it. */
static void add_backup(Fixture *f, const char *objects)
{
    Error error = ERROR_INIT;
    DirBuilder *b = NULL;
    RopeBuilder *ropes = NULL;
    Dir root;
    if (!f->writer)
        fixture_begin(f);
    assert_int_equal(dir_builder_new(f->writer, &b), 0);
    assert_int_equal(rope_builder_new(f->writer, &ropes), 0);
    for (const char *o = objects; *o; o++) {
        const char name[] = {*o, 0};
        uint8_t plain[PLAIN];
        ObjectId id;
        Rope rope = ROPE_INIT;
        plain_of(*o, plain, &id);
        assert_ok(rope_builder_object(ropes, &id, PLAIN, &error));
        assert_ok(rope_builder_finish(ropes, &rope, &error));
        assert_ok(dir_builder_file(b, name, 0444, &rope, NULL, &error));
        rope_release(&rope);
    }
    assert_ok(dir_builder_finish(b, &root, &error));
    dir_builder_free(b);
    rope_builder_free(ropes);
    fixture_commit(f, "test/shop", &root, false, NULL);
}

static bool is_lost(const VerifyResult *r, char object)
{
    for (size_t i = 0; i < r->damage.n; i++)
        for (size_t k = 0; k < r->damage.items[i].n_touches; k++)
            if (r->damage.items[i].touches[k].path[0] == object)
                return true;
    return false;
}

static size_t count_kind(const VerifyResult *r, DamageKind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < r->damage.n; i++)
        n += r->damage.items[i].kind == kind;
    return n;
}

typedef struct Case {
    Copy copies[8];
    const char *lost;
    size_t objects, bases, missing; /* findings */
} Case;

/* All copies in packs of their own, or all in one. */
static void check_case(const Case *c, bool apart)
{
    static const VerifyOptions full = {0}, one = {.backup = "latest"};
    void *state;
    Error error = ERROR_INIT;
    fixture_setup(&state);
    Fixture *f = state;
    char letters[9] = "";
    size_t n = 0;
    for (; c->copies[n].object; n++) {
        if (!strchr(letters, c->copies[n].object))
            strncat(letters, &c->copies[n].object, 1);
        if (apart)
            add_pack(f, &c->copies[n], 1);
    }
    if (!apart)
        add_pack(f, c->copies, n);
    add_backup(f, letters);
    for (int i = 0; i < 2; i++) {
        VerifyResult *r = NULL;
        fixture_reopen(f);
        assert_ok(verify_run(f->store, i ? &one : &full, &r, &error));
        for (const char *o = letters; *o; o++)
            if (is_lost(r, *o) != (strchr(c->lost, *o) != NULL))
                fail_msg("%c of %s, lost are %s", *o, letters, c->lost);
        /* Findings about one object in one pack are one. */
        if (apart) {
            assert_int_equal(count_kind(r, DAMAGE_OBJECT), c->objects);
            assert_int_equal(count_kind(r, DAMAGE_BASE), c->bases);
            assert_int_equal(count_kind(r, DAMAGE_MISSING), c->missing);
        }
        assert_int_equal(r->damage.n > 0, c->objects + c->bases + c->missing > 0);
        assert_int_equal(verify_touches(r, 0), *c->lost != 0);
        assert_int_equal(r->n_marked, i == 0 && !*c->lost);
        verify_result_free(r);
    }
    fixture_teardown(&state);
}

static void test_any_sound_copy_will_do(void **state)
{
    static const Case cases[] = {
        /* One of two is damaged: named, and touches nothing; both are: it does. */
        {{{'A'}, {'A'}}, ""},
        {{{'A'}, {'X'}, {'A', 'X', 1, true}}, "", .objects = 1},
        {{{'A', 0, 0, true}, {'X'}, {'A', 'X', 1}}, "", .objects = 1},
        {{{'A', 0, 0, true}, {'X'}, {'A', 'X', 1, true}}, "A", .objects = 2},
        /* So below a delta: the copy that is less deep than all others is not the only one. */
        {{{'A'}, {'B', 0, 0, true}, {'B', 'A', 1}, {'D', 'B', 2}, {'E', 'D', 3}}, "", .objects = 1},
        {{{'A'}, {'B', 'M', 1}, {'B', 'A', 2}, {'D', 'B', 3}}, ""},
        /* But not one that is no less deep. */
        {{{'A'}, {'B', 0, 0, true}, {'B', 'A', 1}, {'D', 'B', 1}, {'E', 'D', 2}},
         "DE",
         .objects = 1,
         .bases = 2},
        {{{'A'}, {'B', 'M', 1}, {'B', 'A', 2}, {'D', 'B', 2}}, "D", .missing = 1},
        {{{'A'}, {'B', 'A', 2}, {'D', 'B', 2}}, "D", .objects = 1},
        {{{'A'}, {'B', 'A', 2}, {'D', 'B', 2}, {'D'}}, "", .objects = 1},
        /* What stands on the less deep copy of two that are both bad. */
        {{{'A'},
          {'B', 0, 0, true},
          {'B', 'A', 1, true},
          {'D', 'B', 5},
          {'D', 'A', 1},
          {'E', 'B', 2}},
         "BE",
         .objects = 2,
         .bases = 2},
        /* On itself: damaged, unless there is another. */
        {{{'D', 'D', 1}}, "D", .objects = 1},
        {{{'D', 'D', 1}, {'D'}}, ""},
        {{{'D', 'E', 1}, {'E', 'D', 1}}, "DE", .objects = 2},
        {{{'D', 'E', 1}, {'E', 'D', 2}, {'D'}}, "", .objects = 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (int apart = 0; apart < 2; apart++)
            check_case(&cases[i], apart);
}

/* A crafted index may have very many copies, and deltas of them: no work for each pair. */
static void test_very_many_copies(void **state)
{
    enum { MANY = 200000 };
    InventoryObject *objects = calloc(2 * MANY, sizeof(*objects));
    InventoryPack packs[1] = {0};
    Inventory v = {.packs = packs, .n_packs = 1, .objects = objects, .n_objects = 2 * MANY};
    for (uint32_t i = 0; i < MANY; i++) {
        objects[i] = (InventoryObject){
            .id = {{1}}, .depth = i >= MANY / 2, .offset = i, .base = INVENTORY_NONE};
        objects[MANY + i] = (InventoryObject){.id = {{2}}, .depth = 2, .offset = i};
        memcpy(objects[MANY + i].id.b + 1,
               (uint8_t[]){(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, 3);
        if (i < MANY - 1)
            objects[i].damaged = 1;
    }
    inventory_settle(&v);
    assert_int_equal(objects[0].sound, MANY - 1);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(objects[MANY + i].sound, MANY + i);
        inventory_want(&v, &objects[MANY + i]);
        inventory_want(&v, &objects[0]);
        const PackEntry entry = {.id = {{1}}, .depth = i >= MANY / 2, .offset = i};
        assert_ptr_equal(inventory_find_record(&v, &entry, 0), &objects[i]);
    }
    for (size_t i = 0; i < 2 * MANY; i++)
        assert_true(objects[i].wanted);
    free(objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_sound_copy_will_do),
        cmocka_unit_test(test_very_many_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
