#include "fs/rendered.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/summary.h"
#include "tree/sums.h"
#include "util/cleanup.h"

#define TEXTS     16u         /* texts kept */
#define TEXTS_MAX (16u << 20) /* bytes of them */
#define SIZES     4096u       /* sizes kept; a power of two */

typedef struct Text {
    uint32_t ordinal;
    RenderedFile file;
    Object *object; /* NULL: the place is free */
    uint64_t used;  /* tick of the last use */
} Text;

typedef struct Size {
    uint32_t ordinal; /* 0: the place is free */
    RenderedFile file;
    uint64_t size;
} Size;

struct Rendered {
    Store *store;
    ObjectSource *objects;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t tick, bytes;
    Text texts[TEXTS];
    Size sizes[SIZES];
};

static const char *const names[RENDERED_END] = {
    [RENDERED_SUMS] = "SHA256SUMS",
    [RENDERED_JSON] = "backup.json",
    [RENDERED_SUMMARY] = "summary.txt",
};

int rendered_new(Store *store, ObjectSource *objects, Rendered **ret_rendered)
{
    Rendered *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    x->store = store;
    x->objects = objects;
    pthread_mutex_init(&x->lock, NULL);
    *ret_rendered = x;
    return 0;
}

void rendered_free(Rendered *x)
{
    if (!x)
        return;
    for (size_t i = 0; i < TEXTS; i++)
        object_unref(x->texts[i].object);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

const char *rendered_name(RenderedFile file)
{
    return names[file];
}

RenderedFile rendered_by_name(const char *name)
{
    for (RenderedFile f = RENDERED_NONE + 1; f < RENDERED_END; f++)
        if (strcmp(names[f], name) == 0)
            return f;
    return RENDERED_NONE;
}

/* Where a size is kept, if it is. */
static Size *size_place(Rendered *x, const LayoutBackup *b, RenderedFile file)
{
    return &x->sizes[(b->ordinal * RENDERED_END + file) & (SIZES - 1)];
}

bool rendered_known_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t *ret_size)
{
    pthread_mutex_lock(&x->lock);
    const Size *s = size_place(x, b, file);
    bool known = s->ordinal == b->ordinal && s->file == file;
    if (known)
        *ret_size = s->size;
    pthread_mutex_unlock(&x->lock);
    return known;
}

static void keep_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t size)
{
    pthread_mutex_lock(&x->lock);
    *size_place(x, b, file) = (Size){.ordinal = b->ordinal, .file = file, .size = size};
    pthread_mutex_unlock(&x->lock);
}

static Object *find_text(Rendered *x, const LayoutBackup *b, RenderedFile file)
{
    Object *found = NULL;
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < TEXTS && !found; i++) {
        Text *t = &x->texts[i];
        if (t->object && t->ordinal == b->ordinal && t->file == file) {
            t->used = ++x->tick;
            found = object_ref(t->object);
        }
    }
    pthread_mutex_unlock(&x->lock);
    return found;
}

static void drop(Rendered *x, Text *t)
{
    if (!t->object)
        return;
    x->bytes -= t->object->len;
    object_unref(t->object);
    *t = (Text){0};
}

/* The place used longest ago; free ones were never used. */
static Text *oldest(Rendered *x)
{
    Text *t = &x->texts[0];
    for (size_t i = 1; i < TEXTS; i++)
        if (x->texts[i].used < t->used)
            t = &x->texts[i];
    return t;
}

static void keep_text(Rendered *x, const LayoutBackup *b, RenderedFile file, Object *text)
{
    if (text->len > TEXTS_MAX)
        return;
    pthread_mutex_lock(&x->lock);
    Text *t = oldest(x);
    drop(x, t);
    *t = (Text){.ordinal = b->ordinal, .file = file, .object = object_ref(text), .used = ++x->tick};
    x->bytes += text->len;
    for (size_t i = 0; i < TEXTS && x->bytes > TEXTS_MAX; i++)
        if (&x->texts[i] != t)
            drop(x, &x->texts[i]);
    pthread_mutex_unlock(&x->lock);
}

static int render_manifest(Rendered *x, const LayoutBackup *b, RenderedFile file, Buf *out,
                           Error *e)
{
    Manifest *m;
    int r = store_manifest(x->store, b->info, &m, e);
    if (r < 0)
        return r;
    r = file == RENDERED_SUMMARY ? summary_format(m->doc, out) : manifest_print(m, out);
    manifest_free(m);
    return r < 0 ? error_oom(e) : 0;
}

int rendered_get(Rendered *x, const LayoutBackup *b, RenderedFile file, Object **ret_text, Error *e)
{
    _cleanup_(buf_release) Buf text = BUF_INIT;
    uint64_t size;
    int r;
    if (!b->info)
        return -ESTALE;
    Object *o = find_text(x, b, file);
    if (o) {
        *ret_text = o;
        return 0;
    }
    if (file == RENDERED_SUMS)
        r = sums_make(x->objects, &b->root, b->entries, &text, &size, e);
    else
        r = render_manifest(x, b, file, &text, e);
    if (r < 0)
        return r;
    o = object_new((uint32_t)text.len); /* at most a few times MANIFEST_MAX, or SUMS_MAX */
    if (!o)
        return error_oom(e);
    memcpy(o->data, text.data, text.len);
    keep_text(x, b, file, o);
    keep_size(x, b, file, o->len);
    *ret_text = o;
    return 0;
}

int rendered_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t *ret_size,
                  Error *e)
{
    Object *text;
    int r;
    if (rendered_known_size(x, b, file, ret_size))
        return 0;
    if (!b->info)
        return -ESTALE;
    if (file == RENDERED_SUMS) {
        r = sums_make(x->objects, &b->root, b->entries, NULL, ret_size, e);
        if (r == 0)
            keep_size(x, b, file, *ret_size);
        return r;
    }
    r = rendered_get(x, b, file, &text, e);
    if (r == 0) {
        *ret_size = text->len;
        object_unref(text);
    }
    return r;
}
