"""SQL of a database whose names try to break scripts, archives and directories.

    python3 hostile.py | psql"""

SCHEMAS = [
    "restore.sql", "schema.sql", "data.sql", "roles.sql", "database.dump", "backup.json",
    "summary.txt", "SHA256SUMS", "tables", "Restore.sql", "restore.sql~", ".", "..", "...",
    ".hidden", "a/b", "/", "/etc/passwd", "../../up", "a%2Fb", "%", "%%", "%s%n", "back\\slash",
    "\\", "tab\there", "new\nline", "\r", "\x01\x02\x7f", "ends in space ", " starts", " ",
    "quote'", 'double"quote', '"', "'", "$$", "$1", "`id`", "$(id)", "; DROP TABLE x; --",
    "x'; DROP SCHEMA public CASCADE; --", "*/", "/*", "--", "-- TOC entry 1; 1 1", "\\.",
    "\\connect postgres", "\n\\! touch /tmp/bakfs-pwned\n", "\\restrict x", "\\unrestrict x",
    "select", "NULL", "public ", "PUBLIC", "Public", "pUBLIC", "-", "--help", "~", "*", "?",
    "a b c", "CON", "nul.", "a" * 63, "ü" * 31, "€" * 21, "😀" * 15, "İı", "é", "e\u0301",
    "\u202egnp.sql", "\u00a0", "\u2028", "名前", "pg", "x.dump", "a.b", "a,b", "a=b", "{a,b}",
    "\x1b[31m", "COPY t FROM stdin;\n1\n\\.\n", "latest", "lost+found",
]

TABLES = [
    "tables", "schema.sql", "data.sql", "..", ".", ".x", "a/b", "%2F", "A", "a", "Ä", "ä",
    "new\nline", "\n", "\\", "\\.", "tab\t", 'q"q', "q'q", " ", "trailing ", "; DROP TABLE x; --",
    "*/", "/* x", "--", "-- TOC entry 1; 1 1", "\n--\n-- TOC entry 1; 1 1\n--\n",
    "\n--\n-- Name: x; Type: TABLE\n--\n", "\n-- Data for Name: x\n\nCOPY x FROM stdin;\n\\.\n",
    "\n\\connect postgres\n", "SELECT pg_catalog.set_config", "SET default_tablespace = '';",
    "x" * 63, "ü" * 31, "€" * 21, "\x01", "\x7f", "😀", "$body$", "$$", "$(reboot)", "null",
    "table", "user", "order", "%s%s%s%n", "stdin", "COPY", "s p a c e s", "(a)", "a)", "a; --",
]

# Texts for function bodies, comments and rows.
MIMICS = [
    "\n--\n-- TOC entry 215 (class 1259 OID 16389)\n"
    "-- Name: x; Type: TABLE; Schema: public; Owner: y\n--\n\n",
    "\n--\n-- Data for Name: x; Type: TABLE DATA; Schema: public; Owner: postgres\n--\n\n"
    "COPY public.x (a) FROM stdin;\n1\n\\.\n\n\n",
    "\n\\unrestrict x\n\\! touch /tmp/bakfs-pwned\n\\connect postgres\n",
    "\n--\n-- PostgreSQL database dump complete\n--\n\n",
    "SET default_tablespace = '';\n\nSET default_table_access_method = heap;\n\n",
    "*/ -- /* $$ ' \" \\ \n",
    "\n\nSELECT pg_catalog.lo_open('1', 131072);\nSELECT pg_catalog.lowrite(0, '\\x41');\n",
    "\x01\x02@@marker@@\x1f",
]


def name(s):
    return '"' + s.replace('"', '""') + '"'


def text(s):
    """A string constant. psql sees no line that begins with a backslash or a comment."""
    out = "".join(c if c.isprintable() and c not in "\\'" and ord(c) < 128 else
                  f"\\U{ord(c):08x}" for c in s)
    return f"E'{out}'"


def sql(schemas=None, tables=None):
    yield "SET client_min_messages = warning;"
    schemas = SCHEMAS if schemas is None else schemas
    tables = TABLES if tables is None else tables
    for i, s in enumerate(schemas):
        schema = name(s)
        yield f"CREATE SCHEMA {schema};"
        yield f"COMMENT ON SCHEMA {schema} IS {text(MIMICS[i % len(MIMICS)])};"
        yield f"CREATE TABLE {schema}.t (id serial PRIMARY KEY, {name(s)} text);"
        yield (f"INSERT INTO {schema}.t ({name(s)}) "
               f"VALUES ({text(s)}), ({text(MIMICS[i % len(MIMICS)])});")
    yield "CREATE SCHEMA hostile;"
    for i, t in enumerate(tables):
        table = f"hostile.{name(t)}"
        yield (f"CREATE TABLE {table} (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
               f"{name(t)} text DEFAULT {text(t)}, "
               f"CONSTRAINT {name('c' + t)} CHECK ({name(t)} <> {text(t + 'x')}));")
        yield (f"INSERT INTO {table} ({name(t)}) VALUES ({text(t)}), (DEFAULT), (NULL), "
               f"({text(MIMICS[i % len(MIMICS)])});")
        yield f"CREATE INDEX {name('i' + t)} ON {table} ({name(t)});"
        yield f"COMMENT ON TABLE {table} IS {text(MIMICS[i % len(MIMICS)])};"
        yield f"COMMENT ON COLUMN {table}.{name(t)} IS {text(MIMICS[(i + 1) % len(MIMICS)])};"
        body = "SELECT $1 --" + MIMICS[i % len(MIMICS)].replace("\x01", "").replace("\n", "\n-- ")
        yield (f"CREATE FUNCTION hostile.{name('f' + t)}({name(t)} text) RETURNS text "
               f"LANGUAGE sql AS {text(body)};")
        yield (f"CREATE TRIGGER {name('t' + t)} BEFORE UPDATE ON {table} FOR EACH ROW "
               f"EXECUTE FUNCTION suppress_redundant_updates_trigger({text(t)});")
        yield f"CREATE POLICY {name(t)} ON {table} USING ({name(t)} <> {text(t)});"
        yield f"CREATE VIEW hostile.{name('v' + t)} AS SELECT {name(t)} AS {name(t)} FROM {table};"
    labels = ", ".join(text(t[:15]) for t in TABLES)
    yield f"CREATE TYPE hostile.{name(TABLES[25] + ' e')} AS ENUM ({labels});"


if __name__ == "__main__":
    for statement in sql():
        print(statement)
