#include "source/postgres/script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "source/postgres/child.h"
#include "source/postgres/conninfo.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"
#include "util/io.h"

#define TOKEN_SIZE    33           /* 32 hex digits and the zero */
#define OUTPUT_MAX    (4ull << 30) /* bytes of all definitions */
#define BLOB_OID      4294967295u  /* stands for every large object's number */
#define BLOB_DIGITS   "4294967295"
#define EVENT_TRIGGER "EVENT TRIGGER "

void script_release(Script *s)
{
    if (!s)
        return;
    buf_release(&s->output);
    free(s->parts);
    *s = (Script){0};
}

static int make_token(char token[TOKEN_SIZE])
{
    uint8_t random[(TOKEN_SIZE - 1) / 2];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(token + 2 * i, 3, "%02x", random[i]);
    return 0;
}

/* Comments and security labels of event triggers come in the last pass, by their kind and name, but
 * not with every version of pg_restore. */
static bool is_about_event_trigger(const TocEntry *t)
{
    return (toc_is(t, "COMMENT") || toc_is(t, "SECURITY LABEL")) && t->tag &&
           strncmp(t->tag, EVENT_TRIGGER, strlen(EVENT_TRIGGER)) == 0;
}

/* pg_restore prints in three passes; a marker has to be of the pass of the entry it announces. */
static const char *marker_desc(const TocEntry *t)
{
    if (toc_is(t, "ACL") || toc_is(t, "DEFAULT ACL"))
        return "ACL";
    if (toc_is(t, "EVENT TRIGGER") || toc_is(t, "MATERIALIZED VIEW DATA"))
        return "MATERIALIZED VIEW DATA";
    return is_about_event_trigger(t) ? t->desc : "COMMENT";
}

/* Entries that pg_restore reads at once and never prints. */
static bool is_special(const TocEntry *t)
{
    return toc_is(t, "ENCODING") || toc_is(t, "STDSTRINGS") || toc_is(t, "SEARCHPATH");
}

/* The TOC with a marker entry before every entry and one at the end. Borrows the strings of `toc`;
 * the markers' own are in `names`. */
typedef struct Marked {
    Archive archive;
    char (*tags)[sizeof(EVENT_TRIGGER) + TOKEN_SIZE + 24];
} Marked;

static void marked_release(Marked *m)
{
    free(m->archive.entries);
    free(m->tags);
}

static TocEntry marker(int32_t dump_id, char *tag, const char *desc, char *token)
{
    return (TocEntry){.dump_id = dump_id,
                      .tag = tag,
                      .desc = (char *)desc, /* never written through */
                      .section = SECTION_NONE,
                      .defn = token,
                      .data_state = DATA_NONE};
}

static int mark(const Archive *toc, char *token, Marked *ret, Error *e)
{
    Marked m = {.archive = *toc};
    int32_t id = 0;
    for (size_t i = 0; i < toc->n; i++)
        id = toc->entries[i].dump_id > id ? toc->entries[i].dump_id : id;
    if (id > INT32_MAX - (int32_t)toc->n - 1)
        return error_set(e, EOVERFLOW, "the database has too many objects");
    m.archive.compression = 0;
    m.archive.n = 0;
    m.archive.entries = calloc(2 * toc->n + 1, sizeof(TocEntry));
    m.tags = calloc(toc->n + 1, sizeof(*m.tags));
    if (!m.archive.entries || !m.tags) {
        marked_release(&m);
        return error_oom(e);
    }
    for (size_t i = 0; i <= toc->n; i++) {
        const TocEntry *t = i < toc->n ? &toc->entries[i] : NULL;
        if (!t || !is_special(t)) {
            snprintf(m.tags[i], sizeof(m.tags[i]), "%s%s:%zu",
                     t && is_about_event_trigger(t) ? EVENT_TRIGGER : "", token, i);
            m.archive.entries[m.archive.n++] =
                marker(++id, m.tags[i], t ? marker_desc(t) : "MATERIALIZED VIEW DATA", token);
        }
        if (t) {
            m.archive.entries[m.archive.n] = *t;
            m.archive.entries[m.archive.n++].data_state = t->had_dumper ? DATA_POS_SET : DATA_NONE;
        }
    }
    *ret = m;
    return 0;
}

static int add_data(const TocEntry *t, const char *token, Buf *out, Error *e)
{
    size_t len = strlen(token);
    int r;
    if (toc_is(t, "TABLE DATA")) {
        r = archive_encode_block(out, BLOCK_DATA, t->dump_id);
        if (r == 0)
            r = archive_encode_bytes(out, token, len);
    } else if (toc_is(t, "BLOBS")) {
        r = archive_encode_block(out, BLOCK_BLOBS, t->dump_id);
        if (r == 0)
            r = archive_encode_oid(out, BLOB_OID);
        if (r == 0)
            r = archive_encode_bytes(out, token, len);
        if (r == 0)
            r = archive_encode_end(out);
    } else {
        return error_set(e, EPROTONOSUPPORT, "pg_dump gave data of an unknown kind: %s", t->desc);
    }
    if (r == 0)
        r = archive_encode_end(out);
    return r < 0 ? error_oom(e) : 0;
}

/* The archive that pg_restore gets, with every entry's data a token. */
static int encode(Marked *m, const char *token, Buf *out, Error *e)
{
    _cleanup_(buf_release) Buf data = BUF_INIT;
    if (archive_encode(&m->archive, out) < 0)
        return error_oom(e);
    size_t toc_len = out->len;
    for (size_t i = 0; i < m->archive.n; i++) {
        TocEntry *t = &m->archive.entries[i];
        if (t->data_state != DATA_POS_SET)
            continue;
        t->data_offset = toc_len + data.len;
        TRY(add_data(t, token, &data, e));
    }
    buf_clear(out); /* again, now that the offsets are known */
    if (archive_encode(&m->archive, out) < 0 || buf_add(out, data.data, data.len) < 0)
        return error_oom(e);
    return 0;
}

static int run(const PgTools *tools, const Buf *archive, const atomic_bool *cancel,
               ToolNotes *notes, Buf *output, Error *e)
{
    _cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "can't make a memory file");
    int r = io_write_all(fd, archive->data, archive->len);
    if (r < 0 || lseek(fd, 0, SEEK_SET) != 0)
        return error_errno(e, r < 0 ? -r : errno, "can't write a memory file");
    const char *argv[] = {tools->pg_restore, "--file=-", NULL};
    _cleanup_(child_freep) Child *c = NULL;
    char **env = NULL;
    TRY(conninfo_env(NULL, NULL, &env, e));
    r = child_start(&(ChildSpec){.argv = argv, .env = env, .stdin_fd = fd, .cancel = cancel}, &c,
                    e);
    conninfo_env_free(env);
    TRY(r);
    TRY(child_read_all(c, OUTPUT_MAX, output, e));
    TRY(child_finish(c, e));
    tool_notes_pass(notes, c);
    return 0;
}

static const char *find(Text in, const char *what)
{
    return in.len ? memmem(in.p, in.len, what, strlen(what)) : NULL;
}

static Text span(const char *from, const char *to)
{
    return (Text){from, (size_t)(to - from)};
}

static bool starts_with(Text t, const char *what)
{
    return t.len >= strlen(what) && memcmp(t.p, what, strlen(what)) == 0;
}

static int unexpected(const char *what, Error *e)
{
    return error_set(e, EBADMSG, "pg_restore printed something unexpected: %s", what);
}

/* Cut the key out of the line that starts with `command`; `a` ends before it, `b` starts after. */
static bool cut_key(Text in, const char *command, Text *a, Text *b)
{
    const char *p = find(in, command);
    *a = in;
    *b = (Text){in.p + in.len, 0};
    if (!p)
        return false;
    p += strlen(command);
    const char *end = in.p + in.len, *eol = memchr(p, '\n', (size_t)(end - p));
    if (!eol)
        return false;
    *a = span(in.p, p);
    *b = span(eol, end);
    return true;
}

/* The end of the statement at the start of `t`, past its blank line; NULL when it has none. A
 * quoted name may hold anything. */
static const char *statement_end(Text t)
{
    bool quoted = false;
    for (size_t i = 0; i + 2 < t.len; i++) {
        quoted ^= t.p[i] == '"';
        if (!quoted && memcmp(t.p + i, ";\n\n", 3) == 0)
            return t.p + i + 3;
    }
    return NULL;
}

/* Split one entry's text into SETs, body and what follows its data. `in_force` is what earlier
 * parts set. */
static int split_part(Text t, const char *token, ScriptPart *p, Text in_force[2], Error *e)
{
    const char *end = t.p + t.len, *at = t.p;
    for (;;) {
        Text rest = span(at, end);
        bool space = starts_with(rest, "SET default_tablespace = ");
        if (!space && !starts_with(rest, "SET default_table_access_method = "))
            break;
        const char *next = statement_end(rest);
        if (!next)
            return unexpected("a SET without an end", e);
        in_force[space ? 0 : 1] = span(at, next);
        at = next;
    }
    p->sets = span(t.p, at);
    p->body = span(at, end);
    if (p->entry->tablespace)
        p->tablespace = in_force[0];
    if (p->entry->tableam && p->entry->relkind != 'p') /* partitioned: an ALTER of its own */
        p->tableam = in_force[1];
    p->after = (Text){end, 0};
    p->has_data = p->entry->had_dumper;
    if (!p->has_data || !toc_is(p->entry, "TABLE DATA"))
        return 0;
    const char *mark_at = find(p->body, token);
    if (!mark_at)
        return unexpected("a table without its data", e);
    p->after = span(mark_at + strlen(token), end);
    p->body = span(at, mark_at);
    return 0;
}

/* Find how one large object was written, around its number and the token's hex digits. */
static int split_blobs(const char *token, ScriptPart *p, Error *e)
{
    char hex[2 * TOKEN_SIZE];
    for (size_t i = 0; token[i]; i++)
        snprintf(hex + 2 * i, 3, "%02x", (uint8_t)token[i]);
    const char *end = p->body.p + p->body.len;
    const char *digits = find(p->body, BLOB_DIGITS), *bytes = find(p->body, hex);
    if (!digits || !bytes || digits > bytes)
        return unexpected("no large object", e);
    const char *open = memrchr(p->body.p, '\n', (size_t)(digits - p->body.p));
    const char *write = memrchr(digits, '\n', (size_t)(bytes - digits));
    const char *write_end = memchr(bytes, '\n', (size_t)(end - bytes));
    const char *close_end = write_end ? find(span(write_end, end), "\n\n") : NULL;
    if (!open || !write || !close_end)
        return unexpected("a large object of another form", e);
    p->blob.open_a = span(open + 1, digits);
    p->blob.open_b = span(digits + strlen(BLOB_DIGITS), write + 1);
    p->blob.write_a = span(write + 1, bytes);
    p->blob.write_b = span(bytes + strlen(hex), write_end + 1);
    p->blob.close = span(write_end + 1, close_end + 2);
    p->after = span(close_end + 2, end);
    p->body = span(p->body.p, open + 1);
    return 0;
}

/* Where a marker begins whose token is at `at`; NULL when something else stands before it. */
static const char *marker_start(const char *from, const char *at)
{
    static const char *const heads[] = {"--\n-- Name: ", "--\n-- Name: " EVENT_TRIGGER};
    for (size_t i = 0; at && i < sizeof(heads) / sizeof(heads[0]); i++) {
        size_t len = strlen(heads[i]);
        if ((size_t)(at - from) >= len && memcmp(at - len, heads[i], len) == 0)
            return at - len;
    }
    return NULL;
}

/* The next marker at or after `at`: its start, its end and the entry it announces. NULL when there
 * is none or it has another form than expected. */
static const char *next_marker(const char *at, const char *end, const char *token,
                               const char **ret_after, size_t *ret_index)
{
    char name[TOKEN_SIZE + 1];
    _cleanup_free_ char *tail = NULL;
    if (asprintf(&tail, "; Schema: -; Owner: -\n--\n\n%s\n\n", token) < 0)
        return NULL;
    snprintf(name, sizeof(name), "%s:", token);
    const char *found = find(span(at, end), name), *start = marker_start(at, found);
    if (!start)
        return NULL;
    char *after_index;
    *ret_index = strtoull(found + strlen(name), &after_index, 10);
    const char *t = find(span(after_index, end), tail);
    if (!t || t - after_index > 64)
        return NULL;
    *ret_after = t + strlen(tail);
    return start;
}

static int parse_parts(Script *s, const Archive *toc, const char *token, Error *e)
{
    const char *end = (const char *)s->output.data + s->output.len;
    const char *after = NULL;
    size_t index = 0;
    const char *start = next_marker((const char *)s->output.data, end, token, &after, &index);
    if (!start)
        return unexpected("no marker", e);
    s->head_a = span((const char *)s->output.data, start);

    Text in_force[2] = {{NULL, 0}, {NULL, 0}};
    while (index < toc->n) {
        const char *next_after = NULL;
        size_t next_index = 0;
        const char *next = next_marker(after, end, token, &next_after, &next_index);
        if (!next || s->n >= toc->n)
            return unexpected("a marker is missing", e);
        if (next > after) {
            ScriptPart *p = &s->parts[s->n++];
            *p = (ScriptPart){.entry = &toc->entries[index], .index = index};
            TRY(split_part(span(after, next), token, p, in_force, e));
            if (toc_is(p->entry, "BLOBS"))
                TRY(split_blobs(token, p, e));
        }
        after = next_after;
        index = next_index;
    }
    s->tail_a = span(after, end);
    return 0;
}

int script_make(const PgTools *tools, const Archive *toc, const atomic_bool *cancel,
                ToolNotes *notes, Script *ret_script, Error *e)
{
    char token[TOKEN_SIZE];
    _cleanup_(marked_release) Marked marked = {0};
    _cleanup_(buf_release) Buf archive = BUF_INIT;
    _cleanup_(script_release) Script s = {0};

    if (make_token(token) < 0)
        return error_set(e, EIO, "no random numbers");
    TRY(mark(toc, token, &marked, e));
    TRY(encode(&marked, token, &archive, e));
    TRY(run(tools, &archive, cancel, notes, &s.output, e));
    if (!(s.parts = calloc(toc->n + 1, sizeof(*s.parts))) || !buf_cstr(&s.output))
        return error_oom(e);
    TRY(parse_parts(&s, toc, token, e));

    const char *settings = find(s.head_a, "SET statement_timeout = 0;\n");
    if (!settings)
        return unexpected("no settings", e);
    s.settings = span(settings, s.head_a.p + s.head_a.len);
    s.is_restricted = cut_key(s.head_a, "\n\\restrict ", &s.head_a, &s.head_b) &&
                      cut_key(s.tail_a, "\n\\unrestrict ", &s.tail_a, &s.tail_b);
    if (!s.is_restricted) {
        s.head_b = (Text){s.settings.p + s.settings.len, 0};
        s.tail_b = (Text){s.tail_a.p + s.tail_a.len, 0};
    }
    *ret_script = s;
    s = (Script){0};
    return 0;
}
