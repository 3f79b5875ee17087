#include "source/postgres/snapshot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/catalog.h"
#include "source/postgres/changes.h"
#include "source/postgres/tool_failure.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

#define LOCK_BATCH 200  /* tables of one LOCK statement */
#define PIPE_SIZE  4096 /* small, so that pg_dump soon blocks and keeps its locks */

static ssize_t read_child(void *ctx, void *data, size_t len, Error *e)
{
    return child_read(ctx, data, len, e);
}

int snapshot_dump_failed(Snapshot *s, Error *why, Error *e)
{
    if (why->errnum == EBADMSG || why->errnum == EPROTONOSUPPORT)
        return error_move(e, why); /* no fault of a pg_dump that runs on */
    Error said = ERROR_INIT;
    int r = child_finish(s->dump, &said);
    if (r == 0) { /* it claims success: what was read is to blame */
        error_release(&said);
        tool_notes_pass(s->notes, s->dump);
        return error_move(e, why);
    }
    error_release(why);
    const char *hint = NULL;
    if (r != -EINTR)
        said.errnum = tool_failure(child_messages(s->dump), &hint);
    if (said.errnum == EIO && !conn_child_is_english(s->coordinator) &&
        strstr(child_messages(s->dump), "error: query failed: "))
        said.errnum = EREMOTEIO;
    r = error_move(e, &said);
    if (hint)
        error_hint(e, "%s", hint);
    return r;
}

static int start_dump(Snapshot *s, const SnapshotOptions *o, const char *const *argv, Error *e)
{
    char **env = NULL;
    TRY(conninfo_env(o->pinned, conn_child_options(s->coordinator), &env, e));
    int r = child_start(
        &(ChildSpec){
            .argv = argv, .env = env, .stdin_fd = -1, .pipe_size = PIPE_SIZE, .cancel = o->cancel},
        &s->dump, e);
    conninfo_env_free(env);
    return r;
}

static void forget_owners(Archive *toc)
{
    for (size_t i = 0; i < toc->n; i++) {
        free(toc->entries[i].owner);
        toc->entries[i].owner = NULL;
    }
}

/* 0 would mean without an end. */
static double lock_wait_ms(const SnapshotOptions *o)
{
    double ms = ceil(o->lock_wait * 1000);
    return ms > 1 ? ms : 1;
}

static int run_dump(Snapshot *s, const SnapshotOptions *o, Error *e)
{
    _cleanup_free_ char *snapshot = NULL, *lock_wait = NULL, *encoding = NULL;
    _cleanup_(buf_release) Buf keywords = BUF_INIT;
    TRY(conninfo_keywords(o->pinned, false, &keywords, e));
    const char *conninfo = buf_cstr(&keywords);
    if (!conninfo || asprintf(&snapshot, "--snapshot=%s", s->id) < 0 ||
        asprintf(&lock_wait, "--lock-wait-timeout=%.0f", lock_wait_ms(o)) < 0 ||
        asprintf(&encoding, "--encoding=%s",
                 PQparameterStatus(conn_pg(s->coordinator), "server_encoding")) < 0)
        return error_oom(e);
    const char *fixed[] = {o->tools->pg_dump, "--format=custom", "--compress=0", "--no-password",
                           snapshot,          lock_wait,         encoding};
    size_t n = sizeof(fixed) / sizeof(fixed[0]);
    _cleanup_free_ const char **argv = calloc(n + o->n_args + 3, sizeof(*argv));
    if (!argv)
        return error_oom(e);
    memcpy(argv, fixed, sizeof(fixed));
    for (size_t i = 0; i < o->n_args; i++)
        argv[n++] = o->args[i];
    if (*conninfo) {
        argv[n++] = "--dbname";
        argv[n++] = conninfo;
    }
    TRY(start_dump(s, o, argv, e));
    if (archive_reader_new(read_child, s->dump, &s->reader) < 0)
        return error_oom(e);
    Error why = ERROR_INIT;
    int r = archive_read_toc(s->reader, &s->toc, &why);
    if (r < 0)
        return snapshot_dump_failed(s, &why, e);
    if (o->no_owner)
        forget_owners(&s->toc);
    return 0;
}

static int add_table(Conn *c, const TocEntry *t, bool first, Buf *sql, Error *e)
{
    char *schema = PQescapeIdentifier(conn_pg(c), t->namespace, strlen(t->namespace));
    char *table = PQescapeIdentifier(conn_pg(c), t->tag, strlen(t->tag));
    int r = schema && table
                ? buf_addf(sql, "%sONLY %s.%s", first ? "LOCK TABLE " : ", ", schema, table)
                : -ENOMEM;
    PQfreemem(schema);
    PQfreemem(table);
    return r < 0 ? error_oom(e) : 0;
}

/* Lock what pg_dump has locked, without ever waiting: pg_dump may already be in the way of a
 * session that waits, and waiting behind that one would never end. */
static int lock_tables(Snapshot *s, Error *e)
{
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    size_t in_batch = 0;
    for (size_t i = 0; i <= s->toc.n; i++) {
        if (i < s->toc.n) {
            const TocEntry *t = &s->toc.entries[i];
            if (!toc_is(t, "TABLE DATA") || !t->namespace || !t->tag)
                continue;
            TRY(add_table(s->coordinator, t, in_batch == 0, &sql, e));
            in_batch++;
        }
        if (in_batch == 0 || (in_batch < LOCK_BATCH && i < s->toc.n))
            continue;
        if (buf_add_str(&sql, " IN ACCESS SHARE MODE NOWAIT") < 0 || !buf_cstr(&sql))
            return error_oom(e);
        TRY(conn_exec(s->coordinator, (const char *)sql.data, e));
        buf_clear(&sql);
        in_batch = 0;
    }
    return 0;
}

static void drop_dump(Snapshot *s)
{
    archive_reader_free(s->reader);
    s->reader = NULL;
    child_free(s->dump);
    s->dump = NULL;
}

static int begin(Snapshot *s, const SnapshotOptions *o, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_exec(s->coordinator, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", e));
    TRY(conn_check_settings(s->coordinator, e));
    TRY(conn_query(s->coordinator, "SELECT pg_export_snapshot()", 0, NULL, &res, e));
    if (!(s->id = strdup(PQgetvalue(res, 0, 0))))
        return error_oom(e);
    TRY(run_dump(s, o, e));

    TRY(conn_exec(s->coordinator, "SAVEPOINT bakfs_locks", e));
    Error why = ERROR_INIT;
    int r = o->from_dump ? 0 : lock_tables(s, &why);
    if (r < 0 && r != -EWOULDBLOCK && r != -ENOLCK)
        return error_move(e, &why);
    error_release(&why);
    if (r < 0)
        TRY(conn_exec(s->coordinator, "ROLLBACK TO bakfs_locks", e));
    if (r == -EWOULDBLOCK)
        s->why_one = "another session waits for a table's lock";
    else if (r == -ENOLCK)
        s->why_one = "the server has no memory for more locks (max_locks_per_transaction)";
    TRY(catalog_check_tables(s->coordinator, &s->toc, e));
    TRY(changes_check(s->coordinator, o->pinned, o->cancel, &s->toc, e));
    tool_notes_pass(s->notes, s->dump);
    if (r == 0 && !o->from_dump)
        drop_dump(s);
    return 0;
}

int snapshot_begin(Conn *coordinator, const SnapshotOptions *o, Snapshot *ret_snapshot, Error *e)
{
    Snapshot s = {.coordinator = coordinator, .notes = o->notes};
    Error why = ERROR_INIT, lost = ERROR_INIT;
    int r = begin(&s, o, &why);
    if (r == 0) {
        *ret_snapshot = s;
        return 0;
    }
    /* pg_dump fails too when the session that it has its snapshot from is gone. */
    if (r != -EINTR && conn_exec(coordinator, "SELECT 1", &lost) == -ECONNRESET)
        error_move(&why, &lost);
    error_release(&lost);
    snapshot_end(&s);
    return error_move(e, &why);
}

int snapshot_check(Snapshot *s, Error *e)
{
    TRY(conn_exec(s->coordinator, "SELECT 1", e));
    if (PQtransactionStatus(conn_pg(s->coordinator)) != PQTRANS_INTRANS)
        return error_set(e, EIO, "the snapshot's transaction ended too early");
    return 0;
}

void snapshot_end(Snapshot *s)
{
    drop_dump(s);
    if (s->coordinator && PQtransactionStatus(conn_pg(s->coordinator)) != PQTRANS_IDLE)
        (void)conn_exec(s->coordinator, "ROLLBACK", NULL);
    archive_release(&s->toc);
    free(s->id);
    *s = (Snapshot){0};
}
