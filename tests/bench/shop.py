"""The workload "shop": one table of customers that a day's business changes at random places.

Everything follows from the seed, so that two runs on one PostgreSQL version make the same rows."""

import datetime

FIRST_DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

# Shares of the first day's rows that one day touches.
UPDATED, DELETED, INSERTED = 0.02, 0.001, 0.005

SCHEMA = """
CREATE TABLE customers (
    id bigserial PRIMARY KEY,
    ref uuid NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    phone text NOT NULL,
    status text NOT NULL,
    balance numeric(12,2) NOT NULL,
    orders integer NOT NULL,
    updated_at timestamptz NOT NULL,
    profile jsonb NOT NULL
);
"""

# A syllable pool gives 2,500 first and 2,500 last names; random() is called in a fixed order.
ROWS = """
WITH p AS MATERIALIZED (
    SELECT ARRAY['Al','Be','Chris','Da','El','Fran','Gab','Han','Is','Jo','Kat','Leo','Mar','Nor',
                 'Os','Pau','Quin','Ro','Sa','Tho','Ul','Vic','Wen','Xa','Yan'] AS a,
           ARRAY['bert','na','tine','vid','la','ka','riel','ne','la','nas'] AS b,
           ARRAY['Ander','Bau','Car','Dom','Erik','Fisch','Gar','Hoff','Ivan','Jans','Kowal',
                 'Lind','Mey','Nov','Oliv','Peter','Ros','Schmid','Tan','Vogel','Wag','Zim']
               AS c,
           ARRAY['son','er','ter','ski','sen','mann','cia','eira','ak','berg'] AS d,
           ARRAY['Berlin','Lisbon','Oslo','Porto','Vienna','Warsaw','Zagreb','Ghent','Malmo',
                 'Turin','Lyon','Bristol'] AS city,
           ARRAY['active','active','active','active','inactive','pending','blocked'] AS status
), r AS MATERIALIZED (
    SELECT i, a[1 + floor(random() * 25)] || b[1 + floor(random() * 10)] AS first,
           c[1 + floor(random() * 22)] || d[1 + floor(random() * 10)] AS last,
           floor(random() * 100000)::int AS n, floor(random() * 1e9)::bigint AS phone,
           floor(random() * 1e9)::bigint AS u1, floor(random() * 1e9)::bigint AS u2,
           status[1 + floor(random() * 7)] AS status,
           round((random() * 10000)::numeric, 2) AS balance, floor(random() * 500)::int AS orders,
           {day} - random() * interval '300 days' AS updated_at,
           city[1 + floor(random() * 12)] AS city, floor(random() * 99999)::int AS zip,
           floor(random() * 5000)::int AS points, random() < 0.4 AS newsletter
    FROM p, generate_series({first}, {last}) AS i
)
INSERT INTO customers
    (id, ref, email, name, phone, status, balance, orders, updated_at, profile)
SELECT i, md5(u1::text || '-' || u2::text)::uuid,
       lower(first) || '.' || lower(last) || n || '@mailhost' || n % 12 || '.example',
       first || ' ' || last, '+49 ' || phone, status, balance, orders, updated_at,
       jsonb_build_object('city', city, 'zip', zip, 'points', points, 'newsletter', newsletter,
                          'language', lower(substr(city, 1, 2)))
FROM r ORDER BY i;
"""


def _seed(sql, number, **values):
    # One process and no JIT: the order of random() must not depend on the machine.
    return ("SET max_parallel_workers_per_gather = 0; SET jit = off; "
            f"SELECT setseed({number % 9973 / 10000});\n" + sql.format(**values))


def _time(day):
    return f"timestamptz '{(FIRST_DAY + datetime.timedelta(days=day)).isoformat()}'"


class Shop:
    """A database with the workload; `day` counts the days that were played."""

    def __init__(self, server, rows, seed=1, name="shop"):
        self.server, self.rows, self.seed, self.name = server, rows, seed, name
        self.day = 0
        self.next_id = 1
        server.createdb(name)
        self._sql(SCHEMA)
        step = 1_000_000
        for first in range(1, rows + 1, step):
            self._insert(min(step, rows + 1 - first), seed + first)
        self._sql("SELECT setval('customers_id_seq', max(id)) FROM customers;")
        self._vacuum()

    @property
    def dsn(self):
        return self.server.socket_dsn(self.name)

    def now(self):
        """The evening of the current day."""
        return FIRST_DAY + datetime.timedelta(days=self.day + 1)

    def _sql(self, sql):
        self.server.psql(self.name, sql, timeout=1800)

    def _vacuum(self):
        self._sql("VACUUM (ANALYZE) customers;")
        self._sql("CHECKPOINT;")

    def _insert(self, count, number):
        self._sql(_seed(ROWS, number, day=_time(self.day), first=self.next_id,
                        last=self.next_id + count - 1))
        self.next_id += count

    def next_day(self):
        """2 % of the rows updated at random places, 0.1 % deleted, 0.5 % new; vacuum."""
        self.day += 1
        number = self.seed + 7 * self.day
        self._sql(_seed("""
            UPDATE customers SET orders = orders + 1,
                   updated_at = {day} + random() * interval '1 day'
            WHERE id IN (SELECT 1 + floor(random() * {ids})::bigint
                         FROM generate_series(1, {updated}));
            DELETE FROM customers WHERE id IN (SELECT 1 + floor(random() * {ids})::bigint
                                               FROM generate_series(1, {deleted}));
            """, number, day=_time(self.day), ids=self.next_id - 1,
            updated=round(self.rows * UPDATED), deleted=round(self.rows * DELETED)))
        self._insert(round(self.rows * INSERTED), number + 3)
        self._vacuum()
