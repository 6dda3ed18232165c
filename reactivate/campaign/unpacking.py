"""Opening a pack: nothing in it is believed before its digest fits, nothing written elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reactivate.campaign.packing import LEDGER, MANIFEST, SCHEMA, evidence_names, has_place
from reactivate.documents import parse_json, text, whole
from reactivate.errors import (
    LedgerCorruptError,
    LedgerError,
    LedgerTamperedError,
    UsageError,
    WorkspaceError,
)
from reactivate.files import open_plain
from reactivate.report.analysis.reader import LedgerReader

_PLAIN: Final = (tarfile.REGTYPE, tarfile.AREGTYPE)
_MOST_FILES: Final = 1_000_000
_MOST_MANIFEST_BYTES: Final = 256 << 20
_PORTION_BYTES: Final = 1 << 20
_MARKER: Final = "configs/campaign.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What was unpacked.

    Attributes:
        root: the new workspace.
        sha256: the digest of the pack; whoever packed it was told it, too.
        files: how many files were in it.
        size_bytes: their length together.
        events: how many events the ledger has.
        origin: the name of the campaign.
    """

    root: Path
    sha256: str
    files: int
    size_bytes: int
    events: int
    origin: str


def is_pack(file: Path) -> bool:
    """Whether a file begins like a tar archive."""
    try:
        with open_plain(file) as content:
            return content.read(262)[257:] == b"ustar"
    except OSError as error:
        raise LedgerError(f"{file} cannot be read", why=error.strerror or str(error)) from error


def unpack(file: Path, root: Path) -> Unpacked:
    """Make a workspace of a pack.

    Args:
        file: the pack.
        root: a new or empty folder.

    Raises:
        UsageError: there is no such file, or the folder is not empty.
        LedgerCorruptError: it is no pack, cut off, or damaged.
        LedgerTamperedError: a file is not what the pack says, or would be written elsewhere.
        WorkspaceError: it cannot be written; nothing is left.
    """
    if not file.is_file():
        raise UsageError(f"there is no pack {file}", hint="reactivate ledger pack FILE")
    root = root.absolute()
    if root.is_symlink() or (root.exists() and (not root.is_dir() or any(root.iterdir()))):
        raise UsageError(
            f"{root} is not an empty folder",
            why="a campaign is unpacked only where nothing can be overwritten",
            hint="name a new folder",
        )
    part = root.with_name(f".{root.name}.unpacking")
    if part.is_symlink():
        raise UsageError(f"{part} is in the way", why="it is a symbolic link", hint=f"rm {part}")
    try:
        shutil.rmtree(part, ignore_errors=True)
        try:
            found = unpack_into(file, part)
            part.rename(root)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise WorkspaceError(
            f"{root} cannot be made",
            why=error.strerror or str(error),
            hint="check permissions and free space, or name another folder",
        ) from error
    return Unpacked(
        root=root,
        sha256=found.sha256,
        files=found.files,
        size_bytes=found.size_bytes,
        events=found.events,
        origin=found.origin,
    )


def unpack_into(file: Path, folder: Path) -> Unpacked:
    """Unpack into a folder that does not exist; if anything is wrong, it is removed again.

    Raises:
        LedgerCorruptError, LedgerTamperedError, WorkspaceError: see `unpack`.
    """
    try:
        folder.mkdir(parents=True)
        with _removed(folder), _told(file):
            with file.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
                size_bytes = content.tell()
            manifest = _extract(file, folder, size_bytes)
            for name in ("results", "docs/decisions"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            _require_campaign(folder)
            files = _listed(manifest)
            _require_recorded(file, folder, files)
            return Unpacked(
                root=folder,
                sha256=sha256,
                files=len(files),
                size_bytes=sum(size for size, _ in files.values()),
                events=whole(manifest, "events"),
                origin=str(manifest.get("origin", "")),
            )
    except OSError as error:
        raise WorkspaceError(
            f"{file} cannot be unpacked into {folder}",
            why=error.strerror or str(error),
            hint=f"see whether space is left: df {folder.parent}",
        ) from error


@contextlib.contextmanager
def _removed(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """Whatever the archive's format breaks at, in words."""
    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, OverflowError, KeyError, RecursionError) as e:
        raise damaged(file, str(e)) from e


def damaged(file: Path, why: str) -> LedgerCorruptError:
    """The refusal of a file that is no whole pack."""
    return LedgerCorruptError(
        f"{file} is no whole pack", why=why, hint="reactivate ledger pack FILE"
    )


def _hostile(file: Path, name: str, why: str) -> LedgerTamperedError:
    return LedgerTamperedError(
        f"{file} was tampered with",
        why=f"{name!a}: {why}; nothing was unpacked",
        hint="get the pack again from whoever made it, and compare its SHA-256",
    )


def _extract(file: Path, folder: Path, archive_bytes: int) -> Mapping[str, object]:
    """Write every member, then hold all of them against the manifest, which comes last."""
    written: dict[str, tuple[int, str]] = {}
    manifest: Mapping[str, object] | None = None
    total = 0
    with tarfile.open(file, "r:") as archive:
        while (member := archive.next()) is not None:
            name = member.name
            _require_plain(file, member, archive_bytes)
            if manifest is not None:
                raise _hostile(file, name, "it comes after the manifest")
            if name in written:
                raise _hostile(file, name, "it is there twice")
            total += member.size
            if total > archive_bytes or len(written) >= _MOST_FILES:
                raise _hostile(file, name, "there is more in it than it has room for")
            source = archive.extractfile(member)
            assert source is not None  # it is a plain file
            if name == MANIFEST:
                if member.size > _MOST_MANIFEST_BYTES:
                    raise _hostile(file, name, f"it is {member.size:,} bytes long")
                manifest = _manifest(file, source.read())
                continue
            if not written and shutil.disk_usage(folder).free < archive_bytes:
                raise OSError(28, f"{archive_bytes:,} bytes are needed")
            written[name] = _store(folder / name, source, member)
            archive.members = []  # type: ignore[attr-defined]  # not kept: there may be many
    if manifest is None:
        raise damaged(file, f"it has no {MANIFEST}: it was cut off, or is another archive")
    listed = _listed(manifest)
    for name in sorted(written.keys() | listed.keys()):
        if written.get(name) != listed.get(name):
            why = "it is not what the manifest says"
            if name not in written or name not in listed:
                why = "it is missing" if name in listed else "the manifest does not know it"
            raise _hostile(file, name, why)
    return manifest


def _require_plain(file: Path, member: tarfile.TarInfo, archive_bytes: int) -> None:
    name = member.name
    parts = name.split("/")
    if member.type not in _PLAIN or member.sparse is not None:
        raise _hostile(file, name, "it is no plain file")
    if not 0 <= member.size <= archive_bytes:
        raise _hostile(file, name, f"{member.size:,} bytes are not in a file of {archive_bytes:,}")
    if name.startswith("/") or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise _hostile(file, name, "it would be written elsewhere")
    if not has_place(name):
        raise _hostile(file, name, "no campaign has a file of that name there")


def _store(path: Path, source: object, member: tarfile.TarInfo) -> tuple[int, str]:
    hashed, size = hashlib.sha256(), 0
    read = source.read  # type: ignore[attr-defined]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as copy:
            while portion := read(_PORTION_BYTES):
                hashed.update(portion)
                copy.write(portion)
                size += len(portion)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{member.name!a} is a file and a folder") from error
    path.chmod(0o755 if member.mode & 0o100 else 0o644)
    return size, hashed.hexdigest()


def _manifest(file: Path, text: bytes) -> Mapping[str, object]:
    found = parse_json(text)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        told = found.get("schema") if isinstance(found, dict) else "none"
        raise damaged(file, f"its manifest has the schema {told}, this version reads {SCHEMA}")
    return found


def _listed(manifest: Mapping[str, object]) -> dict[str, tuple[int, str]]:
    files = manifest.get("files")
    listed: dict[str, tuple[int, str]] = {}
    for each in files if isinstance(files, list) else []:
        if not isinstance(each, dict):
            raise ValueError("its manifest lists something that is no file")
        listed[text(each, "path")] = (whole(each, "size_bytes"), text(each, "sha256"))
    return listed


def _require_recorded(file: Path, folder: Path, names: Iterable[str]) -> None:
    """Below results there is what the ledger knows, analyses and calibrations, and nothing else."""
    rest = {name for name in names if name.startswith("results/")}
    rest -= {name for name, _ in evidence_names(folder / "results", folder / LEDGER)}
    for name in sorted(rest):
        if not name.startswith(("results/analysis/", "results/calibration/")):
            raise _hostile(file, name, "the ledger knows no such evidence")


def _require_campaign(folder: Path) -> None:
    for name in (LEDGER, _MARKER):
        if not (folder / name).is_file():
            raise ValueError(f"there is no {name} in it")
    with LedgerReader.opened(folder / LEDGER) as reader:
        damage = reader.damage()
        if damage:
            raise ValueError(f"its ledger is damaged: {damage}")
