#include "restore/postgres/definitions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "restore/postgres/database.h"
#include "restore/targets.h"
#include "source/postgres/child.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"
#include "util/io.h"

#define OUTPUT_MAX (4ull << 30) /* bytes of all DROP commands, and of what pg_restore prints */
#define BATCH_SIZE 200          /* commands of one transaction, where all are too many */

void definitions_release(Definitions *d)
{
    script_release(&d->script);
    buf_release(&d->settings);
    buf_release(&d->view_settings);
    buf_release(&d->drops);
    free(d->inherited);
}

/* A memory file that holds the archive: pg_restore opens it by name as often as it has jobs, and
 * nothing of it ever touches a disk. */
static int archive_file(const Archive *a, int *ret_fd, Error *e)
{
    _cleanup_(buf_release) Buf bytes = BUF_INIT;
    if (archive_encode(a, &bytes) < 0)
        return error_oom(e);
    _cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "can't make a memory file");
    int r = io_write_all(fd, bytes.data, bytes.len);
    if (r < 0 || lseek(fd, 0, SEEK_SET) != 0)
        return error_errno(e, r < 0 ? -r : errno, "can't write a memory file");
    *ret_fd = take_fd(&fd);
    return 0;
}

/* Append "<set> name TO value", with what the archive's database sets for its sessions; nothing
 * where it does not, or the server refuses it, e.g. a locale that it lacks. */
static int add_setting(const Definitions *d, const char *set, const char *name, Buf *out)
{
    size_t n = 0;
    const char *value = database_setting(d->plan->all, name, &n);
    if (!value || memchr(value, '$', n))
        return 0;
    return buf_addf(out,
                    "DO $$BEGIN %s %s TO %.*s;"
                    " EXCEPTION WHEN invalid_parameter_value THEN NULL; END$$;\n",
                    set, name, (int)n, value);
}

/* Without settings of the tools' version that the server does not know. */
static int make_settings(Definitions *d, int server_major, Error *e)
{
    static const char unknown[] = "SET transaction_timeout = 0;\n"; /* new in 17 */
    const char *p = d->script.settings.p;
    size_t len = d->script.settings.len;
    const char *cut = server_major < 17 ? memmem(p, len, unknown, sizeof(unknown) - 1) : NULL;
    d->is_newer = cut != NULL;
    size_t before = cut ? (size_t)(cut - p) : len;
    int r = buf_add(&d->settings, p, before);
    if (r == 0 && cut)
        r = buf_add(&d->settings, cut + sizeof(unknown) - 1, len - before - (sizeof(unknown) - 1));
    /* Rows go into tables whose constraints stand: check them no more than the dump did. Not every
     * role may say so; then it goes without. */
    if (r == 0 && d->o->data_only)
        r = buf_add_str(&d->settings, "DO $$BEGIN SET session_replication_role = replica;"
                                      " EXCEPTION WHEN insufficient_privilege THEN NULL; END$$;\n");
    /* Amounts of money are read as this says, so let it be what they were written with. */
    if (r == 0)
        r = add_setting(d, "SET", "lc_monetary", &d->settings);
    return r < 0 || !buf_cstr(&d->settings) ? error_oom(e) : 0;
}

/* Materialized views are computed, not read: with what the database sets for its sessions, not with
 * what ours are pinned to. One that is being made has its settings last, so take the archive's. */
static int make_view_settings(Definitions *d, Error *e)
{
    static const char *const names[] = {"TimeZone",      "DateStyle",
                                        "IntervalStyle", "extra_float_digits",
                                        "bytea_output",  "default_text_search_config"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (buf_addf(&d->view_settings, "SET LOCAL %s TO DEFAULT;\n", names[i]) < 0 ||
            (d->o->create && add_setting(d, "SET LOCAL", names[i], &d->view_settings) < 0))
            return error_oom(e);
    return buf_cstr(&d->view_settings) ? 0 : error_oom(e);
}

static TocEntry marker(int32_t id, char *token, char *drop)
{
    return (TocEntry){.dump_id = id,
                      .tag = token,
                      .desc = (char *)"COMMENT", /* never written through */
                      .section = SECTION_NONE,
                      .defn = token,
                      .drop_stmt = drop,
                      .data_state = DATA_NONE};
}

/* What stands in the way: tables and the like with the entries that define them, not schemas and
 * extensions that others may use too, unless everything is restored or the schema by its name. */
static bool is_dropped(const Definitions *d, const TocEntry *t)
{
    if (t->had_dumper || !t->drop_stmt || (d->inherited && d->inherited[t - d->plan->toc.entries]))
        return false;
    if (d->o->data_only)
        return toc_is(t, "BLOB") || toc_is(t, "BLOB METADATA");
    if (d->plan->is_whole)
        return true;
    return !toc_is(t, "EXTENSION") && !(toc_is(t, "SCHEMA") && d->o->n_tables);
}

/* The archive for the DROP commands: pg_restore prints those of all entries in reverse order before
 * everything else; the first and the last entry mark where they begin and end. */
static int drop_archive(const Definitions *d, char *token, char *drop, Archive *ret, Error *e)
{
    const Archive *a = &d->plan->toc;
    int32_t max = 0;
    for (size_t i = 0; i < a->n; i++)
        max = a->entries[i].dump_id > max ? a->entries[i].dump_id : max;
    *ret = *a;
    ret->n = 0;
    ret->compression = 0;
    ret->entries = calloc(a->n + 2, sizeof(TocEntry));
    if (!ret->entries || max > INT32_MAX - 2)
        return error_oom(e);
    ret->entries[ret->n++] = marker(max + 1, token, drop);
    for (size_t i = 0; i < a->n; i++)
        if (d->plan->phases[i] == PHASE_NONE || is_dropped(d, &a->entries[i]))
            ret->entries[ret->n++] = a->entries[i];
    ret->entries[ret->n++] = marker(max + 2, token, drop);
    return 0;
}

static int run_restore(const Definitions *d, const char *const *argv, const Archive *a,
                       char *const *env, Buf *out, Error *e)
{
    _cleanup_close_ int fd = -1;
    _cleanup_(child_freep) Child *c = NULL;
    TRY(archive_file(a, &fd, e));
    const ChildSpec spec = {.argv = argv, .env = env, .stdin_fd = fd, .cancel = d->o->cancel};
    TRY(child_start(&spec, &c, e));
    TRY(child_read_all(c, OUTPUT_MAX, out, e));
    return child_finish(c, e);
}

static int make_drops(Definitions *d, Error *e)
{
    uint8_t random[16];
    char token[33], drop[48];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(e, EIO, "no random numbers");
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(token + 2 * i, 3, "%02x", random[i]);
    int n = snprintf(drop, sizeof(drop), "-- %s\n", token);

    Archive a = {0};
    char **env = NULL;
    _cleanup_(buf_release) Buf out = BUF_INIT;
    const char *argv[] = {d->tools->pg_restore, "--clean", "--if-exists", "--file=-", NULL};
    int r = drop_archive(d, token, drop, &a, e);
    if (r == 0)
        r = conninfo_env(NULL, NULL, &env, e);
    if (r == 0)
        r = run_restore(d, argv, &a, env, &out, e);
    conninfo_env_free(env);
    free(a.entries);
    if (r < 0)
        return r;
    const char *text = (const char *)out.data;
    const char *from = out.len ? memmem(text, out.len, drop, (size_t)n) : NULL;
    from = from ? from + n : NULL;
    const char *to = from ? memmem(from, (size_t)(text + out.len - from), drop, (size_t)n) : NULL;
    if (!to)
        return error_set(e, EBADMSG, "pg_restore printed no DROP commands");
    if (buf_add(&d->drops, from, (size_t)(to - from)) < 0 || !buf_cstr(&d->drops))
        return error_oom(e);
    return 0;
}

int definitions_make(Definitions *d, int server_major, Error *e)
{
    TRY(script_make(d->tools, &d->plan->toc, d->o->cancel, NULL, &d->script, e));
    TRY(make_settings(d, server_major, e));
    TRY(make_view_settings(d, e));
    return d->o->overwrite && !d->o->create ? make_drops(d, e) : 0;
}

int batch_begin(Batch *b, Error *e)
{
    return session_run(b->session, "BEGIN", e);
}

int batch_step(Batch *b, Error *e)
{
    if (b->is_single || ++b->done < BATCH_SIZE)
        return 0;
    b->done = 0;
    TRY(session_run(b->session, "COMMIT; BEGIN", e));
    b->commits++;
    return 0;
}

int batch_end(Batch *b, Error *e)
{
    TRY(session_run(b->session, "COMMIT", e));
    b->commits++;
    return 0;
}

static int drop_one_by_one(Definitions *d, Batch *b, Error *e)
{
    const char *sql = (const char *)d->drops.data;
    for (size_t n; (n = database_command(sql)) > 0; sql += n) {
        TRY(session_exec(b->session, sql, n, e));
        TRY(batch_step(b, e));
    }
    return 0;
}

int definitions_drop(Definitions *d, Batch *b, Error *e)
{
    if (d->drops.len == 0)
        return 0;
    restore_progress(d->o, 0, 0, "dropping what is there");
    int r = b->is_single ? session_run(b->session, (const char *)d->drops.data, e)
                         : drop_one_by_one(d, b, e);
    if (r < 0 && r != -EINTR)
        error_prefix(e, "dropping what is there");
    return r;
}

/* Run a SET unless it is in force. */
static int run_set(Batch *b, Text set, Text *in_force, Error *e)
{
    if (set.len == 0 || (set.len == in_force->len && memcmp(set.p, in_force->p, set.len) == 0))
        return 0;
    *in_force = set;
    return session_exec(b->session, set.p, set.len, e);
}

static int run_part(Definitions *d, Batch *b, const ScriptPart *p, Text in_force[2], Error *e)
{
    const TocEntry *t = p->entry;
    restore_progress(d->o, 0, 0, t->tag ? t->tag : t->desc);
    int r = run_set(b, p->tablespace, &in_force[0], e);
    if (r == 0)
        r = run_set(b, p->tableam, &in_force[1], e);
    if (r == 0 && toc_is(t, "MATERIALIZED VIEW DATA"))
        r = session_run(b->session, (const char *)d->view_settings.data, e);
    if (r == 0)
        r = session_exec(b->session, p->body.p, p->body.len, e);
    if (r < 0 && r != -EINTR)
        error_prefix(e, "%s %s%s%s", t->desc, t->namespace ? t->namespace : "",
                     t->namespace && *t->namespace ? "." : "", t->tag ? t->tag : "");
    return r < 0 ? r : batch_step(b, e);
}

int definitions_run(Definitions *d, Batch *b, Phase phase, Error *e)
{
    Text in_force[2] = {{NULL, 0}, {NULL, 0}};
    for (size_t i = 0; i < d->script.n; i++) {
        const ScriptPart *p = &d->script.parts[i];
        if (d->plan->phases[p->index] == phase && !p->has_data)
            TRY(run_part(d, b, p, in_force, e));
    }
    return 0;
}

/* The definitions with none of what the other phases run: data and privileges. What comes before
 * the data stays, for it tells which entries must not run at the same time. */
static int post_archive(const Definitions *d, Archive *ret, Error *e)
{
    const Plan *p = d->plan;
    *ret = p->toc;
    ret->n = 0;
    ret->compression = 0;
    ret->entries = calloc(p->toc.n + 1, sizeof(TocEntry));
    if (!ret->entries)
        return error_oom(e);
    for (size_t i = 0; i < p->toc.n; i++) {
        if (p->phases[i] == PHASE_KEYS || p->phases[i] == PHASE_LAST)
            continue;
        ret->entries[ret->n] = p->toc.entries[i];
        ret->entries[ret->n++].data_state = DATA_NONE;
    }
    return 0;
}

int definitions_run_post(Definitions *d, const ConnInfo *ci, Session *s, int jobs, Error *e)
{
    _cleanup_(buf_release) Buf keywords = BUF_INIT, out = BUF_INIT;
    _cleanup_free_ char *dbname = NULL, *jobs_option = NULL, *options = NULL;
    char **env = NULL;
    Archive a = {0};
    TRY(conninfo_keywords(ci, true, &keywords, e));
    if (!buf_cstr(&keywords) || asprintf(&dbname, "--dbname=%s", (const char *)keywords.data) < 0 ||
        asprintf(&jobs_option, "--jobs=%d", jobs) < 0)
        return error_oom(e);
    const char *argv[] = {d->tools->pg_restore,
                          "--section=post-data",
                          "--no-password",
                          "--exit-on-error",
                          dbname,
                          jobs_option,
                          "/dev/stdin",
                          NULL};
    restore_progress(d->o, 0, 0, "indexes and constraints");
    int r = post_archive(d, &a, e);
    if (r == 0)
        r = session_child_options(s, &options, e);
    if (r == 0)
        r = conninfo_env(ci, options, &env, e);
    if (r == 0)
        r = run_restore(d, argv, &a, env, &out, e);
    conninfo_env_free(env);
    free(a.entries);
    if (r < 0 && e && e->message && strstr(e->message, "deadlock"))
        error_hint(e, "pg_restore's jobs got in each other's way: run it again, perhaps with "
                      "--jobs 1");
    if (r < 0 && r != -EINTR)
        error_prefix(e, "indexes and constraints");
    return r;
}
