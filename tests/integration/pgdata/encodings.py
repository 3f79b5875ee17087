"""SQL, as bytes, for databases that are not in UTF-8."""


def latin1():
    """For a LATIN1 database; the script is in LATIN1 too."""
    return """
SET client_encoding = 'LATIN1';
SET client_min_messages = warning;
CREATE SCHEMA "schéma";
CREATE SCHEMA "Ã©";
CREATE TYPE "schéma"."größe" AS ENUM ('klein', 'groß', 'Ü', 'Ã¼');
CREATE TABLE "schéma"."tÿp" ("ñame" text DEFAULT 'dëfault', g "schéma"."größe" DEFAULT 'Ü',
    CONSTRAINT "prüfung" CHECK ("ñame" <> 'Ö'));
CREATE INDEX "índice" ON "schéma"."tÿp" (lower("ñame"));
CREATE TABLE "Ã©".plain (id integer PRIMARY KEY, t text);
COMMENT ON TABLE "schéma"."tÿp" IS 'Kommentär £ ½ \xa0 \x85';
INSERT INTO "schéma"."tÿp" ("ñame") SELECT chr(i) || 'x' FROM generate_series(160, 255) i;
INSERT INTO "Ã©".plain VALUES (1, 'Ã©'), (2, 'é'), (3, '\x80\x9f'), (4, 'ÿþ');
CREATE FUNCTION "schéma"."fünf"() RETURNS text LANGUAGE sql AS 'SELECT ''fünf''::text';
""".encode("latin-1")


def sql_ascii():
    """For a database without an encoding: names and data in several, and in none."""
    utf8, latin, none = "ü€".encode(), "ü".encode("latin-1"), b"\xff\xfe\x80"
    out = [b"SET client_min_messages = warning;"]
    for name in (utf8, latin, none, b"plain"):
        out += [b'CREATE SCHEMA "%s";' % name,
                b'CREATE TABLE "%s"."t%s" ("c%s" text DEFAULT \'%s\');' % (name, name, name, name),
                b'INSERT INTO "%s"."t%s" VALUES (DEFAULT), (\'%s\'), (\'%s\'), (\'%s\');'
                % (name, name, utf8, latin, none),
                b'COMMENT ON TABLE "%s"."t%s" IS \'%s %s %s\';' % (name, name, utf8, latin, none)]
    # Bytes that are half of a UTF-8 character before a quote, a tab, a line's end.
    out += [b"INSERT INTO plain.tplain VALUES ('\xe2\x82'), (E'\xc3\\t\xc3\\n\xf0');"]
    return b"\n".join(out)
