#include "fs/options.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"

#define CACHE_MIN (1ull << 20)

/* What fuse_opt fills. */
typedef struct Values {
    char *cache_size;
    char *collection;
} Values;

enum { KEY_DROP = 1 };

static const struct fuse_opt specs[] = {
    {"cache_size=%s", offsetof(Values, cache_size), 0},
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

static int take_values(Values *v, MountOptions *o, Error *e)
{
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

int mount_options_parse(const char *const *texts, size_t n, MountOptions *ret_options, Error *e)
{
    MountOptions *o = ret_options;
    Values v = {0};
    *o = (MountOptions){.cache_size = MOUNT_CACHE_DEFAULT};
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
    free(v.collection);
    return r;
}

void mount_options_release(MountOptions *o)
{
    free(o->collection);
    fuse_opt_free_args(&o->args);
    *o = (MountOptions){0};
}
