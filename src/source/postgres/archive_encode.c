/* Writing archives. Numbers are a sign byte and four bytes of magnitude, low first; strings a
 * number (-1: none) and that many bytes; offsets a state byte and eight bytes.
 *
 *   "PGDMP" 1 minor rev, 4 (bytes of a number), 8 (bytes of an offset), 1 (custom format),
 *   compression (number; from 1.15 on one byte), 7 numbers of the time, 3 strings,
 *   number of entries, entries,
 *   data blocks: type byte, dump id, chunks (length, bytes), 0
 *                large objects: type byte, dump id, (oid, chunks, 0) ..., 0 */
#include <stdio.h>
#include <string.h>

#include "source/postgres/archive.h"
#include "source/postgres/try.h"

static int add_int(Buf *out, int32_t v)
{
    int r = buf_add_u8(out, v < 0);
    return r < 0 ? r : buf_add_u32(out, v < 0 ? 0u - (uint32_t)v : (uint32_t)v);
}

static int add_str(Buf *out, const char *text)
{
    if (!text)
        return add_int(out, -1);
    size_t len = strlen(text);
    int r = add_int(out, (int32_t)len);
    return r < 0 ? r : buf_add(out, text, len);
}

static int add_number(Buf *out, uint32_t v)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", v);
    return add_str(out, text);
}

int archive_encode_entry(const Archive *a, const TocEntry *t, Buf *out)
{
    TRY(add_int(out, t->dump_id));
    TRY(add_int(out, t->had_dumper));
    TRY(add_number(out, t->table_oid));
    TRY(add_number(out, t->oid));
    TRY(add_str(out, t->tag));
    TRY(add_str(out, t->desc));
    TRY(add_int(out, t->section));
    TRY(add_str(out, t->defn));
    TRY(add_str(out, t->drop_stmt));
    TRY(add_str(out, t->copy_stmt));
    TRY(add_str(out, t->namespace));
    TRY(add_str(out, t->tablespace));
    TRY(add_str(out, t->tableam));
    if (a->minor >= 16)
        TRY(add_int(out, t->relkind));
    TRY(add_str(out, t->owner));
    TRY(add_str(out, "false")); /* WITH OIDS */
    for (size_t i = 0; i < t->n_deps; i++)
        TRY(add_number(out, (uint32_t)t->deps[i]));
    TRY(add_str(out, NULL));
    TRY(buf_add_u8(out, t->data_state));
    return buf_add_u64(out, t->data_offset);
}

int archive_encode(const Archive *a, Buf *out)
{
    const uint8_t head[] = {'P', 'G', 'D', 'M', 'P', 1, a->minor, a->rev, 4, 8, 1};
    TRY(buf_add(out, head, sizeof(head)));
    if (a->minor >= 15)
        TRY(buf_add_u8(out, (uint8_t)a->compression));
    else
        TRY(add_int(out, a->compression));
    for (size_t i = 0; i < 7; i++)
        TRY(add_int(out, a->created[i]));
    TRY(add_str(out, a->dbname));
    TRY(add_str(out, a->server_version));
    TRY(add_str(out, a->tool_version));
    TRY(add_int(out, (int32_t)a->n));
    for (size_t i = 0; i < a->n; i++)
        TRY(archive_encode_entry(a, &a->entries[i], out));
    return 0;
}

size_t archive_head_size(const Archive *a)
{
    const size_t number = 5;
    return 11 + (a->minor >= 15 ? 1 : number) + 7 * number;
}

int archive_encode_block(Buf *out, int type, int32_t dump_id)
{
    TRY(buf_add_u8(out, (uint8_t)type));
    return add_int(out, dump_id);
}

int archive_encode_oid(Buf *out, uint32_t oid)
{
    return add_int(out, (int32_t)oid);
}

int archive_encode_length(Buf *out, uint32_t len)
{
    return add_int(out, (int32_t)len);
}

int archive_encode_bytes(Buf *out, const void *data, size_t len)
{
    TRY(archive_encode_length(out, (uint32_t)len));
    return buf_add(out, data, len);
}

int archive_encode_end(Buf *out)
{
    return add_int(out, 0);
}
