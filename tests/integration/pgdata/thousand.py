"""SQL of a database with 1,000 tables in 20 schemas, with foreign keys within and across them.

    python3 thousand.py [TABLES [SCHEMAS]] | psql"""

import sys


def sql(tables=1000, schemas=20):
    yield "SET client_min_messages = warning;"
    for s in range(schemas):
        yield f"CREATE SCHEMA s{s:02};"
        yield f"CREATE TYPE s{s:02}.state AS ENUM ('new', 'done');"
    for t in range(tables):
        s = t % schemas
        if t % 50 == 0:  # fewer locks than one transaction, fewer commits than a thousand
            yield "COMMIT; BEGIN;" if t else "BEGIN;"
        table = f"s{s:02}.t{t:04}"
        parent = f" REFERENCES s{(t // 3) % schemas:02}.t{t // 3:04}" if t > 3 else ""
        yield (f"CREATE TABLE {table} (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'n{t}', "
               f"state s{s:02}.state DEFAULT 'new', amount numeric(10, 2) CHECK (amount >= 0), "
               f"up integer{parent});")
        # Every tenth table is empty, every fiftieth has more than a few rows.
        rows = 0 if t % 10 == 9 else 2000 if t % 50 == 0 else 5
        up = "1" if parent and t // 3 % 10 != 9 else "NULL"
        yield (f"INSERT INTO {table} (name, amount, up) SELECT md5((i * {t})::text), i, {up} "
               f"FROM generate_series(1, {rows}) i;")
        yield f"CREATE INDEX ON {table} (name);"
        if t % 5 == 0:
            yield f"COMMENT ON TABLE {table} IS 'table {t}';"
        if t % 7 == 0:
            yield f"CREATE VIEW s{s:02}.v{t:04} AS SELECT id, name FROM {table};"
    yield "COMMIT;"


if __name__ == "__main__":
    for statement in sql(*(int(a) for a in sys.argv[1:])):
        print(statement)
