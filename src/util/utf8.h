/* Which bytes are UTF-8 as RFC 3629 has it: no surrogates, no overlong forms. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

/* Length of the valid character that the `left` bytes (at least 1) at `p` begin with, or 0. */
size_t utf8_char(const uint8_t *p, size_t left);

/* Append `text`, each byte that is not UTF-8 as \xNN. 0 or -ENOMEM. */
int utf8_escape(const char *text, Buf *out);
