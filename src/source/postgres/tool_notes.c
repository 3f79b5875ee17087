#include "source/postgres/tool_notes.h"

#include <string.h>

#include "util/cleanup.h"

#define TOLD_MAX 65536 /* bytes; a program that has always something new to say is cut short */

void tool_notes_release(ToolNotes *n)
{
    buf_release(&n->told);
}

static bool is_told(const ToolNotes *n, const char *line, size_t len)
{
    if (n->told.len == 0)
        return false;
    const char *p = (const char *)n->told.data, *end = p + n->told.len;
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        if ((size_t)(eol - p) == len && memcmp(p, line, len) == 0)
            return true;
        p = eol + 1;
    }
    return false;
}

/* Advice is about the program's own options, which nobody gave it. */
static bool is_advice(const char *line)
{
    return strncmp(line, "hint: ", 6) == 0;
}

static int add_line(ToolNotes *n, const char *line, size_t len, Buf *text)
{
    if (len == 0 || is_advice(line) || is_told(n, line, len))
        return 0;
    int r = text->len ? buf_add_str(text, "; ") : 0;
    if (r == 0)
        r = buf_add(text, line, len);
    if (r == 0)
        r = buf_add(&n->told, line, len);
    return r == 0 ? buf_add_u8(&n->told, '\n') : r;
}

void tool_notes_pass(ToolNotes *n, Child *c)
{
    if (!n || !n->note || !c || n->told.len > TOLD_MAX)
        return;
    _cleanup_(buf_release) Buf text = BUF_INIT, note = BUF_INIT;
    const char *name = child_name(c);
    size_t name_len = strlen(name);
    int r = 0;
    for (const char *p = child_messages(c); r == 0 && *p; p += *p == '\n') {
        size_t len = strcspn(p, "\n");
        size_t skip = strncmp(p, name, name_len) == 0 && strncmp(p + name_len, ": ", 2) == 0
                          ? name_len + 2
                          : 0;
        r = add_line(n, p + skip, len - skip, &text);
        p += len;
    }
    if (r == 0 && text.len > 0 && buf_cstr(&text) &&
        buf_addf(&note, "%s: %s", name, (const char *)text.data) == 0 && buf_cstr(&note))
        n->note(n->ctx, (const char *)note.data);
}
