/* Composer: scripts from parts and ropes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/keyed.h"
#include "source/postgres/script.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

typedef struct Insert {
    size_t at; /* in the text */
    const Rope *rope;
} Insert;

struct Composer {
    const Script *script;
    bool full_head;
    Buf body, text;
    size_t n, cap;
    Insert *inserts;
    Text tablespace, tableam; /* SETs in force */
};

int composer_new(const Script *s, bool full_head, Composer **ret_composer)
{
    Composer *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->script = s;
    c->full_head = full_head;
    *ret_composer = c;
    return 0;
}

void composer_free(Composer *c)
{
    if (!c)
        return;
    buf_release(&c->body);
    buf_release(&c->text);
    free(c->inserts);
    free(c);
}

int composer_text(Composer *c, const char *text, size_t len)
{
    return buf_add(&c->body, text, len);
}

static int set(Composer *c, Text *in_force, Text wanted)
{
    if (wanted.len == 0 ||
        (wanted.len == in_force->len && memcmp(wanted.p, in_force->p, wanted.len) == 0))
        return 0;
    *in_force = wanted;
    return buf_add(&c->body, wanted.p, wanted.len);
}

int composer_part(Composer *c, const ScriptPart *p)
{
    TRY(set(c, &c->tablespace, p->tablespace));
    TRY(set(c, &c->tableam, p->tableam));
    return buf_add(&c->body, p->body.p, p->body.len);
}

int composer_rope(Composer *c, const Rope *r)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 8;
        Insert *grown = reallocarray(c->inserts, cap, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        c->inserts = grown;
        c->cap = cap;
    }
    c->inserts[c->n++] = (Insert){.at = c->body.len, .rope = r};
    return 0;
}

static int add_text(Buf *b, Text t)
{
    return buf_add(b, t.p, t.len);
}

static int add_head(Composer *c, const char *key)
{
    const Script *s = c->script;
    if (c->full_head) {
        TRY(add_text(&c->text, s->head_a));
        if (s->is_restricted)
            TRY(buf_add_str(&c->text, key));
        return add_text(&c->text, s->head_b);
    }
    if (s->is_restricted)
        TRY(buf_addf(&c->text, "\\restrict %s\n\n", key));
    return add_text(&c->text, s->settings);
}

static int add_tail(Composer *c, const char *key)
{
    const Script *s = c->script;
    if (c->full_head) {
        TRY(add_text(&c->text, s->tail_a));
        if (s->is_restricted)
            TRY(buf_add_str(&c->text, key));
        return add_text(&c->text, s->tail_b);
    }
    return s->is_restricted ? buf_addf(&c->text, "\\unrestrict %s\n", key) : 0;
}

int composer_finish(Composer *c, const uint8_t secret[32], const Buf **ret_text,
                    size_t *ret_first_rope)
{
    char key[RESTRICT_KEY_SIZE];
    TRY(restrict_key(secret, c->body.data, c->body.len, key));
    TRY(add_head(c, key));
    size_t head = c->text.len;
    TRY(buf_add(&c->text, c->body.data, c->body.len));
    TRY(add_tail(c, key));
    for (size_t i = 0; i < c->n; i++)
        c->inserts[i].at += head;
    *ret_text = &c->text;
    if (ret_first_rope)
        *ret_first_rope = c->n ? c->inserts[0].at : c->text.len;
    return 0;
}

static void builder_freep(RopeBuilder **b)
{
    rope_builder_free(*b);
}

int composer_emit(Composer *c, StoreWriter *w, Rope *ret_rope, Error *e)
{
    _cleanup_(builder_freep) RopeBuilder *b = NULL;
    if (rope_builder_new(w, &b) < 0)
        return error_oom(e);
    size_t at = 0;
    for (size_t i = 0; i <= c->n; i++) {
        size_t to = i < c->n ? c->inserts[i].at : c->text.len;
        if (to > at)
            TRY(rope_builder_literal(b, c->text.data + at, to - at, e));
        at = to;
        if (i < c->n && c->inserts[i].rope && c->inserts[i].rope->length > 0)
            TRY(rope_builder_rope(b, c->inserts[i].rope, e));
    }
    return rope_builder_finish(b, ret_rope, e);
}
