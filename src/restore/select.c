#include "restore/select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/postgres/try.h"
#include "util/cleanup.h"

void table_name_release(TableName *n)
{
    free(n->schema);
    free(n->name);
    *n = (TableName){0};
}

/* Take one part off `*p`: quoted, or up to a dot. NULL when it is malformed. */
static char *take_part(const char **p)
{
    _cleanup_(buf_release) Buf b = BUF_INIT;
    const char *s = *p;
    if (*s != '"') {
        size_t n = strcspn(s, ".");
        *p = s + n;
        return n ? strndup(s, n) : NULL;
    }
    for (s++; *s; s++) {
        if (*s == '"' && s[1] != '"') {
            *p = s + 1;
            return b.len ? buf_take_cstr(&b) : NULL;
        }
        s += *s == '"';
        if (buf_add_u8(&b, (uint8_t)*s) < 0)
            return NULL;
    }
    return NULL;
}

int table_name_parse(const char *text, TableName *ret_name, Error *e)
{
    const char *p = text;
    TableName n = {.name = take_part(&p)};
    if (n.name && *p == '.') {
        p++;
        n.schema = n.name;
        n.name = take_part(&p);
    }
    if (!n.name || *p) {
        table_name_release(&n);
        error_set(e, EINVAL, "--table %s: not [SCHEMA.]TABLE", text);
        error_hint(e, "put a name that holds a dot into double quotes: 'shop.\"a.b\"'");
        error_exit_code(e, BK_EXIT_USAGE);
        return -EINVAL;
    }
    *ret_name = n;
    return 0;
}

static int ambiguous(const Content *c, const char *text, const TableName *n, Error *e)
{
    _cleanup_(buf_release) Buf names = BUF_INIT;
    for (size_t i = 0, shown = 0; i < c->n_tables && shown < 5; i++)
        if (strcmp(c->tables[i].name, n->name) == 0)
            buf_addf(&names, "%s%s.%s", shown++ ? ", " : "", c->tables[i].schema,
                     c->tables[i].name);
    error_set(e, EINVAL, "--table %s: more than one schema has a table of that name", text);
    error_hint(e, "name one of %s", buf_cstr(&names));
    error_exit_code(e, BK_EXIT_USAGE);
    return -EINVAL;
}

static int find_table(const Content *c, const char *text, size_t *ret_index, Error *e)
{
    TableName n = {0};
    TRY(table_name_parse(text, &n, e));
    size_t found = 0;
    for (size_t i = 0; i < c->n_tables; i++) {
        const ContentTable *t = &c->tables[i];
        if (strcmp(t->name, n.name) != 0 || (n.schema && strcmp(t->schema, n.schema) != 0))
            continue;
        *ret_index = i;
        found++;
    }
    int r = 0;
    if (found == 0) {
        r = error_set(e, ENOENT, "the backup has no table %s", text);
        error_hint(e, "names are taken as they are, capitals included; the directories tables/ in "
                      "the mounted backup show them");
    } else if (found > 1) {
        r = ambiguous(c, text, &n, e);
    }
    table_name_release(&n);
    return r;
}

int select_tables(const Content *c, size_t **ret_indices, Error *e)
{
    const RestoreOptions *o = c->options;
    _cleanup_free_ size_t *indices = calloc(o->n_tables + 1, sizeof(*indices));
    if (!indices)
        return error_oom(e);
    for (size_t i = 0; i < o->n_tables; i++)
        TRY(find_table(c, o->tables[i], &indices[i], e));
    *ret_indices = TAKE_PTR(indices);
    return 0;
}

bool select_has_schema(const RestoreOptions *o, const char *name)
{
    for (size_t i = 0; i < o->n_schemas; i++)
        if (strcmp(o->schemas[i], name) == 0)
            return true;
    return false;
}

int select_schemas(const Content *c, Error *e)
{
    const RestoreOptions *o = c->options;
    const json_t *schemas = json_object_get(c->database, "schemas");
    for (size_t i = 0; i < o->n_schemas; i++) {
        bool found = false;
        size_t k;
        json_t *s;
        json_array_foreach (schemas, k, s) {
            const char *name = json_string_value(json_object_get(s, "name"));
            found |= name && strcmp(name, o->schemas[i]) == 0;
        }
        if (found)
            continue;
        error_set(e, ENOENT, "the backup has no schema %s", o->schemas[i]);
        error_hint(e, "names are taken as they are, capitals included; `bakfs-store show` lists "
                      "the schemas");
        return -ENOENT;
    }
    return 0;
}
