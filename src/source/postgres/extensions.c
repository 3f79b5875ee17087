#include "source/postgres/extensions.h"

#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

int extensions_of_tables(Conn *c, Model *m, Error *e)
{
    bool any = false;
    for (size_t i = 0; i < m->n_tables; i++)
        any |= m->tables[i].def == MODEL_NONE;
    if (!any)
        return 0;
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_query(
        c,
        "SELECT d.objid, x.extname FROM pg_catalog.pg_depend d"
        " JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid"
        " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0"
        " AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass"
        " AND d.deptype = 'e'",
        0, NULL, &res, e));
    for (int i = 0; i < PQntuples(res); i++) {
        const ModelOid *o = model_find_oid(m, (uint32_t)strtoul(PQgetvalue(res, i, 0), NULL, 10));
        if (!o || m->tables[o->table].def != MODEL_NONE)
            continue;
        free(m->tables[o->table].extension);
        if (!(m->tables[o->table].extension = strdup(PQgetvalue(res, i, 1))))
            return error_oom(e);
    }
    return 0;
}
