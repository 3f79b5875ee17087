/* Data order: tables' rows in an order in which foreign keys that exist already let them load. */
#pragma once

#include "source/postgres/catalog.h"
#include "source/postgres/model.h"
#include "source/postgres/script.h"

/* The script's parts that hold tables' rows, as indices: each after those its foreign keys refer
 * to, else as printed. Where keys go round in a circle, one of them has to be broken. The caller
 * frees. 0 or -ENOMEM. */
int data_order(const Model *m, const Script *s, const ReferenceList *references, size_t **ret_parts,
               size_t *ret_n);
