"""Whose a store's files are: its owner's, also when root works in it."""

import os
import pwd

import pytest


def owners(path):
    found = set()
    for base, dirs, files in os.walk(path):
        for name in dirs + files:
            info = os.lstat(os.path.join(base, name))
            found.add((info.st_uid, info.st_gid))
    return found


def test_what_root_writes_belongs_to_the_owner_of_the_store(store, shop, build, run):
    if os.getuid() != 0:
        pytest.skip("only root can work in another user's store")
    nobody = pwd.getpwnam("nobody")
    for base, dirs, files in os.walk(store.path):
        for name in [base] + [os.path.join(base, n) for n in dirs + files]:
            os.chown(name, nobody.pw_uid, nobody.pw_gid)
    store.dump("--quiet", f"sqlite:{shop}")
    store.dump("--quiet", f"sqlite:{shop}")
    run(build.verify, "--quiet", "--store", store.path)
    store.admin("delete", "latest", "--yes")
    assert owners(store.path) == {(nobody.pw_uid, nobody.pw_gid)}
    os.unlink(store.path / "metadata.db")
    os.unlink(store.path / "lock")
    store.admin("reindex")
    assert owners(store.path) == {(nobody.pw_uid, nobody.pw_gid)}


def test_a_store_root_made_for_itself_stays_roots(store, shop):
    store.dump("--quiet", f"sqlite:{shop}")
    assert owners(store.path) == {(os.getuid(), os.getgid())}


def test_files_are_private(store, shop):
    store.dump("--quiet", f"sqlite:{shop}")
    for base, dirs, files in os.walk(store.path):
        for name in dirs + files:
            mode = os.lstat(os.path.join(base, name)).st_mode
            assert mode & 0o077 == 0, os.path.join(base, name)
