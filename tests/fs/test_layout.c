#include "fs/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/clock.h"

#define T0 1768487445 /* 2026-01-15T14:30:45Z */

static BackupList *new_list(size_t n)
{
    BackupList *l = calloc(1, sizeof(*l));
    assert_non_null(l);
    atomic_init(&l->refs, 1);
    l->n = n;
    l->items = calloc(n + 1, sizeof(*l->items));
    assert_non_null(l->items);
    return l;
}

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, format);
    assert_true(vasprintf(&out, format, ap) >= 0);
    va_end(ap);
    return out;
}

/* Backup `ordinal`: named by its time, found by id "backup-<ordinal>". */
static BackupInfo make(uint64_t ordinal, const char *collection, int64_t timestamp, bool partial)
{
    char ts[CLOCK_TS_SIZE];
    clock_format_ts(timestamp, ts);
    BackupInfo b = {.ordinal = ordinal,
                    .id = text("backup-%llu", (unsigned long long)ordinal),
                    .collection = text("%s", collection),
                    .timestamp = timestamp,
                    .latest_name = text("latest_%s", ts),
                    .archive_name = text("%s--repo--manual--%llu", ts, (unsigned long long)ordinal),
                    .partial = partial,
                    .size_bytes = 1000,
                    .file_count = 3,
                    .entries = 10};
    memset(b.root.b, (int)ordinal, ID_SIZE);
    return b;
}

static Layout *layout_of(BackupList *list, const char *shown, const Layout *before)
{
    Layout *l;
    LayoutLeftOut left_out;
    struct timespec now = {.tv_sec = 2000000000};
    assert_int_equal(layout_new(list, shown, before, now, &l, &left_out), 0);
    assert_int_equal(left_out.unfit + left_out.replaced, 0);
    backup_list_unref(list);
    return l;
}

/* Backups 1, 2 and 4 of a/x (2 partial), 3 of a/y, 5 of b/x, a minute apart. */
static BackupList *example(void)
{
    BackupList *l = new_list(5);
    l->items[0] = make(1, "a/x", T0, false);
    l->items[1] = make(2, "a/x", T0 + 60, true);
    l->items[2] = make(3, "a/y", T0 + 120, false);
    l->items[3] = make(4, "a/x", T0 + 180, false);
    l->items[4] = make(5, "b/x", T0 + 240, false);
    return l;
}

/* The names of a directory, in the order of its listing, separated by spaces. */
static char *names(const Layout *l, InodeKind kind, uint32_t number)
{
    char *out = text("%s", "");
    LayoutChild child;
    for (uint64_t from = 0; layout_next(l, kind, number, from, &child); from = child.next) {
        assert_true(child.next > from);
        LayoutChild found;
        assert_true(layout_lookup(l, kind, number, child.name, &found));
        assert_int_equal(found.ino, child.ino);
        char *longer = text("%s%s%s", out, *out ? " " : "", child.name);
        free(out);
        out = longer;
    }
    return out;
}

static void assert_names(const Layout *l, InodeKind kind, uint32_t number, const char *expected)
{
    char *got = names(l, kind, number);
    assert_string_equal(got, expected);
    free(got);
}

static void root_shows_one_collection(void **state)
{
    Layout *l = layout_of(example(), "a/x", NULL);
    assert_names(l, INODE_ROOT, 0, "collections latest archive by-id");
    assert_names(l, INODE_DIR_LATEST, 0, "latest_2026-01-15T14-33-45Z");
    assert_names(l, INODE_DIR_ARCHIVE, 0,
                 "2026-01-15T14-30-45Z--repo--manual--1 2026-01-15T14-31-45Z--repo--manual--2");
    assert_names(l, INODE_DIR_BY_ID, 0, "backup-1 backup-4");
    layout_unref(l);

    l = layout_of(example(), NULL, NULL); /* none recorded: the first one */
    assert_names(l, INODE_DIR_BY_ID, 0, "backup-1 backup-4");
    layout_unref(l);
    l = layout_of(example(), "b/x", NULL);
    assert_names(l, INODE_DIR_BY_ID, 0, "backup-5");
    layout_unref(l);
    l = layout_of(example(), "no/such", NULL);
    assert_names(l, INODE_DIR_BY_ID, 0, "");
    assert_names(l, INODE_DIR_LATEST, 0, "");
    layout_unref(l);
}

static void collections_show_all(void **state)
{
    Layout *l = layout_of(example(), "a/x", NULL);
    assert_names(l, INODE_COLLECTIONS, 0, "a b");
    assert_names(l, INODE_NAMESPACE, 1, "x y");
    assert_names(l, INODE_NAMESPACE, 2, "x");
    assert_names(l, INODE_COLLECTION, 1, "latest archive by-id");
    assert_names(l, INODE_DIR_BY_ID, 1, "backup-1 backup-4");
    assert_names(l, INODE_DIR_BY_ID, 2, "backup-3");
    assert_names(l, INODE_DIR_LATEST, 3, "latest_2026-01-15T14-34-45Z");
    assert_names(l, INODE_DIR_ARCHIVE, 3, "");

    LayoutChild child;
    assert_false(layout_next(l, INODE_DIR_BY_ID, 4, 0, &child));
    assert_false(layout_lookup(l, INODE_NAMESPACE, 3, "x", &child));
    assert_false(layout_lookup(l, INODE_COLLECTION, 1, "collections", &child));
    layout_unref(l);
}

static void directories_never_share_a_number(void **state)
{
    Layout *l = layout_of(example(), "a/x", NULL);
    uint64_t seen[64];
    size_t n = 0;
    for (uint32_t number = 0; number <= 3; number++)
        for (int kind = INODE_ROOT; kind < INODE_KIND_END; kind++) {
            if (number > 0 && (kind == INODE_ROOT || kind == INODE_COLLECTIONS))
                continue;
            LayoutChild child;
            for (uint64_t from = 0; layout_next(l, (InodeKind)kind, number, from, &child);
                 from = child.next) {
                for (size_t i = 0; i < n; i++)
                    assert_int_not_equal(seen[i], child.ino);
                Inode inode;
                assert_true(inode_parse(child.ino, &inode));
                seen[n++] = child.ino;
            }
        }
    assert_in_range(n, 30, 40);
    layout_unref(l);
}

static void parents(void **state)
{
    Layout *l = layout_of(example(), "a/x", NULL);
    assert_int_equal(layout_parent(l, INODE_DIR_LATEST, 0), 1);
    assert_int_equal(layout_parent(l, INODE_COLLECTIONS, 0), 1);
    assert_int_equal(layout_parent(l, INODE_NAMESPACE, 2), inode_of_virtual(INODE_COLLECTIONS, 0));
    assert_int_equal(layout_parent(l, INODE_COLLECTION, 3), inode_of_virtual(INODE_NAMESPACE, 2));
    assert_int_equal(layout_parent(l, INODE_DIR_BY_ID, 3), inode_of_virtual(INODE_COLLECTION, 3));
    layout_unref(l);
}

static void earlier_latest_names_still_resolve(void **state)
{
    Layout *l = layout_of(example(), "a/x", NULL);
    LayoutChild child;
    assert_true(layout_lookup(l, INODE_DIR_LATEST, 0, "latest_2026-01-15T14-30-45Z", &child));
    assert_int_equal(child.backup->ordinal, 1);
    assert_int_equal(child.ino, inode_of_entry(INODE_LATEST, 1, 0));
    /* A partial backup never was the latest; nor is the latest in the archive. */
    assert_false(layout_lookup(l, INODE_DIR_LATEST, 0, "latest_2026-01-15T14-31-45Z", &child));
    assert_false(
        layout_lookup(l, INODE_DIR_ARCHIVE, 0, "2026-01-15T14-33-45Z--repo--manual--4", &child));
    assert_false(layout_lookup(l, INODE_DIR_BY_ID, 0, "backup-2", &child));
    layout_unref(l);
}

static void of_two_in_one_second_the_newer_has_the_name(void **state)
{
    BackupList *list = new_list(3);
    for (uint64_t i = 0; i < 3; i++)
        list->items[i] = make(i + 1, "a/x", T0, i == 2);
    Layout *l = layout_of(list, NULL, NULL);
    LayoutChild child;
    assert_true(layout_lookup(l, INODE_DIR_LATEST, 0, "latest_2026-01-15T14-30-45Z", &child));
    assert_int_equal(child.backup->ordinal, 2);
    layout_unref(l);
}

static void dates(void **state)
{
    struct timespec t;
    Layout *l = layout_of(example(), "a/x", NULL);
    assert_true(layout_stat(l, INODE_DIR_ARCHIVE, 0, &t));
    assert_int_equal(t.tv_sec, T0 + 180);
    assert_true(layout_stat(l, INODE_COLLECTIONS, 0, &t));
    assert_int_equal(t.tv_sec, T0 + 240);
    assert_false(layout_stat(l, INODE_DIR_ARCHIVE, 4, &t));
    assert_false(layout_stat(l, INODE_COLLECTION, 0, &t));

    Layout *same = layout_of(example(), "a/x", l);
    assert_true(layout_stat(same, INODE_DIR_ARCHIVE, 0, &t));
    assert_int_equal(t.tv_sec, T0 + 180);

    BackupList *list = new_list(1);
    list->items[0] = make(1, "a/x", T0, false);
    Layout *less = layout_of(list, "a/x", same);
    assert_true(layout_stat(less, INODE_DIR_ARCHIVE, 0, &t));
    assert_int_equal(t.tv_sec, 2000000000);
    layout_unref(l);
    layout_unref(same);
    layout_unref(less);
}

static void deleted_backups_keep_their_numbers(void **state)
{
    Layout *l = layout_of(example(), "a/x", NULL);
    BackupList *list = new_list(2);
    list->items[0] = make(4, "a/x", T0 + 180, false);
    list->items[1] = make(9, "b/x", T0 + 300, false);
    Layout *after = layout_of(list, "a/x", l);
    assert_null(layout_backup(after, 6));
    for (uint32_t ordinal = 1; ordinal <= 5; ordinal++) {
        const LayoutBackup *b = layout_backup(after, ordinal);
        assert_non_null(b);
        assert_int_equal(b->root.b[5], ordinal);
        assert_int_equal(b->info != NULL, ordinal == 4);
    }
    assert_non_null(layout_backup(after, 9)->info);
    /* a/y is empty and unlisted, yet b/x keeps its number. */
    assert_names(after, INODE_NAMESPACE, 1, "x");
    assert_names(after, INODE_DIR_BY_ID, 2, "");
    assert_names(after, INODE_DIR_BY_ID, 3, "backup-9");
    LayoutChild child;
    assert_false(layout_lookup(after, INODE_NAMESPACE, 1, "y", &child));
    layout_unref(l);
    layout_unref(after);
}

static void listing_goes_on_where_it_was(void **state)
{
    Layout *l = layout_of(example(), "a/x", NULL);
    LayoutChild child;
    assert_true(layout_next(l, INODE_DIR_ARCHIVE, 0, 0, &child));
    assert_int_equal(child.backup->ordinal, 1);
    BackupList *list = new_list(3); /* 1 is gone, 6 is new */
    list->items[0] = make(2, "a/x", T0 + 60, true);
    list->items[1] = make(4, "a/x", T0 + 180, false);
    list->items[2] = make(6, "a/x", T0 + 300, false);
    Layout *after = layout_of(list, "a/x", l);
    assert_true(layout_next(after, INODE_DIR_ARCHIVE, 0, child.next, &child));
    assert_int_equal(child.backup->ordinal, 2);
    assert_true(layout_next(after, INODE_DIR_ARCHIVE, 0, child.next, &child));
    assert_int_equal(child.backup->ordinal, 4);
    assert_false(layout_next(after, INODE_DIR_ARCHIVE, 0, child.next, &child));
    /* latest/ never gives two names, though 4 was listed before 6 came. */
    assert_true(layout_next(l, INODE_DIR_LATEST, 0, 0, &child));
    assert_int_equal(child.backup->ordinal, 4);
    assert_false(layout_next(after, INODE_DIR_LATEST, 0, child.next, &child));
    layout_unref(l);
    layout_unref(after);
}

/* "dir name" lines; "dir *" for a listing. */
static void note_change(void *ctx, uint64_t dir, const char *name)
{
    char **out = ctx;
    Inode inode;
    assert_true(inode_parse(dir, &inode));
    char *longer =
        text("%s%d.%u %s\n", *out, (int)inode.kind, (unsigned)inode.number, name ? name : "*");
    free(*out);
    *out = longer;
}

static void assert_changes(const Layout *before, const Layout *after, const char *expected)
{
    char *got = text("%s", "");
    layout_changes(before, after, note_change, &got);
    assert_string_equal(got, expected);
    free(got);
}

static void changes_are_told(void **state)
{
    Layout *l = layout_of(example(), "b/x", NULL);
    Layout *same = layout_of(example(), "b/x", l);
    assert_changes(l, same, "");
    layout_unref(same);

    BackupList *list = new_list(2); /* a/y is gone; a/x loses 4 and 2, so that 1 is its latest */
    list->items[0] = make(1, "a/x", T0, false);
    list->items[1] = make(5, "b/x", T0 + 240, false);
    Layout *after = layout_of(list, "b/x", l);
    assert_changes(l, after,
                   "6.1 2026-01-15T14-31-45Z--repo--manual--2\n"
                   "5.1 latest_2026-01-15T14-33-45Z\n"
                   "7.1 backup-4\n"
                   "5.1 latest_2026-01-15T14-33-45Z\n"
                   "7.1 backup-4\n"
                   "6.1 2026-01-15T14-30-45Z--repo--manual--1\n"
                   "6.1 *\n7.1 *\n5.1 *\n"
                   "5.2 latest_2026-01-15T14-32-45Z\n"
                   "7.2 backup-3\n"
                   "5.2 latest_2026-01-15T14-32-45Z\n"
                   "7.2 backup-3\n"
                   "6.2 *\n7.2 *\n5.2 *\n"
                   "3.1 y\n3.1 *\n"
                   "2.0 *\n");
    layout_unref(after);
    layout_unref(l);
}

/* The predecessor's path in latest/ stays the same directory: a shell inside must not notice. */
static void new_backup_takes_nothing_back(void **state)
{
    BackupList *list = new_list(1), *more = new_list(2);
    list->items[0] = make(1, "a/x", T0, false);
    more->items[0] = make(1, "a/x", T0, false);
    more->items[1] = make(2, "a/x", T0 + 60, false);
    Layout *none = layout_of(new_list(0), NULL, NULL);
    Layout *one = layout_of(list, NULL, none), *two = layout_of(more, NULL, one);
    assert_changes(none, one,
                   "5.0 latest_2026-01-15T14-30-45Z\n7.0 backup-1\n"
                   "5.0 latest_2026-01-15T14-30-45Z\n7.0 backup-1\n"
                   "6.0 *\n7.0 *\n5.0 *\n"
                   "5.1 latest_2026-01-15T14-30-45Z\n7.1 backup-1\n"
                   "5.1 latest_2026-01-15T14-30-45Z\n7.1 backup-1\n"
                   "6.1 *\n7.1 *\n5.1 *\n"
                   "2.0 a\n3.1 x\n3.1 *\n2.0 *\n");
    char *got = text("%s", "");
    layout_changes(one, two, note_change, &got);
    assert_non_null(strstr(got, "6.0 2026-01-15T14-30-45Z--repo--manual--1\n"));
    assert_non_null(strstr(got, "5.0 latest_2026-01-15T14-31-45Z\n"));
    assert_null(strstr(got, "latest_2026-01-15T14-30-45Z"));
    free(got);
    layout_unref(none);
    layout_unref(one);
    layout_unref(two);
}

static void what_cannot_be_shown_is_left_out(void **state)
{
    BackupList *list = new_list(6);
    for (uint64_t i = 0; i < 6; i++)
        list->items[i] = make(i + 1, "a/x", T0 + (int64_t)i, false);
    list->items[0].entries = INODE_INDEX_MAX + 1ull;
    memcpy(list->items[1].archive_name, "a/b", 4);
    memcpy(list->items[2].collection, "axx", 4);
    memcpy(list->items[3].id, "..", 3);
    memcpy(list->items[4].collection, "/x", 3);
    list->items[5].ordinal = INODE_ORDINAL_MAX + 1ull;
    Layout *l;
    LayoutLeftOut left_out;
    assert_int_equal(layout_new(list, NULL, NULL, (struct timespec){0}, &l, &left_out), 0);
    assert_int_equal(left_out.unfit, 6);
    assert_names(l, INODE_COLLECTIONS, 0, "");
    layout_unref(l);
    backup_list_unref(list);
}

/* In a store that was set back and written again another backup has the ordinal: not the inodes. */
static void a_replaced_backup_is_left_out(void **state)
{
    BackupList *list = example();
    Layout *before = layout_of(example(), "a/x", NULL), *after;
    LayoutLeftOut left_out;
    memset(list->items[3].manifest_sha256.b, 1, ID_SIZE);
    memset(list->items[3].root.b, 99, ID_SIZE);
    assert_int_equal(layout_new(list, "a/x", before, (struct timespec){0}, &after, &left_out), 0);
    assert_int_equal(left_out.replaced, 1);
    assert_int_equal(left_out.unfit, 0);
    assert_names(after, INODE_DIR_BY_ID, 0, "backup-1");
    const LayoutBackup *b = layout_backup(after, 4);
    assert_non_null(b);
    assert_null(b->info);
    assert_int_equal(b->root.b[0], 4); /* those inside the old one see no other */
    layout_unref(before);

    before = after; /* nor later on, while the mount lives */
    assert_int_equal(layout_new(list, "a/x", before, (struct timespec){0}, &after, &left_out), 0);
    assert_int_equal(left_out.replaced, 1);
    backup_list_unref(list);
    layout_unref(before);
    layout_unref(after);
}

static void many_backups(void **state)
{
    const size_t n = 10000;
    BackupList *list = new_list(n);
    for (size_t i = 0; i < n; i++)
        list->items[i] = make(i + 1, "a/x", T0 + 60 * (int64_t)i, false);
    Layout *l = layout_of(list, NULL, NULL);
    LayoutChild child, found;
    size_t seen = 0;
    for (uint64_t from = 0; layout_next(l, INODE_DIR_ARCHIVE, 0, from, &child); from = child.next) {
        assert_true(layout_lookup(l, INODE_DIR_ARCHIVE, 0, child.name, &found));
        assert_int_equal(found.ino, child.ino);
        seen++;
    }
    assert_int_equal(seen, n - 1);
    LayoutTotals totals;
    layout_totals(l, &totals);
    assert_int_equal(totals.bytes, n * 1000);
    assert_int_equal(totals.files, n * 3);
    layout_unref(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_shows_one_collection),
        cmocka_unit_test(collections_show_all),
        cmocka_unit_test(directories_never_share_a_number),
        cmocka_unit_test(parents),
        cmocka_unit_test(earlier_latest_names_still_resolve),
        cmocka_unit_test(of_two_in_one_second_the_newer_has_the_name),
        cmocka_unit_test(dates),
        cmocka_unit_test(deleted_backups_keep_their_numbers),
        cmocka_unit_test(listing_goes_on_where_it_was),
        cmocka_unit_test(changes_are_told),
        cmocka_unit_test(new_backup_takes_nothing_back),
        cmocka_unit_test(what_cannot_be_shown_is_left_out),
        cmocka_unit_test(a_replaced_backup_is_left_out),
        cmocka_unit_test(many_backups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
