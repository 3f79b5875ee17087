/* bakfs.h: the public C interface of libbakfs: open a store, list its backups, read their files.
 *
 * Functions that can fail return 0, or a negative errno with a description in the caller's
 * bakfs_error (which may be NULL). Out-parameters (`ret_`) are set on success only. A bakfs_store
 * may be used by many threads at once; a bakfs_file by one at a time. Bytes are checked against
 * their SHA-256 whenever they are first read: what does not match is -EIO, never returned. Before
 * the first release names and layouts may change. */
#ifndef BAKFS_BAKFS_H
#define BAKFS_BAKFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BAKFS_API __attribute__((visibility("default")))

typedef struct bakfs_store bakfs_store;
typedef struct bakfs_file bakfs_file;

typedef struct bakfs_error {
    int code;          /* positive errno */
    char message[512]; /* one sentence */
    char hint[256];    /* what to do next, or "" */
} bakfs_error;

/* One backup. Strings live as long as the list they came with. */
typedef struct bakfs_backup {
    const char *backup_id;    /* backup-<16 hex digits> */
    const char *collection;   /* namespace/name */
    const char *archive_name; /* <timestamp>--<repository>--<event>--<sha>[--N] */
    const char *latest_name;  /* latest_<timestamp> */
    uint64_t ordinal;         /* order of commits, from 1 */
    int64_t timestamp;        /* start, seconds since 1970 */
    uint64_t size_bytes;      /* plain bytes read from the sources */
    uint64_t record_count;    /* rows */
    uint64_t file_count;
    uint64_t table_count;
    bool partial;  /* narrowed, or parts were left out */
    bool latest;   /* the newest complete one of its collection */
    bool verified; /* found good by a check */
} bakfs_backup;

typedef struct bakfs_backup_list {
    size_t n;
    bakfs_backup *items; /* newest first */
    void *holder;
} bakfs_backup_list;

/* Which backups to list; zero or NULL members do not restrict. */
typedef struct bakfs_filter {
    const char *collection; /* "namespace/name" */
    const char *namespace_; /* all collections of a namespace */
    int64_t since;          /* not older than, seconds since 1970 */
    size_t limit;           /* at most so many, the newest */
} bakfs_filter;

/* The version of the library, "0.1.0". */
BAKFS_API const char *bakfs_version(void);

/* Make an empty store in `path`, which must not exist or be empty. `collection` may be NULL. */
BAKFS_API int bakfs_store_init(const char *path, const char *collection, bakfs_error *error);

/* Open for reading; works on read-only media. -ENOENT when `path` holds no store,
 * -EPROTONOSUPPORT when it is of a newer format. */
BAKFS_API int bakfs_store_open(const char *path, bakfs_store **ret_store, bakfs_error *error);
BAKFS_API void bakfs_store_close(bakfs_store *store); /* NULL is allowed */

/* See what was committed or deleted since. */
BAKFS_API int bakfs_store_refresh(bakfs_store *store, bakfs_error *error);

/* `filter` may be NULL. Free with bakfs_backup_list_free. */
BAKFS_API int bakfs_backup_list_get(bakfs_store *store, const bakfs_filter *filter,
                                    bakfs_backup_list *ret_list, bakfs_error *error);
BAKFS_API void bakfs_backup_list_free(bakfs_backup_list *list);

/* The list of one backup: id, unique prefix of one, archive name, time or its beginning, or
 * "latest". -ENOENT; -EEXIST when several fit. */
BAKFS_API int bakfs_backup_find(bakfs_store *store, const char *spec, bakfs_backup_list *ret_list,
                                bakfs_error *error);

/* Make a backup disappear at once; garbage collection frees its space. `spec` as above. */
BAKFS_API int bakfs_backup_delete(bakfs_store *store, const char *spec, bakfs_error *error);

/* A backup's manifest as JSON text, zero-terminated; free with free(). */
BAKFS_API int bakfs_backup_manifest(bakfs_store *store, const char *spec, char **ret_json,
                                    bakfs_error *error);

typedef enum bakfs_kind { BAKFS_FILE = 1, BAKFS_DIR = 2, BAKFS_SYMLINK = 3 } bakfs_kind;

/* Call `visit` for the entries of a directory of the backup, in order of names, until it returns
 * nonzero, which is then returned. `path` is "" for the backup's root. The name is
 * zero-terminated and valid during the call. */
BAKFS_API int bakfs_dir_list(bakfs_store *store, const char *spec, const char *path,
                             int (*visit)(void *ctx, const char *name, bakfs_kind kind,
                                          uint64_t size),
                             void *ctx, bakfs_error *error);

/* Open a file of a backup, e.g. "public/tables/users/data.sql". */
BAKFS_API int bakfs_file_open(bakfs_store *store, const char *spec, const char *path,
                              bakfs_file **ret_file, bakfs_error *error);
BAKFS_API uint64_t bakfs_file_size(const bakfs_file *file);

/* Read up to `len` bytes at `offset`; fewer only at the end. Bytes read, or a negative errno. */
BAKFS_API ssize_t bakfs_file_read(bakfs_file *file, uint64_t offset, void *data, size_t len,
                                  bakfs_error *error);
BAKFS_API void bakfs_file_close(bakfs_file *file); /* NULL is allowed */

#ifdef __cplusplus
}
#endif
#endif
