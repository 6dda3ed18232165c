# ruff: noqa: PTH104, PTH208
# The system calls themselves are what is tested, hence os.* and not pathlib.
"""The journal: what is in it comes back, whole transactions only, whenever the daemon dies."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.attributes import Attributes
from model.changes import Changes
from model.library import ConfigurationFault, Library
from model.nodes import File, Folder
from model.parts import Parts
from mounting import Mounted, built, mounted

from tests.waiting import PATIENCE_SECONDS

OWN = Attributes(0o100644, 0, 0, 1, 1, 1)
COMPONENTS = ("metadata_manager", "transaction_manager")


class Journaled:
    """The filesystem without FUSE."""

    def __init__(self, backing: Path, checkpoint_bytes: int = 1 << 30, *components: str) -> None:
        components = components or COMPONENTS
        section = {"fsync": False, "checkpoint_bytes": checkpoint_bytes}
        library = Library(built(*components))
        self.parts = Parts(library, components, {"transaction_manager": section}, backing, 0, 0)
        assert self.parts.transactions is not None
        self.transactions = self.parts.transactions
        self.tree = self.parts.tree
        self.changes = Changes(self.parts)
        self.now_ns = 10

    def tick(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def file(self, name: bytes) -> File:
        node = self.tree.root.entries.get(name)
        if node is None:
            node = self.changes.make_file(self.tree.root, name, OWN)
        assert isinstance(node, File)
        return node

    def put(self, name: bytes, data: bytes, offset: int = 0) -> None:
        self.changes.write(self.file(name), offset, data, self.tick())

    def state(self) -> dict[str, tuple[bytes | None, Attributes, int, dict[bytes, bytes]]]:
        found = {}
        waiting: list[Folder] = [self.tree.root]
        while waiting:
            for node in waiting.pop().entries.values():
                if node.fixed:
                    continue
                content = bytes(node.content) if isinstance(node, File) else None
                xattrs = {}
                if self.parts.metadata is not None:
                    names = self.parts.metadata.listxattr(node.inode)
                    xattrs = {n: self.parts.metadata.getxattr(node.inode, n) for n in names}
                attributes = self.tree.attributes.get(node.inode)
                found[self.tree.path(node) or ""] = (content, attributes, node.inode, xattrs)
                if isinstance(node, Folder):
                    waiting.append(node)
        used = sum(len(entry[0] or b"") for entry in found.values())
        assert self.tree.used_bytes == used
        return found


@contextmanager
def journaled(backing: Path, *arguments) -> Iterator[Journaled]:
    made = Journaled(backing, *arguments)
    try:
        yield made
    finally:
        made.parts.close()


def state_of(folder: Path, journal: bytes):
    folder.mkdir(exist_ok=True)
    (folder / "journal").write_bytes(journal)
    with journaled(folder) as again:
        state, torn = again.state(), again.transactions.counts()["torn_bytes"]
        again.put(b"after", b"the journal can be written to again")
    with journaled(folder) as again:
        assert again.file(b"after").content == b"the journal can be written to again"
    return state, torn


def test_a_cut_at_every_byte_of_the_last_record_gives_the_old_state(tmp_path: Path) -> None:
    with journaled(tmp_path) as made:
        made.put(b"a", b"old" * 20)
        old, old_bytes = made.state(), made.transactions.journal_bytes
        made.put(b"a", b"new" * 20)
        new = made.state()
    journal = (tmp_path / "journal").read_bytes()
    assert old != new
    assert state_of(tmp_path / "again", journal) == (new, 0)
    for length in range(old_bytes, len(journal)):
        state, torn = state_of(tmp_path / "again", journal[:length])
        assert (state, torn) == (old, length - old_bytes)


def test_a_damaged_byte_anywhere_in_a_record_ends_the_replay_before_it(tmp_path: Path) -> None:
    with journaled(tmp_path) as made:
        made.put(b"a", b"old")
        old, old_bytes = made.state(), made.transactions.journal_bytes
        made.put(b"a", b"new")
        made.put(b"b", b"behind the damage")
    journal = bytearray((tmp_path / "journal").read_bytes())
    for position in range(old_bytes, old_bytes + 16 + 80 + 3):
        damaged = journal.copy()
        damaged[position] ^= 0x41
        assert state_of(tmp_path / "again", bytes(damaged))[0] == old


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "cut", "unlink", "rename", "mkdir", "rmdir", "xattr", "attributes", "move"]
        ),
        st.sampled_from([b"a", b"b", b"c"]),
        st.integers(0, 5000),
        st.binary(max_size=300),
    ),
    max_size=40,
)


def apply(made: Journaled, kind: str, name: bytes, number: int, data: bytes) -> None:
    tree, changes, root = made.tree, made.changes, made.tree.root
    node = root.entries.get(name)
    try:
        match kind:
            case "put":
                made.put(name, data, number)
            case "cut":
                changes.truncate(tree.file(made.file(name).inode), number, made.tick())
            case "unlink":
                changes.unlink(root, name, made.tick())
            case "rename":
                changes.rename(
                    root, name, root, b"abc"[number % 3 : number % 3 + 1], 0, made.tick()
                )
            case "mkdir":
                changes.make_folder(root, b"d" + name, OWN._replace(mode=0o40755))
            case "rmdir":
                changes.rmdir(root, b"d" + name, made.tick())
            case "move":
                below = root.entries.get(b"da")
                if isinstance(below, Folder):
                    changes.rename(root, name, below, name, 0, made.tick())
            case "xattr" if node is not None:
                changes.setxattr(node, b"user." + name, data, made.tick())
            case "attributes" if node is not None:
                changes.set_attributes(node, Attributes(0o100600, 1, 2, number, -number, 9))
    except (FileNotFoundError, FileExistsError, NotADirectoryError, AssertionError):
        pass
    except OSError as error:
        assert error.errno in (errno.ENOTEMPTY, errno.EISDIR)


@settings(deadline=None, max_examples=60)
@given(changes=CHANGES, checkpoint=st.booleans())
def test_replay_rebuilds_what_was_there(tmp_path_factory, changes, checkpoint: bool) -> None:
    folder = tmp_path_factory.mktemp("replay")
    with journaled(folder, 4096 if checkpoint else 1 << 30) as made:
        for change in changes:
            apply(made, *change)
        state = made.state()
    with journaled(folder) as again:
        assert again.state() == state
        assert again.parts.recovery is not None
        again.parts.recovery.checkpoint()
        assert again.state() == state
    with journaled(folder) as again:
        assert again.state() == state


@settings(deadline=None, max_examples=40)
@given(before=CHANGES, inside=CHANGES, nested=CHANGES)
def test_a_rollback_takes_back_everything(tmp_path_factory, before, inside, nested) -> None:
    folder = tmp_path_factory.mktemp("rollback")
    with journaled(folder) as made:
        for change in before:
            apply(made, *change)
        old = made.state()
        made.transactions.begin()
        for change in inside:
            apply(made, *change)
        middle = made.state()
        made.transactions.begin()
        for change in nested:
            apply(made, *change)
        made.transactions.rollback()
        assert made.state() == middle
        made.transactions.rollback()
        assert made.state() == old
        made.transactions.begin()
        for change in inside:
            apply(made, *change)
        made.transactions.begin()
        for change in nested:
            apply(made, *change)
        made.transactions.commit()
        made.transactions.commit()
        state = made.state()
    with journaled(folder) as again:
        assert again.state() == state


def test_an_open_transaction_is_not_in_the_journal(tmp_path: Path) -> None:
    with journaled(tmp_path) as made:
        made.put(b"a", b"old")
        old, size = made.state(), (tmp_path / "journal").stat().st_size
        made.transactions.begin()
        made.put(b"a", b"new")
        made.put(b"b", b"new")
        assert (tmp_path / "journal").stat().st_size == size
    with journaled(tmp_path) as again:
        assert again.state() == old
        with pytest.raises(OSError) as caught:
            again.transactions.rollback()
        assert caught.value.errno == errno.EINVAL


def test_a_transaction_is_one_record(tmp_path: Path) -> None:
    with journaled(tmp_path) as made:
        made.put(b"a", b"1")
        before = made.transactions.counts()["committed"]
        with made.transactions.together():
            for number in range(10):
                made.put(b"a", bytes([number]), number)
        assert made.transactions.counts()["committed"] == before + 1


def test_a_journal_that_cannot_grow_changes_nothing(tmp_path: Path) -> None:
    with journaled(tmp_path) as made:
        made.put(b"a", b"old")
        old = made.state()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, ((tmp_path / "journal").stat().st_size + 20, hard)
        )
        try:
            for change in (
                lambda: made.put(b"a", b"new"),
                lambda: made.file(b"b"),
                lambda: made.changes.unlink(made.tree.root, b"a", made.tick()),
                lambda: made.changes.truncate(made.file(b"a"), 0, made.tick()),
                lambda: made.changes.setxattr(made.file(b"a"), b"user.a", b"1", made.tick()),
            ):
                with pytest.raises(OSError) as caught:
                    change()
                assert caught.value.errno == errno.EFBIG
                assert made.state() == old
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        made.put(b"a", b"now")
        new = made.state()
    with journaled(tmp_path) as again:
        assert again.state() == new


def test_checkpoint_shortens_the_journal(tmp_path: Path) -> None:
    with journaled(tmp_path, 8192) as made:
        for number in range(200):
            made.put(b"a", bytes([number]) * 500)
        counts, state = made.transactions.counts(), made.state()
        assert counts["checkpoints"] > 1
        assert counts["bytes"] == (tmp_path / "journal").stat().st_size < 20_000
        assert counts["committed"] == 201
    assert os.listdir(tmp_path) == ["journal"]
    with journaled(tmp_path) as again:
        assert again.state() == state


def test_attributes_of_a_component_that_is_off_are_kept(tmp_path: Path) -> None:
    with journaled(tmp_path) as made:
        made.changes.setxattr(made.file(b"a"), b"user.a", b"1", 5)
        state = made.state()
    with journaled(tmp_path, 4096, "transaction_manager") as without:
        for number in range(50):
            without.put(b"b", bytes([number]) * 500)
        assert without.transactions.counts()["checkpoints"] == 0
    with journaled(tmp_path) as again:
        assert again.state()["a"] == state["a"]


def test_one_owner_and_only_a_journal(tmp_path: Path) -> None:
    with (
        journaled(tmp_path),
        pytest.raises(ConfigurationFault, match="busy"),
        journaled(tmp_path),
    ):
        pass
    (tmp_path / "journal").write_bytes(b"something else entirely")
    with pytest.raises(ConfigurationFault, match="cannot use the journal"), journaled(tmp_path):
        pass
    assert (tmp_path / "journal").read_bytes() == b"something else entirely"


class Burst:
    """Writes versions of a file until the daemon is gone.

    Attributes:
        tried: the last version begun.
        done: the last version acknowledged.
    """

    SIZE_BYTES = 4096

    def __init__(self, mount: Mounted, by_rename: bool) -> None:
        self.mount = mount
        self.by_rename = by_rename
        self.tried = self.done = 0
        self.reached = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            for version in itertools.count(1):
                self.tried = version
                self._write(version.to_bytes(8, "little") * (self.SIZE_BYTES // 8))
                self.done = version
                if version == 30:
                    self.reached.set()
        except OSError as error:
            assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        finally:
            self.reached.set()

    def _write(self, content: bytes) -> None:
        path = self.mount.path / "file"
        if not self.by_rename:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.pwrite(fd, content, 0)
            os.close(fd)
            return
        (self.mount.path / "new").write_bytes(content)
        os.rename(self.mount.path / "new", path)


@pytest.mark.fuse
@pytest.mark.parametrize("by_rename", [False, True], ids=["write", "rename"])
def test_a_kill_leaves_the_old_or_the_new(
    needs_fuse: None, tmp_path: Path, by_rename: bool
) -> None:
    config = tmp_path / "model.toml"
    config.write_text("[transaction_manager]\nfsync = false\ncheckpoint_bytes = 50000\n")
    for _ in range(3):
        with mounted(tmp_path, "transaction_manager", config=config) as mount:
            burst = Burst(mount, by_rename)
            burst.thread.start()
            assert burst.reached.wait(PATIENCE_SECONDS)
            mount.kill()
            burst.thread.join(PATIENCE_SECONDS)
            assert not burst.thread.is_alive()
        with mounted(tmp_path, "transaction_manager", config=config) as mount:
            content = (mount.path / "file").read_bytes()
            assert content == content[:8] * (Burst.SIZE_BYTES // 8)
            assert 30 <= burst.done <= int.from_bytes(content[:8], "little") <= burst.tried
            for name in ("file", "new"):
                (mount.path / name).unlink(missing_ok=True)
            assert mount.stop() == 0


@pytest.mark.fuse
def test_control_begins_and_rolls_back(needs_fuse: None, tmp_path: Path) -> None:
    with mounted(tmp_path, "cache_manager", "transaction_manager") as mount:
        control = mount.path / "_vexfs" / "control"
        (mount.path / "file").write_bytes(b"old")
        control.write_text("transaction=begin\n")
        assert control.read_text() == "transaction=open 1\n"
        (mount.path / "file").write_bytes(b"newer")
        (mount.path / "second").mkdir()
        assert (mount.path / "file").read_bytes() == b"newer"
        control.write_text("transaction=rollback\n")
        assert (mount.path / "file").read_bytes() == b"old"
        assert not (mount.path / "second").exists()
        with pytest.raises(OSError) as caught:
            control.write_text("transaction=commit\n")
        assert caught.value.errno == errno.EINVAL
        control.write_text("transaction=begin\n")
        (mount.path / "file").write_bytes(b"newest")
        control.write_text("transaction=commit\n")
        assert mount.stop() == 0
    with mounted(tmp_path, "transaction_manager") as mount:
        assert (mount.path / "file").read_bytes() == b"newest"
        assert int(mount.stats()["transactions_replayed"]) > 0
