"""The decision log on disk against the ledger: edited files, and the heads that they name.

Each file names the digest of the ledger's chain at its decision. Whoever cuts off or rewrites the
ledger must rewrite every file, and every copy of it, as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import LedgerError
from reactivate.ledger.audit import Finding
from reactivate.ledger.records import Decision
from reactivate.report.decision_log import file_name, render_index

INDEX = "README.md"
_HEAD = re.compile(r"^\| ledger \| event ([0-9]{1,18}), `([0-9a-f]{64})` \|\n", re.MULTILINE)
_SUPERSEDED = re.compile(r"^\| superseded by \| .*\n", re.MULTILINE)
_OWN_NAME = re.compile(r"(\d{4,})-.+\.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A head of the chain, as it is known elsewhere.

    Attributes:
        source: where, in words.
        seq: the event.
        sha256: the digest of its entry.
    """

    source: str
    seq: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What the folder of the decision log says.

    Attributes:
        files: how many files of the log are there.
        anchors: the heads that they name.
        findings: what does not fit the ledger.
        notes: what a reader should know, and is nobody's fault.
    """

    files: int
    anchors: tuple[Anchor, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def misfit(anchor: Anchor, links: Mapping[int, str]) -> Finding | None:
    """What is wrong with the ledger by a head that is known elsewhere; None if it fits."""
    newest = max(links, default=0)
    if anchor.seq not in links:
        what = f"names event {anchor.seq}; the ledger ends with {newest}: its tail was cut off"
    elif links[anchor.seq] != anchor.sha256:
        what = f"names {anchor.sha256[:12]}… for event {anchor.seq}; the ledger has "
        what += f"{links[anchor.seq][:12]}…: it was rewritten, or the anchor is another ledger's"
    else:
        return None
    return Finding(where="anchors", what=f"{anchor.source} {what}", seq=anchor.seq)


def read_log(
    folder: Path,
    decisions: Sequence[Decision],
    rendered: Mapping[str, str] | None,
    links: Mapping[int, str],
    *,
    unproven: int,
) -> Logged:
    """Compare the folder with what the ledger says.

    Args:
        folder: may be absent.
        decisions: all of the ledger.
        rendered: the log as it should be; None if the ledger is not fit to be rendered.
        links: digest of each entry of the chain, by event.
        unproven: the last event from before there was a chain.

    Raises:
        LedgerError: a file cannot be read.
    """
    there = _read(folder)
    by_name = {file_name(d): d for d in decisions}
    anchors, findings, notes = [], [], []
    for name, text in there.items():
        named = _HEAD.search(text)
        if named is not None:
            anchors.append(Anchor(source=name, seq=int(named[1]), sha256=named[2]))
        if rendered is None:
            continue
        if name in by_name:
            old = by_name[name].seq <= unproven and named is None
            findings += _edited(name, text, rendered[name], without_head=old)
            notes += [f"{name} names no head of the ledger: it is older than the chain"] * old
        elif (number := _OWN_NAME.fullmatch(name)) and text.startswith(f"# {number[1]} · "):
            findings.append(
                Finding(where="decisions", what=f"{name}: no such decision is on record")
            )
    missing = [name for name in by_name if name not in there]
    if missing:
        notes.append(f"not written to the decision log: {len(missing)}, first {missing[0]}")
    if rendered is not None and INDEX in there:
        findings += _index(there[INDEX], decisions)
    findings += [f for anchor in anchors if (f := misfit(anchor, links)) is not None]
    return Logged(
        files=len(there.keys() & by_name.keys()),
        anchors=tuple(anchors),
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _read(folder: Path) -> dict[str, str]:
    found = {}
    try:
        for path in sorted(folder.glob("*.md")):
            if path.name == INDEX or _OWN_NAME.fullmatch(path.name):
                found[path.name] = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise LedgerError(
            "the decision log cannot be read",
            why=f"{error.filename}: {error.strerror}",
            hint=f"ls -l {folder}",
        ) from error
    return found


def _edited(name: str, text: str, right: str, *, without_head: bool) -> list[Finding]:
    """A file may be older than the decision that superseded it: a kill came in between."""
    if without_head:
        right = _HEAD.sub("", right)
    if text in (right, _SUPERSEDED.sub("", right, count=1)):
        return []
    then, now = right.splitlines(), text.splitlines()
    lines = range(max(len(then), len(now)))
    first = next((n for n in lines if then[n : n + 1] != now[n : n + 1]), len(now)) + 1
    return [Finding(where="decisions", what=f"{name}:{first} is not what the ledger says")]


def _index(text: str, decisions: Sequence[Decision]) -> list[Finding]:
    count = text.count("\n| [")
    if count <= len(decisions) and text == render_index(decisions[:count]):
        return []
    return [Finding(where="decisions", what=f"{INDEX} is not what the ledger says")]
