#include "fs/options.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/manifest.h"

#define CACHE_MIN           (1ull << 20)
#define DEFAULT_THREADS_MAX 16

/* What fuse_opt fills. */
typedef struct Values {
    char *cache_size;
    char *threads;
    char *readahead_kb;
    char *collection;
    int xattr;
} Values;

enum { KEY_DROP = 1 };

static const struct fuse_opt specs[] = {
    {"cache_size=%s", offsetof(Values, cache_size), 0},
    {"threads=%s", offsetof(Values, threads), 0},
    {"readahead_kb=%s", offsetof(Values, readahead_kb), 0},
    {"xattr", offsetof(Values, xattr), 1},
    {"collection=%s", offsetof(Values, collection), 0},
    /* The mount is read-only whatever mount(8) says; the others are notes to mount(8), systemd and
     * people that fstab hands on to the helper. */
    FUSE_OPT_KEY("ro", KEY_DROP),
    FUSE_OPT_KEY("rw", KEY_DROP),
    FUSE_OPT_KEY("defaults", KEY_DROP),
    FUSE_OPT_KEY("default_permissions", KEY_DROP), /* always given */
    FUSE_OPT_KEY("user", KEY_DROP),
    FUSE_OPT_KEY("user=", KEY_DROP),
    FUSE_OPT_KEY("nouser", KEY_DROP),
    FUSE_OPT_KEY("users", KEY_DROP),
    FUSE_OPT_KEY("nousers", KEY_DROP),
    FUSE_OPT_KEY("owner", KEY_DROP),
    FUSE_OPT_KEY("noowner", KEY_DROP),
    FUSE_OPT_KEY("group", KEY_DROP),
    FUSE_OPT_KEY("nogroup", KEY_DROP),
    FUSE_OPT_KEY("auto", KEY_DROP),
    FUSE_OPT_KEY("noauto", KEY_DROP),
    FUSE_OPT_KEY("nofail", KEY_DROP),
    FUSE_OPT_KEY("_netdev", KEY_DROP),
    FUSE_OPT_KEY("comment=", KEY_DROP),
    /* Of the kernel's flags those without a meaning for what never changes. */
    FUSE_OPT_KEY("relatime", KEY_DROP),
    FUSE_OPT_KEY("norelatime", KEY_DROP),
    FUSE_OPT_KEY("strictatime", KEY_DROP),
    FUSE_OPT_KEY("nostrictatime", KEY_DROP),
    FUSE_OPT_KEY("diratime", KEY_DROP),
    FUSE_OPT_KEY("nodiratime", KEY_DROP),
    FUSE_OPT_KEY("lazytime", KEY_DROP),
    FUSE_OPT_KEY("nolazytime", KEY_DROP),
    FUSE_OPT_KEY("iversion", KEY_DROP),
    FUSE_OPT_KEY("noiversion", KEY_DROP),
    FUSE_OPT_KEY("mand", KEY_DROP),
    FUSE_OPT_KEY("nomand", KEY_DROP),
    FUSE_OPT_KEY("loud", KEY_DROP),
    FUSE_OPT_KEY("silent", KEY_DROP),
    FUSE_OPT_END,
};

static int handle(void *data, const char *arg, int key, struct fuse_args *outargs)
{
    /* x-systemd.automount, X-mount.mkdir …: fuse_opt knows no prefixes. */
    if (key == KEY_DROP || strncasecmp(arg, "x-", 2) == 0)
        return 0;
    return 1;
}

/* What every wrong option has in common; the error is set. */
static int usage(Error *e, const char *hint)
{
    error_hint(e, "%s", hint);
    error_exit_code(e, BK_EXIT_USAGE);
    return -EINVAL;
}

/* "256M": bytes with an optional K, M, G or T of 1024. */
static int parse_size(const char *text, uint64_t *ret_size)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || errno)
        return -EINVAL;
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (unit)
        end++;
    if (*end || n > UINT64_MAX >> shift)
        return -EINVAL;
    *ret_size = (uint64_t)n << shift;
    return 0;
}

/* A plain number of at most `max`. `text` NULL: leave `ret_n` alone. */
static int take_number(const char *name, const char *text, unsigned max, unsigned *ret_n, Error *e)
{
    uint64_t n;
    if (!text)
        return 0;
    if (!isdigit((unsigned char)text[strlen(text) ? strlen(text) - 1 : 0]) ||
        parse_size(text, &n) < 0 || n > max) {
        error_set(e, EINVAL, "%s=%s is no usable number", name, text);
        error_hint(e, "write a number from 0 to %u", max);
        error_exit_code(e, BK_EXIT_USAGE);
        return -EINVAL;
    }
    *ret_n = (unsigned)n;
    return 0;
}

static int take_values(Values *v, MountOptions *o, Error *e)
{
    int r = take_number("threads", v->threads, MOUNT_THREADS_MAX, &o->threads, e);
    if (r == 0)
        r = take_number("readahead_kb", v->readahead_kb, MOUNT_READAHEAD_MAX, &o->readahead_kb, e);
    if (r < 0)
        return r;
    o->readahead_asked = v->readahead_kb != NULL;
    o->xattr = v->xattr;
    o->collection = v->collection;
    v->collection = NULL;
    if (v->cache_size && (parse_size(v->cache_size, &o->cache_size) < 0 ||
                          o->cache_size < CACHE_MIN || o->cache_size > SIZE_MAX / 2)) {
        error_set(e, EINVAL, "cache_size=%s is no usable size", v->cache_size);
        return usage(e, "write bytes, or a number and K, M, G or T; at least 1M");
    }
    if (o->collection && !collection_is_valid(o->collection)) {
        error_set(e, EINVAL, "collection=%s is no collection name", o->collection);
        return usage(e, "write NAMESPACE/NAME, as `bakfs-store list` shows it");
    }
    return 0;
}

static unsigned default_threads(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n < DEFAULT_THREADS_MAX ? (unsigned)n : DEFAULT_THREADS_MAX;
}

int mount_options_parse(const char *const *texts, size_t n, MountOptions *ret_options, Error *e)
{
    MountOptions *o = ret_options;
    Values v = {0};
    *o = (MountOptions){.cache_size = MOUNT_CACHE_DEFAULT,
                        .threads = default_threads(),
                        .readahead_kb = MOUNT_READAHEAD_DEFAULT};
    int r = fuse_opt_add_arg(&o->args, "bakfs");
    for (size_t i = 0; r == 0 && i < n; i++)
        if (fuse_opt_add_arg(&o->args, "-o") < 0 || fuse_opt_add_arg(&o->args, texts[i]) < 0)
            r = -1;
    if (r < 0)
        return error_oom(e);
    r = fuse_opt_parse(&o->args, &v, specs, handle);
    if (r < 0) {
        error_set(e, EINVAL, "the -o options make no sense");
        r = usage(e, "'bakfs --help' lists the options");
    } else {
        r = take_values(&v, o, e);
    }
    free(v.cache_size);
    free(v.threads);
    free(v.readahead_kb);
    free(v.collection);
    return r;
}

void mount_options_release(MountOptions *o)
{
    free(o->collection);
    fuse_opt_free_args(&o->args);
    *o = (MountOptions){0};
}
