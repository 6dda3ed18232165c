"""A checklist file to a `Checklist`, or to all of its faults at once."""

from __future__ import annotations

from pathlib import Path

from reactivate.checklist.faults import Fault, FaultyChecklistError
from reactivate.checklist.model import Checklist
from reactivate.checklist.order import check_phases, check_presence
from reactivate.checklist.phases import digest, read_phase
from reactivate.checklist.sections import outline
from reactivate.checklist.source import Source
from reactivate.files import read_plain

MAX_BYTES = 4 << 20
"""No checklist that a person reads is larger; a slip of the argument is."""


def parse(text: str, path: str | Path) -> Checklist:
    """Read a checklist.

    Args:
        text: the Markdown.
        path: the file's name, for messages and for `Checklist.path`.

    Raises:
        FaultyChecklistError: with every fault that was found; a `ChecklistError`.
    """
    source = Source(text, str(path))
    found = outline(source)
    drafts = [
        draft
        for section in found.sections
        if (draft := read_phase(section, source, found.task_lines)) is not None
    ]
    check_phases(drafts, source, complete=found.complete)
    if found.complete:
        # An open fence hides what follows it; what it hides is not missing.
        check_presence(drafts, source)
    if source.faults:
        raise FaultyChecklistError(source.faults, path=source.path)
    return Checklist(
        path=source.path,
        title=found.title,
        sha256=digest(source.lines, 1, found.task_lines),
        phases=tuple(draft.phase() for draft in drafts),
        text=source.text,
    )


def load(path: str | Path) -> Checklist:
    """Read a checklist file.

    Raises:
        FaultyChecklistError: no such file, a folder, unreadable, not UTF-8, or with faults.
    """
    name = str(path)
    try:
        content = read_plain(Path(path), most_bytes=MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(name, "there is no such file") from None
    except IsADirectoryError:
        raise _unreadable(name, "this is a folder, not a checklist") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(name, f"cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise _unreadable(name, f"larger than {MAX_BYTES >> 20} MiB, so this is no checklist")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(name, content, error) from None
    return parse(text, name)


def _unreadable(name: str, message: str) -> FaultyChecklistError:
    return FaultyChecklistError([Fault(path=name, line=0, column=0, message=message)], path=name)


def _not_utf8(name: str, content: bytes, error: UnicodeDecodeError) -> FaultyChecklistError:
    before = content[: error.start].decode("utf-8")
    line = before.count("\n") + 1
    start = before.rfind("\n") + 1
    rest = content[error.start :].split(b"\n", 1)[0].decode("utf-8", errors="replace")
    fault = Fault(
        path=name,
        line=line,
        column=len(before) - start + 1,
        message=f"byte 0x{content[error.start]:02x} is not UTF-8",
        suggestion="save the file as UTF-8",
        source_line=before[start:] + rest.rstrip("\r"),
    )
    return FaultyChecklistError([fault], path=name)
