#include "backup/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/name.h"

#define PART_MAX  100 /* bytes of repository or event, so that the whole stays below 255 */
#define SHORT_SHA 7

void backup_names_release(BackupNames *n)
{
    free(n->repo);
    free(n->event);
    free(n->sha);
    free(n->full_sha);
    *n = (BackupNames){0};
}

/* The value of one part: option, environment, or "standalone". Empty counts as not given. */
static const char *choose(const char *option, const char *variable)
{
    if (option && *option)
        return option;
    const char *value = getenv(variable);
    return value && *value ? value : "standalone";
}

static int make_part(const char *what, const char *value, char **ret_part, Error *e)
{
    _cleanup_(buf_release) Buf out = BUF_INIT;
    _cleanup_free_ char *flat = strdup(value);
    if (!flat)
        return error_oom(e);
    for (char *p = flat; *p; p++)
        if (*p == '/')
            *p = '-';
    if (name_encode(flat, strlen(flat), NULL, &out, NULL) < 0)
        return error_oom(e);
    if (out.len > PART_MAX) {
        int r =
            error_set(e, EINVAL, "the %s \"%.40s…\" is too long for a backup's name", what, value);
        error_hint(e, "at most %d bytes", PART_MAX);
        error_exit_code(e, BK_EXIT_USAGE);
        return r;
    }
    *ret_part = buf_take_cstr(&out);
    return *ret_part ? 0 : error_oom(e);
}

int backup_names_find(const char *repo, const char *event, const char *sha, BackupNames *ret_names,
                      Error *e)
{
    BackupNames n = {0};
    repo = choose(repo, "GITHUB_REPOSITORY");
    event = choose(event, "GITHUB_EVENT_NAME");
    sha = choose(sha, "GITHUB_SHA");
    if (strcmp(event, "pull_request") == 0)
        event = "pr";
    else if (strcmp(event, "workflow_dispatch") == 0)
        event = "manual";
    _cleanup_free_ char *cut =
        strcmp(sha, "standalone") == 0 ? strdup(sha) : strndup(sha, SHORT_SHA);
    n.full_sha = strdup(sha);
    int r = cut && n.full_sha ? 0 : error_oom(e);
    if (r == 0)
        r = make_part("repository", repo, &n.repo, e);
    if (r == 0)
        r = make_part("event", event, &n.event, e);
    if (r == 0)
        r = make_part("commit", cut, &n.sha, e);
    if (r < 0) {
        backup_names_release(&n);
        return r;
    }
    *ret_names = n;
    return 0;
}

char *backup_names_archive(const BackupNames *n, int64_t timestamp)
{
    char ts[CLOCK_TS_SIZE], *name = NULL;
    clock_format_ts(timestamp, ts);
    if (asprintf(&name, "%s--%s--%s--%s", ts, n->repo, n->event, n->sha) < 0)
        return NULL;
    return name;
}

char *backup_default_collection(const char *database)
{
    char *collection = NULL;
    if (asprintf(&collection, "default/%.100s", *database ? database : "database") < 0)
        return NULL;
    char *name = strchr(collection, '/') + 1;
    for (char *p = name; *p; p++)
        if (!collection_part_is_valid(p, 1) && *p != '.')
            *p = '_';
    if (*name == '.')
        *name = '_';
    return collection;
}
