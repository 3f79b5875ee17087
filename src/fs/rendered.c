#include "fs/rendered.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/lists.h"
#include "store/summary.h"
#include "tree/sums.h"
#include "util/cleanup.h"

/* What is kept of texts that nobody has open. */
#define IDLE     16u
#define IDLE_MAX (16u << 20) /* bytes */

#define SIZES 4096u /* sizes kept; a power of two */

/* Of which backup something is tells its manifest's id: ordinals come again in a store that was
 * set back to an older state. */
typedef struct Text {
    struct Text *next;
    ObjectId manifest;
    RenderedFile file;
    Object *object; /* NULL while somebody makes it */
    uint64_t used;  /* tick of the last use */
} Text;

typedef struct Size {
    ObjectId manifest;
    RenderedFile file; /* RENDERED_NONE: the place is free */
    uint64_t size;
} Size;

struct Rendered {
    Store *store;
    ObjectSource *objects;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t made;  /* or failed: some text is no longer being made */
    uint64_t tick;
    Text *texts; /* every one that is open or being made, and some idle ones */
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
    pthread_cond_init(&x->made, NULL);
    *ret_rendered = x;
    return 0;
}

/* Take the text at `p` out of the list. With the lock. */
static void drop(Text **p)
{
    Text *t = *p;
    *p = t->next;
    object_unref(t->object);
    free(t);
}

void rendered_free(Rendered *x)
{
    if (!x)
        return;
    while (x->texts)
        drop(&x->texts);
    pthread_cond_destroy(&x->made);
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
    return &x->sizes[(load_u64(b->manifest.b) + file) & (SIZES - 1)];
}

bool rendered_known_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t *ret_size)
{
    pthread_mutex_lock(&x->lock);
    const Size *s = size_place(x, b, file);
    bool known = s->file == file && id_compare(&s->manifest, &b->manifest) == 0;
    if (known)
        *ret_size = s->size;
    pthread_mutex_unlock(&x->lock);
    return known;
}

static void keep_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t size)
{
    pthread_mutex_lock(&x->lock);
    *size_place(x, b, file) = (Size){.manifest = b->manifest, .file = file, .size = size};
    pthread_mutex_unlock(&x->lock);
}

/* Where the list has the text; the end of the list when it has not. With the lock. */
static Text **find_text(Rendered *x, const LayoutBackup *b, RenderedFile file)
{
    Text **p = &x->texts;
    while (*p && ((*p)->file != file || id_compare(&(*p)->manifest, &b->manifest) != 0))
        p = &(*p)->next;
    return p;
}

/* Drop idle texts, those used longest ago first, until no more than the limits are left. References
 * are only taken with the lock, so that an idle text stays idle here. With the lock. */
static void shrink(Rendered *x)
{
    for (;;) {
        uint64_t n = 0, bytes = 0;
        Text **oldest = NULL;
        for (Text **p = &x->texts; *p; p = &(*p)->next) {
            const Text *t = *p;
            if (!t->object || atomic_load(&t->object->refs) > 1)
                continue;
            n++;
            bytes += t->object->len;
            if (!oldest || t->used < (*oldest)->used)
                oldest = p;
        }
        if (n <= IDLE && bytes <= IDLE_MAX)
            return;
        drop(oldest);
    }
}

static int render_manifest(Rendered *x, const LayoutBackup *b, RenderedFile file, Buf *out,
                           Error *e)
{
    Manifest *m;
    int r = manifest_load(store_backend(x->store), b->ordinal, &b->manifest, &m, e);
    if (r == -ENOENT && !b->info) {
        error_release(e);
        return -ESTALE;
    }
    if (r < 0)
        return r;
    r = file == RENDERED_SUMMARY ? summary_format(m->doc, out) : manifest_print(m, out);
    manifest_free(m);
    return r < 0 ? error_oom(e) : 0;
}

static int make(Rendered *x, const LayoutBackup *b, RenderedFile file, Object **ret_text, Error *e)
{
    _cleanup_(buf_release) Buf text = BUF_INIT;
    uint64_t size;
    int r;
    if (file == RENDERED_SUMS)
        r = sums_make(x->objects, &b->root, b->entries, &text, &size, e);
    else
        r = render_manifest(x, b, file, &text, e);
    if (r < 0)
        return r;
    Object *o = object_new((uint32_t)text.len); /* a few times MANIFEST_MAX at most, or SUMS_MAX */
    if (!o)
        return error_oom(e);
    memcpy(o->data, text.data, text.len);
    keep_size(x, b, file, o->len);
    *ret_text = o;
    return 0;
}

/* Find the text, waiting for who makes it now; else enter it as being made by the caller. 1, 0, or
 * -ENOMEM. */
static int find_or_enter(Rendered *x, const LayoutBackup *b, RenderedFile file, Object **ret_text)
{
    Text **p;
    pthread_mutex_lock(&x->lock);
    while (*(p = find_text(x, b, file)) && !(*p)->object)
        pthread_cond_wait(&x->made, &x->lock);
    Text *t = *p;
    int r = t ? 1 : 0;
    if (t) {
        t->used = ++x->tick;
        *ret_text = object_ref(t->object);
    } else if ((t = calloc(1, sizeof(*t)))) {
        *t = (Text){.manifest = b->manifest, .file = file, .used = ++x->tick};
        *p = t;
    } else {
        r = -ENOMEM;
    }
    pthread_mutex_unlock(&x->lock);
    return r;
}

int rendered_get(Rendered *x, const LayoutBackup *b, RenderedFile file, Object **ret_text, Error *e)
{
    Object *o = NULL;
    int r = find_or_enter(x, b, file, ret_text);
    if (r != 0)
        return r < 0 ? error_oom(e) : 0;
    r = make(x, b, file, &o, e);
    pthread_mutex_lock(&x->lock);
    Text **p = find_text(x, b, file);
    if (r == 0)
        (*p)->object = object_ref(o);
    else
        drop(p); /* who waits tries in its turn */
    pthread_cond_broadcast(&x->made);
    pthread_mutex_unlock(&x->lock);
    if (r == 0)
        *ret_text = o;
    return r;
}

void rendered_put(Rendered *x, Object *text)
{
    if (!text)
        return;
    pthread_mutex_lock(&x->lock);
    object_unref(text);
    shrink(x);
    pthread_mutex_unlock(&x->lock);
}

int rendered_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t *ret_size,
                  Error *e)
{
    Object *text;
    int r;
    if (rendered_known_size(x, b, file, ret_size))
        return 0;
    if (file == RENDERED_SUMS) {
        r = sums_make(x->objects, &b->root, b->entries, NULL, ret_size, e);
        if (r == 0)
            keep_size(x, b, file, *ret_size);
        return r;
    }
    r = rendered_get(x, b, file, &text, e);
    if (r == 0) {
        *ret_size = text->len;
        rendered_put(x, text);
    }
    return r;
}
