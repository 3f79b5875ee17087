/* Names of database objects as names of files. docs/format.md, "Names", gives the rule. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"

#define NAME_MAX_BYTES 255

/* Append to `out` the file name for the object name `name` of `len` bytes. Percent-encoded are:
 * the bytes / \ % and below 0x20 and 0x7f, a leading '.', bytes that are not valid UTF-8, and the
 * first byte of a name that equals an entry of `reserved` (NULL-terminated list, may be NULL). An
 * empty name becomes "%". What would exceed 255 bytes is cut at a character and ends in
 * "%~" and 16 hex digits of the name's SHA-256.
 * `ret_cut` (may be NULL) tells whether it was cut, so that the name can't be decoded from it.
 * 0 or -ENOMEM. */
int name_encode(const char *name, size_t len, const char *const *reserved, Buf *out, bool *ret_cut);

/* The reverse, for names that were not cut. 0, -EINVAL when malformed or cut, -ENOMEM. */
int name_decode(const char *encoded, size_t len, Buf *out);

/* Whether `name` may stand in a stored directory: 1 to 255 bytes, no '/' and no zero byte, neither
 * "." nor "..". Readers refuse a directory with any other. */
bool name_is_valid(const void *name, size_t len);
