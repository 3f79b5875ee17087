/* ToolNotes: what PostgreSQL's programs say besides their output, passed on as notes, each line
 * once. Not thread-safe. */
#pragma once

#include "source/postgres/child.h"
#include "util/buf.h"

typedef struct ToolNotes {
    void (*note)(void *ctx, const char *text); /* may be NULL */
    void *ctx;
    Buf told; /* lines that were passed on, without the program's name; owned */
} ToolNotes;

void tool_notes_release(ToolNotes *n);

/* Pass on what `c` said that is new, as one note that begins with its name. `n` may be NULL. */
void tool_notes_pass(ToolNotes *n, Child *c);
