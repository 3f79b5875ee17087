/* The \restrict keys of scripts: a keyed hash of the text they protect. Nobody without the store's
 * secret can guess one, and an unchanged script keeps its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RESTRICT_KEY_SIZE 65 /* 64 hex digits and the zero; psql takes letters and digits */

/* 0 or -ENOMEM. */
int restrict_key(const uint8_t secret[32], const void *text, size_t len,
                 char out[RESTRICT_KEY_SIZE]);
