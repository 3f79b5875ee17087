/* Script: what pg_restore prints for each entry of a TOC, had from a single run, and scripts
 * composed of it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "source/postgres/archive.h"
#include "source/postgres/tool_notes.h"
#include "source/postgres/tools.h"
#include "tree/rope.h"
#include "util/buf.h"

/* A stretch of Script.output. */
typedef struct Text {
    const char *p;
    size_t len;
} Text;

/* How one large object is written, with the places for its number and bytes cut out. */
typedef struct BlobTemplate {
    Text open_a, open_b;   /* around the object's number */
    Text write_a, write_b; /* around up to 16 KiB in hex */
    Text close;
} BlobTemplate;

/* What was printed for one entry. */
typedef struct ScriptPart {
    const TocEntry *entry;
    size_t index; /* in the TOC */
    Text sets;    /* SET default_tablespace and the like, printed where they changed */
    Text body;    /* comment and statements; of an entry with data, what stands before that */
    bool has_data;
    Text after;      /* what stands after the data */
    Text tablespace; /* the SET in force for it, empty when it needs none */
    Text tableam;
    BlobTemplate blob; /* of an entry BLOBS */
} ScriptPart;

typedef struct Script {
    Buf output;          /* owned */
    bool is_restricted;  /* the tools print \restrict and \unrestrict */
    Text head_a, head_b; /* before the first entry, around the \restrict line */
    Text settings;       /* the SET commands of the head */
    Text tail_a, tail_b; /* after the last, around the \unrestrict line */
    size_t n;
    ScriptPart *parts; /* in the order of printing, owned */
} Script;

void script_release(Script *s);

/* Run pg_restore over the TOC. `toc` must outlive the script. `notes` (may be NULL) gets what
 * pg_restore warns of. */
int script_make(const PgTools *tools, const Archive *toc, const atomic_bool *cancel,
                ToolNotes *notes, Script *ret_script, Error *e);

/* What follows a table's rows in pg_dump's data, up to its block's end. */
#define COPY_END "\\.\n\n\n"

/* Composer: puts a script together from parts, and ropes between them. Not thread-safe. */
typedef struct Composer Composer;

/* `full_head`: with the lines that name the versions, as pg_dump prints; else the settings alone.
 */
int composer_new(const Script *s, bool full_head, Composer **ret_composer);
void composer_free(Composer *c); /* NULL is allowed */
static inline void composer_freep(Composer **c)
{
    composer_free(*c);
}

int composer_text(Composer *c, const char *text, size_t len);

/* The part's SETs, where they differ from what is in force, and its body. */
int composer_part(Composer *c, const ScriptPart *p);

/* A rope, which must live until composer_emit; NULL only marks the place. */
int composer_rope(Composer *c, const Rope *r);

/* End the script: head, body and tail stand in `*ret_text` (valid until composer_free) with the key
 * that \restrict gets: a keyed hash of the text, unguessable and always the same.
 * `ret_first_rope` (may be NULL): where in the text the first rope stands. */
int composer_finish(Composer *c, const uint8_t secret[32], const Buf **ret_text,
                    size_t *ret_first_rope);

/* After composer_finish: the whole as a rope. */
int composer_emit(Composer *c, StoreWriter *w, Rope *ret_rope, Error *e);
