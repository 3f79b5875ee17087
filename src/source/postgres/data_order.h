/* Data order: tables' rows in an order in which foreign keys that exist already let them load. */
#pragma once

#include "source/postgres/catalog.h"
#include "source/postgres/model.h"
#include "source/postgres/script.h"

/* The script's parts that hold tables' rows, as indices, in the order of pg_dump --data-only: by
 * schema and name, each after those its foreign keys refer to. Where keys go round in a circle, one
 * of them has to be ignored. The caller frees. 0 or -ENOMEM. */
int data_order(const Model *m, const Script *script, const ReferenceList *references,
               size_t **ret_parts, size_t *ret_n);
