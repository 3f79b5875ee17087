#include "fs/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, MountOptions *ret_options, Error *e)
{
    return mount_options_parse(&text, 1, ret_options, e);
}

/* What is left for libfuse. */
static void assert_rest(const char *text, const char *expected)
{
    MountOptions o;
    char rest[256] = "";
    assert_int_equal(parse(text, &o, NULL), 0);
    for (int i = 1; i < o.args.argc; i++)
        if (strcmp(o.args.argv[i], "-o") != 0)
            snprintf(rest + strlen(rest), sizeof(rest) - strlen(rest), "%s", o.args.argv[i]);
    assert_string_equal(rest, expected);
    mount_options_release(&o);
}

static void values(void **state)
{
    static const char *const texts[] = {"allow_other,cache_size=64M", "collection=a-1/b.c"};
    MountOptions o;
    assert_int_equal(mount_options_parse(texts, 2, &o, NULL), 0);
    assert_int_equal(o.cache_size, 64 << 20);
    assert_string_equal(o.collection, "a-1/b.c");
    mount_options_release(&o);

    assert_int_equal(mount_options_parse(NULL, 0, &o, NULL), 0);
    assert_int_equal(o.cache_size, MOUNT_CACHE_DEFAULT);
    assert_null(o.collection);
    mount_options_release(&o);
}

static void numbers(void **state)
{
    static const char *const bad[] = {
        "threads=",   "threads=x",       "threads=-1",           "threads=65",
        "threads=1K", "readahead_kb=1G", "readahead_kb=99999999"};
    MountOptions o;
    assert_int_equal(parse("threads=3,readahead_kb=512,xattr", &o, NULL), 0);
    assert_int_equal(o.threads, 3);
    assert_int_equal(o.readahead_kb, 512);
    assert_true(o.readahead_asked && o.xattr);
    mount_options_release(&o);
    assert_int_equal(parse("threads=0", &o, NULL), 0);
    assert_int_equal(o.threads, 0);
    assert_int_equal(o.readahead_kb, MOUNT_READAHEAD_DEFAULT);
    assert_false(o.readahead_asked || o.xattr);
    mount_options_release(&o);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        Error e = ERROR_INIT;
        assert_int_equal(parse(bad[i], &o, &e), -EINVAL);
        assert_int_equal(e.exit_code, BK_EXIT_USAGE);
        assert_non_null(e.hint);
        error_release(&e);
        mount_options_release(&o);
    }
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {{"1048576", 1048576}, {"2048k", 2 << 20}, {"3G", 3ull << 30}, {"1t", 1ull << 40}};
    static const char *const bad[] = {"",    "0",        "1000K",    "1Q",  "1MM",
                                      "-1M", "+5M",      " 5M",      "5 M", "99999999999T",
                                      "1M5", "0x100000", "16777216T"};
    char text[64];
    MountOptions o;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        snprintf(text, sizeof(text), "cache_size=%s", good[i].text);
        assert_int_equal(parse(text, &o, NULL), 0);
        assert_int_equal(o.cache_size, good[i].size);
        mount_options_release(&o);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        Error e = ERROR_INIT;
        snprintf(text, sizeof(text), "cache_size=%s", bad[i]);
        assert_int_equal(parse(text, &o, &e), -EINVAL);
        assert_int_equal(e.exit_code, BK_EXIT_USAGE);
        assert_non_null(e.hint);
        mount_options_release(&o);
        error_release(&e);
    }
}

static void bad_collections_are_refused(void **state)
{
    static const char *const bad[] = {"collection=", "collection=a", "collection=a/b/c",
                                      "collection=../x", "collection=a/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        MountOptions o;
        Error e = ERROR_INIT;
        assert_int_equal(parse(bad[i], &o, &e), -EINVAL);
        assert_int_equal(e.exit_code, BK_EXIT_USAGE);
        mount_options_release(&o);
        error_release(&e);
    }
}

static void notes_of_fstab_are_dropped(void **state)
{
    assert_rest("rw,user,noauto,nofail,_netdev,x-systemd.automount,x-gvfs-show,X-mount.mkdir", "");
    assert_rest("user=alice,nouser,auto,defaults,comment=hello,ro,users,owner,group", "");
    assert_rest("relatime,norelatime,strictatime,nostrictatime,diratime,nodiratime", "");
    assert_rest("lazytime,nolazytime,iversion,noiversion,mand,nomand,loud,silent", "");
    assert_rest("noexec,nofail,allow_other", "noexec,allow_other");
    assert_rest("xyz", "xyz"); /* unknown: for libfuse to refuse */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(numbers),
        cmocka_unit_test(sizes),
        cmocka_unit_test(bad_collections_are_refused),
        cmocka_unit_test(notes_of_fstab_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
