-- One database with every kind of object that pg_dump carries. Run with psql as a superuser, with
-- the variable "version" set to the server's major version, and the tablespace ks_space, the
-- language extension bakfs_sample (see pgcompare.py) and the roles of kitchen_roles.sql in place.
SET client_min_messages = warning;
SET TimeZone = 'Europe/Berlin';
SELECT :version >= 17 AS is_17 \gset

COMMENT ON SCHEMA public IS 'the old place';
CREATE SCHEMA app AUTHORIZATION ks_owner;
COMMENT ON SCHEMA app IS E'application''s \\ schema';
CREATE SCHEMA ext;
CREATE SCHEMA "Mixed Case";
CREATE SCHEMA parts;
CREATE SCHEMA empty_schema;
GRANT USAGE ON SCHEMA app TO ks_reader WITH GRANT OPTION;
GRANT CREATE, USAGE ON SCHEMA app TO ks_writer;
GRANT CREATE ON SCHEMA public TO PUBLIC;

-- Extensions: several, one outside public, one with configuration tables and a member sequence.
CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gist;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION file_fdw;
CREATE EXTENSION bakfs_sample;
COMMENT ON EXTENSION hstore IS 'a comment of our own';
INSERT INTO bakfs_sample.setting VALUES ('mine', E'tab\there', false), ('also mine', NULL, false);
INSERT INTO bakfs_sample.place (name) VALUES ('user place 1'), ('user place 2');
SELECT setval('bakfs_sample.counter', 4711) \g /dev/null
GRANT SELECT ON bakfs_sample.setting TO ks_reader;

-- Types.
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'it''s "fine"', 'ünïcode');
ALTER TYPE app.mood ADD VALUE 'meh' BEFORE 'ok';
CREATE TYPE app.pair AS (a integer, b text COLLATE "C", m app.mood);
COMMENT ON COLUMN app.pair.a IS 'left';
CREATE TYPE app.nothing AS ();
CREATE TYPE app.floats AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE app.textrange AS RANGE (subtype = text, collation = "C",
                                    multirange_type_name = app.textranges);
CREATE DOMAIN app.positive AS integer DEFAULT 1 NOT NULL CHECK (VALUE > 0);
CREATE DOMAIN app.short AS varchar(10) COLLATE "C" CONSTRAINT no_x CHECK (VALUE !~ 'x');
ALTER DOMAIN app.short ADD CONSTRAINT later CHECK (length(VALUE) < 9) NOT VALID;
COMMENT ON CONSTRAINT no_x ON DOMAIN app.short IS 'no x';
CREATE DOMAIN app.pairs AS app.pair[];
ALTER TYPE app.mood OWNER TO ks_owner;
GRANT USAGE ON TYPE app.mood TO ks_reader;
REVOKE USAGE ON TYPE app.positive FROM PUBLIC;
CREATE TYPE app.shell;
CREATE TYPE app.box5;
CREATE FUNCTION app.box5_in(cstring) RETURNS app.box5 LANGUAGE internal IMMUTABLE STRICT
    AS 'textin';
CREATE FUNCTION app.box5_out(app.box5) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT
    AS 'textout';
CREATE TYPE app.box5 (INPUT = app.box5_in, OUTPUT = app.box5_out, STORAGE = extended,
                      INTERNALLENGTH = variable, CATEGORY = 'X', PREFERRED = true, DEFAULT = 'o');
COMMENT ON TYPE app.box5 IS 'base type';
CREATE COLLATION app.german (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION app.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION app.c_copy FROM "C";
COMMENT ON COLLATION app.german IS 'telephone book';

-- Functions in several languages.
CREATE FUNCTION app.add(a integer, b integer DEFAULT 2) RETURNS integer LANGUAGE sql
    IMMUTABLE PARALLEL SAFE COST 3 AS 'SELECT a + b';
CREATE FUNCTION app.add_atomic(a integer, b integer) RETURNS integer LANGUAGE sql STRICT
    BEGIN ATOMIC SELECT a + b; SELECT a * b; END;
CREATE FUNCTION app.add_return(a integer) RETURNS integer RETURN a + 1;
CREATE FUNCTION app.rows_of(n integer) RETURNS TABLE (i integer, t text) LANGUAGE plpgsql
    ROWS 7 SECURITY DEFINER SET search_path = app, pg_temp SET work_mem = '8MB' AS $fn$
BEGIN
    -- markers that look like ours or pg_dump's
    RETURN QUERY SELECT g, '\.' || E'\n--\n-- Name: x; Type: TABLE\n--\n' FROM generate_series(1, n) g;
END
$fn$;
CREATE FUNCTION app.variadic(VARIADIC v text[]) RETURNS text LANGUAGE sql
    AS $$SELECT array_to_string(v, ',')$$;
CREATE FUNCTION app.inout(INOUT a text, OUT b text) LANGUAGE plpgsql
    AS $$BEGIN b := a || $q$\restrict x$q$; END$$;
CREATE FUNCTION app.polymorphic(a anyelement, b anyarray) RETURNS boolean LANGUAGE sql
    AS 'SELECT a = ANY (b)';
CREATE FUNCTION app.internal_len(text) RETURNS integer LANGUAGE internal STRICT LEAKPROOF
    IMMUTABLE AS 'textlen';
CREATE FUNCTION app.window_rn() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number';
CREATE PROCEDURE app.proc(INOUT n integer) LANGUAGE plpgsql AS 'BEGIN n := n + 1; COMMIT; END';
CREATE PROCEDURE app.proc_atomic(a integer) BEGIN ATOMIC SELECT a; END;
COMMENT ON FUNCTION app.add(integer, integer) IS 'adds';
COMMENT ON PROCEDURE app.proc(integer) IS 'a procedure';
ALTER FUNCTION app.add(integer, integer) OWNER TO ks_owner;
REVOKE ALL ON FUNCTION app.rows_of(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.rows_of(integer) TO ks_reader;
GRANT EXECUTE ON PROCEDURE app.proc(integer) TO ks_writer WITH GRANT OPTION;
CREATE AGGREGATE app.total(integer) (SFUNC = int4_sum, STYPE = bigint, INITCOND = '0',
                                     PARALLEL = safe, COMBINEFUNC = int8pl);
CREATE AGGREGATE app.median(float8 ORDER BY float8) (SFUNC = ordered_set_transition,
    STYPE = internal, FINALFUNC = percentile_cont_float8_final);
COMMENT ON AGGREGATE app.total(integer) IS 'sum';
CREATE FUNCTION app.pl_handler() RETURNS language_handler LANGUAGE c
    AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION app.pl_inline(internal) RETURNS void LANGUAGE c
    AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION app.pl_validator(oid) RETURNS void LANGUAGE c
    AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE pl_copy HANDLER app.pl_handler INLINE app.pl_inline
    VALIDATOR app.pl_validator;
COMMENT ON LANGUAGE pl_copy IS 'a language';
REVOKE ALL ON LANGUAGE pl_copy FROM PUBLIC;
GRANT USAGE ON LANGUAGE pl_copy TO ks_owner;
CREATE FUNCTION app.in_copy() RETURNS integer LANGUAGE pl_copy AS 'BEGIN RETURN 1; END';
CREATE TRANSFORM FOR app.pair LANGUAGE pl_copy
    (FROM SQL WITH FUNCTION pg_catalog.prsd_lextype(internal));

-- Casts, operators, classes, families, access methods, conversions.
CREATE FUNCTION app.mood_to_int(app.mood) RETURNS integer LANGUAGE sql IMMUTABLE
    AS $$SELECT CASE $1 WHEN 'sad' THEN 0 ELSE 1 END$$;
CREATE CAST (app.mood AS integer) WITH FUNCTION app.mood_to_int(app.mood) AS ASSIGNMENT;
CREATE CAST (app.pair AS text) WITH INOUT AS IMPLICIT;
CREATE CAST (app.box5 AS bytea) WITHOUT FUNCTION;
COMMENT ON CAST (app.mood AS integer) IS 'a cast';
CREATE FUNCTION app.pair_lt(app.pair, app.pair) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS 'SELECT $1.a < $2.a';
CREATE FUNCTION app.pair_gt(app.pair, app.pair) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS 'SELECT $1.a > $2.a';
CREATE OPERATOR app.<<< (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.pair_lt,
                         COMMUTATOR = OPERATOR(app.>>>), RESTRICT = scalarltsel);
CREATE OPERATOR app.>>> (LEFTARG = app.pair, RIGHTARG = app.pair, FUNCTION = app.pair_gt,
                         COMMUTATOR = OPERATOR(app.<<<));
CREATE OPERATOR app.!!! (RIGHTARG = integer, FUNCTION = int4um);
COMMENT ON OPERATOR app.<<< (app.pair, app.pair) IS 'left of';
CREATE OPERATOR FAMILY app.ints USING btree;
CREATE OPERATOR CLASS app.ints_reverse FOR TYPE integer USING btree FAMILY app.ints AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <,
    FUNCTION 1 btint4cmp(integer, integer);
ALTER OPERATOR FAMILY app.ints USING btree ADD FUNCTION 1 (integer, bigint) btint48cmp(int4, int8);
COMMENT ON OPERATOR CLASS app.ints_reverse USING btree IS 'class';
COMMENT ON OPERATOR FAMILY app.ints USING btree IS 'family';
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD gist_too TYPE INDEX HANDLER gisthandler;
COMMENT ON ACCESS METHOD heap_too IS 'the heap by another name';
CREATE CONVERSION app.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION app.conv IS 'conversion';

-- Text search.
CREATE TEXT SEARCH DICTIONARY app.syn (TEMPLATE = simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION app.conf (COPY = english);
ALTER TEXT SEARCH CONFIGURATION app.conf ALTER MAPPING FOR asciiword WITH app.syn, english_stem;
ALTER TEXT SEARCH CONFIGURATION app.conf DROP MAPPING FOR url_path;
CREATE TEXT SEARCH TEMPLATE app.templ (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH PARSER app.pars (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
                                    LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
COMMENT ON TEXT SEARCH CONFIGURATION app.conf IS 'conf';
COMMENT ON TEXT SEARCH DICTIONARY app.syn IS 'dict';

-- Sequences.
CREATE SEQUENCE app.plain;
SELECT nextval('app.plain'), nextval('app.plain') \g /dev/null
CREATE SEQUENCE app.fresh START 77;
CREATE SEQUENCE app.down AS smallint INCREMENT -3 MINVALUE -100 MAXVALUE 5 START 5 CACHE 4 CYCLE;
SELECT nextval('app.down') \g /dev/null
CREATE UNLOGGED SEQUENCE app.unlogged_seq;
CREATE SEQUENCE app.huge MAXVALUE 9223372036854775807;
SELECT setval('app.huge', 9223372036854775806, false) \g /dev/null
COMMENT ON SEQUENCE app.plain IS 'a sequence';
GRANT USAGE ON SEQUENCE app.plain TO ks_writer;

-- A table with about everything.
CREATE TABLE app.customer (
    id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 10),
    alt integer GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME app."alt Seq"),
    old_serial serial,
    name text NOT NULL DEFAULT 'no''body' COLLATE app.german,
    email ext.citext,
    mood app.mood DEFAULT 'ok',
    age app.positive,
    dropped integer,
    doubled bigint GENERATED ALWAYS AS (age * 2) STORED,
    tags text[] DEFAULT ARRAY['a', 'b\c'],
    attrs ext.hstore,
    doc jsonb,
    photo bytea,
    "Quoted ""col" text,
    pairs app.pairs,
    span tstzrange,
    seen timestamptz DEFAULT '2020-01-01 00:00+00',
    CONSTRAINT customer_pk PRIMARY KEY (id) INCLUDE (name) WITH (fillfactor = 80),
    CONSTRAINT customer_email UNIQUE (email) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT customer_nnd UNIQUE NULLS NOT DISTINCT (alt, mood),
    CONSTRAINT customer_age CHECK (age < 200) NO INHERIT,
    CONSTRAINT customer_span EXCLUDE USING gist (span WITH &&) WHERE (id > 5)
) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 99);
ALTER TABLE app.customer DROP COLUMN dropped;
ALTER TABLE app.customer ALTER doc SET STORAGE EXTERNAL, ALTER photo SET COMPRESSION pglz,
    ALTER name SET STATISTICS 500, ALTER email SET (n_distinct = -0.5);
ALTER TABLE app.customer OWNER TO ks_owner;
ALTER TABLE app.customer REPLICA IDENTITY FULL;
COMMENT ON TABLE app.customer IS E'two\nlines; -- and a dash\n\\. ';
COMMENT ON COLUMN app.customer."Quoted ""col" IS 'quoted';
COMMENT ON CONSTRAINT customer_age ON app.customer IS 'sane';
INSERT INTO app.customer (name, email, mood, age, attrs, doc, photo, "Quoted ""col", pairs, span)
SELECT 'Customer ' || i, 'C' || i || '@X.example', (enum_range(NULL::app.mood))[i % 5 + 1],
       i % 100 + 1, ext.hstore('k' || i, E'v\t' || i), jsonb_build_object('n', i, 't', E'\u00fc\n'),
       decode(lpad(to_hex(i), 8, '0'), 'hex'), CASE WHEN i % 3 = 0 THEN NULL ELSE E'\\' || i END,
       ARRAY[ROW(i, 'x' || i, 'sad')]::app.pair[],
       tstzrange('2020-01-01'::timestamptz + i * '1 day'::interval,
                 '2020-01-01'::timestamptz + (i + 1) * '1 day'::interval)
FROM generate_series(1, 500) i;
ALTER TABLE app.customer ADD CONSTRAINT customer_later CHECK (age <> 150) NOT VALID;
CREATE INDEX customer_lower ON app.customer (lower(name) text_pattern_ops DESC NULLS LAST)
    WHERE age > 3;
CREATE INDEX customer_trgm ON app.customer USING gin (name gin_trgm_ops) WITH (fastupdate = off);
CREATE UNIQUE INDEX customer_incl ON app.customer (id, (age + 1)) INCLUDE (seen);
CREATE INDEX customer_doc ON app.customer USING gin (doc jsonb_path_ops);
CREATE INDEX customer_brin ON app.customer USING brin (id) WITH (pages_per_range = 4);
CREATE INDEX customer_hash ON app.customer USING hash (name);
CREATE INDEX customer_rev ON app.customer (alt app.ints_reverse);
CREATE INDEX customer_space ON app.customer (seen) TABLESPACE ks_space;
CREATE INDEX customer_expr_stat ON app.customer ((age * 3));
ALTER INDEX app.customer_expr_stat ALTER COLUMN 1 SET STATISTICS 300;
ALTER TABLE app.customer CLUSTER ON customer_pk;
COMMENT ON INDEX app.customer_lower IS 'partial expression index';
CREATE STATISTICS app.customer_stat (ndistinct, dependencies, mcv) ON age, mood FROM app.customer;
CREATE STATISTICS app.customer_expr ON (age % 7), (lower(name)) FROM app.customer;
ALTER STATISTICS app.customer_stat SET STATISTICS 42;
COMMENT ON STATISTICS app.customer_stat IS 'extended';
GRANT SELECT, INSERT ON app.customer TO ks_writer WITH GRANT OPTION;
GRANT SELECT (id, name), UPDATE (name) ON app.customer TO ks_reader;
SET ROLE ks_writer;
GRANT SELECT ON app.customer TO "ks Quoted""Role";
RESET ROLE;

CREATE TABLE app.orders (
    id integer PRIMARY KEY,
    customer bigint REFERENCES app.customer ON DELETE CASCADE ON UPDATE SET NULL,
    second_customer bigint,
    placed date
) TABLESPACE ks_space;
INSERT INTO app.orders SELECT i, i % 500 * 10 + 10, NULL, '2024-01-01'::date + i
FROM generate_series(1, 300) i;
ALTER TABLE app.orders ADD CONSTRAINT orders_second FOREIGN KEY (second_customer)
    REFERENCES app.customer (id) MATCH FULL DEFERRABLE INITIALLY DEFERRED NOT VALID;
CREATE UNIQUE INDEX orders_ident ON app.orders (id, placed) ;
ALTER TABLE app.orders ALTER placed SET NOT NULL;
ALTER TABLE app.orders REPLICA IDENTITY USING INDEX orders_ident;

-- Circular and self-referring foreign keys.
CREATE TABLE app.egg (id integer PRIMARY KEY, hen integer, parent integer REFERENCES app.egg);
CREATE TABLE app.hen (id integer PRIMARY KEY, egg integer REFERENCES app.egg);
INSERT INTO app.egg VALUES (1, 1, NULL), (2, 2, 1);
INSERT INTO app.hen VALUES (1, 2), (2, 1);
ALTER TABLE app.egg ADD FOREIGN KEY (hen) REFERENCES app.hen;

-- Special tables.
CREATE UNLOGGED TABLE app.volatile (a integer PRIMARY KEY, b text);
INSERT INTO app.volatile SELECT i, repeat('v', i) FROM generate_series(1, 50) i;
CREATE TABLE app.no_columns ();
INSERT INTO app.no_columns DEFAULT VALUES;
INSERT INTO app.no_columns DEFAULT VALUES;
CREATE TABLE app.no_columns_left (gone integer);
INSERT INTO app.no_columns_left VALUES (1), (2), (3);
ALTER TABLE app.no_columns_left DROP COLUMN gone;
CREATE TABLE app.only_generated (g integer GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO app.only_generated DEFAULT VALUES;
CREATE TABLE app.no_rows (a integer, b text);
CREATE TABLE app.typed OF app.pair (PRIMARY KEY (a), b WITH OPTIONS DEFAULT 'typed');
INSERT INTO app.typed VALUES (1, 'x', 'sad');
CREATE TABLE app.in_heap_too (a integer) USING heap_too;
INSERT INTO app.in_heap_too VALUES (42);
CREATE TABLE app.after_heap_too (a integer) USING heap;
CREATE TABLE app.like_it (LIKE app.customer INCLUDING ALL EXCLUDING STATISTICS EXCLUDING IDENTITY);
CREATE TABLE "Mixed Case"."Table ""T"" One" ("Col 1" integer PRIMARY KEY, "select" text);
INSERT INTO "Mixed Case"."Table ""T"" One" VALUES (1, 'x');

-- Inheritance, with overridden and merged columns.
CREATE TABLE app.parent (id integer, a text DEFAULT 'p', b integer CHECK (b > 0),
                         CONSTRAINT parent_b CHECK (b < 1000));
CREATE TABLE app.parent2 (c date, id integer);
CREATE TABLE app.child (extra text, a text DEFAULT 'c') INHERITS (app.parent, app.parent2);
CREATE TABLE app.grandchild () INHERITS (app.child);
ALTER TABLE app.child ALTER b SET DEFAULT 7;
INSERT INTO app.parent VALUES (1, 'one', 1);
INSERT INTO app.child (id, a, b, c, extra) VALUES (2, 'two', 2, '2020-02-02', 'e');
INSERT INTO app.grandchild (id) VALUES (3);

-- Partitions: range, list, hash, of enums, below each other, default, attached with other columns.
CREATE TABLE parts.measure (at timestamptz NOT NULL, site integer NOT NULL, v float8,
                            PRIMARY KEY (at, site)) PARTITION BY RANGE (at);
CREATE TABLE parts.measure_2020 PARTITION OF parts.measure
    FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2021-01-01 00:00+00') PARTITION BY LIST (site);
CREATE TABLE parts.measure_2020_a PARTITION OF parts.measure_2020 FOR VALUES IN (1, 2);
CREATE TABLE parts.measure_2020_rest PARTITION OF parts.measure_2020 DEFAULT;
CREATE TABLE parts.measure_2021 (v float8, junk text, site integer NOT NULL, at timestamptz NOT NULL);
ALTER TABLE parts.measure_2021 DROP COLUMN junk;
ALTER TABLE parts.measure ATTACH PARTITION parts.measure_2021
    FOR VALUES FROM ('2021-01-01 00:00+00') TO (MAXVALUE);
CREATE TABLE parts.measure_default PARTITION OF parts.measure DEFAULT TABLESPACE ks_space;
CREATE INDEX measure_v ON parts.measure (v);
CREATE INDEX measure_only ON ONLY parts.measure (site);
CREATE INDEX measure_2021_site ON parts.measure_2021 (site);
ALTER INDEX parts.measure_only ATTACH PARTITION parts.measure_2021_site;
INSERT INTO parts.measure SELECT '2019-12-01 00:00+00'::timestamptz + i * '12 hours'::interval,
    i % 4, i / 7.0 FROM generate_series(1, 1000) i;
CREATE TABLE parts.by_mood (m app.mood, n integer) PARTITION BY HASH (m);
CREATE TABLE parts.by_mood_0 PARTITION OF parts.by_mood FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE parts.by_mood_1 PARTITION OF parts.by_mood FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE parts.by_mood_2 PARTITION OF parts.by_mood FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO parts.by_mood SELECT (enum_range(NULL::app.mood))[i % 5 + 1], i
FROM generate_series(1, 100) i;
CREATE TABLE parts.by_mood_deep (m app.mood, n integer) PARTITION BY RANGE (n);
CREATE TABLE parts.by_mood_deep_1 PARTITION OF parts.by_mood_deep FOR VALUES FROM (0) TO (50)
    PARTITION BY HASH (m);
CREATE TABLE parts.by_mood_deep_1a PARTITION OF parts.by_mood_deep_1
    FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts.by_mood_deep_1b PARTITION OF parts.by_mood_deep_1
    FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts.by_mood_deep SELECT (enum_range(NULL::app.mood))[i % 5 + 1], i % 50
FROM generate_series(1, 100) i;
CREATE TABLE parts.listed (k text, v integer GENERATED ALWAYS AS (length(k)) STORED)
    PARTITION BY LIST (lower(k));
CREATE TABLE parts.listed_null PARTITION OF parts.listed FOR VALUES IN (NULL, 'it''s');
CREATE TABLE parts.listed_rest PARTITION OF parts.listed DEFAULT;
INSERT INTO parts.listed VALUES ('It''s'), (NULL), ('other');
CREATE TABLE parts.root_only (a integer) PARTITION BY RANGE (a, (a + 1));
CREATE TABLE parts.pointing (at timestamptz, site integer, FOREIGN KEY (at, site)
    REFERENCES parts.measure) PARTITION BY HASH (site);
CREATE TABLE parts.pointing_0 PARTITION OF parts.pointing FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO parts.pointing SELECT at, site FROM parts.measure WHERE v < 20;

-- Values that are hard to write and read.
CREATE TABLE app.values (id integer PRIMARY KEY, f8 float8, f4 real, num numeric, t text, c char(5),
    b bytea, j json, jb jsonb, x xml, d date, ts timestamp, tz timestamptz, iv interval,
    tm time, ttz timetz, u uuid, ip inet, net cidr, mac macaddr, bit_ bit(5), vb varbit,
    pt point, poly polygon, arr integer[], arr2 text[][], r int4range, mr int4multirange,
    tsv tsvector, tsq tsquery, m money, o oid, reg regclass, lsn pg_lsn, boolean_ boolean,
    ch "char", nm name, p app.pair, h ext.hstore, fl app.floats);
INSERT INTO app.values (id, f8, f4, num) VALUES
    (1, 'NaN', 'NaN', 'NaN'), (2, 'Infinity', '-Infinity', 'Infinity'), (3, '-0', '-0', '-0.000'),
    (4, 1e-300, 1e-37, 1e-300), (5, 0.1, 0.1, 0.1::numeric(10, 5)), (6, 1.7976931348623157e308, 3.4e38,
    123456789012345678901234567890.123456789), (7, 5e-324, 1.4e-45, '-Infinity');
INSERT INTO app.values (id, t, c) VALUES
    (11, '', ''), (12, E'\\.', E'\\.'), (13, E'\n', 'a'), (14, E'a\tb\rc\nd\be\fg\vh', 'ab   '),
    (15, E'\\N', E'\\N'), (16, E'a\n\\.\nb', NULL), (17, E'\\', E'\\'), (18, 'ünï€𝄞🙂', 'üé€'),
    (19, E'\x01\x02\x1f\x7f', ' '), (20, E'\r\n\\.\r\n', E'\r'), (21, repeat('x', 100000), 'x'),
    (22, E'-- TOC entry 1; 1 1\n\\unrestrict x\n\\connect postgres\n\\! true', ';'),
    (23, E'COPY app.values FROM stdin;\n1\n\\.\n', NULL);
INSERT INTO app.values (id, b, j, jb, x) VALUES
    (31, '\x', '{"a" :  1, "a":2}', '{"a" :  1, "a":2}', '<a b="c">d</a>'),
    (32, '\x00ff5c2e0a', 'null', 'null', 'text <b/> only'),
    (33, decode('5c', 'hex'), '"\u0000"', '"\\."', '<?xml version="1.0"?><a/>'),
    (34, (SELECT string_agg(decode(lpad(to_hex(i), 2, '0'), 'hex'), '') FROM generate_series(0, 255) i),
     E'[1,\n2]', '1e400', '<a>&amp;&#xfc;</a>');
INSERT INTO app.values (id, d, ts, tz, iv, tm, ttz) VALUES
    (41, '0044-03-15 BC', '4713-01-01 00:00 BC', '0001-01-01 00:00+00 BC', '-1 year 2 mons -3 days +04:05:06.789', '24:00', '23:59:59.999999+14'),
    (42, 'infinity', '-infinity', 'infinity', '178000000 years', '00:00', '00:00-12'),
    (43, '5874897-12-31', '294276-12-31 23:59:59.999999', '2024-03-31 02:30+02', '1 mon -1 day', '12:34:56.7', '01:02+05:30'),
    (44, '-infinity', 'infinity', '1900-01-01 00:00:00.000001+00', '00:00:00.000001', NULL, NULL);
INSERT INTO app.values (id, u, ip, net, mac, bit_, vb, pt, poly, arr, arr2, r, mr, tsv, tsq, m, o, reg,
    lsn, boolean_, ch, nm, p, h, fl) VALUES
    (51, '00112233-4455-6677-8899-aabbccddeeff', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '10101',
     '', '(1e-300,Infinity)', '((0,0),(1,1),(2,0))', '{1,NULL,3}', '{{a,"b,c"},{"{","\\"}}', '[1,5)',
     '{[1,2),[5,)}', 'a:1A b:2,3', 'a & !b <-> c', '-12.34', 4294967295, 'app.customer', '16/B374D848',
     true, E'\\', 'name', ROW(1, E'q"''\\', 'it''s "fine"'), 'a=>NULL, "b\"c"=>"d\\e"', '(0.1,NaN]'),
    (52, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[-1:1]={1,2,3}', '{}', 'empty', '{}', '', '',
     0, 0, 0::regclass, '0/0', false, 'a', '', ROW(NULL, '', NULL), '', 'empty');

-- Views.
CREATE VIEW app.v AS SELECT id, name, age FROM app.customer WHERE age > 5;
CREATE VIEW app.v_local AS SELECT * FROM app.v WHERE id > 20 WITH LOCAL CHECK OPTION;
CREATE VIEW app.v_cascaded AS SELECT * FROM app.v WHERE id > 20 WITH CASCADED CHECK OPTION;
CREATE VIEW app.v_barrier WITH (security_barrier, security_invoker) AS SELECT * FROM app.v;
CREATE RECURSIVE VIEW app.v_recursive (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v_recursive WHERE n < 5;
CREATE VIEW app.v_no_columns AS SELECT;
CREATE VIEW app.v_defaults AS SELECT a, b FROM app.no_rows;
ALTER VIEW app.v_defaults ALTER a SET DEFAULT 5;
COMMENT ON VIEW app.v IS 'a view';
COMMENT ON COLUMN app.v.age IS 'its column';
GRANT SELECT (id) ON app.v TO ks_reader;
ALTER VIEW app.v OWNER TO ks_owner;
-- Two views that depend on each other, and one that depends on a primary key.
CREATE VIEW app.v_loop1 AS SELECT 1 AS a;
CREATE VIEW app.v_loop2 AS SELECT a FROM app.v_loop1;
CREATE OR REPLACE VIEW app.v_loop1 AS SELECT a FROM app.v_loop2;
CREATE VIEW app.v_group AS SELECT id, placed, count(*) FROM app.orders GROUP BY id;
-- Materialized views whose order of refreshing matters, and goes against their names.
CREATE MATERIALIZED VIEW app.z_first AS SELECT mood, count(*) AS n FROM app.customer GROUP BY mood;
CREATE MATERIALIZED VIEW app.m_second AS SELECT sum(n) AS s FROM app.z_first;
CREATE MATERIALIZED VIEW app.a_third WITH (fillfactor = 50) AS SELECT s * 2 AS t FROM app.m_second;
CREATE MATERIALIZED VIEW app.not_populated AS SELECT * FROM app.a_third WITH NO DATA;
CREATE UNIQUE INDEX z_first_mood ON app.z_first (mood);
CREATE INDEX not_populated_t ON app.not_populated (t);
COMMENT ON MATERIALIZED VIEW app.z_first IS 'a materialized view';
CREATE FUNCTION app.uses_mv() RETURNS numeric LANGUAGE sql STABLE AS 'SELECT s FROM app.m_second';
GRANT SELECT ON app.a_third TO ks_reader;

-- Rules and triggers in every state.
CREATE TABLE app.log (at timestamptz, what text);
CREATE RULE no_delete AS ON DELETE TO app.log DO INSTEAD NOTHING;
CREATE RULE v_insert AS ON INSERT TO app.v_defaults DO INSTEAD
    (INSERT INTO app.no_rows VALUES (NEW.a, NEW.b); INSERT INTO app.log VALUES (now(), 'rule'));
CREATE RULE off AS ON UPDATE TO app.log DO ALSO NOTHING;
ALTER TABLE app.log DISABLE RULE off;
COMMENT ON RULE no_delete ON app.log IS 'keeps';
CREATE FUNCTION app.tg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER enabled BEFORE INSERT OR UPDATE OF name ON app.customer FOR EACH ROW
    WHEN (NEW.age IS NOT NULL) EXECUTE FUNCTION app.tg('arg', E'it''s\\');
CREATE TRIGGER disabled AFTER DELETE ON app.customer FOR EACH STATEMENT EXECUTE FUNCTION app.tg();
CREATE TRIGGER replica AFTER INSERT ON app.customer REFERENCING NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION app.tg();
CREATE TRIGGER always_ BEFORE TRUNCATE ON app.customer EXECUTE FUNCTION app.tg();
CREATE CONSTRAINT TRIGGER constr AFTER UPDATE ON app.customer DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION app.tg();
CREATE TRIGGER instead_of INSTEAD OF DELETE ON app.v FOR EACH ROW EXECUTE FUNCTION app.tg();
CREATE TRIGGER on_parts AFTER INSERT ON parts.measure FOR EACH ROW EXECUTE FUNCTION app.tg();
ALTER TABLE app.customer DISABLE TRIGGER disabled;
ALTER TABLE app.customer ENABLE REPLICA TRIGGER replica;
ALTER TABLE app.customer ENABLE ALWAYS TRIGGER always_;
ALTER TABLE parts.measure_2021 DISABLE TRIGGER on_parts;
COMMENT ON TRIGGER enabled ON app.customer IS 'a trigger';
CREATE FUNCTION app.etg() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER ev_start ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'ALTER TABLE')
    EXECUTE FUNCTION app.etg();
CREATE EVENT TRIGGER ev_off ON sql_drop EXECUTE FUNCTION app.etg();
ALTER EVENT TRIGGER ev_off DISABLE;
COMMENT ON EVENT TRIGGER ev_start IS 'an event trigger';

-- Row security.
CREATE TABLE app.secret (id integer, owner name DEFAULT current_user, t text);
INSERT INTO app.secret VALUES (1, 'a', 's1'), (2, 'b', 's2');
ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY p_all ON app.secret USING (owner = current_user) WITH CHECK (id > 0);
CREATE POLICY p_restrict ON app.secret AS RESTRICTIVE FOR UPDATE TO ks_reader, ks_writer
    USING (EXISTS (SELECT FROM app.orders WHERE orders.id = secret.id));
COMMENT ON POLICY p_all ON app.secret IS 'a policy';
CREATE TABLE app.forced (id integer);
INSERT INTO app.forced VALUES (1), (2);
ALTER TABLE app.forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TABLE app.policy_but_off (id integer);
CREATE POLICY asleep ON app.policy_but_off FOR INSERT WITH CHECK (false);

-- Foreign data.
CREATE FOREIGN DATA WRAPPER own_fdw OPTIONS (debug 'true');
CREATE SERVER remote TYPE 't' VERSION '1' FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host 'nowhere.invalid', dbname 'x', port '1');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE USER MAPPING FOR ks_reader SERVER remote OPTIONS (user 'u', password 'p''w');
CREATE USER MAPPING FOR PUBLIC SERVER remote;
CREATE FOREIGN TABLE app.far (id integer OPTIONS (column_name 'ID') NOT NULL, t text DEFAULT 'x',
                              CHECK (id > 0)) SERVER remote OPTIONS (table_name 'far "away"');
CREATE FOREIGN TABLE app.passwd (a text, b text) SERVER files
    OPTIONS (delimiter ':', filename '/nonexistent', format 'csv');
CREATE FOREIGN TABLE parts.by_mood_far PARTITION OF parts.by_mood_deep FOR VALUES FROM (50) TO (60)
    SERVER remote;
COMMENT ON SERVER remote IS 'far';
COMMENT ON FOREIGN DATA WRAPPER own_fdw IS 'own';
COMMENT ON FOREIGN TABLE app.far IS 'a foreign table';
GRANT USAGE ON FOREIGN SERVER remote TO ks_reader;
GRANT USAGE ON FOREIGN DATA WRAPPER own_fdw TO ks_owner WITH GRANT OPTION;
ALTER SERVER files OWNER TO ks_owner_super;

REVOKE ALL ON app.customer FROM ks_owner;

-- Publications and subscriptions.
CREATE PUBLICATION pub_all FOR ALL TABLES WITH (publish = 'insert, truncate');
CREATE PUBLICATION pub_some FOR TABLE app.egg, ONLY app.parent,
    TABLE app.customer (id, name, email), app.orders WHERE (id > 10)
    WITH (publish_via_partition_root = true);
CREATE PUBLICATION pub_schemas FOR TABLES IN SCHEMA "Mixed Case", parts, TABLE app.hen;
CREATE PUBLICATION pub_empty;
ALTER PUBLICATION pub_empty OWNER TO ks_owner_super;
COMMENT ON PUBLICATION pub_some IS 'some';
CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere.invalid dbname=x password=it''s'
    PUBLICATION p1, "P 2" WITH (connect = false, binary = true, synchronous_commit = 'local');
CREATE SUBSCRIPTION sub_no_slot CONNECTION 'host=nowhere.invalid' PUBLICATION p1
    WITH (connect = false, slot_name = NONE, two_phase = true, streaming = true);
COMMENT ON SUBSCRIPTION sub IS 'subscribed';

-- Large objects: an empty one, a large one with holes, odd bytes.
SELECT lo_create(1000), lo_create(1001), lo_create(1002), lo_create(1003), lo_create(1004) \g /dev/null
SELECT lo_put(1001, 0, '\x00ff5c275c2e0a') \g /dev/null
SELECT lo_put(1002, 0, (SELECT string_agg(sha256(i::text::bytea), '') FROM generate_series(1, 20000) i)) \g /dev/null
SELECT lo_put(1003, 300000, 'after a hole') \g /dev/null
SELECT lo_put(1004, 0, decode(repeat('41', 16384), 'hex')) \g /dev/null
ALTER LARGE OBJECT 1001 OWNER TO ks_owner;
ALTER LARGE OBJECT 1003 OWNER TO ks_owner;
GRANT SELECT ON LARGE OBJECT 1001 TO ks_reader;
GRANT SELECT, UPDATE ON LARGE OBJECT 1002 TO ks_writer WITH GRANT OPTION;
GRANT SELECT ON LARGE OBJECT 1003 TO PUBLIC;
COMMENT ON LARGE OBJECT 1001 IS E'a large object\nwith a comment';
COMMENT ON LARGE OBJECT 1000 IS 'empty';
CREATE TABLE app.has_lo (id integer, lo oid);
INSERT INTO app.has_lo VALUES (1, 1001), (2, 1002);

-- Default privileges, settings, and the database itself.
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO ks_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE ks_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE ks_owner GRANT USAGE ON SEQUENCES TO ks_writer WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO ks_reader;
ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;
SELECT current_database() AS db \gset
ALTER DATABASE :"db" SET work_mem = '5MB';
ALTER DATABASE :"db" SET search_path = app, 'Mixed Case', public;
ALTER DATABASE :"db" SET DateStyle = 'SQL, DMY';
ALTER DATABASE :"db" SET IntervalStyle = 'sql_standard';
ALTER DATABASE :"db" SET bytea_output = 'escape';
ALTER DATABASE :"db" SET extra_float_digits = 0;
ALTER DATABASE :"db" SET TimeZone = 'America/St_Johns';
ALTER DATABASE :"db" SET xmloption = 'document';
ALTER DATABASE :"db" SET default_tablespace = 'ks_space';
ALTER DATABASE :"db" SET statement_timeout = '5min';
ALTER DATABASE :"db" SET lock_timeout = '1min';
ALTER DATABASE :"db" SET default_transaction_read_only = off;
ALTER ROLE ks_reader IN DATABASE :"db" SET statement_timeout = '7s';
COMMENT ON DATABASE :"db" IS E'the kitchen sink''s \\ database';
GRANT CONNECT, TEMPORARY ON DATABASE :"db" TO ks_reader;
REVOKE TEMPORARY ON DATABASE :"db" FROM PUBLIC;
ALTER DATABASE :"db" CONNECTION LIMIT 40;

\if :is_17
CREATE COLLATION app.rules (provider = icu, locale = 'und', rules = '&a < g');
CREATE COLLATION app.builtin (provider = builtin, locale = 'C.UTF-8');
CREATE TABLE app.for_17 (id integer NOT NULL, st text STORAGE EXTERNAL, CONSTRAINT for_17_ex
    EXCLUDE USING gist (id WITH =)) WITH (autovacuum_enabled = off);
CREATE TABLE app.identity_parts (id integer GENERATED ALWAYS AS IDENTITY, k integer) PARTITION BY LIST (k);
CREATE TABLE app.identity_parts_1 PARTITION OF app.identity_parts FOR VALUES IN (1);
INSERT INTO app.identity_parts (k) VALUES (1), (1);
CREATE EVENT TRIGGER ev_login ON login EXECUTE FUNCTION app.etg();
GRANT MAINTAIN ON app.no_rows TO ks_writer;
\endif
