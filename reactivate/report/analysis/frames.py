"""Call chains at the deepest point, held against another build's: who appeared, who grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from reactivate.documents import tables, text, whole
from reactivate.evidence import NotMeasured
from reactivate.ledger.records import AttemptRecord
from reactivate.places import format_place
from reactivate.report.analysis.evidence import Evidence
from reactivate.report.analysis.markup import code, prose, table
from reactivate.units import format_bytes, format_count

_MOST_ROWS = 8
_DEEPEST = "deepest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one function has of a call chain.

    Attributes:
        bytes: of all its frames.
        frames: how many.
        place: where in the source, "" if unknown.
        least: bytes of the smallest of these frames.
        most: bytes of the largest.
    """

    bytes: int
    frames: int
    place: str
    least: int = 0
    most: int = 0

    @property
    def times(self) -> str:
        """`1,301 × 2,160 B`; of frames that are not alike the smallest and the largest."""
        each = f"{self.most:,} B"
        if self.least != self.most:
            each = f"{self.least:,} to {self.most:,} B"
        return f"{self.frames:,} × {each}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFacts:
    """The call chain at the deepest point of an operation, by function.

    Attributes:
        operation: its name.
        path: the evidence file, relative to the attempt's folder.
        total_bytes: from the thread's start to the deepest point.
        shares: by function; frames without bytes of their own are left out.
        runs: name, place, bytes and number of frames, from the thread's start to the deepest
            point; neighbours of the same function are one.
    """

    operation: str
    path: str
    total_bytes: int
    shares: Mapping[str, Share]
    runs: tuple[tuple[str, Share], ...] = ()


def read_chains(
    evidence: Evidence, attempt: AttemptRecord | None
) -> dict[str, ChainFacts | NotMeasured]:
    """The chains of an attempt by operation; what could not be read says why."""
    if attempt is None:
        return {}
    if attempt.id not in evidence.chains:
        evidence.chains[attempt.id] = _read(evidence, attempt)
    return dict(evidence.chains[attempt.id])


def _read(evidence: Evidence, attempt: AttemptRecord) -> dict[str, ChainFacts | NotMeasured]:
    found: dict[str, ChainFacts | NotMeasured] = {}
    for path in evidence.paths(attempt, _DEEPEST, "deepest-"):
        document = evidence.document(attempt, path)
        name = PurePath(path).stem.removeprefix("deepest-")
        if isinstance(document, NotMeasured):
            found[name] = document
            continue
        facts = _facts(document, path)
        found[name if isinstance(facts, NotMeasured) else facts.operation] = facts
    return found


def _facts(document: Mapping[str, Any], path: str) -> ChainFacts | NotMeasured:
    missing = document.get("not_measured")
    if isinstance(missing, str):
        return NotMeasured(reason=missing)
    try:
        shares: dict[str, Share] = {}
        runs: list[tuple[str, Share]] = []
        for frame in tables(document, "frames"):
            size = whole(frame, "size_bytes")
            if not size:
                continue
            name = text(frame, "function") or _code_place(frame)
            file = text(frame, "file")
            place = format_place(f"{file}:{whole(frame, 'line')}") if file else ""
            shares[name] = _more(shares.get(name), size, place)
            if runs and runs[-1][0] == name:
                runs[-1] = name, _more(runs[-1][1], size, place)
            else:
                runs.append((name, Share(bytes=size, frames=1, place=place)))
        return ChainFacts(
            operation=text(document, "operation"),
            path=path,
            total_bytes=whole(document, "total_bytes"),
            shares=shares,
            runs=tuple(reversed(runs)),
        )
    except ValueError as error:
        return NotMeasured(reason=f"{path} is no call chain: {error}")


def _more(share: Share | None, size_bytes: int, place: str) -> Share:
    if share is None:
        return Share(bytes=size_bytes, frames=1, place=place, least=size_bytes, most=size_bytes)
    return Share(
        bytes=share.bytes + size_bytes,
        frames=share.frames + 1,
        place=place,
        least=min(share.least, size_bytes),
        most=max(share.most, size_bytes),
    )


def _code_place(frame: Mapping[str, Any]) -> str:
    module = text(frame, "module")
    return f"{PurePath(module).name}+{whole(frame, 'offset'):#x}" if module else "?"


def frames_section(
    evidence: Evidence,
    now: AttemptRecord | None,
    then: AttemptRecord | None,
    *,
    title: str,
    missing_now: str,
    missing_then: str,
) -> list[str]:
    """Per operation, the functions that appeared or grew since another attempt.

    Args:
        evidence: where chains are read.
        now: the attempt that is described.
        then: what it is held against.
        title: of the section.
        missing_now: why there is no `now`, if so.
        missing_then: why there is no `then`, if so.
    """
    lines = [f"## {title}", ""]
    chains = read_chains(evidence, now)
    if now is None or not chains:
        why = missing_now if now is None else f"attempt {now.id} has no call chain on record"
        return [*lines, f"Not measured: {prose(why)}.", ""]
    earlier = read_chains(evidence, then)
    for operation, chain in sorted(chains.items()):
        lines += [f"### {code(operation)}", ""]
        if isinstance(chain, NotMeasured):
            lines += [f"Not measured: {prose(chain.reason)}.", ""]
            continue
        source = evidence.cite(now, chain.path)
        lines += [f"{format_bytes(chain.total_bytes)} from the thread's start; {source}.", ""]
        other = earlier.get(operation)
        if then is None or other is None:
            why = missing_then if then is None else "it has no chain of this operation"
            lines += [f"Not comparable: {prose(why)}. The largest:", ""]
            lines += _largest(chain.shares)
        elif isinstance(other, NotMeasured):
            lines += [f"Not comparable: {prose(other.reason)}. The largest:", ""]
            lines += _largest(chain.shares)
        else:
            lines += [f"Against {evidence.cite(then, other.path)}:", ""]
            lines += _grown(chain.shares, other.shares)
    return lines


def _largest(shares: Mapping[str, Share]) -> list[str]:
    ordered = sorted(shares.items(), key=lambda pair: (-pair[1].bytes, pair[0]))
    rows = [
        [code(name), format_bytes(s.bytes), format_count(s.frames), code(s.place)]
        for name, s in ordered[:_MOST_ROWS]
    ]
    return _with_rest(["function", "bytes", "frames", "place"], rows, len(ordered))


def _grown(now: Mapping[str, Share], then: Mapping[str, Share]) -> list[str]:
    nothing = Share(bytes=0, frames=0, place="")
    changes = [(s.bytes - then.get(n, nothing).bytes, n, s) for n, s in now.items()]
    more = sorted((c for c in changes if c[0] > 0), key=lambda c: (-c[0], c[1]))
    less = sum(
        s.bytes - now.get(n, nothing).bytes
        for n, s in then.items()
        if s.bytes > now.get(n, nothing).bytes
    )
    gained = sum(c[0] for c in more)
    lines = [
        f"{len(more):,} functions appeared or grew by {format_bytes(gained)} together; "
        f"others shrank or went by {format_bytes(less)}.",
        "",
    ]
    rows = [
        [
            code(name),
            "grew" if name in then else "appeared",
            f"+{format_bytes(by)}",
            format_bytes(share.bytes),
            _frames(share.frames, then.get(name, nothing).frames),
            code(share.place),
        ]
        for by, name, share in more[:_MOST_ROWS]
    ]
    if rows:
        headers = ["function", "", "by", "bytes", "frames", "place"]
        lines += _with_rest(headers, rows, len(more))
    return lines


def _frames(now: int, then: int) -> str:
    return format_count(now) if now == then else f"{format_count(now)} (were {format_count(then)})"


def _with_rest(headers: Sequence[str], rows: list[list[str]], total: int) -> list[str]:
    lines = table(headers, rows)
    return (
        [*lines, f"{total - len(rows):,} smaller ones are left out.", ""]
        if (total > len(rows))
        else lines
    )
