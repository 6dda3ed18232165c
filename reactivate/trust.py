"""Who may change what is run and what is written: nobody but root, us and the workspace's owner.

A workspace is run as root, since tracing needs that, and lies where others may write. So nothing
is executed that a stranger could have put there, nothing is written through a symbolic link out of
the workspace, and what root writes into a user's workspace is the user's afterwards.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from reactivate.errors import PrivilegeError, WorkspaceError
from reactivate.workspace import Workspace

_HARD_LINKS = Path("/proc/sys/fs/protected_hardlinks")
_ROOT = 0
_BESIDE_LEDGER = ("", ".lock", "-journal", "-wal", "-shm")
"""What SQLite and our lock open by name."""


def require_no_links(workspace: Workspace) -> None:
    """Make sure that what the tool writes in a workspace lies in it.

    Looks at the folders and files whose names are known before a step: the ledger, its lock and
    its journal, results down to the folders of attempts, mounts and builds, and the decision log.

    Raises:
        WorkspaceError: one is a symbolic link.
    """
    for path in _laid_out(workspace):
        if path.is_symlink():
            raise WorkspaceError(
                f"{path} is a symbolic link to {path.readlink()}",
                why="what is written or removed there would be outside of the workspace",
                hint=f"rm {path}   (to keep it on another disk: mount --bind)",
            )


def _laid_out(workspace: Workspace) -> Iterator[Path]:
    yield from (workspace.decisions.parent, workspace.results, workspace.decisions)
    ledger = workspace.ledger
    yield from (ledger.with_name(f"{ledger.name}{end}") for end in _BESIDE_LEDGER)
    yield from _entries(workspace.decisions)
    for entry in _entries(workspace.results):
        yield entry
        for inner in _entries(entry):
            yield inner
            if entry == workspace.builds:
                yield from _entries(inner)


def _entries(folder: Path) -> list[Path]:
    # What may not be listed cannot be written either.
    with contextlib.suppress(OSError):
        return [] if folder.is_symlink() else sorted(folder.iterdir())
    return []


def require_trusted(workspace: Workspace, paths: Iterable[Path]) -> None:
    """Make sure that only root, we and the workspace's owner can change what is executed.

    Args:
        workspace: its folder is looked at, too.
        paths: files and folders; those that are not there are left out. All folders above count,
            too: who can write to one can replace what is in it, unless it is sticky.

    Raises:
        PrivilegeError: says which, and the command that mends it.
    """
    root = workspace.root.resolve()
    owners = {_ROOT, os.geteuid()}
    owner = root.stat().st_uid
    if os.geteuid() == _ROOT:
        # Whoever runs the tool as root in a user's workspace has chosen to trust that user.
        owners.add(owner)
    elif owner not in owners:
        raise PrivilegeError(
            f"the workspace {root} belongs to {_name(owner)}",
            why="what its files say would be executed with your rights",
            hint=f"sudo -u {_name(owner)} reactivate -C {root} …, or make one: reactivate init DIR",
        )
    seen: set[Path] = set()
    for path in (root, *(p for given in paths for p in (given.absolute(), given.resolve()))):
        for above, folder in enumerate((path, *path.parents)):
            if folder not in seen:
                seen.add(folder)
                _require(folder, owners, above=bool(above))


def _require(path: Path, owners: set[int], *, above: bool) -> None:
    try:
        status = path.lstat()
    except OSError:
        return
    if stat.S_ISLNK(status.st_mode):
        return
    sticky = above and stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not sticky:
        raise PrivilegeError(
            f"{path} can be changed by every user of this machine",
            why=f"its mode is {stat.S_IMODE(status.st_mode):o}, and what is in it is executed",
            hint=f"chmod o-w {path}",
        )
    if status.st_uid not in owners:
        raise PrivilegeError(
            f"{path} belongs to {_name(status.st_uid)}",
            why="what is in it is executed, and neither root, you nor the workspace's owner "
            "decide what that is",
            hint=f"chown {_name(os.geteuid())} {path}",
        )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def give_back(folder: Path, paths: Iterable[Path]) -> int:
    """Give what root has made in a user's folder to that user; returns how many there were.

    Does nothing unless we are root and the folder is not. Symbolic links are not followed, other
    filesystems not entered, and files of others than root left alone.

    Args:
        folder: whose owner is to have it.
        paths: files, and folders with all in them; those that are not there are left out.
    """
    status = folder.stat()
    if os.geteuid() != _ROOT or status.st_uid == _ROOT:
        return 0
    given = 0
    for path in paths:
        given += sum(_give(each, status) for each in _with_all_below(path, status.st_dev))
    return given


def give_workspace_back(workspace: Workspace) -> int:
    """`give_back` of everything that commands write in a workspace."""
    root = workspace.root
    ledger = (workspace.ledger, *root.glob(f"{workspace.ledger.name}-*"))
    lock = workspace.ledger.with_name(f"{workspace.ledger.name}.lock")
    return give_back(root, (workspace.configs, workspace.results, root / "docs", *ledger, lock))


def _with_all_below(path: Path, device: int) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        status = path.lstat()
        # Not into the mount of a daemon, which may not answer.
        if status.st_dev != device:
            return
        yield path
        if stat.S_ISDIR(status.st_mode):
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                yield from _with_all_below(path / entry.name, device)


def _give(path: Path, owner: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            if found.st_uid != _ROOT or _may_be_a_strangers(found):
                return False
            # By the descriptor: the name may be another file's by now.
            os.chown(f"/proc/self/fd/{descriptor}", owner.st_uid, owner.st_gid)
            return True
        finally:
            os.close(descriptor)
    return False


def _may_be_a_strangers(status: os.stat_result) -> bool:
    """A second name of a file of root's, made where the kernel does not forbid that (proc(5))."""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink == 1:
        return False
    with contextlib.suppress(OSError):
        return _HARD_LINKS.read_text().strip() != "1"
    return True
