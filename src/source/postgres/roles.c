#include "source/postgres/roles.h"

#include <errno.h>
#include <string.h>

#include "source/postgres/child.h"
#include "source/postgres/keyed.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

#define OUTPUT_MAX (1ull << 30) /* bytes */

static const char no_passwords[] =
    "--\n-- Roles WITHOUT their passwords: the role that made this backup may not read them.\n"
    "-- Set them again after restoring, e.g. with \\password ROLE.\n--\n\n";

static int run(const PgTools *tools, const ConnInfo *pinned, Conn *coordinator, bool passwords,
               bool no_acl, const atomic_bool *cancel, ToolNotes *notes, Buf *out, Error *e)
{
    /* In -d a database's name is ignored, and -l takes a connection string too. */
    _cleanup_(buf_release) Buf keywords = BUF_INIT;
    TRY(conninfo_keywords(pinned, true, &keywords, e));
    if (!buf_cstr(&keywords))
        return error_oom(e);
    const char *argv[8] = {tools->pg_dumpall, "--globals-only", "--no-password", "--database",
                           (const char *)keywords.data};
    size_t n = 5;
    if (!passwords)
        argv[n++] = "--no-role-passwords";
    if (no_acl)
        argv[n++] = "--no-privileges";
    char **env = NULL;
    TRY(conninfo_env(pinned, conn_child_options(coordinator), &env, e));
    _cleanup_(child_freep) Child *c = NULL;
    int r = child_start(&(ChildSpec){.argv = argv, .env = env, .stdin_fd = -1, .cancel = cancel},
                        &c, e);
    conninfo_env_free(env);
    TRY(r);
    TRY(child_read_all(c, OUTPUT_MAX, out, e));
    TRY(child_finish(c, e));
    tool_notes_pass(notes, c);
    return 0;
}

/* Where the key after `command` stands, at the start of a line: the first such line, or the last.
 */
static char *find_key(char *text, size_t len, const char *command, bool last, size_t *ret_len)
{
    char *found = NULL, *p = text, *end = text + len;
    while (p < end && (p = memmem(p, (size_t)(end - p), command, strlen(command)))) {
        found = p += strlen(command);
        if (!last)
            break;
    }
    char *eol = found ? memchr(found, '\n', (size_t)(end - found)) : NULL;
    *ret_len = eol ? (size_t)(eol - found) : 0;
    return eol ? found : NULL;
}

/* Put our own key in the place of the tool's random one. */
static int replace_keys(const Buf *in, const uint8_t secret[32], Buf *out)
{
    char *text = (char *)in->data, key[RESTRICT_KEY_SIZE];
    size_t first_len = 0, last_len = 0;
    char *first = find_key(text, in->len, "\n\\restrict ", false, &first_len);
    char *last = find_key(text, in->len, "\n\\unrestrict ", true, &last_len);
    if (!first || !last || last < first)
        return buf_add(out, in->data, in->len);
    char *middle = first + first_len;
    TRY(restrict_key(secret, middle, (size_t)(last - middle), key));
    TRY(buf_add(out, text, (size_t)(first - text)));
    TRY(buf_add_str(out, key));
    TRY(buf_add(out, middle, (size_t)(last - middle)));
    TRY(buf_add_str(out, key));
    return buf_add(out, last + last_len, in->len - (size_t)(last + last_len - text));
}

int roles_read(const PgTools *tools, const ConnInfo *pinned, Conn *coordinator, bool passwords,
               bool no_acl, const uint8_t secret[32], const atomic_bool *cancel, ToolNotes *notes,
               Buf *out, Error *e)
{
    _cleanup_(buf_release) Buf printed = BUF_INIT;
    TRY(run(tools, pinned, coordinator, passwords, no_acl, cancel, notes, &printed, e));
    int r = passwords ? 0 : buf_add_str(out, no_passwords);
    if (r == 0)
        r = replace_keys(&printed, secret, out);
    return r < 0 ? error_oom(e) : 0;
}
