"""What can be measured and asked for in a criterion: the names, their units and their source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reactivate.evidence import Bound, Check, Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A name that a criterion may use.

    Attributes:
        name: dotted name, e.g. `stack.peak`.
        dimension: what the number counts.
        checks: the checks in which an instrument produces it.
        instrument: the instrument that produces it.
        meaning: one line for `reactivate checklist metrics`.
        per_operation: whether a value exists for each named operation.
        asks: the bound that the metric itself asks for. A `Bound.LOWER` value of a metric that
            asks for a lower bound is the whole answer, not a part of it.
    """

    name: str
    dimension: Dimension
    checks: frozenset[Check]
    instrument: str
    meaning: str
    per_operation: bool = False
    asks: Bound = Bound.EXACT


_ALL = frozenset(Check)
_BASELINE = frozenset({Check.BASELINE})
_TRACE = frozenset({Check.TRACE})
_OVERFLOW = frozenset({Check.OVERFLOW})

# fmt: off
_TABLE = (
    # name, dimension, checks, instrument, per operation,
    #   meaning
    ("stack.peak", Dimension.BYTES, _BASELINE, "watermark", True,
     "deepest byte written, counted from the top of the thread's stack mapping"),
    ("stack.operation", Dimension.BYTES, _BASELINE, "watermark", True,
     "deepest byte written, counted from the idle stack pointer: what the operation takes"),
    ("stack.idle", Dimension.BYTES, _BASELINE, "watermark", False,
     "depth of the sleeping thread, from the top of its stack mapping"),
    ("stack.limit", Dimension.BYTES, _ALL, "procfs", False,
     "how deep the thread's stack can become"),
    ("rss.idle", Dimension.BYTES, _BASELINE, "memory", False,
     "resident memory after the mount, before the first operation"),
    ("rss.peak", Dimension.BYTES, _BASELINE, "memory", False,
     "largest resident memory during the workload"),
    ("faults.minor", Dimension.COUNT, _BASELINE, "memory", False,
     "page faults during the workload that needed no disk"),
    ("faults.major", Dimension.COUNT, _BASELINE, "memory", False,
     "page faults during the workload that waited for a disk"),
    ("latency.p50", Dimension.NANOSECONDS, _BASELINE, "latency", True,
     "median duration of an operation as its caller sees it"),
    ("latency.p99", Dimension.NANOSECONDS, _BASELINE, "latency", True,
     "99th percentile of an operation's duration as its caller sees it"),
    ("growth.depth", Dimension.BYTES, _TRACE, "growth", False,
     "deepest stack page touched during the workload, from the top of the mapping"),
    ("growth.pages", Dimension.COUNT, _TRACE, "growth", False,
     "stack pages touched for the first time during the workload"),
    ("growth.alerts", Dimension.COUNT, _TRACE, "growth", False,
     "first touches beyond 75 % of the thread's limit, or earlier if configs/ebpf.toml says so"),
    ("growth.kernel_pages", Dimension.COUNT, _TRACE, "growth", False,
     "of those pages, the ones that the kernel touched for the thread in a system call"),
    ("growth.reach", Dimension.BYTES, _TRACE, "growth", False,
     "no operation was deeper below the idle stack pointer, for all that was touched, to the page"),
    ("requests.total", Dimension.COUNT, _TRACE, "lifecycle", False,
     "FUSE requests that the kernel sent to the daemon"),
    ("requests.unanswered", Dimension.COUNT, _TRACE, "lifecycle", False,
     "FUSE requests still without an answer after the workload"),
    ("requests.errors", Dimension.COUNT, _TRACE, "lifecycle", False,
     "FUSE requests answered with an error other than a failed lookup"),
    ("memory.mapped", Dimension.BYTES, _TRACE, "lifecycle", False,
     "bytes that mmap, brk and mremap gave the daemon during one round of the workload"),
    ("memory.large_allocations", Dimension.COUNT, _TRACE, "lifecycle", False,
     "allocations of 1 MiB or more through the C library during one round of the workload"),
    ("stack.recursion", Dimension.COUNT, _TRACE, "deepest", True,
     "most frames of one function in the call chain at the deepest point"),
    ("stack.frame", Dimension.BYTES, _TRACE, "deepest", True,
     "largest single frame in the call chain at the deepest point"),
    ("stack.attributed", Dimension.RATIO, _TRACE, "deepest", True,
     "share of the bytes above the deepest point that belong to a known frame"),
    ("stack.painted", Dimension.BYTES, _TRACE, "deepest", True,
     "as stack.operation, in the one repetition before the call chain is caught"),
    ("stack.unwound", Dimension.BYTES, _TRACE, "deepest", True,
     "bytes of all known frames in the call chain at the deepest point, below idle"),
    ("stack.disagreement", Dimension.BYTES, _TRACE, "deepest", True,
     "by how much paint, unwound frames, growth, watermark and massif contradict each other"),
    ("stack.massif", Dimension.BYTES, _TRACE, "massif", False,
     "all stacks together at massif's deepest snapshot, from the first stack pointer"),
    ("stack.massif_operation", Dimension.BYTES, _TRACE, "massif", False,
     "all stacks together at massif's deepest snapshot, below where they were idle"),
    ("memory.leaked", Dimension.BYTES, _TRACE, "memcheck", False,
     "bytes allocated through the artifact and lost when the daemon ended"),
    ("memory.errors", Dimension.COUNT, _TRACE, "memcheck", False,
     "places in or below the artifact that use memory wrongly"),
    ("perf.faults", Dimension.COUNT, _TRACE, "perf", False,
     "page faults of the daemon during the workload, its threads and children included"),
    ("perf.context_switches", Dimension.COUNT, _TRACE, "perf", False,
     "context switches of the daemon during the workload"),
    ("perf.cpu", Dimension.NANOSECONDS, _TRACE, "perf", False,
     "processor time of the daemon during the workload"),
    ("perf.rss_growth", Dimension.BYTES, _TRACE, "perf", False,
     "how far the peak of resident memory is above what was resident before the workload"),
    ("perf.cache_misses", Dimension.COUNT, _TRACE, "perf", False,
     "accesses that no cache answered, where the processor counts them"),
    ("perf.bandwidth", Dimension.BYTES, _TRACE, "perf", False,
     "bytes between memory and the whole processor meanwhile, where its controller counts them"),
    ("perf.attributed", Dimension.RATIO, _TRACE, "perf", False,
     "share of the sampled page faults whose function is known"),
    ("overflow.crashes", Dimension.COUNT, _OVERFLOW, "smallest_stack", True,
     "deaths of the daemon: under the workload with a quarter of its stack, in each scenario"),
    ("overflow.reproduced", Dimension.COUNT, _OVERFLOW, "smallest_stack", False,
     "deaths proven to be stack overflows below the smallest stack: the red test of this gate"),
    ("overflow.hangs", Dimension.COUNT, _OVERFLOW, "scenarios", True,
     "steps of a scenario that were not finished in time"),
    ("overflow.lost", Dimension.COUNT, _OVERFLOW, "scenarios", True,
     "files that were acknowledged as kept, and gone or changed after a restart"),
    ("stack.margin", Dimension.RATIO, _OVERFLOW, "scenarios", True,
     "least share of its stack limit that a scenario left free; 0 where a step overflowed"),
    ("stack.growth", Dimension.BYTES, _OVERFLOW, "scenarios", True,
     "by how much the stack deepens when the largest value of a scenario's sweep is doubled"),
    ("stack.minimum", Dimension.BYTES, _OVERFLOW, "smallest_stack", False,
     "least stack limit with which the workload survives"),
)
# fmt: on

# Page faults see pages: "at least this deep" is what these metrics mean. Page granularity, not a
# doubt about the value.
_ASKS = {
    "growth.depth": Bound.LOWER,
    "growth.pages": Bound.LOWER,
    "growth.kernel_pages": Bound.LOWER,
    "growth.alerts": Bound.LOWER,
    "growth.reach": Bound.UPPER,
    # The least limit that was tried and survived: a yet smaller one may do, and is not asked for.
    "stack.minimum": Bound.UPPER,
    # Pages are seen, so what is left free is at least so much.
    "stack.margin": Bound.LOWER,
}

BUILT_IN_METRICS: dict[str, Metric] = {
    name: Metric(
        name=name,
        dimension=dimension,
        checks=checks,
        instrument=instrument,
        per_operation=per_operation,
        meaning=meaning,
        asks=_ASKS.get(name, Bound.EXACT),
    )
    for name, dimension, checks, instrument, per_operation, meaning in _TABLE
}


COMPUTED = frozenset({"procfs", "scenarios"})
"""Where built-in metrics come from that no instrument measures, so that none can be seen red."""


class _Metrics(Mapping[str, Metric]):
    """Those that are built in, and behind them those that other distributions bring.

    The latter are looked for only when a name is not built in, or all are wanted.
    """

    def __getitem__(self, name: str) -> Metric:
        found = BUILT_IN_METRICS.get(name)
        return _brought()[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN_METRICS
        yield from _brought()

    def __len__(self) -> int:
        return len(BUILT_IN_METRICS) + len(_brought())


def _brought() -> dict[str, Metric]:
    from reactivate.extensions import extensions

    found, _ = extensions()
    return {metric.name: metric for extension in found for metric in extension.metrics}


METRICS: Mapping[str, Metric] = _Metrics()
