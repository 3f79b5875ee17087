/* Rendered: the files that every backup shows besides what is stored in it. They are made from its
 * manifest and its directories when somebody asks. Thread-safe. */
#pragma once

#include "fs/layout.h"
#include "store/object.h"

typedef enum RenderedFile {
    RENDERED_NONE = 0,
    RENDERED_SUMS,    /* SHA256SUMS, for sha256sum -c */
    RENDERED_JSON,    /* backup.json: the manifest */
    RENDERED_SUMMARY, /* summary.txt */
    RENDERED_END,
} RenderedFile;

typedef struct Rendered Rendered;

/* `objects` is where directories are read from. Both must outlive it. 0 or -ENOMEM. */
int rendered_new(Store *store, ObjectSource *objects, Rendered **ret_rendered);
void rendered_free(Rendered *x); /* NULL is allowed */

const char *rendered_name(RenderedFile file);
RenderedFile rendered_by_name(const char *name); /* RENDERED_NONE when it is none's */

/* The text, as an object of any size, to be given back with rendered_put. All who have it at a time
 * share one, and while one makes it the others wait; what was used lately is kept. A deleted backup
 * has them too as long as its manifest is there; then -ESTALE without a message. */
int rendered_get(Rendered *x, const LayoutBackup *b, RenderedFile file, Object **ret_text,
                 Error *e);
void rendered_put(Rendered *x, Object *text); /* NULL is allowed */

/* Its size, which is kept longer than the text. */
int rendered_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t *ret_size,
                  Error *e);

/* The size if it is known already. */
bool rendered_known_size(Rendered *x, const LayoutBackup *b, RenderedFile file, uint64_t *ret_size);
