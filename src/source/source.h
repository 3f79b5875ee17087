/* Source: where data comes from. A source turns one SOURCE argument into one directory of the
 * backup. postgres/ and sqlite/ implement it, and files/ for all file: arguments together. */
#pragma once

#include <jansson.h>
#include <stdatomic.h>

#include "store/writer.h"
#include "tree/dir.h"
#include "tree/stream.h"
#include "util/error.h"

/* Names or patterns as given, borrowed. */
typedef struct SourceNames {
    const char *const *items;
    size_t n;
} SourceNames;

/* Which part of a PostgreSQL database is read, in pg_dump's patterns and with its meaning. */
typedef struct SourceScope {
    SourceNames schemas, exclude_schemas, tables, exclude_tables, exclude_data;
} SourceScope;
bool source_scope_is_narrow(const SourceScope *s); /* anything given at all */

typedef struct SourceOptions {
    int jobs;                  /* connections that read at once; 0 for the default */
    int retries;               /* attempts to connect again, before any data was read */
    double table_lock_wait;    /* seconds to wait for PostgreSQL's locks; < 0 for the default */
    const char *pg_bindir;     /* directory of pg_dump and friends; may be NULL */
    bool no_text;              /* SQLite: leave out the SQL text */
    SourceScope scope;         /* PostgreSQL only */
    bool order_by_key;         /* PostgreSQL: rows in the order of the primary key */
    bool no_owner, no_acl;     /* PostgreSQL: leave out owners, privileges */
    bool skip_unreadable;      /* PostgreSQL: leave out what the role can't read */
    const atomic_bool *cancel; /* set on SIGINT and SIGTERM; -EINTR then */
    /* One line for people, e.g. a warning. Never holds a secret. May be NULL. */
    void (*note)(void *ctx, const char *text);
    /* Bytes read so far and what is being read; any thread. May be NULL. */
    void (*progress)(void *ctx, uint64_t bytes, const char *what);
    /* How much of the current source is done, `done` of `total` in a unit of its own, by an
     * estimate. Never sinks while one source is read; any thread. May be NULL. */
    void (*share)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
} SourceOptions;

/* What a source is given while it reads. */
typedef struct SourceRun {
    StoreWriter *writer;
    int64_t timestamp;        /* the backup's, seconds since 1970 */
    const uint8_t *secret;    /* 32 bytes, for stable \restrict keys */
    const ObjectId *previous; /* this source's directory in the collection's previous backup, which
                               * the writer's store holds, or NULL */
    const Dir *files;         /* to stand in the source's root as SOURCE_FILES, or NULL */
} SourceRun;

/* Let `s` store what is new as deltas of the file `path` of the previous backup, if there is one.
 * Before the first write. -ENOMEM. */
int source_follow(const SourceRun *run, Stream *s, const char *path, Error *e);

/* Where file: sources lie in a backup. */
#define SOURCE_FILES "files"

/* What it gives back. */
typedef struct SourceResult {
    Dir root;
    json_t *database;      /* its entry in the manifest's "databases", format.md, without path and
                            * the counts below; NULL for file: sources; owned */
    json_t *files;         /* file: sources: the manifest's "files"; owned */
    json_t *left_out;      /* array of {what, why}, or NULL; owned */
    uint64_t size_bytes;   /* plain bytes read from the source */
    uint64_t record_count; /* rows */
    uint64_t file_count;   /* files below root */
    uint64_t table_count;
    bool partial;    /* narrowed, or something was left out: never the latest backup */
    bool incomplete; /* something was left out that nobody excluded by name */
} SourceResult;
void source_result_release(SourceResult *r);

typedef struct Source Source;

typedef struct SourceOps {
    const char *scheme; /* for messages: "postgres", "sqlite" */
    /* Reach the source and check that it can be read: fails early, before the store is locked. */
    int (*open)(Source *s, Error *e);
    /* Read everything in one snapshot. Called once, after open. */
    int (*read)(Source *s, const SourceRun *run, SourceResult *ret_result, Error *e);
    void (*free)(Source *s);
} SourceOps;

/* Every source begins with this. */
struct Source {
    const SourceOps *ops;
    const SourceOptions *options;
    char *name;   /* the database's name: its directory among several, default collection */
    char *masked; /* the SOURCE as it may be shown: no password */
    char *file;   /* the database's file, from the root; NULL for servers */
};

/* The source a SOURCE argument names: postgres://…, postgresql://…, a libpq keyword string,
 * sqlite:PATH. Nothing is opened. -EINVAL with exit code 2 and a hint when it is none.
 * `options` is borrowed and must outlive the source. */
int source_new(const char *spec, const SourceOptions *options, Source **ret_source, Error *e);
void source_free(Source *s); /* NULL is allowed */

/* The constructors behind it. */
int postgres_source_new(const char *conninfo, const SourceOptions *options, Source **ret_source,
                        Error *e);
int sqlite_source_new(const char *path, const SourceOptions *options, Source **ret_source,
                      Error *e);

/* The path that `spec` names when it is file:PATH, or NULL. */
const char *source_file_path(const char *spec);

/* One source for all file: arguments (at least one), which fill SOURCE_FILES. Copies `paths`. */
int files_source_new(const char *const *paths, size_t n, const SourceOptions *options,
                     Source **ret_source, Error *e);

/* Let it pass over `path`, file or directory, which may not exist; `why` is a static text for the
 * note, "is ...: left out". -ENOMEM. */
int files_source_leave_out(Source *files, const char *path, const char *why);

/* A name for JSON, which knows no invalid UTF-8: percent-encoded then. NULL when out of memory. */
json_t *source_json_name(const char *name);
