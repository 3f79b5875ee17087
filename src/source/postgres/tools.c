#include "source/postgres/tools.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/postgres/child.h"
#include "source/postgres/conninfo.h"
#include "source/postgres/try.h"
#include "util/buf.h"
#include "util/cleanup.h"

#define DEBIAN_ROOT "/usr/lib/postgresql"

void pg_tools_release(PgTools *t)
{
    if (!t)
        return;
    free(t->pg_dump);
    free(t->pg_restore);
    free(t->pg_dumpall);
    *t = (PgTools){0};
}

/* "pg_dump (PostgreSQL) 15.20 (Debian …)", "… 18beta1". */
int pg_tools_parse_version(const char *line)
{
    const char *p = strstr(line, "(PostgreSQL) ");
    if (!p)
        return 0;
    long major = strtol(p + strlen("(PostgreSQL) "), NULL, 10);
    return major >= 10 && major < 1000 ? (int)major : 0;
}

/* The major version of the pg_dump in `dir`, 0 when there is none that runs. */
static int version_in(const char *dir)
{
    _cleanup_free_ char *path = NULL;
    if (asprintf(&path, "%s/pg_dump", dir) < 0 || access(path, X_OK) < 0)
        return 0;
    const char *argv[] = {path, "--version", NULL};
    char **env = NULL;
    if (conninfo_env(NULL, NULL, &env, NULL) < 0)
        return 0;
    _cleanup_(child_freep) Child *c = NULL;
    _cleanup_(buf_release) Buf out = BUF_INIT;
    int r = child_start(&(ChildSpec){.argv = argv, .env = env, .stdin_fd = -1}, &c, NULL);
    conninfo_env_free(env);
    if (r < 0 || child_read_all(c, 4096, &out, NULL) < 0 || child_finish(c, NULL) < 0)
        return 0;
    const char *line = buf_cstr(&out);
    return line ? pg_tools_parse_version(line) : 0;
}

typedef struct Search {
    int wanted;
    int best;   /* major of the best directory so far, 0 for none */
    int newest; /* of all that were seen */
    char *dir;  /* owned */
} Search;

static bool is_better(const Search *s, int major)
{
    return major >= s->wanted && (s->best == 0 || major < s->best);
}

/* `known` is the version the directory's name promises, 0 when only the program can tell. */
static int consider(Search *s, const char *dir, int known)
{
    if (known > 0 && !is_better(s, known) && known <= s->newest)
        return 0;
    int major = version_in(dir);
    if (major > s->newest)
        s->newest = major;
    if (major == 0 || !is_better(s, major))
        return 0;
    char *copy = strdup(dir);
    if (!copy)
        return -ENOMEM;
    free(s->dir);
    s->dir = copy;
    s->best = major;
    return 0;
}

static int search_versions(Search *s, const char *root)
{
    DIR *d = opendir(root);
    if (!d)
        return 0;
    int r = 0;
    struct dirent *entry;
    while (r == 0 && (entry = readdir(d))) {
        char *end;
        long major = strtol(entry->d_name, &end, 10);
        if (*end || major < 10 || major >= 1000)
            continue;
        _cleanup_free_ char *dir = NULL;
        r = asprintf(&dir, "%s/%ld/bin", root, major) < 0 ? -ENOMEM : consider(s, dir, (int)major);
    }
    closedir(d);
    return r;
}

static int search_path(Search *s)
{
    const char *path = getenv("PATH");
    _cleanup_free_ char *copy = path ? strdup(path) : NULL;
    char *rest = copy, *dir;
    int r = 0;
    while (r == 0 && rest && (dir = strsep(&rest, ":")))
        if (dir[0] == '/' && s->best != s->wanted)
            r = consider(s, dir, 0);
    return r;
}

static int not_found(const Search *s, const char *bindir, Error *e)
{
    if (s->newest > 0)
        error_set(e, ENOENT,
                  "the server is PostgreSQL %d, but the newest pg_dump %s%s is of version %d",
                  s->wanted, bindir ? "in " : "found", bindir ? bindir : "", s->newest);
    else
        error_set(e, ENOENT, "no pg_dump %s%s for PostgreSQL %d", bindir ? "in " : "found",
                  bindir ? bindir : "", s->wanted);
    error_hint(e,
               "install the package postgresql-client-%d, or name the directory of such a pg_dump "
               "with --pg-bindir",
               s->wanted);
    return -ENOENT;
}

static int program(const char *dir, const char *name, char **ret, Error *e)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return error_oom(e);
    if (access(path, X_OK) < 0) {
        int err = error_errno(e, errno, "can't run %s", path);
        free(path);
        return err;
    }
    *ret = path;
    return 0;
}

int pg_tools_find(const char *bindir, const char *root, int server_major, PgTools *ret_tools,
                  Error *e)
{
    Search s = {.wanted = server_major};
    int r = 0;
    if (bindir) {
        r = consider(&s, bindir, 0);
    } else {
        r = search_versions(&s, root ? root : DEBIAN_ROOT);
        if (r == 0 && s.best != s.wanted)
            r = search_path(&s);
    }
    _cleanup_free_ char *dir = s.dir;
    if (r < 0)
        return error_oom(e);
    if (!dir)
        return not_found(&s, bindir, e);

    _cleanup_(pg_tools_release) PgTools t = {.major = s.best};
    TRY(program(dir, "pg_dump", &t.pg_dump, e));
    TRY(program(dir, "pg_restore", &t.pg_restore, e));
    TRY(program(dir, "pg_dumpall", &t.pg_dumpall, e));
    *ret_tools = t;
    t = (PgTools){0};
    return 0;
}
