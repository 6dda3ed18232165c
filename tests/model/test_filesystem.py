# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH208
# The system calls themselves are what is tested, hence os.* and not pathlib.
"""The mounted filesystem against a dictionary, and what system calls must answer."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from mounting import Mounted, mounted

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]

COMPONENT_SETS = [(), ("metadata_manager", "cache_manager", "transaction_manager")]

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module", params=COMPONENT_SETS, ids=["plain", "components"])
def mount(request, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "model.toml"
    config.write_text(
        "[cache_manager]\ncapacity_bytes = 8192\n"
        "[transaction_manager]\nfsync = false\ncheckpoint_bytes = 4096\n"
    )
    with mounted(tmp_path_factory.mktemp("fs"), *request.param, config=config) as made:
        yield made


@pytest.fixture
def folder(mount: Mounted):
    path = Path(tempfile.mkdtemp(dir=mount.path))
    yield path
    shutil.rmtree(path)


def fails(code: int, function, *arguments) -> None:
    with pytest.raises(OSError) as caught:
        function(*arguments)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]


def renameat2(old: Path, new: Path, flags: int) -> None:
    at = -100  # AT_FDCWD
    if libc.renameat2(at, os.fsencode(old), at, os.fsencode(new), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


NAMES = st.sampled_from(["a", "b", "c.txt"])
PLACES = st.sampled_from(["", "d/", "e/"])
PATHS = st.builds(lambda place, name: place + name, PLACES, NAMES)
OFFSETS = st.one_of(st.integers(0, 60), st.sampled_from([4090, 4096, 8191, 20000]))
SIZES = st.one_of(st.integers(0, 60), st.sampled_from([4095, 4096, 4097, 12288, 20001]))
DATA = st.builds(
    lambda number, size: (number.to_bytes(3, "big") * (size // 3 + 1))[:size],
    st.integers(0, (1 << 24) - 1),
    st.sampled_from([1, 10, 4000, 4096, 4097, 9000, 13000]),
)


class AgainstDictionary(RuleBasedStateMachine):
    """Files are a dictionary from path to bytes; folders are a set."""

    root: Path

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(dir=self.root))
        self.files: dict[str, bytearray] = {}
        self.folders: set[str] = set()
        self.open_unlinked: list[tuple[int, bytes]] = []

    @initialize(data=DATA)
    def begin_with_something(self, data: bytes) -> None:
        self.mkdir("d")
        for path in ("a", "d/b"):
            self.replace(path, data)

    def possible(self, path: str) -> bool:
        above = path.rpartition("/")[0]
        return not above or above in self.folders

    @rule(path=PATHS, data=DATA | st.just(b""))
    def replace(self, path: str, data: bytes) -> None:
        if not self.possible(path):
            fails(errno.ENOENT, (self.top / path).write_bytes, data)
            return
        (self.top / path).write_bytes(data)
        self.files[path] = bytearray(data)

    @rule(path=PATHS, offset=OFFSETS, data=DATA)
    def write_at(self, path: str, offset: int, data: bytes) -> None:
        if path not in self.files:
            return
        fd = os.open(self.top / path, os.O_RDWR)
        assert os.pwrite(fd, data, offset) == len(data)
        os.close(fd)
        content = self.files[path]
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data

    @rule(path=PATHS, data=DATA)
    def append(self, path: str, data: bytes) -> None:
        if path in self.files:
            with (self.top / path).open("ab") as file:
                file.write(data)
            self.files[path].extend(data)

    @rule(path=PATHS, size=SIZES)
    def truncate(self, path: str, size: int) -> None:
        if path not in self.files:
            fails(errno.ENOENT, os.truncate, self.top / path, size)
            return
        os.truncate(self.top / path, size)
        content = self.files[path]
        self.files[path] = content[:size] + bytes(max(0, size - len(content)))

    @rule(path=PATHS, offset=OFFSETS, size=SIZES)
    def read_at(self, path: str, offset: int, size: int) -> None:
        if path in self.files:
            fd = os.open(self.top / path, os.O_RDONLY)
            assert os.pread(fd, size, offset) == self.files[path][offset : offset + size]
            os.close(fd)

    @rule(path=PATHS)
    def unlink(self, path: str) -> None:
        if path in self.files:
            os.unlink(self.top / path)
            del self.files[path]
        else:
            fails(errno.ENOENT, os.unlink, self.top / path)

    @rule(path=PATHS)
    def unlink_open(self, path: str) -> None:
        if path in self.files:
            fd = os.open(self.top / path, os.O_RDWR)
            os.unlink(self.top / path)
            content = bytes(self.files.pop(path))
            os.pwrite(fd, b"tail", len(content))
            self.open_unlinked.append((fd, content + b"tail"))

    @rule(name=st.sampled_from(["d", "e"]))
    def mkdir(self, name: str) -> None:
        if name in self.folders:
            fails(errno.EEXIST, os.mkdir, self.top / name)
        else:
            os.mkdir(self.top / name)
            self.folders.add(name)

    @rule(name=st.sampled_from(["d", "e"]))
    def rmdir(self, name: str) -> None:
        if name not in self.folders:
            fails(errno.ENOENT, os.rmdir, self.top / name)
        elif any(path.startswith(name + "/") for path in self.files):
            fails(errno.ENOTEMPTY, os.rmdir, self.top / name)
        else:
            os.rmdir(self.top / name)
            self.folders.remove(name)

    @rule(old=PATHS, new=PATHS)
    def rename(self, old: str, new: str) -> None:
        if old not in self.files or not self.possible(new):
            fails(errno.ENOENT, os.rename, self.top / old, self.top / new)
            return
        os.rename(self.top / old, self.top / new)
        self.files[new] = self.files.pop(old)

    @rule(old=PATHS, new=PATHS)
    def exchange(self, old: str, new: str) -> None:
        if old in self.files and new in self.files:
            renameat2(self.top / old, self.top / new, 2)
            self.files[old], self.files[new] = self.files[new], self.files[old]

    @rule()
    def rename_folder(self) -> None:
        if "d" in self.folders and "e" not in self.folders:
            os.rename(self.top / "d", self.top / "e")
            self.folders = {"e"}
            moved = {p: c for p, c in self.files.items() if p.startswith("d/")}
            for path, content in moved.items():
                del self.files[path]
                self.files["e" + path[1:]] = content

    @invariant()
    def is_the_same(self) -> None:
        found = {}
        folders = set()
        for above, names, files in os.walk(self.top):
            place = os.path.relpath(above, self.top)
            prefix = "" if place == "." else place + "/"
            folders.update(prefix + name for name in names)
            for name in files:
                path = Path(above) / name
                found[prefix + name] = path.read_bytes()
                assert path.stat().st_size == len(found[prefix + name])
        assert found == {path: bytes(content) for path, content in self.files.items()}
        assert folders == self.folders
        for fd, content in self.open_unlinked:
            assert os.pread(fd, len(content) + 10, 0) == content
            assert os.fstat(fd).st_nlink == 0

    def teardown(self) -> None:
        for fd, _ in self.open_unlinked:
            os.close(fd)
        shutil.rmtree(self.top)


def test_against_a_dictionary(mount: Mounted) -> None:
    machine = type("Machine", (AgainstDictionary,), {"root": mount.path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    stats = mount.stats()
    if "cache_manager" in stats["components"]:
        assert int(stats["cache_hits"]) > 0
        assert int(stats["cache_evictions"]) > 0
        assert int(stats["journal_checkpoints"]) > 0
    with os.scandir(mount.path) as left:
        assert [entry.name for entry in left] == ["_vexfs"]


def test_ten_thousand_entries_while_some_are_removed(tmp_path: Path) -> None:
    names = {f"{number:05}" for number in range(10_000)}
    with mounted(tmp_path) as mount:
        above = os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY)
        for name in names:
            os.mknod(name, dir_fd=above)
        os.close(above)
        seen, removed = [], set()
        with os.scandir(mount.path) as listing:
            for index, entry in enumerate(listing):
                seen.append(entry.name)
                if index % 20 == 19:
                    os.unlink(entry.path)
                    removed.add(entry.name)
        assert len(seen) == len(set(seen))
        assert set(seen) - {"_vexfs"} == names
        assert set(os.listdir(mount.path)) - {"_vexfs"} == names - removed


def test_entries_removed_ahead_are_left_out(folder: Path) -> None:
    for number in range(600):
        os.close(os.open(folder / str(number), os.O_CREAT))
    with os.scandir(folder) as listing:
        first = next(listing).name
        for number in range(300, 600):
            os.unlink(folder / str(number))
        rest = [entry.name for entry in listing]
    assert len(rest) == len(set(rest))
    assert {str(number) for number in range(300)} <= {first, *rest}


def test_long_names(folder: Path) -> None:
    longest = "n" * 255
    (folder / longest).write_bytes(b"x")
    assert os.listdir(folder) == [longest]
    for function in (os.mkdir, os.stat):
        fails(errno.ENAMETOOLONG, function, folder / (longest + "n"))
    fails(errno.ENAMETOOLONG, os.rename, folder / longest, folder / (longest + "n"))


def test_rename_refusals(folder: Path) -> None:
    for path in ("d", "d/inner", "empty"):
        (folder / path).mkdir()
    (folder / "file").write_bytes(b"1")
    (folder / "d/file").write_bytes(b"2")
    fails(errno.EISDIR, os.rename, folder / "file", folder / "d")
    fails(errno.ENOTDIR, os.rename, folder / "d", folder / "file")
    fails(errno.ENOTEMPTY, os.rename, folder / "empty", folder / "d")
    fails(errno.EINVAL, os.rename, folder / "d", folder / "d/inner/below")
    fails(errno.ENOTEMPTY, os.rename, folder / "d/inner", folder / "d")
    fails(errno.EEXIST, renameat2, folder / "file", folder / "d/file", 1)
    fails(errno.ENOENT, renameat2, folder / "file", folder / "absent", 2)
    fails(errno.EINVAL, renameat2, folder / "file", folder / "absent", 4)
    fails(errno.EINVAL, renameat2, folder / "file", folder / "absent", 64)
    os.rename(folder / "d", folder / "empty")
    assert sorted(os.listdir(folder)) == ["empty", "file"]
    assert folder.stat().st_nlink == 3
    assert (folder / "empty").stat().st_nlink == 3
    renameat2(folder / "file", folder / "empty", 2)
    assert (folder / "empty").read_bytes() == b"1"
    assert (folder / "file/file").read_bytes() == b"2"


def test_limits_and_what_is_not_supported(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"x")
    fails(errno.EFBIG, os.truncate, file, (256 << 20) + 1)
    assert file.stat().st_size == 1
    fails(errno.EPERM, os.link, file, folder / "hard")
    fails(errno.EPERM, os.symlink, "file", folder / "soft")
    fails(errno.EPERM, os.mkfifo, folder / "fifo")
    fails(errno.ENOTDIR, os.rmdir, file)
    fails(errno.EISDIR, os.unlink, folder)
    fails(errno.ENOTDIR, os.listdir, file)
    fails(errno.ENOTDIR, os.stat, file / "below")


def test_statfs_counts_what_is_used(mount: Mounted, folder: Path) -> None:
    before = os.statvfs(mount.path)
    (folder / "file").write_bytes(bytes(10 * 4096))
    after = os.statvfs(mount.path)
    assert before.f_bfree - after.f_bfree == 10
    assert before.f_ffree - after.f_ffree == 1
    assert after.f_namemax == 255


def test_open_flags(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.truncate(path, 4)
    os.write(fd, b"ab")
    assert path.read_bytes() == b"0123ab"
    os.close(fd)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert path.read_bytes() == b""
    fails(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL)
    os.truncate(path, 5)
    assert path.read_bytes() == bytes(5)


def test_times_follow_changes(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(b"1")
    made = path.stat()
    above = folder.stat()
    assert above.st_mtime_ns <= made.st_mtime_ns
    path.write_bytes(b"2")
    assert path.stat().st_mtime_ns > made.st_mtime_ns
    assert folder.stat().st_mtime_ns == above.st_mtime_ns
    written = path.stat()
    os.rename(path, folder / "other")
    moved = (folder / "other").stat()
    assert moved.st_mtime_ns == written.st_mtime_ns
    assert moved.st_ctime_ns > written.st_ctime_ns
    assert moved.st_ino == made.st_ino
    assert folder.stat().st_mtime_ns > above.st_mtime_ns
    os.truncate(folder / "other", 0)
    assert (folder / "other").stat().st_mtime_ns > written.st_mtime_ns


def test_mode_at_creation_and_change(mount: Mounted, folder: Path) -> None:
    fd = os.open(folder / "file", os.O_CREAT | os.O_WRONLY, 0o640)
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o640
    os.ftruncate(fd, 100)
    os.close(fd)
    if "metadata_manager" in mount.stats()["components"]:
        os.chmod(folder / "file", 0o600)
        assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o600
    else:
        fails(errno.EOPNOTSUPP, os.chmod, folder / "file", 0o600)
        fails(errno.EOPNOTSUPP, os.utime, folder / "file")
        fails(errno.EOPNOTSUPP, os.chown, folder / "file", 1, 1)
        fails(errno.ENOTSUP, os.setxattr, folder / "file", "user.a", b"1")
        fails(errno.ENOTSUP, os.getxattr, folder / "file", "user.a")
        fails(errno.ENOTSUP, os.listxattr, folder / "file")


def test_virtual_folder_cannot_be_changed(mount: Mounted) -> None:
    virtual = mount.path / "_vexfs"
    assert {"control", "stats"} <= set(os.listdir(virtual))
    fails(errno.EPERM, os.unlink, virtual / "stats")
    fails(errno.EPERM, os.mkdir, virtual / "new")
    fails(errno.EPERM, os.rename, virtual, mount.path / "other")
    fails(errno.EPERM, (virtual / "new").write_bytes, b"")
    fails(errno.EINVAL, (virtual / "control").write_text, "nonsense\n")
    fails(errno.EINVAL, (virtual / "control").write_text, "unknown=1\n")
    fails(errno.EACCES, os.open, virtual / "stats", os.O_WRONLY)


def test_every_read_reaches_the_daemon(tmp_path: Path) -> None:
    """Counted by the cache, through which all reads go."""
    with mounted(tmp_path, "cache_manager") as mount:
        path = mount.path / "file"
        path.write_bytes(b"x" * 4096)
        fd = os.open(path, os.O_RDONLY)
        for _ in range(5):
            assert os.pread(fd, 4096, 0) == b"x" * 4096
        os.close(fd)
        stats = mount.stats()
        assert (stats["cache_hits"], stats["cache_misses"]) == ("4", "1")


def test_one_thread_and_an_orderly_end(tmp_path: Path) -> None:
    with mounted(tmp_path) as mount:
        (mount.path / "file").write_bytes(b"x")
        assert len(os.listdir(f"/proc/{mount.process.pid}/task")) == 1
        assert mount.stop() == 0
        assert mount.log.read_text() == ""
