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
    damage_filter(l, is_second, &asked);
    assert_int_equal(asked, 3);
    assert_int_equal(l->n, 1);
    assert_string_equal(l->items[0].message, "two");
}

static void test_kinds_have_names(void **state)
{
    for (DamageKind kind = DAMAGE_PACK; kind <= DAMAGE_TREE; kind++)
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
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
