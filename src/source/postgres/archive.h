/* Archive: pg_dump's custom format, header, table of contents (TOC) and data blocks, read from a
 * stream and written back. Versions 1.14 (PostgreSQL 12 to 15), 1.15 (16) and 1.16 (17, 18).
 * The format is defined by PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c and
 * pg_backup_custom.c only; the layout is repeated at archive_encode. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/error.h"

#define ARCHIVE_MINOR_MIN 14
#define ARCHIVE_MINOR_MAX 16

#define ARCHIVE_STRING_MAX (1u << 30) /* bytes of one string: PostgreSQL's own limit of a value */
#define ARCHIVE_TOC_MAX    (1u << 28) /* entries */

enum { /* TocEntry.section */
       SECTION_NONE = 1,
       SECTION_PRE_DATA = 2,
       SECTION_DATA = 3,
       SECTION_POST_DATA = 4,
};

enum { /* TocEntry.data_state */
       DATA_POS_NOT_SET = 1,
       DATA_POS_SET = 2,
       DATA_NONE = 3,
};

enum { /* type of a data block */
       BLOCK_DATA = 1,
       BLOCK_BLOBS = 3,
};

/* One object of the dump. Strings are owned, in the dump's encoding, and NULL where the archive
 * has none, which differs from empty ones. */
typedef struct TocEntry {
    int32_t dump_id;         /* > 0 */
    bool had_dumper;         /* a data block belongs to it */
    uint32_t table_oid, oid; /* catalogue and row; 0 where there is none */
    char *tag;               /* the object's name, as printed in comments */
    char *desc;              /* what it is: "TABLE", "TABLE DATA", "INDEX"; never NULL */
    int32_t section;
    char *defn, *drop_stmt, *copy_stmt, *namespace, *tablespace, *tableam;
    int32_t relkind; /* 1.16 only, else 0 */
    char *owner;
    int32_t *deps; /* dump ids, owned */
    size_t n_deps;
    uint8_t data_state;
    uint64_t data_offset; /* from the archive's start, with DATA_POS_SET */
} TocEntry;

typedef struct Archive {
    uint8_t minor, rev;  /* version 1.minor.rev */
    int32_t compression; /* 0: none; else a zlib level (1.14) or an algorithm (1.15 on) */
    int32_t created[7];  /* struct tm: sec min hour mday mon year isdst */
    char *dbname, *server_version, *tool_version; /* owned, may be NULL */
    size_t n;
    TocEntry *entries; /* owned */
} Archive;

void archive_release(Archive *a); /* NULL is allowed */

/* True when `e` is of the kind `desc`. */
bool toc_is(const TocEntry *e, const char *desc);

/* Where an archive comes from: up to `len` bytes, 0 at the end, negative errno. */
typedef ssize_t (*ArchiveRead)(void *ctx, void *data, size_t len, Error *e);

/* Reads an archive front to back, in small steps: the TOC can be had while the program that writes
 * the archive still waits for room in its pipe. Not thread-safe. */
typedef struct ArchiveReader ArchiveReader;

/* 0 or -ENOMEM. */
int archive_reader_new(ArchiveRead read, void *ctx, ArchiveReader **ret_reader);
void archive_reader_free(ArchiveReader *r); /* NULL is allowed */

/* Read header and TOC; to be called once, first. The caller releases the archive. -EBADMSG when the
 * bytes are no such archive, -EPROTONOSUPPORT for another version or format, -EPIPE when they end
 * too early. */
int archive_read_toc(ArchiveReader *r, Archive *ret_archive, Error *e);

/* Go to the next data block, past what is left of the current one. 1 with its type and the dump id
 * of its entry, 0 at the end of the archive. */
int archive_next_block(ArchiveReader *r, int *ret_type, int32_t *ret_dump_id, Error *e);

/* Go to the next large object of a BLOCK_BLOBS block, past what is left of the current one. 1 with
 * its number, 0 at the block's end. */
int archive_next_blob(ArchiveReader *r, uint32_t *ret_oid, Error *e);

/* The next bytes of a BLOCK_DATA block or of one large object: 1, or 0 at its end. The bytes stay
 * valid until the next call. Uncompressed archives only. */
int archive_next_bytes(ArchiveReader *r, const uint8_t **ret_data, size_t *ret_len, Error *e);

/* Append header and TOC to `out`. Its length does not depend on the offsets. 0 or -ENOMEM. */
int archive_encode(const Archive *a, Buf *out);

/* Append one entry, as it stands in the TOC of `a`. 0 or -ENOMEM. */
int archive_encode_entry(const Archive *a, const TocEntry *t, Buf *out);

/* Bytes at the archive's start that hold its time, and nothing else that changes by itself. */
size_t archive_head_size(const Archive *a);

/* Append to `out` the parts of a data block: its head, for BLOCK_BLOBS each object's `oid`, a
 * stretch of bytes (1 to 2^30), and the end (of a BLOCK_DATA, of one object, of all objects). */
int archive_encode_block(Buf *out, int type, int32_t dump_id);
int archive_encode_oid(Buf *out, uint32_t oid);
int archive_encode_bytes(Buf *out, const void *data, size_t len);
int archive_encode_length(Buf *out,
                          uint32_t len); /* of a stretch whose bytes come from elsewhere */
int archive_encode_end(Buf *out);
