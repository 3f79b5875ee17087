/* config.json: what a store is. docs/format.md, "config.json". */
#pragma once

#include "store/backend.h"
#include "store/store.h"

void store_config_release(StoreConfig *c);

/* Fill in a new store's identity. */
int store_config_new(const char *collection, StoreConfig *ret_config, Error *e);

/* -ENOENT with exit code BK_EXIT_NO_STORE when there is none; -EPROTONOSUPPORT for a newer format
 * or an unknown feature that reading (or, with `writing`, writing) needs. */
int store_config_load(Backend *b, const char *path, bool writing, StoreConfig *ret_config,
                      Error *e);
int store_config_save(Backend *b, const StoreConfig *c, Error *e);
