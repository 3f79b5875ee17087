/* SQL literals, one statement a line, and SqlOut, the buffer they are written through. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tree/stream.h"
#include "util/buf.h"
#include "util/error.h"

/* How the database stores text; decides how bytes are spelled in CAST(X'…' AS TEXT). */
typedef enum TextEncoding {
    TEXT_UTF8,
    TEXT_UTF16LE,
    TEXT_UTF16BE,
} TextEncoding;

typedef struct SqlOut {
    Buf buf;
    Stream *stream; /* where full buffers go; NULL keeps all in `buf` */
    TextEncoding encoding;
} SqlOut;

/* Send what is buffered to the stream when it is much, or with `all` in any case. */
int sql_out_flush(SqlOut *o, bool all, Error *e);

int sql_out_integer(SqlOut *o, int64_t v, Error *e);

/* With the digits to read the same double again; infinities as 1e999. */
int sql_out_real(SqlOut *o, double v, Error *e);

int sql_out_blob(SqlOut *o, const void *data, size_t len, Error *e);

/* UTF-8 text. Line breaks are spelled with replace(), so that a row stays one line and a shell
 * that normalises line ends can't change the value; text with zero bytes as a cast of its bytes. */
int sql_out_text(SqlOut *o, const void *text, size_t len, Error *e);

/* Append "name" with its quotes doubled. 0 or -ENOMEM. */
int sql_quote_name(Buf *b, const char *name);

/* Append 'text' with its quotes doubled and nothing else changed. 0 or -ENOMEM. */
int sql_quote_string(Buf *b, const char *text);
