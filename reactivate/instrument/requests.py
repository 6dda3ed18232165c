"""What the request tracer counted, by opcode. Pure: text in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reactivate.errors import MeasurementError
from reactivate.instrument import bpftrace_json
from reactivate.instrument.opcodes import WITHOUT_ANSWER, everyday, opcode_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Requests that took from `low_ns` to `high_ns`, inclusive."""

    low_ns: int
    high_ns: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcodeRow:
    """All requests of one opcode.

    Attributes:
        opcode: `LOOKUP`.
        sent: requests sent while counting.
        answered: of those, the ones that were answered.
        waiting: requests without an answer at the end, also from before the counting.
        errors: answers by errno, positive.
        longest_ns: longest life of an answered request; 0 if none was answered.
        latency: histogram with powers of two.
    """

    opcode: str
    sent: int
    answered: int
    waiting: int
    errors: Mapping[int, int]
    longest_ns: int
    latency: tuple[Bucket, ...]

    @property
    def failed(self) -> int:
        """Answers with an error that is not an everyday one."""
        return sum(n for error, n in self.errors.items() if not everyday(self.opcode, error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Everything the tracer counted.

    Attributes:
        rows: by opcode, in the protocol's order.
        unseen_ends: requests that were counted, are not waiting, and whose end was not seen:
            more were under way at once than the tracer can hold. 0 in a sound trace.
    """

    rows: tuple[OpcodeRow, ...]
    unseen_ends: int

    @property
    def total(self) -> int:
        """Requests sent while counting."""
        return sum(row.sent for row in self.rows)

    @property
    def unanswered(self) -> int:
        """Requests without an answer that should have one."""
        return sum(row.waiting for row in self.rows if row.opcode not in WITHOUT_ANSWER)

    @property
    def failed(self) -> int:
        """Answers with an error that is not an everyday one."""
        return sum(row.failed for row in self.rows)


@bpftrace_json.well_formed()
def parse_requests(lines: Iterable[str]) -> Requests:
    """Read the maps that `fuse_requests.bt` prints at its end, in bpftrace's JSON form.

    Raises:
        MeasurementError: the maps are not there: the tracer ended before its end; or they are
            of another form.
    """
    maps: dict[str, Any] = {}
    for event in bpftrace_json.events(lines):
        if event.get("type") in ("map", "hist"):
            maps.update(event["data"])
    if "@requests" not in maps:
        raise MeasurementError(
            "the request tracer saw no request after its start",
            why="the workload sent none, or the tracer was ended from outside",
            hint="run the same step again",
        )
    return _requests(maps)


def _requests(maps: Mapping[str, Any]) -> Requests:
    waiting: dict[int, int] = {}
    for opcode in maps.get("@waiting", {}).values():
        waiting[int(opcode)] = waiting.get(int(opcode), 0) + 1
    sent, answered = maps["@requests"], maps.get("@answered", {})
    longest, histograms = maps.get("@longest_ns", {}), maps.get("@latency_ns", {})
    errors: dict[int, dict[int, int]] = {}
    for key, count in maps.get("@errors", {}).items():
        opcode, error = (int(part) for part in key.split(","))
        errors.setdefault(opcode, {})[abs(error)] = int(count)
    rows = tuple(
        OpcodeRow(
            opcode=opcode_name(number),
            sent=int(sent.get(str(number), 0)),
            answered=int(answered.get(str(number), 0)),
            waiting=waiting.get(number, 0),
            errors=dict(sorted(errors.get(number, {}).items())),
            longest_ns=int(longest.get(str(number), 0)),
            latency=_buckets(histograms.get(str(number), [])),
        )
        for number in sorted({*map(int, sent), *waiting})
    )
    before = len(maps.get("@before", {}))
    under_way = sum(waiting.values()) - before
    ends = sum(row.answered for row in rows)
    return Requests(rows=rows, unseen_ends=sum(row.sent for row in rows) - ends - under_way)


def _buckets(data: list[Mapping[str, int]]) -> tuple[Bucket, ...]:
    return tuple(
        Bucket(low_ns=int(b.get("min", 0)), high_ns=int(b["max"]), count=int(b["count"]))
        for b in data
        if b.get("count")
    )
