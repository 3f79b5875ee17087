#include "source/postgres/scope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/layout.h"
#include "source/postgres/try.h"
#include "util/cleanup.h"

void arg_list_release(ArgList *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i]);
    free(l->items);
    *l = (ArgList){0};
}

int arg_list_add(ArgList *l, const char *option, const char *value)
{
    char **grown = reallocarray(l->items, l->n + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    l->items = grown;
    char *text = NULL;
    if (asprintf(&text, "--%s%s%s", option, value ? "=" : "", value ? value : "") < 0)
        return -ENOMEM;
    l->items[l->n++] = text;
    return 0;
}

/* The options and what they are called, by pg_dump as by us. */
typedef struct Kind {
    const char *option;
    const SourceNames *names;
} Kind;

#define KINDS 5

static void list_kinds(const SourceScope *s, Kind out[KINDS])
{
    const Kind kinds[KINDS] = {
        {"schema", &s->schemas},
        {"exclude-schema", &s->exclude_schemas},
        {"table", &s->tables},
        {"exclude-table", &s->exclude_tables},
        {"exclude-table-data", &s->exclude_data},
    };
    memcpy(out, kinds, sizeof(kinds));
}

int scope_arguments(const SourceOptions *o, ArgList *l, Error *e)
{
    Kind kinds[KINDS];
    list_kinds(&o->scope, kinds);
    int r = 0;
    for (size_t k = 0; k < KINDS; k++)
        for (size_t i = 0; r == 0 && i < kinds[k].names->n; i++)
            r = arg_list_add(l, kinds[k].option, kinds[k].names->items[i]);
    if (r == 0 && (o->scope.schemas.n || o->scope.tables.n))
        r = arg_list_add(l, "strict-names", NULL);
    if (r == 0 && o->no_acl)
        r = arg_list_add(l, "no-privileges", NULL);
    return r < 0 ? error_oom(e) : 0;
}

static int quote_part(const char *name, Buf *out)
{
    TRY(buf_add_u8(out, '"'));
    for (const char *p = name; *p; p++) {
        if (*p == '"')
            TRY(buf_add_u8(out, '"'));
        TRY(buf_add_u8(out, (uint8_t)*p));
    }
    return buf_add_u8(out, '"');
}

int scope_quote(const char *schema, const char *name, Buf *out)
{
    if (schema) {
        TRY(quote_part(schema, out));
        TRY(buf_add_u8(out, '.'));
    }
    return quote_part(name, out);
}

static int add_char(Buf *b, const char *p, bool quoted)
{
    if (quoted && strchr("|*+?()[]{}.^$\\", *p))
        TRY(buf_add_u8(b, '\\'));
    else if (!quoted && *p == '*')
        return buf_add_str(b, ".*");
    else if (!quoted && *p == '?')
        return buf_add_str(b, ".");
    else if (!quoted && (*p == '$' || (*p == '[' && p[1] == ']')))
        TRY(buf_add_u8(b, '\\')); /* may stand in names, and what they end in means nothing */
    char c = *p;
    if (!quoted && c >= 'A' && c <= 'Z')
        c = (char)(c - 'A' + 'a');
    return buf_add_u8(b, (uint8_t)c);
}

int scope_regexes(const char *pattern, Buf *ret_schema, Buf *ret_name)
{
    bool quoted = false;
    buf_clear(ret_schema);
    buf_clear(ret_name);
    TRY(buf_add_str(ret_name, "^("));
    for (const char *p = pattern; *p; p++) {
        if (*p == '"' && quoted && p[1] == '"') {
            TRY(buf_add_u8(ret_name, (uint8_t)*p++));
        } else if (*p == '"') {
            quoted = !quoted;
        } else if (*p == '.' && !quoted) {
            Buf part = *ret_name; /* what was thought the name is the schema */
            *ret_name = *ret_schema;
            *ret_schema = part;
            buf_clear(ret_name);
            TRY(buf_add_str(ret_schema, ")$"));
            TRY(buf_add_str(ret_name, "^("));
        } else {
            TRY(add_char(ret_name, p, quoted));
        }
    }
    return buf_add_str(ret_name, ")$");
}

/* One more element of an array literal. */
static int add_element(Buf *b, const Buf *text)
{
    TRY(buf_add_str(b, b->len ? ",\"" : "{\""));
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] == '"' || text->data[i] == '\\')
            TRY(buf_add_u8(b, '\\'));
        TRY(buf_add_u8(b, text->data[i]));
    }
    return buf_add_u8(b, '"');
}

static int end_array(Buf *b, char **ret_text)
{
    TRY(buf_add_str(b, b->len ? "}" : "{}"));
    *ret_text = buf_take_cstr(b);
    return *ret_text ? 0 : -ENOMEM;
}

/* `schemas` is NULL for patterns of schemas, which have but one part. */
static int make_arrays(const SourceNames *l, char **ret_schemas, char **ret_names,
                       bool *ret_visible)
{
    _cleanup_(buf_release) Buf schemas = BUF_INIT, names = BUF_INIT;
    _cleanup_(buf_release) Buf schema = BUF_INIT, name = BUF_INIT;
    for (size_t i = 0; i < l->n; i++) {
        TRY(scope_regexes(l->items[i], &schema, &name));
        TRY(add_element(&schemas, &schema));
        TRY(add_element(&names, &name));
        *ret_visible |= ret_schemas && schema.len == 0;
    }
    if (ret_schemas)
        TRY(end_array(&schemas, ret_schemas));
    return end_array(&names, ret_names);
}

/* What names without a schema may mean depends on the role's own search path. */
static int find_visible(Conn *c, char **ret_oids, Error *e)
{
    _cleanup_(result_clear) PGresult *res = NULL;
    TRY(conn_exec(c, "RESET search_path", e));
    int r = conn_query(c,
                       "SELECT pg_catalog.array_agg(c.oid) FROM pg_catalog.pg_class c"
                       " WHERE pg_catalog.pg_table_is_visible(c.oid)",
                       0, NULL, &res, e);
    TRY(conn_exec(c, "SELECT pg_catalog.set_config('search_path', '', false)", r < 0 ? NULL : e));
    if (r < 0)
        return r;
    *ret_oids = strdup(PQgetisnull(res, 0, 0) ? "{}" : PQgetvalue(res, 0, 0));
    return *ret_oids ? 0 : error_oom(e);
}

void scope_params_release(ScopeParams *p)
{
    for (size_t i = 0; i < SCOPE_N; i++)
        free(p->values[i]);
    *p = (ScopeParams){0};
}

int scope_params(Conn *c, const SourceScope *s, ScopeParams *ret_params, Error *e)
{
    _cleanup_(scope_params_release) ScopeParams p = {0};
    char **v = p.values;
    bool visible = false;
    int r = make_arrays(&s->tables, &v[SCOPE_TABLE_SCHEMAS], &v[SCOPE_TABLES], &visible);
    if (r == 0)
        r = make_arrays(&s->exclude_tables, &v[SCOPE_EXCLUDE_TABLE_SCHEMAS],
                        &v[SCOPE_EXCLUDE_TABLES], &visible);
    if (r == 0)
        r = make_arrays(&s->exclude_data, &v[SCOPE_EXCLUDE_DATA_SCHEMAS], &v[SCOPE_EXCLUDE_DATA],
                        &visible);
    if (r == 0)
        r = make_arrays(&s->schemas, NULL, &v[SCOPE_SCHEMAS], &visible);
    if (r == 0)
        r = make_arrays(&s->exclude_schemas, NULL, &v[SCOPE_EXCLUDE_SCHEMAS], &visible);
    if (r == 0 && !visible && !(v[SCOPE_VISIBLE] = strdup("{}")))
        r = -ENOMEM;
    if (r < 0)
        return error_oom(e);
    if (visible)
        TRY(find_visible(c, &v[SCOPE_VISIBLE], e));
    *ret_params = p;
    p = (ScopeParams){0};
    return 0;
}

json_t *scope_json(const SourceOptions *o)
{
    Kind kinds[KINDS];
    list_kinds(&o->scope, kinds);
    json_t *doc = json_object();
    int r = doc ? 0 : -1;
    for (size_t k = 0; r == 0 && k < KINDS; k++) {
        if (kinds[k].names->n == 0)
            continue;
        json_t *list = json_array();
        r = json_object_set_new(doc, kinds[k].option, list);
        for (size_t i = 0; r == 0 && i < kinds[k].names->n; i++)
            r = json_array_append_new(list, source_json_name(kinds[k].names->items[i]));
    }
    if (r == 0 && o->no_owner)
        r = json_object_set_new(doc, "no-owner", json_true());
    if (r == 0 && o->no_acl)
        r = json_object_set_new(doc, "no-acl", json_true());
    if (r < 0) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}
