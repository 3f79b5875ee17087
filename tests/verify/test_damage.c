#include "verify/damage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const ObjectId first = {.b = {1}}, second = {.b = {2}};

static int setup(void **state)
{
    static DamageList list;
    damage_list_init(&list);
    *state = &list;
    return 0;
}

static int teardown(void **state)
{
    damage_list_release(*state);
    damage_list_release(NULL);
    return 0;
}

static void test_the_same_finding_counts_once(void **state)
{
    DamageList *l = *state;
    assert_int_equal(damage_add(l, DAMAGE_PACK, "packs/a", NULL, "one"), 0);
    assert_int_equal(damage_add(l, DAMAGE_PACK, "packs/a", NULL, "two"), 0);
    assert_int_equal(l->n, 1);
    assert_string_equal(l->items[0].message, "one");
    assert_int_equal(damage_add(l, DAMAGE_PACK, "packs/b", NULL, "one"), 0);
    assert_int_equal(damage_add(l, DAMAGE_OBJECT, "packs/a", &first, "one"), 0);
    assert_int_equal(damage_add(l, DAMAGE_OBJECT, "packs/a", &second, "one"), 0);
    assert_int_equal(damage_add(l, DAMAGE_OBJECT, "packs/b", &second, "one"), 0);
    assert_int_equal(damage_add(l, DAMAGE_MISSING, NULL, &second, "one"), 0);
    assert_int_equal(damage_add(l, DAMAGE_MISSING, NULL, &second, "one"), 0);
    assert_int_equal(l->n, 6);
}

static void test_touches_go_to_all_findings_about_the_object(void **state)
{
    DamageList *l = *state;
    damage_add(l, DAMAGE_OBJECT, "packs/a", &first, "one");
    damage_add(l, DAMAGE_OBJECT, "packs/b", &first, "one");
    damage_add(l, DAMAGE_OBJECT, "packs/b", &second, "one");
    damage_add(l, DAMAGE_PACK, "packs/b", NULL, "one");
    assert_int_equal(damage_touch(l, &first, 3, "x/y"), 0);
    assert_int_equal(damage_touch(l, &first, 3, "x/y"), 0); /* again, at once */
    assert_int_equal(damage_touch(l, &first, 4, "x/y"), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(l->items[i].touched, 2);
        assert_int_equal(l->items[i].touches[1].backup, 4);
        assert_string_equal(l->items[i].touches[1].path, "x/y");
    }
    assert_int_equal(l->items[2].touched, 0);
    assert_int_equal(l->items[3].touched, 0);
}

static void test_touches_are_bounded(void **state)
{
    DamageList *l = *state;
    damage_add(l, DAMAGE_MISSING, NULL, &first, "gone");
    for (int i = 0; i < DAMAGE_TOUCHES_MAX + 500; i++) {
        char path[32];
        snprintf(path, sizeof(path), "file%d", i);
        assert_int_equal(damage_touch(l, &first, 0, path), 0);
    }
    assert_int_equal(l->items[0].n_touches, DAMAGE_TOUCHES_MAX);
    assert_int_equal(l->items[0].touched, DAMAGE_TOUCHES_MAX + 500);
}

static bool is_second(void *ctx, const Damage *d)
{
    (*(int *)ctx)++;
    return id_compare(&d->object, &second) == 0;
}

static void test_filter(void **state)
{
    DamageList *l = *state;
    int asked = 0;
    damage_add(l, DAMAGE_MISSING, NULL, &first, "one");
    damage_add(l, DAMAGE_MISSING, NULL, &second, "two");
    damage_add(l, DAMAGE_OBJECT, "packs/a", &first, "three");
    damage_touch(l, &first, 0, "x");
    assert_int_equal(damage_filter(l, is_second, &asked), 0);
    assert_int_equal(asked, 3);
    assert_int_equal(l->n, 1);
    assert_string_equal(l->items[0].message, "two");
    assert_true(l->items[0].first_of_file);
    /* What was dropped is not known any more, what stayed is. */
    assert_false(damage_has_file(l, "packs/a"));
    assert_int_equal(damage_add(l, DAMAGE_MISSING, NULL, &second, "two"), 0);
    assert_int_equal(damage_touch(l, &second, 0, "x"), 0);
    assert_int_equal(l->items[0].touched, 1);
    assert_int_equal(damage_add(l, DAMAGE_MISSING, NULL, &first, "four"), 0);
    assert_int_equal(l->n, 2);
}

static void test_findings_about_one_file(void **state)
{
    DamageList *l = *state;
    damage_add(l, DAMAGE_PACK, "packs/a", NULL, "0");
    damage_add(l, DAMAGE_MISSING, NULL, &first, "1");
    damage_add(l, DAMAGE_OBJECT, "packs/b", &first, "2");
    damage_add(l, DAMAGE_OBJECT, "packs/a", &first, "3");
    damage_add(l, DAMAGE_MISSING, NULL, &second, "4");
    damage_add(l, DAMAGE_BASE, "packs/a", &second, "5");
    static const size_t next[] = {3, 4, DAMAGE_NONE, 5, DAMAGE_NONE, DAMAGE_NONE};
    for (size_t i = 0; i < l->n; i++) {
        assert_int_equal(l->items[i].first_of_file, i < 3);
        assert_int_equal(l->items[i].next_of_file, next[i]);
    }
    assert_true(damage_has_file(l, "packs/b"));
    assert_false(damage_has_file(l, "packs/c"));
}

/* Exactly, however many touches were not kept. */
static void test_touched_backups(void **state)
{
    DamageList *l = *state;
    damage_add(l, DAMAGE_MISSING, NULL, &first, "gone");
    for (size_t i = 0; i < DAMAGE_TOUCHES_MAX + 500; i++) {
        char path[32];
        snprintf(path, sizeof(path), "file%zu", i);
        assert_int_equal(damage_touch(l, &first, i % 2 ? 7 : 1000, path), 0);
    }
    assert_int_equal(damage_touch(l, &first, 70, "other"), 0);
    assert_int_equal(damage_touch(l, &second, 8, "other"), 0); /* no finding is about it */
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(damage_touches(l, i), i == 7 || i == 70 || i == 1000);
}

/* As when a pack of small tables is lost. */
static void test_many_findings(void **state)
{
    DamageList *l = *state;
    enum { MANY = 200000 };
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < MANY; i++) {
            ObjectId id = {.b = {9}}; /* crafted: alike in their first bytes */
            memcpy(id.b + 16, &i, sizeof(i));
            assert_int_equal(damage_add(l, DAMAGE_MISSING, NULL, &id, "gone"), 0);
            assert_int_equal(damage_touch(l, &id, 0, "x"), 0);
        }
    assert_int_equal(l->n, MANY);
}

static void test_kinds_have_names(void **state)
{
    for (DamageKind kind = DAMAGE_PACK; kind <= DAMAGE_CATALOGUE; kind++)
        assert_string_not_equal(damage_kind_name(kind), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_finding_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_touches_go_to_all_findings_about_the_object, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_touches_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_findings_about_one_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_touched_backups, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_findings, setup, teardown),
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
