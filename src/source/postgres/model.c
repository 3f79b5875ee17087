#include "source/postgres/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

void model_release(Model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_tables; i++) {
        free(m->tables[i].copy_sql);
        free(m->tables[i].extension);
        free(m->tables[i].range_sql);
        buf_release(&m->tables[i].data_text);
        rope_release(&m->tables[i].rows_rope);
    }
    free(m->tables);
    free(m->schemas);
    free(m->oids);
    free(m->table_of);
    free(m->schema_of);
    *m = (Model){0};
}

static int add_identifier(Buf *b, const char *name)
{
    int r = buf_add_u8(b, '"');
    for (const char *p = name; r == 0 && *p; p++)
        r = *p == '"' ? buf_add(b, "\"\"", 2) : buf_add_u8(b, (uint8_t)*p);
    return r < 0 ? r : buf_add_u8(b, '"');
}

/* Skip an identifier, quoted or not; NULL when there is none. */
static const char *skip_identifier(const char *p)
{
    if (*p != '"') {
        const char *start = p;
        while (*p && !strchr(" .(\"", *p))
            p++;
        return p > start ? p : NULL;
    }
    for (p++; *p; p++) {
        if (*p != '"')
            continue;
        if (p[1] != '"')
            return p + 1;
        p++;
    }
    return NULL;
}

/* The statement is "COPY <schema>.<table> (<columns>) FROM stdin;\n"; the table may be the root of
 * the partition whose rows these are, and the columns may be missing altogether: `*ret_len` is 0.
 */
static int find_columns(const TocEntry *t, const char **ret_columns, size_t *ret_len, Error *e)
{
    static const char begin[] = "COPY ", end[] = " FROM stdin;\n";
    const char *stmt = t->copy_stmt ? t->copy_stmt : "";
    size_t len = strlen(stmt);
    const char *p = NULL, *stop = NULL;
    if (len > strlen(begin) + strlen(end) && strncmp(stmt, begin, strlen(begin)) == 0 &&
        strcmp(stmt + len - strlen(end), end) == 0) {
        stop = stmt + len - strlen(end);
        p = skip_identifier(stmt + strlen(begin));
        p = p && *p == '.' ? skip_identifier(p + 1) : NULL;
    }
    if (!p || p > stop || *p != ' ' || !t->namespace || !t->tag)
        return error_set(e, EBADMSG, "pg_dump's COPY statement for table %s is not understood",
                         t->tag ? t->tag : "?");
    p++;
    size_t columns = p < stop ? (size_t)(stop - p) : 0;
    bool is_list = columns >= 2 && p[0] == '(' && p[columns - 1] == ')';
    *ret_columns = p + 1;
    *ret_len = is_list ? columns - 2 : 0;
    return 0;
}

static int add_table(Buf *sql, const TocEntry *t)
{
    TRY(add_identifier(sql, t->namespace));
    TRY(buf_add_str(sql, "."));
    return add_identifier(sql, t->tag);
}

/* "SELECT <columns> FROM [ONLY ]" */
static int add_select(Buf *sql, const char *columns, size_t len, const char *only)
{
    TRY(buf_add_str(sql, "SELECT "));
    TRY(buf_add(sql, columns, len));
    return buf_addf(sql, " FROM %s", only);
}

int model_copy_sql(const TocEntry *t, const char *clause, char **ret_sql, Error *e)
{
    const char *columns;
    size_t len;
    TRY(find_columns(t, &columns, &len, e));
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    int r = buf_add_str(&sql, clause ? "COPY (" : "COPY ");
    if (r == 0 && clause)
        r = add_select(&sql, columns, len, "ONLY ");
    if (r == 0)
        r = add_table(&sql, t);
    if (r == 0 && clause)
        r = buf_addf(&sql, " %s)", clause);
    else if (r == 0 && len > 0)
        r = buf_addf(&sql, " (%.*s)", (int)len, columns);
    if (r == 0)
        r = buf_add_str(&sql, " TO STDOUT");
    char *text = r == 0 ? buf_take_cstr(&sql) : NULL;
    if (!text)
        return error_oom(e);
    *ret_sql = text;
    return 0;
}

int model_range_sql(const TocEntry *t, char **ret_sql, Error *e)
{
    const char *columns;
    size_t len;
    TRY(find_columns(t, &columns, &len, e));
    _cleanup_(buf_release) Buf sql = BUF_INIT;
    int r = len > 0 ? add_select(&sql, columns, len, "ONLY ") : 0;
    if (r == 0 && len > 0)
        r = add_table(&sql, t);
    char *text = r == 0 && len > 0 ? buf_take_cstr(&sql) : NULL;
    if (!text && len > 0)
        return error_oom(e);
    *ret_sql = text;
    return 0;
}

static bool is_about_large_object(const TocEntry *t)
{
    return t->tag && strncmp(t->tag, "LARGE OBJECT", 12) == 0 &&
           (toc_is(t, "ACL") || toc_is(t, "COMMENT") || toc_is(t, "SECURITY LABEL"));
}

bool model_is_schema(const TocEntry *t)
{
    return !t->had_dumper && !toc_is(t, "SEQUENCE SET") && !toc_is(t, "BLOB") &&
           !toc_is(t, "BLOB METADATA") && !toc_is(t, "MATERIALIZED VIEW DATA") &&
           !is_about_large_object(t);
}

/* Entries that describe another one and may have no catalogue row of their own. pg_dump makes up
 * DEFAULT NULL for a child table without its parent's default. */
static bool is_dependent(const TocEntry *t)
{
    return toc_is(t, "COMMENT") || toc_is(t, "ACL") || toc_is(t, "SECURITY LABEL") ||
           toc_is(t, "SEQUENCE OWNED BY") || toc_is(t, "SEQUENCE SET") ||
           (toc_is(t, "DEFAULT") && t->oid == 0);
}

static bool is_table(const TocEntry *t)
{
    return toc_is(t, "TABLE") || toc_is(t, "FOREIGN TABLE");
}

static bool is_system_schema(const char *name)
{
    return strncmp(name, "pg_", 3) == 0 || strcmp(name, "information_schema") == 0;
}

static int compare_oids(const void *x, const void *y)
{
    const ModelOid *a = x, *b = y;
    return a->oid < b->oid ? -1 : a->oid > b->oid;
}

/* Also serves as an index of dump ids. */
static size_t find_oid(const ModelOid *oids, size_t n, uint32_t oid)
{
    const ModelOid key = {.oid = oid};
    const ModelOid *found = n ? bsearch(&key, oids, n, sizeof(key), compare_oids) : NULL;
    return found ? found->table : MODEL_NONE;
}

const ModelOid *model_find_oid(const Model *m, uint32_t oid)
{
    const ModelOid key = {.oid = oid};
    return m->n_tables ? bsearch(&key, m->oids, m->n_tables, sizeof(key), compare_oids) : NULL;
}

static int compare_tables(const void *x, const void *y)
{
    const ModelTable *a = x, *b = y;
    int r = strcmp(a->schema, b->schema);
    return r ? r : strcmp(a->name, b->name);
}

static int compare_schemas(const void *x, const void *y)
{
    const ModelSchema *a = x, *b = y;
    return strcmp(a->name, b->name);
}

/* One table for each definition; then one for data without a definition, which is an extension's.
 */
static int build_tables(Model *m, Error *e)
{
    const Archive *a = m->toc;
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++)
        n += is_table(&a->entries[i]) || toc_is(&a->entries[i], "TABLE DATA");
    m->tables = calloc(n + 1, sizeof(*m->tables));
    m->oids = calloc(n + 1, sizeof(*m->oids));
    if (!m->tables || !m->oids)
        return error_oom(e);

    for (int pass = 0; pass < 2; pass++) {
        size_t known = m->n_tables; /* these are sorted, and in `oids` */
        for (size_t i = 0; i < a->n; i++) {
            const TocEntry *t = &a->entries[i];
            if (!t->namespace || !t->tag || !(pass == 0 ? is_table(t) : toc_is(t, "TABLE DATA")))
                continue;
            size_t table = pass ? find_oid(m->oids, known, t->oid) : MODEL_NONE;
            if (table != MODEL_NONE) {
                m->tables[table].data = i;
                continue;
            }
            m->tables[m->n_tables++] = (ModelTable){.schema = t->namespace,
                                                    .name = t->tag,
                                                    .oid = t->oid,
                                                    .def = pass == 0 ? i : MODEL_NONE,
                                                    .data = pass == 0 ? MODEL_NONE : i};
        }
        qsort(m->tables, m->n_tables, sizeof(*m->tables), compare_tables);
        for (size_t i = 0; i < m->n_tables; i++)
            m->oids[i] = (ModelOid){m->tables[i].oid, i};
        qsort(m->oids, m->n_tables, sizeof(*m->oids), compare_oids);
    }
    return 0;
}

static size_t find_schema(const Model *m, const char *name)
{
    const ModelSchema key = {.name = name};
    const ModelSchema *found =
        m->n_schemas ? bsearch(&key, m->schemas, m->n_schemas, sizeof(key), compare_schemas) : NULL;
    return found ? (size_t)(found - m->schemas) : MODEL_NONE;
}

static int build_schemas(Model *m, Error *e)
{
    const Archive *a = m->toc;
    m->schemas = calloc(a->n + 1, sizeof(*m->schemas));
    if (!m->schemas)
        return error_oom(e);
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        const char *name = toc_is(t, "SCHEMA") ? t->tag : t->namespace;
        if (name && *name && (!is_system_schema(name) || toc_is(t, "TABLE DATA")))
            m->schemas[n++].name = name;
    }
    qsort(m->schemas, n, sizeof(*m->schemas), compare_schemas);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(m->schemas[i].name, m->schemas[m->n_schemas - 1].name) != 0)
            m->schemas[m->n_schemas++] = m->schemas[i];
    return 0;
}

/* The first of the entries `t` depends on that `of` knows the place of. */
static size_t by_dependency(const Archive *a, const TocEntry *t, const ModelOid *dump_ids,
                            const size_t *of)
{
    for (size_t d = 0; d < t->n_deps; d++) {
        size_t i = find_oid(dump_ids, a->n, (uint32_t)t->deps[d]);
        if (i != MODEL_NONE && of[i] != MODEL_NONE)
            return of[i];
    }
    return MODEL_NONE;
}

static uint32_t table_oid(const TocEntry *t, const BelongsList *belongs)
{
    if (is_table(t) || toc_is(t, "TABLE DATA") || toc_is(t, "ROW SECURITY"))
        return t->oid;
    return t->table_oid ? belongs_find(belongs, t->table_oid, t->oid) : 0;
}

static bool is_of_schema(const TocEntry *t)
{
    return !toc_is(t, "PUBLICATION TABLE") && !toc_is(t, "PUBLICATION TABLES IN SCHEMA");
}

static int assign(Model *m, const BelongsList *belongs, Error *e)
{
    const Archive *a = m->toc;
    _cleanup_free_ ModelOid *dump_ids = calloc(a->n + 1, sizeof(*dump_ids));
    m->table_of = calloc(a->n + 1, sizeof(size_t));
    m->schema_of = calloc(a->n + 1, sizeof(size_t));
    if (!dump_ids || !m->table_of || !m->schema_of)
        return error_oom(e);
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        dump_ids[i] = (ModelOid){(uint32_t)t->dump_id, i};
        uint32_t oid = table_oid(t, belongs);
        m->table_of[i] = oid ? find_oid(m->oids, m->n_tables, oid) : MODEL_NONE;
        const char *schema = toc_is(t, "SCHEMA") ? t->tag : t->namespace;
        m->schema_of[i] = schema && is_of_schema(t) ? find_schema(m, schema) : MODEL_NONE;
    }
    qsort(dump_ids, a->n, sizeof(*dump_ids), compare_oids);
    for (size_t i = 0; i < a->n; i++) {
        const TocEntry *t = &a->entries[i];
        if (is_dependent(t) && m->table_of[i] == MODEL_NONE)
            m->table_of[i] = by_dependency(a, t, dump_ids, m->table_of);
        if (is_dependent(t) && m->schema_of[i] == MODEL_NONE)
            m->schema_of[i] = by_dependency(a, t, dump_ids, m->schema_of);
    }
    return 0;
}

int model_build(const Archive *toc, const BelongsList *belongs, const TableFactsList *facts,
                Model *ret_model, Error *e)
{
    _cleanup_(model_release) Model m = {.toc = toc};
    TRY(build_tables(&m, e));
    TRY(build_schemas(&m, e));
    TRY(assign(&m, belongs, e));
    for (size_t i = 0; i < m.n_tables; i++) {
        ModelTable *t = &m.tables[i];
        t->schema_index = find_schema(&m, t->schema);
        if (t->data == MODEL_NONE)
            continue;
        const TableFacts *f = table_facts_find(facts, t->oid);
        t->size = f ? f->size : 0;
        t->blocks = f ? f->blocks : 0;
        if (t->blocks > 0)
            TRY(model_range_sql(&toc->entries[t->data], &t->range_sql, e));
        TRY(model_copy_sql(&toc->entries[t->data], f ? f->clause : NULL, &t->copy_sql, e));
    }
    *ret_model = m;
    m = (Model){0};
    return 0;
}
