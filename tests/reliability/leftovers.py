"""What a killed tool leaves on a machine, seen from outside: not by what the tool itself looks for.

Processes are found by descent: whoever calls `sole_ancestor` becomes the parent of every orphan
below it (prctl(2), PR_SET_CHILD_SUBREAPER), whatever its name, session or environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def sole_ancestor() -> Iterator[None]:
    """Orphans of this process's descendants become its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def living_children(*known: int) -> list[str]:
    """Name and number of each living child of this process that is not among `known`.

    Those that have ended are reaped.
    """
    found = []
    for pid in _children():
        if pid in known:
            continue
        with contextlib.suppress(ChildProcessError):
            ended, _ = os.waitpid(pid, os.WNOHANG)
            if ended:
                continue
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            found.append(f"process {pid} ({name})")
    return found


def _children() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        # A thread may end meanwhile; its children are then another's.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


def descendants(pid: int) -> dict[int, str]:
    """Number and name of everything below a process, at this moment."""
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{todo.pop()}/task").iterdir():
                for child in map(int, (task / "children").read_text().split()):
                    found[child] = Path(f"/proc/{child}/comm").read_text().strip()
                    todo.append(child)
    return found


def mounts(folder: Path) -> dict[tuple[str, str], str]:
    """Mounts in a folder: the number (proc(5): mount ID) and path of each, and how to name it.

    The number alone is not enough: the kernel gives it to another mount when this one is gone.
    """
    found = {}
    wanted = os.fsencode(folder)
    for line in Path("/proc/self/mountinfo").read_bytes().split(b"\n"):
        if line and line.split(b" ")[4].startswith(wanted):
            left, _, right = line.partition(b" - ")
            number, path = left.split(b" ")[0].decode(), os.fsdecode(left.split(b" ")[4])
            found[number, path] = f"mount {path} ({right.split()[0].decode()})"
    return found


def control_groups(tools: Collection[int]) -> list[Path]:
    """Control groups that tools with these process numbers made, wherever they are."""
    # os.walk() goes on where a group of somebody else's vanishes meanwhile.
    return [
        Path(folder, name)
        for folder, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith("reactivate-") and int(name.split("-")[1]) in tools
    ]


def files(folder: Path) -> list[Path]:
    """Everything in a folder; mounts are not entered twice."""
    return sorted(folder.rglob("*"))


def temporary(folder: Path) -> list[str]:
    """What lies in a folder for temporary files."""
    return [f"temporary {path.name}" for path in folder.iterdir()]


def half_written(folder: Path) -> list[str]:
    """Files and folders whose names say that they are temporary."""
    return [
        str(path.relative_to(folder))
        for path in files(folder)
        if path.name.endswith((".part", "-journal", ".tmp"))
        or path.name.startswith(("tmp", "reactivate-"))
        or path.name == "index.lock"
    ]


def digest(folder: Path) -> str:
    """Of all names, kinds, modes and contents in a folder."""
    total = hashlib.sha256()
    for path in files(folder):
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        name = os.fsencode(path.relative_to(folder))
        total.update(b"%s\0%o\0" % (name, path.lstat().st_mode) + hashlib.sha256(content).digest())
    return total.hexdigest()


def of_root(folder: Path) -> list[str]:
    """What belongs to root in a folder, itself included."""
    paths = (folder, *files(folder))
    return [str(p.relative_to(folder)) for p in paths if p.lstat().st_uid == 0]
