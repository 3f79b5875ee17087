#include "store/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "util/cleanup.h"
#include "util/clock.h"

#define CONFIG_MAX (64u << 10)

void store_config_release(StoreConfig *c)
{
    free(c->store_id);
    free(c->default_collection);
    *c = (StoreConfig){0};
}

int store_config_new(const char *collection, StoreConfig *ret_config, Error *e)
{
    StoreConfig c = {.format_version = STORE_FORMAT_VERSION, .created = clock_now()};
    ObjectId random;
    char hex[ID_HEX_SIZE];
    if (getrandom(c.secret, sizeof(c.secret), 0) != (ssize_t)sizeof(c.secret) ||
        getrandom(random.b, sizeof(random.b), 0) != (ssize_t)sizeof(random.b))
        return error_errno(e, errno, "cannot get random bytes");
    id_to_hex(&random, hex);
    hex[32] = 0;
    c.store_id = strdup(hex);
    if (collection)
        c.default_collection = strdup(collection);
    if (!c.store_id || (collection && !c.default_collection)) {
        store_config_release(&c);
        return error_oom(e);
    }
    *ret_config = c;
    return 0;
}

static int no_store(Backend *b, const char *path, Error *e)
{
    bool was_one = b->ops->stamp(b, "packs") && b->ops->stamp(b, "manifests");
    int r = error_set(e, ENOENT, "%s is no bakfs store", path);
    if (was_one)
        error_hint(e, "it has packs and manifests, but config.json is missing: copy it back from "
                      "another copy of the store");
    else
        error_hint(e, "name a directory that `bakfs-store init` made; `bakfs-store init --store "
                      "DIR` makes a store of one that is empty or does not exist");
    error_exit_code(e, BK_EXIT_NO_STORE);
    return r;
}

static int damaged(Error *e, const char *path)
{
    int r = error_set(e, EBADMSG, "%s/config.json is damaged", path);
    error_hint(e, "copy config.json back from another copy of the store");
    return r;
}

/* No feature is defined yet, so every name in the list is unknown. */
static int check_features(const json_t *doc, const char *key, const char *path, Error *e)
{
    const json_t *list = json_object_get(json_object_get(doc, "features"), key);
    const char *name = json_string_value(json_array_get(list, 0));
    if (json_array_size(list) == 0)
        return 0;
    int r = error_set(e, EPROTONOSUPPORT, "the store %s uses the feature \"%s\", unknown here",
                      path, name ? name : "?");
    error_hint(e, "use the version of bakfs that wrote it, or a newer one");
    return r;
}

static int parse(const json_t *doc, const char *path, bool writing, StoreConfig *c, Error *e)
{
    const json_t *format = json_object_get(doc, "format");
    if (!json_is_integer(format))
        return damaged(e, path);
    if (json_integer_value(format) > STORE_FORMAT_VERSION) {
        int r = error_set(e, EPROTONOSUPPORT, "the store %s has format version %lld; known is %d",
                          path, (long long)json_integer_value(format), STORE_FORMAT_VERSION);
        error_hint(e, "use the version of bakfs that wrote it, or a newer one");
        return r;
    }
    int r = check_features(doc, "read", path, e);
    if (r == 0 && writing)
        r = check_features(doc, "write", path, e);
    if (r < 0)
        return r;
    const char *store_id = json_string_value(json_object_get(doc, "store_id"));
    const char *secret = json_string_value(json_object_get(doc, "restrict_secret"));
    const char *collection = json_string_value(json_object_get(doc, "default_collection"));
    ObjectId bytes;
    if (json_integer_value(format) != STORE_FORMAT_VERSION || !store_id || strlen(store_id) != 32 ||
        !secret || id_from_hex(secret, &bytes) < 0 ||
        (collection && !collection_is_valid(collection)))
        return damaged(e, path);
    memcpy(c->secret, bytes.b, sizeof(c->secret));
    c->format_version = STORE_FORMAT_VERSION;
    c->created = json_integer_value(json_object_get(doc, "created"));
    c->store_id = strdup(store_id);
    c->default_collection = collection ? strdup(collection) : NULL;
    return !c->store_id || (collection && !c->default_collection) ? error_oom(e) : 0;
}

int store_config_load(Backend *b, const char *path, bool writing, StoreConfig *ret_config, Error *e)
{
    _cleanup_(buf_release) Buf bytes = BUF_INIT;
    int r = b->ops->slurp(b, "config.json", CONFIG_MAX, &bytes, e);
    if (r == -ENOENT)
        return no_store(b, path, e);
    if (r < 0)
        return r;
    json_t *doc = json_loadb((const char *)bytes.data, bytes.len, 0, NULL);
    StoreConfig c = {0};
    r = json_is_object(doc) ? parse(doc, path, writing, &c, e) : damaged(e, path);
    json_decref(doc);
    if (r < 0) {
        store_config_release(&c);
        return r;
    }
    *ret_config = c;
    return 0;
}

int store_config_save(Backend *b, const StoreConfig *c, Error *e)
{
    ObjectId secret;
    char hex[ID_HEX_SIZE];
    memcpy(secret.b, c->secret, sizeof(c->secret));
    id_to_hex(&secret, hex);
    json_t *doc = json_pack("{s:i, s:{s:[], s:[]}, s:s, s:I, s:s*, s:s}", "format",
                            c->format_version, "features", "read", "write", "store_id", c->store_id,
                            "created", (json_int_t)c->created, "default_collection",
                            c->default_collection, "restrict_secret", hex);
    _cleanup_free_ char *text = json_dumps(doc, JSON_INDENT(1));
    json_decref(doc);
    if (!text)
        return error_oom(e);
    return b->ops->replace(b, "config.json", text, strlen(text), true, e);
}
