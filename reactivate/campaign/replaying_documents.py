"""Generated documents, generated once more: the decision log, the campaign report, analyses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from reactivate.campaign import wording
from reactivate.campaign.consistency import Finding, Kind, contradiction, not_replayed
from reactivate.errors import MeasurementError, UsageError
from reactivate.ledger.asof import look_back
from reactivate.ledger.connection import connect_reader
from reactivate.ledger.records import Decision, Event
from reactivate.report.analysis.evidence import Evidence, FileState
from reactivate.report.analysis.markup import file_part
from reactivate.report.analysis.reader import LedgerReader
from reactivate.report.analysis.shape import read_shape
from reactivate.report.analysis.write import Wanted, render
from reactivate.report.campaign_report import FILE_NAME, render_campaign
from reactivate.report.decision_log import file_name, render_log
from reactivate.workspace import Workspace

_DECISION = re.compile(r"\d{4,}-.+\.md")
_MOST_MOMENTS = 100
"""How many moments since the last decision a report is looked for in."""
_NO_CHAIN = "no call chain of"
_LOG = "reactivate log --write"


@dataclass(slots=True)
class Documents:
    """What was compared.

    Attributes:
        same: files that are, byte for byte, what the ledger gives.
        chains: call chains that are what their evidence gives.
        findings: the others.
    """

    same: int = 0
    chains: int = 0
    findings: list[Finding] = field(default_factory=list)


def replay_documents(
    workspace: Workspace, reader: LedgerReader, events: Sequence[Event]
) -> Documents:
    """Compare every generated document that is on disk with what the ledger gives."""
    found = Documents()
    decisions = reader.decisions()
    _log(workspace, reader, decisions, events, found)
    _analyses(workspace, reader, found)
    _chains(workspace, reader, decisions, found)
    return found


def _log(
    workspace: Workspace,
    reader: LedgerReader,
    decisions: Sequence[Decision],
    events: Sequence[Event],
    found: Documents,
) -> None:
    folder = workspace.decisions
    there = {path.name for path in folder.glob("*.md")} if folder.is_dir() else set()
    expected = render_log(reader)
    for name in sorted(n for n in there - expected.keys() if _DECISION.fullmatch(n)):
        found.findings.append(
            contradiction(f"docs/decisions/{name}", "it is of no decision on record")
        )
    if not decisions and not there:
        return
    for name, text in expected.items():
        place = f"docs/decisions/{name}"
        actual = _text(folder / name)
        if actual is None:
            found.findings.append(not_replayed(place, f"it is not there; {_LOG} writes it"))
        elif actual == text.encode():
            found.same += 1
        elif name == FILE_NAME and actual in _reports(workspace.ledger, decisions, events):
            found.same += 1  # what was measured since decided nothing yet
        elif actual == _before_last(workspace.ledger, decisions, events, name):
            found.findings.append(
                not_replayed(place, f"it was written before the newest decision; {_LOG}")
            )
        else:
            found.findings.append(_unlike(place, "it is not what the ledger gives", actual, text))


def _text(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _unlike(place: str, why: str, actual: bytes, text: str) -> Finding:
    """A contradiction that shows the first line that differs."""
    lines = zip_longest(actual.decode("utf-8", "backslashreplace").split("\n"), text.split("\n"))
    for number, (one, other) in enumerate(lines, start=1):
        if one != other:
            return contradiction(
                f"{place}:{number}", why, "no such line" if one is None else one,
                "no such line" if other is None else other,
            )  # fmt: skip
    return contradiction(place, f"{why}: its bytes are no text")


@contextmanager
def _as_of(ledger: Path, seq: int) -> Iterator[LedgerReader]:
    connection = connect_reader(ledger)
    try:
        look_back(connection, seq)
        yield LedgerReader(ledger, connection)
    finally:
        connection.close()


def _moment(events: Sequence[Event], seq: int) -> int:
    """The last event that was recorded together with this one."""
    at = next((event.at for event in events if event.seq == seq), None)
    for event in events:
        if event.seq > seq:
            if event.at != at:
                break
            seq = event.seq
    return seq


def _reports(
    ledger: Path, decisions: Sequence[Decision], events: Sequence[Event]
) -> Iterator[bytes]:
    """The campaign report as it was at each moment since the newest decision, newest first.

    It counts attempts, and is written with each decision and whenever somebody asks.
    """
    newest = _moment(events, decisions[-1].seq) if decisions else 0
    names = {decision.number: file_name(decision) for decision in decisions}
    moments = [newest, *(e.seq for e in reversed(events[newest:]))][: _MOST_MOMENTS + 1]
    for seq in moments:
        with _as_of(ledger, seq) as reader:
            yield render_campaign(reader, names).encode()


def _before_last(
    ledger: Path, decisions: Sequence[Decision], events: Sequence[Event], name: str
) -> bytes | None:
    """A document as it was before the newest decision; a kill may have kept it so."""
    if len(decisions) < 2:
        return None
    with _as_of(ledger, _moment(events, decisions[-2].seq)) as reader:
        text = render_log(reader).get(name)
    return None if text is None else text.encode()


def _analyses(workspace: Workspace, reader: LedgerReader, found: Documents) -> None:
    folder = workspace.results / "analysis"
    names = {path.name for path in folder.glob("*.md")} if folder.is_dir() else set()
    if not names:
        return
    components = {
        f"component-{file_part(phase.id)}.md": (phase.id,) for phase in read_shape(reader).phases
    }
    for name in sorted(names):
        wanted = Wanted(
            baseline=name == "baseline.md",
            components=components.get(name, ()),
            overflow=name == "stack-overflow.md",
        )
        place = f"results/analysis/{name}"
        try:
            expected = render(workspace.ledger, workspace.results, wanted).documents.get(name)
        except UsageError as error:
            found.findings.append(not_replayed(place, error.what))
            continue
        actual = _text(folder / name)
        if expected is None:
            found.findings.append(not_replayed(place, "no analysis of the campaign has this name"))
        elif actual == expected.encode():
            found.same += 1
        else:
            why = "it is not what ledger and evidence give now: changed, or from an earlier moment"
            unlike = _unlike(place, why, actual or b"", expected)
            found.findings.append(
                Finding(
                    kind=Kind.NOT_REPLAYED, place=unlike.place, why=unlike.why,
                    recorded=unlike.recorded, rebuilt=unlike.rebuilt,
                )
            )  # fmt: skip


def _chains(
    workspace: Workspace, reader: LedgerReader, decisions: Sequence[Decision], found: Documents
) -> None:
    """Call chains in refusals, from the evidence files of their attempts."""
    evidence = Evidence(reader=reader, results=workspace.results)
    for decision in decisions:
        chain = decision.context.get("chain")
        if not isinstance(chain, list) or decision.attempt is None:
            continue
        lines = [str(line) for line in chain]
        if not lines or lines[0].startswith(_NO_CHAIN):
            continue
        attempt = reader.attempt(decision.attempt)
        checks = evidence.checks(attempt)
        paths = [path for path in evidence.paths(attempt, "deepest") if path in checks]
        gone = [path for path in paths if checks[path].state is not FileState.INTACT]
        if any(
            _chain_of(workspace.results / attempt.folder, path) == lines
            for path in paths
            if path not in gone
        ):
            found.chains += 1
            continue
        why = f"its evidence is gone: {', '.join(gone)}" if gone else (
            "no evidence file holds it whole: a scenario's death has it in part"
        )  # fmt: skip
        found.findings.append(not_replayed(f"decision {decision.number}, call chain", why))


def _chain_of(folder: Path, path: str) -> Sequence[str]:
    from reactivate.run.explain import read

    try:
        return wording.chain_lines(read(folder, path))
    except MeasurementError:
        return ()


def counted(findings: Sequence[Finding]) -> Mapping[str, int]:
    """How many findings of each kind."""
    return {kind.value: sum(f.kind is kind for f in findings) for kind in Kind}
