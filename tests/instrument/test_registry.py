"""Which instruments a check arms."""

from __future__ import annotations

import pytest

from reactivate.evidence import Check
from reactivate.gate import crosscheck
from reactivate.instrument.contract import Configurable
from reactivate.instrument.registry import INSTRUMENTS, ON_DEMAND, instrument, instruments_of
from reactivate.metrics import COMPUTED, METRICS
from reactivate.run.overflow.measured import METRICS as PROVOKED

ALWAYS = ["growth", "lifecycle", "deepest"]


def armed(check: Check, *metrics: str) -> list[str]:
    return [made.name for made in instruments_of(check, metrics=metrics)]


@pytest.mark.parametrize(
    ("metrics", "more"),
    [
        ((), []),
        (("stack.frame", "stack.peak"), []),
        (("memory.leaked",), ["memcheck"]),
        (("memory.errors", "memory.leaked"), ["memcheck"]),
        (("stack.massif",), ["massif"]),
        (
            ("perf.faults", "memory.errors", "stack.massif_operation"),
            ["perf", "massif", "memcheck"],
        ),
    ],
)
def test_slow_ones_are_armed_only_for_their_metrics(
    metrics: tuple[str, ...], more: list[str]
) -> None:
    assert armed(Check.TRACE, *metrics) == ALWAYS + more


def test_other_checks_never_arm_them() -> None:
    assert not set(ON_DEMAND) & set(armed(Check.BASELINE, "perf.faults", "memory.leaked"))
    assert armed(Check.OVERFLOW, "stack.massif") == ["smallest_stack"]


def test_every_metric_has_its_instrument() -> None:
    for name in INSTRUMENTS:
        made = instrument(name)
        assert made.name == name
        for metric in made.measures:
            assert METRICS[metric].instrument in (name, "procfs"), metric
    measured = {metric for name in INSTRUMENTS for metric in instrument(name).measures}
    # Where independent depths are compared, all instruments have spoken already; scenarios set
    # the conditions themselves.
    provoked = {metric for metric in METRICS if METRICS[metric].instrument == "scenarios"}
    assert provoked < set(PROVOKED)
    assert measured | provoked | {crosscheck.METRIC} == set(METRICS)
    # Only what no instrument measures needs none that was seen red.
    assert {metric.instrument for metric in METRICS.values()} - set(INSTRUMENTS) == COMPUTED


def test_those_with_a_file_of_their_own_can_be_configured() -> None:
    configurable = {n for n in INSTRUMENTS if isinstance(instrument(n), Configurable)}
    assert configurable == {"growth", *ON_DEMAND}
