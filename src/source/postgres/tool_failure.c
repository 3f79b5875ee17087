#include "source/postgres/tool_failure.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "util/buf.h"
#include "util/cleanup.h"

/* What pg_dump's own words mean. They are English: conninfo_env sees to that, but for the server's
 * part of them. */
static int classify(const char *said, const char **ret_hint)
{
    if (strstr(said, "due to lock timeout") || strstr(said, "due to statement timeout")) {
        *ret_hint = "another session holds a lock on the table: wait for it, or raise "
                    "--table-lock-wait";
        return EBUSY;
    }
    if (strstr(said, "were found for pattern") || strstr(said, "were found\n")) {
        *ret_hint = "check the names given with --schema and --table: capitals and special "
                    "characters need double quotes inside, as in --table='public.\"Orders\"'";
        return ENOENT;
    }
    if (strstr(said, "too many dotted names") || strstr(said, "cross-database references")) {
        *ret_hint = "write SCHEMA.TABLE or TABLE; a dot inside of a name needs double quotes";
        return EINVAL;
    }
    if (strstr(said, "invalid regular expression")) {
        *ret_hint = "see \"Patterns\" in psql(1); double quotes inside take a name literally";
        return EINVAL;
    }
    if (strstr(said, "too many clients") || strstr(said, "remaining connection slots") ||
        strstr(said, "closed the connection unexpectedly") || strstr(said, "is starting up") ||
        strstr(said, "is shutting down") || strstr(said, "terminating connection"))
        return ECONNRESET;
    if (strstr(said, "invalid snapshot identifier"))
        *ret_hint = "connections do not all reach the same server: name one host, without a "
                    "balancer or pooler in front of it";
    if (strstr(said, "permission denied")) {
        *ret_hint = "grant the role what is missing, or dump as the owner";
        return EACCES;
    }
    if (strstr(said, "does not exist") || strstr(said, "could not open relation") ||
        strstr(said, "cache lookup failed") || strstr(said, "deadlock detected"))
        return ESTALE;
    if (strstr(said, "server version mismatch"))
        *ret_hint = "install the postgresql-client package of the server's version";
    return EIO;
}

static bool has(const char *text, size_t len, const char *what)
{
    return memmem(text, len, what, strlen(what)) != NULL;
}

/* Whether a message tells of the failure itself. Others quote the query, which may hold anything.
 */
static bool is_reason(const char *text, size_t len)
{
    if (has(text, len, "uery was: ") || has(text, len, "ommand was: "))
        return false;
    if (has(text, len, "detail: "))
        return has(text, len, "detail: Error message from server: ");
    return has(text, len, "error: ") || has(text, len, "FATAL: ");
}

/* Without what stands in double quotes: names, which may read like anything. A name may hold such
 * quotes too; then all is taken. */
static int add_unquoted(const char *text, size_t len, Buf *out)
{
    bool quoted = false;
    size_t start = out->len;
    int r = 0;
    for (size_t i = 0; r == 0 && i < len; i++) {
        quoted ^= text[i] == '"';
        if (!quoted)
            r = buf_add_u8(out, (uint8_t)text[i]);
    }
    if (r == 0 && quoted) {
        out->len = start;
        r = buf_add(out, text, len);
    }
    return r == 0 ? buf_add_u8(out, '\n') : r;
}

int tool_failure(const char *messages, const char **ret_hint)
{
    _cleanup_(buf_release) Buf reasons = BUF_INIT;
    int r = 0;
    for (const char *p = messages, *next; r == 0 && p; p = next) {
        const char *end = strstr(p, "\npg_dump: "); /* a message may have several lines */
        next = end ? end + 1 : NULL;
        size_t len = end ? (size_t)(end - p) : strlen(p);
        if (is_reason(p, len))
            r = add_unquoted(p, len, &reasons);
    }
    const char *said = r == 0 ? buf_cstr(&reasons) : NULL;
    return said ? classify(said, ret_hint) : ENOMEM;
}
