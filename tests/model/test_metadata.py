# ruff: noqa: PTH101, PTH104, PTH108
# The system calls themselves are what is tested, hence os.* and not pathlib.
"""Attributes and extended attributes in C, and through the mount."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.attributes import Attributes
from model.library import Library
from model.metadata_manager import MetadataManager
from mounting import built, mounted

NAME = st.binary(min_size=1, max_size=8).filter(lambda name: b"\0" not in name)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(built("metadata_manager"))


@pytest.fixture
def manager(library: Library):
    made = MetadataManager(library, {}, {})
    made.set(7, Attributes(stat.S_IFREG, 0, 0, 1, 2, 3))
    yield made
    made.close()


def fails(code: int, function, *arguments) -> None:
    with pytest.raises(OSError) as caught:
        function(*arguments)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]


@settings(deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 200), NAME, st.none() | st.binary(max_size=50))))
def test_against_a_dictionary(library: Library, steps) -> None:
    manager = MetadataManager(library, {}, {})
    model: dict[int, dict[bytes, bytes]] = {}
    for inode, name, value in steps:
        if inode not in model:
            manager.set(inode, Attributes(1, 2, 3, -4, 5, inode))
            model[inode] = {}
        if value is not None:
            manager.setxattr(inode, name, value)
            model[inode][name] = value
        elif name in model[inode]:
            manager.removexattr(inode, name)
            del model[inode][name]
        else:
            fails(errno.ENODATA, manager.removexattr, inode, name)
    for inode, values in model.items():
        assert manager.get(inode) == Attributes(1, 2, 3, -4, 5, inode)
        assert sorted(manager.listxattr(inode)) == sorted(values)
        for name, value in values.items():
            assert manager.getxattr(inode, name) == value
    sizes = [len(n) + len(v) for values in model.values() for n, v in values.items()]
    assert manager.stats()["metadata_xattr_bytes"] == str(sum(sizes))
    for inode in model:
        manager.drop(inode)
    assert set(manager.stats().values()) == {"0"}
    manager.close()


def test_flags_and_limits(manager: MetadataManager) -> None:
    fails(errno.ENODATA, manager.setxattr, 7, b"user.a", b"1", os.XATTR_REPLACE)
    manager.setxattr(7, b"user.a", b"1", os.XATTR_CREATE)
    fails(errno.EEXIST, manager.setxattr, 7, b"user.a", b"2", os.XATTR_CREATE)
    manager.setxattr(7, b"user.a", b"2", os.XATTR_REPLACE)
    fails(errno.EINVAL, manager.setxattr, 7, b"user.a", b"2", 4)
    fails(errno.ERANGE, manager.setxattr, 7, b"n" * 256, b"")
    fails(errno.ERANGE, manager.setxattr, 7, b"", b"")
    fails(errno.E2BIG, manager.setxattr, 7, b"user.b", bytes(65537))
    assert manager.getxattr(7, b"user.a") == b"2"
    for number in range(15):
        manager.setxattr(7, b"user.%d" % number, bytes(65536))
    fails(errno.ENOSPC, manager.setxattr, 7, b"user.last", bytes(65536))
    fails(errno.ENOENT, manager.setxattr, 8, b"user.a", b"")


def test_touch_and_drop(manager: MetadataManager) -> None:
    manager.touch(7, 50, content=False)
    assert manager.get(7) == Attributes(stat.S_IFREG, 0, 0, 1, 2, 50)
    manager.touch(7, 60, content=True)
    assert manager.get(7) == Attributes(stat.S_IFREG, 0, 0, 1, 60, 60)
    manager.drop(7)
    with pytest.raises(KeyError):
        manager.get(7)
    fails(errno.ENOENT, manager.drop, 7)


@pytest.mark.fuse
def test_through_the_mount(needs_fuse: None, tmp_path: Path) -> None:
    with mounted(tmp_path, "metadata_manager") as mount:
        path = mount.path / "file"
        path.write_bytes(b"x")
        os.chmod(path, 0o4711)
        assert stat.S_IMODE(path.stat().st_mode) == 0o4711
        assert stat.S_ISREG(path.stat().st_mode)
        os.utime(path, ns=(1_234_567_890_123_456_789, 987_654_321_000_000_001))
        assert path.stat().st_atime_ns == 1_234_567_890_123_456_789
        assert path.stat().st_mtime_ns == 987_654_321_000_000_001
        os.setxattr(path, "user.a", b"\0value", os.XATTR_CREATE)
        fails(errno.EEXIST, os.setxattr, path, "user.a", b"", os.XATTR_CREATE)
        fails(errno.ENODATA, os.setxattr, path, "user.b", b"", os.XATTR_REPLACE)
        fails(errno.ENODATA, os.getxattr, path, "user.b")
        os.setxattr(path, "user.big", bytes(65536))
        assert os.getxattr(path, "user.a") == b"\0value"
        assert os.getxattr(path, "user.big") == bytes(65536)
        assert sorted(os.listxattr(path)) == ["user.a", "user.big"]
        os.rename(path, mount.path / "other")
        assert os.getxattr(mount.path / "other", "user.a") == b"\0value"
        os.removexattr(mount.path / "other", "user.a")
        assert os.listxattr(mount.path / "other") == ["user.big"]
        before = int(mount.stats()["metadata_inodes"])
        os.unlink(mount.path / "other")
        after = mount.stats()
        assert (int(after["metadata_inodes"]), after["metadata_xattrs"]) == (before - 1, "0")


@pytest.mark.fuse
@pytest.mark.root
def test_owner(needs_fuse: None, needs_root: None, tmp_path: Path) -> None:
    with mounted(tmp_path, "metadata_manager") as mount:
        path = mount.path / "file"
        path.write_bytes(b"x")
        os.chmod(path, 0o6755)
        os.chown(path, 12, 34)
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12, 34, 0o755)
