"""The shop's days, played once a run: each day goes into bakfs's store and into every peer's."""

import peers
from bench import BenchError, shell
from shop import Shop
from storesize import StoreSizes


class Chain:
    """Parts ask for a day; days before it are played as needed and can't come back, so `run`
    orders the parts by the day they need. Day 0 is the first backup."""

    def __init__(self, bench, peer_names):
        self.bench = bench
        self.shop = Shop(bench.server, bench.options.rows, bench.options.seed)
        self.store = bench.new_store("shop-store")
        self.sizes = StoreSizes(self.store)
        self.peers = peers.make(bench, peer_names)
        self.growth = {name: [] for name in ["bakfs", *self.peers]}  # bytes by day
        self.split = []                                              # StoreSizes.step() by day
        self.times = []                                              # Timed of bakfs by day
        self.day = -1

    def label(self):
        return f"day-{self.day:03}"

    def dump(self):
        """One more bakfs backup of the database as it is; a Timed."""
        when = {"BAKFS_TEST_TIME": int(self.shop.now().timestamp())}
        command = self.bench.dump_command(self.store, self.shop.dsn, "--collection", "default/shop")
        return self.bench.time(command, env=when)

    def pg_dump(self):
        """The shell command whose output the peers store."""
        return shell(self.shop.server.bindir / "pg_dump", "-d", self.shop.dsn)

    def copy(self):
        """The shell command that reads the table and nothing else."""
        return shell(self.shop.server.bindir / "psql", "-X", "-q", "-d", self.shop.dsn, "-c",
                     "COPY customers TO STDOUT")

    def _play(self):
        if self.day >= 0:
            self.shop.next_day()
        self.day += 1
        self.times.append(self.dump())
        step = self.sizes.step()
        self.split.append(step)
        self.growth["bakfs"].append(step["disk"])
        for name, peer in self.peers.items():
            before = sum(self.growth[name])
            peer.store(self.copy() if name == "zstd" else self.pg_dump(), self.label())
            self.growth[name].append(peer.size() - before)
        sizes = ", ".join(f"{name} {grown[-1] / 1e6:.1f}" for name, grown in self.growth.items())
        self.bench.log(f"shop {self.label()}: MB stored: {sizes}")

    def begin(self):
        """Make sure that there is a first backup, whatever was played since."""
        self.play_to(max(self.day, 0))

    def play_to(self, day):
        if self.day > day:
            raise BenchError(f"day {day} is over")
        while self.day < day:
            self._play()
