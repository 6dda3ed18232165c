"""The decision log on disk against the ledger: edited files, and the heads that they name.

Each file names the digest of the ledger's chain at its decision. Whoever cuts off or rewrites the
ledger must rewrite every file, and every copy of it, as well.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import LedgerError, LedgerTamperedError
from reactivate.files import read_plain
from reactivate.ledger.audit import Finding
from reactivate.ledger.connection import connect_reader, translated
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


def require_own_log(ledger: Path, folder: Path) -> None:
    """Make sure that a ledger is the one that wrote a decision log, before it writes there again.

    Args:
        ledger: may be absent, or of an older schema.
        folder: the decision log; it may be absent.

    Raises:
        LedgerTamperedError: a file names a head that this ledger does not have: an older copy was
            put back, or it is the log of another campaign.
        LedgerError: one of them cannot be read.
    """
    # The log first: a decision is on record before its file is written.
    heads = tuple(_heads(_read(folder)))
    if not heads:
        return
    links = _links(ledger.resolve(), heads)
    strange = [(head, found) for head in heads if (found := misfit(head, links)) is not None]
    if not strange:
        return
    more = f", and {len(strange) - 1} more do not fit" if len(strange) > 1 else ""
    last = f"event {max(links)}" if links else "none"
    head, _ = strange[0]
    place = shlex.quote(str(folder))
    raise LedgerTamperedError(
        f"{ledger.name} is not the ledger that wrote {folder}",
        why=f"{head.source} names event {head.seq}, {head.sha256[:12]}…, which it does not have"
        f"{more}; its newest is {last}. It may be an older copy, or another campaign's. "
        "Nothing was written",
        hint="put the newer ledger back; or, to go on with this one: "
        f"mv {place} {shlex.quote(f'{folder}.old')}",
    )


def _links(path: Path, heads: Iterable[Anchor]) -> dict[int, str]:
    """Of the chain: the entries of the events that are asked for, and the newest."""
    connection = connect_reader(path, trusting=False)
    try:
        with translated(path, "read its chain"):
            # A ledger that was put back may be older than the chain.
            if not connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'chain'"
            ).fetchone():
                return {}
            newest = "SELECT seq, sha256 FROM chain ORDER BY seq DESC LIMIT 1"
            links = dict(connection.execute(newest).fetchall())
            for head in heads:
                asked = "SELECT seq, sha256 FROM chain WHERE seq = ?"
                links |= dict(connection.execute(asked, (head.seq,)).fetchall())
            return links
    finally:
        connection.close()


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
    anchors = tuple(_heads(there))
    heads = {anchor.source for anchor in anchors}
    findings, notes = [], []
    for name, text in there.items():
        if rendered is None:
            continue
        if name in by_name:
            old = by_name[name].seq <= unproven and name not in heads
            findings += _edited(name, text, rendered[name], without_head=old)
            notes += [f"{name} names no head of the ledger: it is older than the chain"] * old
        elif (number := _OWN_NAME.fullmatch(name)) and text.startswith(f"# {number[1]} · "):
            findings.append(
                Finding(where="decisions", what=f"{name}: no such decision is on record")
            )
    # A kill after the newest decisions were recorded leaves their files unwritten, no others'.
    unwritten = {file_name(d) for d in decisions if d.at == decisions[-1].at} - there.keys()
    if unwritten:
        notes.append(f"not written to the decision log: {len(unwritten)}, first {min(unwritten)}")
    gone: list[tuple[str, int | None]] = [
        (n, d.seq) for n, d in by_name.items() if n not in there and n not in unwritten
    ]
    if gone and INDEX not in there:
        gone.append((INDEX, None))
    findings += [
        Finding(where="decisions", what=f"{name} is gone; reactivate log --write makes it again",
                seq=seq)
        for name, seq in gone
    ]  # fmt: skip
    if rendered is not None and INDEX in there:
        findings += _index(there[INDEX], decisions, unwritten=bool(unwritten))
    findings += [f for anchor in anchors if (f := misfit(anchor, links)) is not None]
    return Logged(
        files=len(there.keys() & by_name.keys()),
        anchors=anchors,
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _heads(texts: Mapping[str, str]) -> Iterator[Anchor]:
    for name, text in texts.items():
        if named := _HEAD.search(text):
            yield Anchor(source=name, seq=int(named[1]), sha256=named[2])


def _read(folder: Path) -> dict[str, str]:
    found = {}
    try:
        for path in sorted(folder.glob("*.md")):
            if path.name == INDEX or _OWN_NAME.fullmatch(path.name):
                found[path.name] = read_plain(path).decode("utf-8", "surrogateescape")
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


def _index(text: str, decisions: Sequence[Decision], *, unwritten: bool) -> list[Finding]:
    """It may lack the newest decisions only while the file of the last of them is not written."""
    older = [d for d in decisions if d.at != decisions[-1].at]
    if text in (render_index(shown) for shown in (decisions, *([older] if unwritten else []))):
        return []
    return [Finding(where="decisions", what=f"{INDEX} is not what the ledger says")]
