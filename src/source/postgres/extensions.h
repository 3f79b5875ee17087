/* Extensions: which of them makes a table. */
#pragma once

#include "source/postgres/conn.h"
#include "source/postgres/model.h"

/* Fill in ModelTable.extension of the tables that have rows in the TOC but no definition. */
int extensions_of_tables(Conn *c, Model *m, Error *e);
