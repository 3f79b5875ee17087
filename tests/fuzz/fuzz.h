/* A fuzz target is one function that must survive any bytes. With -Dfuzz=true (clang) libFuzzer
 * calls it; otherwise replay.c feeds it its corpus and what mutations make of that. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
