"""The decision log: one Markdown file per decision and an index, from the ledger alone.

The same ledger gives the same bytes: nothing here reads a clock, a folder or the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reactivate.errors import WorkspaceError
from reactivate.evidence import NotMeasured, Verdict
from reactivate.files import replace_files
from reactivate.gate.judgement import Judgement
from reactivate.ledger.queries import LedgerQueries
from reactivate.ledger.records import JSON, AttemptRecord, Decision
from reactivate.report.analysis.markup import code_block, prose, results_link
from reactivate.report.campaign_report import CHAINS, FILE_NAME, render_campaign
from reactivate.texts import visible
from reactivate.units import format_quantity, format_ratio

_BLOCK = re.compile(r"^(\d{0,9})([.)](?=\s|$)|(?<!\d)[#>+\-*_=~]|(?<!\d)```)")
"""What would begin a heading, a list, a quotation, a rule or a fence at the start of a line."""
_LONGEST_NAME = 80
_ENTITY = re.compile(r"&(?=#?\w+;)")

TITLES: dict[str, str] = {
    "confirmed": "confirmed",
    "advanced": "advance",
    "refused": "refused",
    "retried": "retry",
    "waived": "waived",
    "rolled_back": "rolled back",
    "completed": "complete",
}
"""Kinds of decisions as the log names them."""

CONSEQUENCES: dict[str, str] = {
    "confirmed": "The items count as done; what follows them may begin.",
    "advanced": "The component stays on. The next phase of the checklist may begin.",
    "refused": "The component does not go on. It waits for a retry after a fix, for a waiver of "
    "every failed criterion, or for being rolled back.",
    "retried": "The component is built and proven again, and all of its checks run again from the "
    "first. The refusal before it stays on record.",
    "waived": "The failed criterion no longer keeps the gate shut. The measured value stands; the "
    "risk is accepted by the person named here.",
    "rolled_back": "The component is off again. Nothing goes on until a retry begins it anew.",
    "completed": "Every phase of the checklist is active. The campaign is complete.",
}


def file_name(decision: Decision) -> str:
    """`0007-search_engine-refused.md`."""
    # A ledger that was forged may name anything, also another folder.
    kind, phase = (
        re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_LONGEST_NAME]
        for name in (TITLES.get(decision.kind, decision.kind), decision.phase or "campaign")
    )
    return f"{decision.number:04}-{phase}-{kind}.md"


def render_log(ledger: LedgerQueries) -> dict[str, str]:
    """Every file of the log: name to content; the index (`README.md`) and the campaign report
    first.
    """
    decisions = ledger.decisions()
    attempts = {attempt.id: attempt for attempt in ledger.attempts()}
    names = {decision.number: file_name(decision) for decision in decisions}
    heads = ledger.decision_heads()
    superseded = {d.supersedes: d.number for d in decisions if d.supersedes is not None}
    files = {"README.md": render_index(decisions), FILE_NAME: render_campaign(ledger, names)}
    for decision in decisions:
        files[names[decision.number]] = "\n".join(
            [
                *_head(decision, names, superseded.get(decision.number), heads[decision.number]),
                *_context(decision),
                *_chains(decision, attempts, ledger),
                *_verdicts(decision, attempts, ledger),
                *_environment(decision, attempts, ledger),
                "## Consequence",
                "",
                CONSEQUENCES.get(decision.kind, "None beyond what is said above."),
                "",
            ]
        )
    return files


def render_index(decisions: Sequence[Decision]) -> str:
    """The table of all decisions with links."""
    rows = [
        [
            f"[{d.number:04}]({file_name(d)})",
            d.at[:19].replace("T", " "),
            d.phase,
            TITLES.get(d.kind, d.kind),
            d.who + (" (unattended)" if d.unattended else ""),
            d.reason,
        ]
        for d in decisions
    ]
    return "\n".join(
        [
            "# Decision log",
            "",
            "Generated from the ledger by `reactivate log --write`. Times are UTC. "
            f"What all of it came to: [campaign report]({FILE_NAME}).",
            "",
            *table(["number", "date", "component", "decision", "who", "why"], rows),
            "",
        ]
    )


def write_log(ledger: LedgerQueries, folder: Path) -> tuple[Path, ...]:
    """Write the log into `folder`; returns the files whose content changed.

    Raises:
        WorkspaceError: a file cannot be written. The decisions themselves are in the ledger.
    """
    files = render_log(ledger)
    try:
        return replace_files(folder, files)
    except OSError as error:
        raise WorkspaceError(
            f"the decision log in {folder} cannot be written",
            why=f"{error.strerror}; every decision is in the ledger",
            hint="make room or give permission, then reactivate log --write",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDifferences:
    """What of a written log is not what the ledger renders.

    Attributes:
        changed: files with other bytes.
        missing: files that are not there.
        unknown: files named as a decision is, of which the ledger knows nothing.
    """

    changed: tuple[Path, ...]
    missing: tuple[Path, ...]
    unknown: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.unknown)


def check_log(ledger: LedgerQueries, folder: Path) -> LogDifferences:
    """Compare the log in `folder` with what the ledger renders, byte by byte; writes nothing.

    Raises:
        WorkspaceError: a file or the folder cannot be read.
    """
    files = render_log(ledger)
    changed, missing = [], []
    try:
        for name, content in files.items():
            path = folder / name
            if not path.is_file():
                missing.append(path)
            elif path.read_bytes() != content.encode("utf-8"):
                changed.append(path)
        kinds = "|".join(title.replace(" ", "-") for title in TITLES.values())
        named = re.compile(rf"\d{{4,}}-.*-({kinds})\.md")
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        unknown = (p for p in there if named.fullmatch(p.name) and p.name not in files)
        return LogDifferences(
            changed=tuple(changed), missing=tuple(missing), unknown=tuple(unknown)
        )
    except OSError as error:
        raise WorkspaceError(
            f"the decision log in {folder} cannot be read",
            why=f"{error.strerror}: {error.filename}",
            hint=f"ls -l {folder}",
        ) from error


def _head(
    decision: Decision, names: Mapping[int, str], successor: int | None, head: str
) -> list[str]:
    rows = [
        ["decision", TITLES.get(decision.kind, decision.kind)],
        ["component", decision.phase],
        ["date", decision.at],
        ["who", decision.who + (", unattended" if decision.unattended else "")],
        ["why", decision.reason],
    ]
    if decision.criterion:
        rows.append(["criterion", f"`{decision.criterion}`"])
    if decision.supersedes is not None:
        number = decision.supersedes
        rows.append(["supersedes", f"[{number:04}]({names[number]})"])
    if successor is not None:
        rows.append(["superseded by", f"[{successor:04}]({names[successor]})"])
    rows.append(["ledger", f"event {decision.seq}, `{head}`"])
    title = TITLES.get(decision.kind, decision.kind)
    return [
        f"# {decision.number:04} · {decision.phase or 'campaign'} · {title}",
        "",
        *table(["", ""], rows),
        "",
    ]


def _context(decision: Decision) -> list[str]:
    lines = ["## Context", ""]
    text = decision.context.get("summary")
    if isinstance(text, str) and text:
        lines += [escape(text), ""]
    for key in ("proof", "build", "items", "failed", "remaining_risk"):
        entries = decision.context.get(key)
        if isinstance(entries, Sequence) and not isinstance(entries, str) and entries:
            lines += [*(f"- {escape(str(entry))}" for entry in entries), ""]
    chain = decision.context.get("chain")
    if isinstance(chain, Sequence) and not isinstance(chain, str):
        lines += code_block(str(line) for line in chain)
    if len(lines) == 2:
        lines += ["A person's decision; nothing was measured for it.", ""]
    return lines


def _chains(
    decision: Decision, attempts: Mapping[int, AttemptRecord], ledger: LedgerQueries
) -> list[str]:
    """Where the call chain of the context is whole; a code block holds no link."""
    if not decision.context.get("chain") or decision.attempt is None:
        return []
    folder = attempts[decision.attempt].folder
    paths = [a.path for a in ledger.artifacts(decision.attempt) if a.path.startswith(CHAINS)]
    cited = [results_link(f"{folder}/{path}", label=path) for path in paths]
    return [f"The whole chain: {', '.join(cited)}.", ""] if cited else []


def _attempt_ids(decision: Decision) -> list[int]:
    listed = decision.context.get("attempts")
    if isinstance(listed, Sequence) and not isinstance(listed, str):
        return [number for number in listed if type(number) is int]
    return [] if decision.attempt is None else [decision.attempt]


def _verdicts(
    decision: Decision, attempts: Mapping[int, AttemptRecord], ledger: LedgerQueries
) -> list[str]:
    lines: list[str] = []
    for attempt_id in _attempt_ids(decision):
        if attempt_id not in attempts:
            lines += [f"Attempt {attempt_id} is not on record.", ""]
            continue
        attempt = attempts[attempt_id]
        judgements = ledger.judgements(attempt_id)
        if not judgements:
            continue
        lines += [
            f"## Verdicts: {attempt.step}",
            "",
            f"Attempt {attempt.number} of {prose(attempt.phase)}, evidence in "
            f"{results_link(f'{attempt.folder}/')}.",
            "",
            *table(
                ["criterion", "observed", "limit", "n", "instrument", "evidence", "verdict"],
                [_verdict_row(attempt, judgement) for judgement in judgements],
            ),
            "",
        ]
        reasons = [j for j in judgements if j.verdict is not Verdict.PASS and j.reason]
        for judgement in reasons:
            lines += [f"- `{judgement.criterion}`: {escape(judgement.reason)}"]
        if reasons:
            lines.append("")
    return lines


def _verdict_row(attempt: AttemptRecord, judgement: Judgement) -> list[str]:
    where = " ".join(part for part in (judgement.operation, judgement.thread) if part)
    observed = _value(judgement.observed, judgement)
    if judgement.interval is not None:
        low, high = judgement.interval
        observed += f" [{format_ratio(low)}, {format_ratio(high)}]"
    return [
        f"`{judgement.source}`",
        observed + (f" ({where})" if where else ""),
        _value(judgement.limit, judgement),
        str(judgement.samples),
        judgement.instrument,
        results_link(f"{attempt.folder}/{judgement.evidence}", label=judgement.evidence)
        if judgement.evidence
        else "",
        judgement.verdict.value.upper(),
    ]


def _value(value: float | NotMeasured, judgement: Judgement) -> str:
    if isinstance(value, NotMeasured):
        return f"not measured: {value.reason}"
    return format_quantity(value, judgement.dimension)


def _environment(
    decision: Decision, attempts: Mapping[int, AttemptRecord], ledger: LedgerQueries
) -> list[str]:
    ids = _attempt_ids(decision)
    if not ids:
        return []
    environment = ledger.environment(attempts[ids[-1]].environment_sha256)
    rows = [
        [key.replace("_", " "), f"`{_flat(value)}`"]
        for key, value in sorted(environment.items())
        # The files of tools are compared by `status`; people read their versions.
        if value not in ("", None) and key != "tool_files"
    ]
    return ["## Environment", "", *table(["", ""], rows), ""]


def _flat(value: JSON) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in sorted(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_flat(inner) for inner in value)
    return str(value)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, one line per row."""
    lines = [_line(headers), _line(["---"] * len(headers))]
    # A bar ends a cell even inside code; only there is it written with a backslash.
    lines += [_line([escape(cell).replace("|", "\\|") for cell in row]) for row in rows]
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escape(text: str) -> str:
    """Text on one line that holds no HTML and begins no block; its code spans stay as they are."""
    text = _BLOCK.sub(r"\1\\\2", visible(" ".join(text.split())))
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a lone backtick opens no code
        return "\\`".join(map(_without_html, parts))
    # Inside code spans markup means nothing, and an entity would be shown as written.
    return "`".join(part if index % 2 else _without_html(part) for index, part in enumerate(parts))


def _without_html(text: str) -> str:
    return _ENTITY.sub("&amp;", text).replace("<", "&lt;")
