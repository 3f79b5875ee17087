#include "store/summary.h"

#include "util/clock.h"
#include "util/report.h"

static uint64_t get_count(const json_t *doc, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(doc, key));
    return n > 0 ? (uint64_t)n : 0;
}

static int add_text(Buf *out, const char *label, const json_t *value)
{
    const char *text = json_string_value(value);
    return text && *text ? buf_addf(out, "%-13s%s\n", label, text) : 0;
}

static int add_size(Buf *out, const char *label, uint64_t bytes)
{
    char size[REPORT_SIZE_SIZE];
    report_format_size(bytes, size);
    return buf_addf(out, "%-13s%s\n", label, size);
}

static int add_schema(Buf *out, const json_t *schema)
{
    const char *name = json_string_value(json_object_get(schema, "name"));
    char size[REPORT_SIZE_SIZE], archive[REPORT_SIZE_SIZE];
    report_format_size(get_count(schema, "bytes"), size);
    int r = buf_addf(out, "  %-24s %6llu tables %12llu rows %12s", name ? name : "?",
                     (unsigned long long)get_count(schema, "tables"),
                     (unsigned long long)get_count(schema, "rows"), size);
    if (r == 0 && json_object_get(schema, "archive_bytes")) {
        report_format_size(get_count(schema, "archive_bytes"), archive);
        r = buf_addf(out, "  archive %s", archive);
    }
    return r < 0 ? r : buf_add_str(out, "\n");
}

static int add_count(Buf *out, const char *before, uint64_t n, const char *what)
{
    return buf_addf(out, "%s%llu %s%s", before, (unsigned long long)n, what, n == 1 ? "" : "s");
}

static int add_contents(Buf *out, const json_t *db, size_t n_schemas)
{
    int r = buf_addf(out, "%-13s", "Contents:");
    if (r == 0 && n_schemas) /* a SQLite backup without text lists none */
        r = add_count(out, "", n_schemas, "schema");
    if (r == 0)
        r = add_count(out, n_schemas ? ", " : "", get_count(db, "table_count"), "table");
    if (r == 0)
        r = add_count(out, ", ", get_count(db, "record_count"), "row");
    return r == 0 ? buf_add_str(out, "\n") : r;
}

static int add_database(Buf *out, const json_t *db)
{
    const json_t *schemas = json_object_get(db, "schemas");
    const char *type = json_string_value(json_object_get(db, "type"));
    const char *version = json_string_value(json_object_get(db, "server_version"));
    int r = add_text(out, "Database:", json_object_get(db, "name"));
    if (r == 0 && version)
        r = buf_addf(out, "%-13s%s %s\n", "Server:", type ? type : "", version);
    if (r == 0)
        r = add_text(out, "Connection:", json_object_get(db, "connection"));
    if (r == 0)
        r = add_size(out, "Size:", get_count(db, "size_bytes"));
    if (r == 0)
        r = add_contents(out, db, json_array_size(schemas));
    for (size_t i = 0; r == 0 && i < json_array_size(schemas); i++)
        r = add_schema(out, json_array_get(schemas, i));
    return r;
}

static int add_files(Buf *out, const json_t *files)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(files); i++) {
        const json_t *item = json_array_get(files, i);
        const char *from = json_string_value(json_object_get(item, "connection"));
        char size[REPORT_SIZE_SIZE];
        report_format_size(get_count(item, "size_bytes"), size);
        r = buf_addf(out, "%-13s%s: ", i ? "" : "Files:", from ? from : "?");
        if (r == 0)
            r = add_count(out, "", get_count(item, "file_count"), "file");
        if (r == 0)
            r = buf_addf(out, ", %s\n", size);
    }
    return r;
}

static int add_left_out(Buf *out, const json_t *list)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *what = json_string_value(json_object_get(item, "what"));
        const char *why = json_string_value(json_object_get(item, "why"));
        r = buf_addf(out, "%-13s%s: %s\n", i ? "" : "Left out:", what ? what : "?",
                     why ? why : "?");
    }
    return r;
}

static int add_totals(const json_t *doc, Buf *out)
{
    uint64_t read = get_count(doc, "bytes_read"), added = get_count(doc, "bytes_new");
    char a[REPORT_SIZE_SIZE], b[REPORT_SIZE_SIZE], took[REPORT_DURATION_SIZE];
    report_format_size(read, a);
    report_format_size(added, b);
    report_format_duration(json_number_value(json_object_get(doc, "duration")), took);
    int r = buf_addf(out, "%-13s%s read, %s new in the store", "Stored:", a, b);
    if (r == 0 && added)
        r = buf_addf(out, " (ratio %.1f)", (double)read / (double)added);
    if (r == 0)
        r = buf_addf(out, "\n%-13s%s\n", "Duration:", took);
    if (r == 0)
        r = buf_addf(out, "%-13s%s\n", "Status:",
                     json_is_true(json_object_get(doc, "partial")) ? "partial" : "complete");
    return r;
}

int summary_format(const json_t *doc, Buf *out)
{
    char iso[CLOCK_ISO_SIZE];
    const json_t *databases = json_object_get(doc, "databases");
    clock_format_iso(json_integer_value(json_object_get(doc, "timestamp")), iso);
    int r = add_text(out, "Backup:", json_object_get(doc, "backup_id"));
    if (r == 0)
        r = add_text(out, "Archive:", json_object_get(doc, "archive_name"));
    if (r == 0)
        r = buf_addf(out, "%-13s%s\n", "Time:", iso);
    if (r == 0)
        r = add_text(out, "Environment:", json_object_get(doc, "environment"));
    for (size_t i = 0; r == 0 && i < json_array_size(databases); i++)
        r = add_database(out, json_array_get(databases, i));
    if (r == 0)
        r = add_files(out, json_object_get(doc, "files"));
    if (r == 0)
        r = add_left_out(out, json_object_get(doc, "left_out"));
    return r < 0 ? r : add_totals(doc, out);
}
