#include "fs/rendered.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fixture.h"

#define BIG_FILES 60000 /* with names of 250 bytes: more than is kept of what nobody has open */

/* The writer's objects, counted; gets wait while the gate is held. */
typedef struct Counted {
    ObjectSource source;
    ObjectSource *below;
    pthread_mutex_t gate;
    atomic_int gets;
    atomic_bool broken;
} Counted;

static int counted_get(ObjectSource *s, const ObjectId *id, Object **ret_object, Error *e)
{
    Counted *c = (Counted *)s;
    atomic_fetch_add(&c->gets, 1);
    pthread_mutex_lock(&c->gate);
    pthread_mutex_unlock(&c->gate);
    return atomic_load(&c->broken) ? error_set(e, EIO, "broken")
                                   : object_get(c->below, id, ret_object, e);
}

typedef struct Scene {
    Counted objects;
    Rendered *rendered;
    BackupInfo info;
    LayoutBackup backup;
} Scene;

static void set_scene(Fixture *f, Scene *s, int files)
{
    Error error = ERROR_INIT;
    RopeBuilder *rb;
    DirBuilder *db;
    Rope rope;
    Dir root;
    ObjectId sum = {{0xab}};
    char name[251];
    *s = (Scene){.objects = {.source.get = counted_get, .below = writer_objects(f->writer)}};
    pthread_mutex_init(&s->objects.gate, NULL);
    assert_int_equal(rope_builder_new(f->writer, &rb), 0);
    assert_ok(rope_builder_literal(rb, "x", 1, &error));
    assert_ok(rope_builder_finish(rb, &rope, &error));
    rope_builder_free(rb);
    assert_int_equal(dir_builder_new(f->writer, &db), 0);
    for (int i = 0; i < files; i++) {
        snprintf(name, sizeof(name), "%0250d", i);
        assert_ok(dir_builder_file(db, name, 0444, &rope, &sum, &error));
    }
    assert_ok(dir_builder_finish(db, &root, &error));
    dir_builder_free(db);
    rope_release(&rope);
    assert_int_equal(rendered_new(f->store, &s->objects.source, &s->rendered), 0);
    s->backup = (LayoutBackup){.ordinal = 1,
                               .manifest = {{1}},
                               .root = root.id,
                               .entries = root.entries,
                               .info = &s->info};
}

static void end_scene(Scene *s)
{
    rendered_free(s->rendered);
    pthread_mutex_destroy(&s->objects.gate);
}

static Object *get(Scene *s)
{
    Object *text = NULL;
    assert_int_equal(rendered_get(s->rendered, &s->backup, RENDERED_SUMS, &text, NULL), 0);
    return text;
}

static void big_texts_are_shared_while_open(void **state)
{
    Scene s;
    set_scene(*state, &s, BIG_FILES);
    Object *first = get(&s);
    assert_in_range(first->len, 17 << 20, 40 << 20);
    int gets = s.objects.gets;
    Object *second = get(&s);
    assert_ptr_equal(first, second);
    rendered_put(s.rendered, first);
    Object *third = get(&s);
    assert_ptr_equal(second, third);
    assert_int_equal(s.objects.gets, gets);
    rendered_put(s.rendered, second);
    rendered_put(s.rendered, third);
    rendered_put(s.rendered, get(&s)); /* too big to be kept for nobody */
    assert_int_equal(s.objects.gets, 2 * gets);
    uint64_t size;
    assert_true(rendered_known_size(s.rendered, &s.backup, RENDERED_SUMS, &size));
    assert_in_range(size, 17 << 20, 40 << 20);
    end_scene(&s);
}

static void small_texts_are_kept(void **state)
{
    Scene s;
    set_scene(*state, &s, 10);
    rendered_put(s.rendered, get(&s));
    int gets = s.objects.gets;
    for (uint8_t i = 2; i < 17; i++) { /* 16 in all */
        s.backup.manifest.b[0] = i;
        rendered_put(s.rendered, get(&s));
    }
    assert_int_equal(s.objects.gets, 16 * gets);
    s.backup.manifest.b[0] = 1;
    rendered_put(s.rendered, get(&s));
    assert_int_equal(s.objects.gets, 16 * gets);
    s.backup.manifest.b[0] = 99;
    rendered_put(s.rendered, get(&s)); /* number 2 has to go: 1 was used since */
    s.backup.manifest.b[0] = 1;
    rendered_put(s.rendered, get(&s));
    assert_int_equal(s.objects.gets, 17 * gets);
    s.backup.manifest.b[0] = 2;
    rendered_put(s.rendered, get(&s));
    assert_int_equal(s.objects.gets, 18 * gets);
    end_scene(&s);
}

/* A store was set back: the number is the same, the backup is not. */
static void ordinals_say_nothing(void **state)
{
    Scene s;
    uint64_t size;
    set_scene(*state, &s, 10);
    Object *first = get(&s);
    s.backup.manifest.b[0] = 2;
    assert_false(rendered_known_size(s.rendered, &s.backup, RENDERED_SUMS, &size));
    Object *second = get(&s);
    assert_ptr_not_equal(first, second);
    rendered_put(s.rendered, first);
    rendered_put(s.rendered, second);
    end_scene(&s);
}

typedef struct Reader {
    pthread_t thread;
    Scene *scene;
    Object *text;
    int r;
} Reader;

static void *reader_run(void *arg)
{
    Reader *reader = arg;
    reader->r = rendered_get(reader->scene->rendered, &reader->scene->backup, RENDERED_SUMS,
                             &reader->text, NULL);
    return NULL;
}

/* Eight ask at once. */
static void ask_together(Scene *s, Reader readers[8])
{
    int before = s->objects.gets;
    pthread_mutex_lock(&s->objects.gate);
    for (int i = 0; i < 8; i++) {
        readers[i] = (Reader){.scene = s};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
    }
    while (s->objects.gets == before)
        usleep(1000);
    usleep(50000);
    assert_int_equal(s->objects.gets, before + 1); /* the others wait */
    pthread_mutex_unlock(&s->objects.gate);
    for (int i = 0; i < 8; i++)
        pthread_join(readers[i].thread, NULL);
}

static void one_makes_it_for_all(void **state)
{
    Scene s;
    Reader readers[8];
    set_scene(*state, &s, 10);
    s.objects.broken = true;
    ask_together(&s, readers);
    for (int i = 0; i < 8; i++)
        assert_int_equal(readers[i].r, -EIO);
    s.objects.broken = false;
    s.objects.gets = 0;
    ask_together(&s, readers);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(readers[i].r, 0);
        assert_ptr_equal(readers[i].text, readers[0].text);
    }
    for (int i = 0; i < 8; i++)
        rendered_put(s.rendered, readers[i].text);
    assert_int_equal(s.objects.gets, 1);
    end_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(big_texts_are_shared_while_open, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(small_texts_are_kept, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(ordinals_say_nothing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(one_makes_it_for_all, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
