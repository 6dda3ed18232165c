"""The tree without FUSE: references, counts, refusals, and taking changes back."""

from __future__ import annotations

import errno
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.attributes import Attributes, PlainAttributes
from model.nodes import CAPACITY_BYTES, FILE_LIMIT_BYTES, RENAME_EXCHANGE, File, Folder
from model.tree import Tree
from mounting import PROBES

OWN = Attributes(stat.S_IFREG | 0o644, 1, 2, 5, 5, 5)


@pytest.fixture
def tree() -> Tree:
    return Tree(PlainAttributes(), 1, 0, 0)


def fails(code: int, function, *arguments) -> None:
    with pytest.raises(OSError) as caught:
        function(*arguments)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]


def test_it_needs_no_fuse() -> None:
    program = "import sys, model.tree; assert not {'pyfuse3', 'trio', 'ctypes'} & set(sys.modules)"
    command = [sys.executable, "-c", program]
    subprocess.run(command, env={"PYTHONPATH": str(PROBES)}, check=True, timeout=30)


def test_an_unlinked_file_lives_until_nobody_knows_it(tree: Tree) -> None:
    file = tree.make_file(tree.root, b"a", OWN)
    tree.write(file, 0, b"content", 6)
    file.lookups, file.opens = 3, 1
    tree.unlink(tree.root, b"a", 7)
    assert tree.links(file) == 0
    assert tree.path(file) is None
    tree.forget(file.inode, 2)
    tree.closed(file)
    assert tree.file(file.inode).content == b"content"
    tree.forget(file.inode, 1)
    fails(errno.ENOENT, tree.node, file.inode)
    assert tree.used_bytes == 0
    with pytest.raises(KeyError):
        tree.attributes.get(file.inode)


def test_inode_numbers_are_not_used_again(tree: Tree) -> None:
    first = tree.make_file(tree.root, b"a", OWN).inode
    tree.unlink(tree.root, b"a", 6)
    assert tree.make_file(tree.root, b"a", OWN).inode > first


def test_link_counts_and_times_of_folders(tree: Tree) -> None:
    folder = tree.make_folder(tree.root, b"d", OWN._replace(mode=stat.S_IFDIR, mtime_ns=9))
    assert (tree.links(tree.root), tree.links(folder)) == (3, 2)
    assert tree.attributes.get(tree.root.inode).mtime_ns == 9
    tree.make_folder(folder, b"e", OWN)
    tree.rename(folder, b"e", tree.root, b"e", 0, 20)
    assert (tree.links(tree.root), tree.links(folder)) == (4, 2)
    assert tree.attributes.get(folder.inode).mtime_ns == 20
    tree.rmdir(tree.root, b"e", 30)
    assert tree.links(tree.root) == 3


def test_nothing_can_be_made_in_a_removed_folder(tree: Tree) -> None:
    folder = tree.make_folder(tree.root, b"d", OWN)
    folder.lookups = 1
    tree.rmdir(tree.root, b"d", 6)
    fails(errno.ENOENT, tree.make_file, folder, b"a", OWN)


def test_limits(tree: Tree) -> None:
    file = tree.make_file(tree.root, b"a", OWN)
    fails(errno.EFBIG, tree.truncate, file, FILE_LIMIT_BYTES + 1, 6)
    fails(errno.EFBIG, tree.write, file, FILE_LIMIT_BYTES, b"x", 6)
    tree.used_bytes = CAPACITY_BYTES - 10
    fails(errno.ENOSPC, tree.write, file, 0, bytes(11), 6)
    tree.write(file, 0, bytes(10), 6)
    fails(errno.ENAMETOOLONG, tree.make_file, tree.root, b"n" * 256, OWN)
    fails(errno.ENAMETOOLONG, tree.lookup, tree.root, b"n" * 256)


def test_dot_and_dot_dot(tree: Tree) -> None:
    folder = tree.make_folder(tree.root, b"d", OWN)
    assert tree.lookup(folder, b".") is folder
    assert tree.lookup(folder, b"..") is tree.root
    assert tree.lookup(tree.root, b"..") is tree.root


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["make", "mkdir", "write", "cut", "unlink", "rmdir", "rename", "swap"]),
        st.sampled_from([b"a", b"b", b"d"]),
        st.sampled_from([b"a", b"b", b"d"]),
        st.integers(0, 40),
        st.binary(max_size=30),
    ),
    max_size=30,
)


def picture(tree: Tree, folder: Folder) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for name, node in folder.entries.items():
        assert node.parent is folder
        assert node.name == name
        assert tree.nodes[node.inode] is node
        inside = bytes(node.content) if isinstance(node, File) else picture(tree, node)
        found[name] = (inside, node.inode, tree.attributes.get(node.inode), tree.links(node))
    return found


def step(tree: Tree, now_ns: int, kind: str, one: bytes, two: bytes, number: int, data: bytes):
    root = tree.root
    below = root.entries.get(b"d")
    place = below if isinstance(below, Folder) and number % 2 else root
    node = place.entries.get(one)
    try:
        if kind == "make":
            tree.make_file(place, one, OWN)
        elif kind == "mkdir":
            tree.make_folder(place, one, OWN)
        elif kind == "unlink":
            tree.unlink(place, one, now_ns)
        elif kind == "rmdir":
            tree.rmdir(place, one, now_ns)
        elif kind in ("rename", "swap"):
            tree.rename(place, one, root, two, RENAME_EXCHANGE if kind == "swap" else 0, now_ns)
        elif isinstance(node, File) and kind == "write":
            tree.write(node, number, data, now_ns)
        elif isinstance(node, File):
            tree.truncate(node, number, now_ns)
    except OSError as error:
        assert error.errno in (
            errno.ENOENT,
            errno.EEXIST,
            errno.EISDIR,
            errno.ENOTDIR,
            errno.ENOTEMPTY,
            errno.EINVAL,
        )


@settings(deadline=None, max_examples=200)
@given(before=STEPS, after=STEPS)
def test_what_is_rolled_back_never_was(before, after) -> None:
    tree = Tree(PlainAttributes(), 1, 0, 0)
    for number, one in enumerate(before):
        step(tree, 100 + number, *one)
    old = (picture(tree, tree.root), tree.used_bytes, set(tree.nodes), tree.root.folders)
    old_times = tree.attributes.get(tree.root.inode)
    tree.undo = []
    for number, one in enumerate(after):
        step(tree, 200 + number, *one)
    tree.roll_back(0)
    assert tree.undo == []
    new = (picture(tree, tree.root), tree.used_bytes, set(tree.nodes), tree.root.folders)
    assert new == old
    assert tree.attributes.get(tree.root.inode) == old_times
