"""Call chains as folded stacks weighted by bytes, for programs that draw flame graphs.

A line is the frames from the thread's start to one frame, separated by `;`, and that frame's own
bytes. The lines of an operation add up to all bytes that belong to a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reactivate.evidence import Check, NotMeasured
from reactivate.ledger.records import AttemptRecord
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.scenarios import read_by_hand, read_scenarios, tables, whole
from reactivate.report.analysis.shape import Shape, latest
from reactivate.texts import visible

_MOST_ROWS = 512
"""Each line repeats all frames above its own; of longer chains the middle is one frame."""
Row = tuple[str, int]


def folded_export(evidence: Evidence, shape: Shape, missing: list[str]) -> Iterator[str]:
    """Lines of the newest call chains of every phase, and of the deaths in scenarios.

    Args:
        evidence: where the chains are read.
        shape: the phases.
        missing: gets a sentence for each chain that could not be read.
    """
    for phase in shape.phases:
        attempt = latest(evidence.reader, phase.id, Check.TRACE)
        if attempt is not None:
            yield from _chains(evidence, attempt, missing)
    by_hand = [
        # What the ledger says of it has the chain as text only.
        replace(each, content=evidence.document(each.attempt, each.path))
        for each in read_by_hand(evidence)
        if each.newest
    ]
    for scenario in (*read_scenarios(evidence), *by_hand):
        if isinstance(scenario.content, NotMeasured):
            missing.append(scenario.content.reason)
            continue
        for step in scenario.steps if scenario.newest else ():
            death = step.get("death")
            chain = death.get("chain") if isinstance(death, Mapping) else None
            if isinstance(chain, Mapping):
                place = "by hand" if scenario.by_hand else scenario.attempt.phase
                roots = [place, f"death in {scenario.name} {step.get('label')}"]
                yield from stack_lines(roots, _rows(chain))


def _chains(evidence: Evidence, attempt: AttemptRecord, missing: list[str]) -> Iterator[str]:
    for path in evidence.paths(attempt, "deepest", "deepest-"):
        document = evidence.document(attempt, path)
        if isinstance(document, NotMeasured):
            missing.append(document.reason)
        elif isinstance(reason := document.get("not_measured"), str):
            missing.append(f"{attempt.folder}/{path}: {reason}")
        else:
            roots = [attempt.phase, str(document.get("operation"))]
            roots.append(f"thread {document.get('thread')}")
            yield from stack_lines(roots, _rows(document))


def _rows(chain: Mapping[str, Any]) -> list[Row]:
    """The folded rows of a chain, innermost first, with what was left out of it."""
    rows = [
        (str(row.get("location")), size)
        for row in tables(chain, "folded")
        if (size := whole(row.get("size_bytes"))) is not None and size >= 0
    ]
    left_out = whole(chain.get("left_out_rows")) or 0
    if left_out:
        # The evidence keeps both ends, equally many rows of each.
        name = f"({left_out:,} rows are not in the evidence)"
        rows.insert(len(rows) // 2, (name, whole(chain.get("left_out_bytes")) or 0))
    return rows


def stack_lines(roots: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Folded lines of one chain.

    Args:
        roots: frames of no bytes above it: what it is the chain of.
        rows: names and bytes, innermost first.
    """
    outermost = list(reversed(rows))
    if len(outermost) > _MOST_ROWS:
        half = _MOST_ROWS // 2
        middle = outermost[half:-half]
        merged = f"({len(middle):,} rows)", sum(size for _, size in middle)
        outermost = [*outermost[:half], merged, *outermost[-half:]]
    stack = [_frame(root) for root in roots]
    for name, size in outermost:
        stack.append(_frame(name))
        if size:
            yield f"{';'.join(stack)} {size}\n"


def _frame(name: str) -> str:
    # A semicolon would begin another frame, and a line may not hold a line end.
    return visible(name).replace(";", ":").strip() or "?"
