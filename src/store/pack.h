/* Packs: immutable files of records with an index at the end. docs/format.md, "Packs". */
#pragma once

#include "chunk/codec.h"
#include "chunk/sketch.h"
#include "store/backend.h"
#include "store/object.h"

#define PACK_HEADER_SIZE  32
#define PACK_RECORD_SIZE  88 /* a record's header; the stored bytes follow */
#define PACK_INDEX_SIZE   68 /* one record in the index */
#define PACK_TRAILER_SIZE 48
#define PACK_FULL         (64u << 20) /* a writer closes a pack whose records reach this */
#define PACK_FULL_COUNT   (1u << 18)  /* or that are so many: the index counts for PACK_MAX too */
#define PACK_MAX          (128u << 20)
#define DELTA_MAX_DEPTH   8
#define PACK_NAME_SIZE    80 /* "packs/hh/<64 hex>.pack" and zero */

typedef enum PackKind {
    PACK_DATA = 1,
    PACK_NODES = 2,
} PackKind;

typedef struct PackEntry {
    ObjectId id;
    uint32_t offset;     /* of the record in the pack */
    uint32_t stored_len; /* without the record's header */
    uint32_t plain_len;
    uint8_t type, encoding, depth, age;
    Sketch sketch;
    uint64_t head; /* mark_head of data objects; 0 where none was computed */
    uint32_t base; /* deltas: which of the index's bases */
} PackEntry;

typedef struct PackIndex {
    size_t n;
    PackEntry *entries; /* by rising offset; owned */
    size_t n_bases;
    ObjectId *bases; /* of the delta records, in their order; owned */
} PackIndex;
void pack_index_release(PackIndex *x);

/* The pack's path in the store. */
void pack_name(const ObjectId *sha256, char out[PACK_NAME_SIZE]);

/* Read and check header, trailer and index; not the records. -EBADMSG with a message. */
int pack_read_index(Backend *b, BackendFile *f, PackIndex *ret_index, Error *e);

/* Build the index from the records themselves, for a pack whose own index is damaged. What is no
 * sound record is skipped; `ret_bad` (may be NULL) counts the bytes skipped. */
int pack_scan(Backend *b, BackendFile *f, PackIndex *ret_index, uint64_t *ret_bad, Error *e);

/* One record, checked as far as that goes without decompressing. Pointers into the bytes given. */
typedef struct PackRecord {
    PackEntry entry; /* offset, sketch, head and base number are 0 */
    ObjectId base;
    const uint8_t *stored;
} PackRecord;

/* `bytes` starts with a record and may hold more than it. -EBADMSG with a message. */
int pack_parse_record(const void *bytes, size_t len, PackRecord *ret_record, Error *e);

/* Decompress a parsed record; `base` is the object a delta is against, else NULL. The bytes are not
 * checked against the id. -EBADMSG when they can't be decompressed. */
int pack_decompress(Codec *c, const PackRecord *r, const Object *base, Object **ret_object,
                    Error *e);

/* -EBADMSG when the object's bytes do not have the id. */
int pack_check_id(const ObjectId *id, const Object *o, Error *e);

/* Writing. One thread at a time, but pack_writer_read may run beside. */
typedef struct PackWriter PackWriter;

int pack_writer_new(Backend *b, PackKind kind, PackWriter **ret_writer, Error *e);

/* Append a record; `base` NULL but for deltas. Offset and base number of `entry` are set here. */
int pack_writer_add(PackWriter *w, const PackEntry *entry, const ObjectId *base, const void *stored,
                    uint32_t *ret_offset, Error *e);
uint64_t pack_writer_size(const PackWriter *w);

/* Read back the record at `offset`, header included. */
int pack_writer_read(PackWriter *w, uint32_t offset, void *data, size_t len, Error *e);

/* Append index and trailer; the pack's name is fixed then. */
int pack_writer_seal(PackWriter *w, ObjectId *ret_sha256, Error *e);
const PackIndex *pack_writer_index(const PackWriter *w);

/* Sync and give the sealed pack its name. */
int pack_writer_publish(PackWriter *w, Error *e);
void pack_writer_free(PackWriter *w); /* discards what was not published; NULL is allowed */
