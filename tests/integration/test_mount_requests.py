"""How many requests reach the driver: a flag lost on the way to the kernel shows here first."""

import os

import helpers


def test_what_was_read_is_not_asked_for_again(store, big_sqlite, mount):
    store.dump(f"sqlite:{big_sqlite}")
    with mount(store, "-d") as mnt:
        path = mnt.latest() / "big.db"
        size = os.stat(path).st_size
        before = mnt.requests()
        assert path.read_bytes() == big_sqlite.read_bytes()
        first = mnt.requests() - before
        assert first["OPEN"] == 1
        # Large requests: 128 KiB and, where the kernel may read ahead further, a mebibyte. (At most:
        # the driver's threads can write into each other's lines.)
        assert 0 < first["READ"] <= size / (128 << 10) + 8, first
        before = mnt.requests()
        assert path.read_bytes() == big_sqlite.read_bytes()
        again = mnt.requests() - before
        assert "READ" not in again, again
        assert sum(again.values()) < 8, again  # open and close, and the way there


def test_a_walk_asks_once(store, shop, mount):
    """find over everything: the second time only the listings that may change are looked at."""
    for day in range(8):
        store.dump(f"sqlite:{shop}", env={"BAKFS_TEST_TIME": 1768487445 + 86400 * day})
    with mount(store, "-d") as mnt:
        names = helpers.run("find", mnt, "-ls").stdout.splitlines()
        first = mnt.requests()
        assert len(names) > 400
        # Two for each directory, and what makes the rendered files' sizes known.
        directories = sum(" dr-x" in name for name in names)
        assert first["READDIRPLUS"] <= 2 * directories + 10, (first, directories)
        assert first.get("OPENDIR", 0) <= 1, first
        assert first.get("GETXATTR", 0) + first.get("LISTXATTR", 0) <= 2, first
        assert first.get("READDIR", 0) == 0, first
        before = mnt.requests()
        assert helpers.run("find", mnt, "-ls").stdout.splitlines() == names
        again = mnt.requests() - before
        assert sum(again.values()) <= 60, again
        assert "READDIRPLUS" not in again or again["READDIRPLUS"] <= 20, again


def test_missing_names_are_remembered(store, shop, mount):
    store.dump(f"sqlite:{shop}")
    with mount(store, "-d") as mnt:
        inside = mnt.latest()
        for name in ("no", "main/no", "main/tables/no"):
            assert not (inside / name).exists()
        before = mnt.requests()
        for _ in range(20):
            for name in ("no", "main/no", "main/tables/no"):
                assert not (inside / name).exists()
        assert sum((mnt.requests() - before).values()) <= 6, mnt.requests() - before


def test_extended_attributes_are_asked_for_only_when_wanted(store, shop, mount):
    store.dump(f"sqlite:{shop}")
    for options, at_most in (((), 1), (("-o", "xattr"), 10 ** 6)):
        with mount(store, "-d", *options) as mnt:
            inside = mnt.latest()
            for name in os.listdir(inside):
                for _ in range(5):
                    try:
                        os.getxattr(inside / name, "security.capability")
                    except OSError:
                        pass
            assert mnt.requests().get("GETXATTR", 0) <= at_most
