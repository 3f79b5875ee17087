"""Parts about sizes: growth by day, three formats from one read, an unchanged database."""

import statistics

import plot
from bench import MB, Runs, shell
from shop import Shop
from storesize import StoreSizes, du


def shop_days(bench):
    """Growth over the shop's days, beside the peers."""
    days = bench.options.days
    chain = bench.chain
    chain.play_to(days)
    own = chain.growth["bakfs"]
    scale = bench.options.rows / 1_000_000  # the goals are for a million rows
    peer = {name: grown[1:] for name, grown in chain.growth.items() if name != "bakfs"}
    restic = statistics.mean(peer["restic"]) / MB if "restic" in peer else None

    detail = {"growth": chain.growth, "split": chain.split,
              "dump": [vars(t) for t in chain.times]}
    if "zstd" in chain.growth:
        bench.add("shop-days", "first day against zstd -3", own[0] / MB, "MB", 1.03,
                  chain.growth["zstd"][0] / MB, "zstd -3 of the COPY text")
    for count, goal in ((7, 7.0), (30, 9.0)):
        if days >= count:
            mean = statistics.mean(own[1:count + 1]) / MB
            bench.add("shop-days", f"growth a day, mean of {count}", mean, "MB", goal * scale,
                      restic, "restic, the same days", ratio_goal=False, n=count)
    bench.add("shop-days", f"growth a day, largest of {days}", max(own[1:]) / MB, "MB", 20 * scale,
              restic, "restic, mean", ratio_goal=False, n=days)
    for name, grown in peer.items():
        bench.add("shop-days", f"peer: {name}, growth a day, mean of {days}",
                  statistics.mean(grown) / MB, "MB", n=days)
    bench.add("shop-days", f"whole store after {days} days", sum(own) / MB, "MB",
              limit=sum(chain.growth["restic"]) / MB if restic else None, peer="restic",
              n=1, detail=detail)
    _add_split(bench, chain.split[1:])
    if bench.options.plot:
        plot.store_sizes(chain.growth, bench.options.plot)
        bench.log(f"plot written to {bench.options.plot}")


def _add_split(bench, split):
    """Where a day's bytes go."""
    for key, what in (("delta_bytes", "delta records"), ("whole_bytes", "chunks stored whole"),
                      ("data_index_bytes", "indexes of data packs"), ("node_bytes", "node packs"),
                      ("catalogue", "metadata.db")):
        bench.add("shop-days", f"of a day's growth: {what}",
                  statistics.mean(s[key] for s in split) / MB, "MB", n=len(split))


def key_days(bench):
    """The shop's days read in the order of the primary key, beside the order on disk."""
    days = min(bench.options.days, 7)
    shop = Shop(bench.server, bench.options.rows, bench.options.seed, "bykey")
    sides = {"as stored": (), "by key": ("--order-by-key",)}
    stores = {name: bench.new_store(f"{name.replace(' ', '-')}-store") for name in sides}
    sizes = {name: [du(store)] for name, store in stores.items()}
    runs = {name: Runs() for name in sides}
    for day in range(days + 1):
        if day > 0:
            shop.next_day()
        for name, options in sides.items():
            command = bench.dump_command(stores[name], shop.dsn, *options)
            timed = bench.time(command)
            if day > 0:
                runs[name].runs.append(timed)
            sizes[name].append(du(stores[name]))
    bench.server.dropdb("bykey")
    growth = {name: (size[-1] - size[1]) / days / MB for name, size in sizes.items()}
    bench.add("key-days", f"growth a day with --order-by-key, mean of {days}", growth["by key"],
              "MB", 1.0, growth["as stored"], "without", n=days, detail=sizes)
    bench.add("key-days", "a day's dump with --order-by-key", runs["by key"].median(), "s",
              limit=runs["as stored"].median(), peer="without", n=days)


def pgbench_days(bench):
    """Growth over days of pgbench, 20,000 transactions each."""
    scale, transactions, days = bench.options.pgbench
    server = bench.server
    db = server.createdb("pgbench")
    dsn = server.socket_dsn(db)
    tool = server.bindir / "pgbench"
    bench.time(shell(tool, "-i", "-q", "-s", scale, dsn))
    store = bench.new_store("pgbench-store")
    zst = bench.path("pgbench.zst")
    sizes = StoreSizes(store)
    steps, floor = [], []
    for day in range(days + 1):
        if day:
            bench.time(shell(tool, "-n", "-t", transactions, "--random-seed", day, dsn))
            server.psql(db, "VACUUM")
        bench.time(bench.dump_command(store, dsn))
        steps.append(sizes.step())
        bench.time(shell(server.bindir / "pg_dump", "-d", dsn) + f" | zstd -3 -q -c -f >{zst}")
        floor.append(zst.stat().st_size)
        bench.log(f"pgbench day {day}: {steps[-1]['disk'] / MB:.1f} MB, whole {floor[-1] / MB:.1f}")
    server.dropdb(db)
    own = [s["disk"] for s in steps]
    bench.add("pgbench-days", "first day against zstd -3", own[0] / MB, "MB", 1.03, floor[0] / MB,
              "zstd -3 of pg_dump's text")
    bench.add("pgbench-days", f"growth a day, mean of {days}", statistics.mean(own[1:]) / MB, "MB",
              limit=statistics.mean(floor[1:]) / MB, peer="zstd -3, everything again", n=days,
              detail={"split": steps})


def formats(bench):
    """What the further formats cost beyond the rows themselves, and the time they take."""
    chain = bench.chain
    chain.play_to(0)
    server, dsn = chain.shop.server, chain.shop.dsn
    first = chain.split[0]
    rows = first["whole_bytes"] + first["delta_bytes"] + first["data_index_bytes"]
    beyond = first["disk"] - rows
    pg_dump = server.bindir / "pg_dump"

    def compressed(*options):
        words = shell(pg_dump, "-d", dsn, *options)
        return int(bench.time(f"{words} | zstd -3 -q -c | wc -c", keep=True).out)

    # 8 times the schema script and the archive's table of contents, each compressed.
    allowed = 0.01 * rows + 8 * (compressed("-s") + compressed("-s", "-Fc", "-Z0"))
    bench.add("formats", "beyond data.sql: all formats, directories, catalogue", beyond / 1e3, "kB",
              1.0, allowed / 1e3, "1 % of the data + 8 x zstd(schema, TOC)",
              detail={"rows": rows, "disk": first["disk"]})

    out = bench.path("formats")

    def dump_thrice():
        bench.time(f"rm -rf {out}; mkdir {out}")
        return bench.time(" && ".join([
            shell(pg_dump, "-d", dsn) + f" | zstd -3 -q >{out}/restore.sql.zst",
            shell(pg_dump, "-d", dsn, "-Fc", "-f", out / "database.dump"),
            shell(pg_dump, "-d", dsn, "-Fc", "-n", "public", "-f", out / "public.dump")]))

    thrice = dump_thrice()
    bench.add("formats", "store after one dump", first["disk"] / MB, "MB", limit=du(out) / MB,
              peer="pg_dump three times: text | zstd, -Fc, -Fc -n")
    bench.add("formats", "time of that dump", chain.times[0].wall, "s", limit=thrice.wall,
              peer="pg_dump three times")
    bench.time(f"rm -rf {out}")


def unchanged(bench):
    """A database that did not change, dumped again: the shop at the end of its days, and one of
    many small tables."""
    chain = bench.chain
    chain.begin()

    def again(what, tables, sizes, dump, full):
        runs = []
        for _ in range(5):
            run = dump()
            runs.append((sizes.step(), run))
        grown = statistics.median(s["disk"] for s, _ in runs) / 1024
        changed = max(s["whole_chunks"] + s["delta_chunks"] for s, _ in runs)
        bench.add("unchanged", f"{what}: growth", grown, "KiB", 32 + tables * 100 / 1024,
                  ratio_goal=False, n=len(runs), note=f"{changed} data chunks stored anew",
                  detail={"steps": [s for s, _ in runs]})
        bench.add("unchanged", f"{what}: processor time against the first dump",
                  statistics.median(r.cpu for _, r in runs), "s", limit=full.cpu,
                  peer="first dump", n=len(runs))

    again("shop, one table", 1, chain.sizes, chain.dump, chain.times[0])

    tables = bench.options.tables
    db = bench.server.createdb("tables")
    bench.server.psql(db, f"""
        SELECT format('CREATE TABLE t%s (id int PRIMARY KEY, name text NOT NULL, n numeric)', i)
        FROM generate_series(1, {tables}) AS i \\gexec
        SELECT format('INSERT INTO t%s SELECT j, md5(j::text || %s), j / 7.0
                       FROM generate_series(1, 200) AS j', i, i)
        FROM generate_series(1, {tables}) AS i \\gexec
        """, timeout=600)
    store = bench.new_store("tables-store")
    sizes = StoreSizes(store)
    command = bench.dump_command(store, bench.server.socket_dsn(db))
    first = bench.time(command)
    sizes.step()
    again(f"{tables} small tables", tables, sizes, lambda: bench.time(command), first)
    bench.server.dropdb(db)
