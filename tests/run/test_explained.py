"""A death says under which stack it came, whether there is a call chain of it or not."""

from __future__ import annotations

from dataclasses import replace

from reactivate.campaign.wording import chain_lines
from reactivate.evidence import Address
from reactivate.instrument.chain import Chain, Frame
from reactivate.instrument.death import Cause, DeathKind
from reactivate.run.overflow.explained import explanation_of
from reactivate.run.overflow.result import Ending, StepResult
from reactivate.workload.scenario_model import Restart, Step

STEP = Step(
    number=1, parameter="", value=None, stack_limit_bytes=8192, order=(), calls=(),
    configuration={}, cycles=1, restart=Restart.NONE, faults=None,
)  # fmt: skip
FRAME = Frame(
    function="main", file="", line=0, module="d", offset=1, sp=Address(0x1000), size_bytes=64
)
CHAIN = Chain(frames=[FRAME], deepest=Address(0x1000), start=Address(0x1040), top=Address(0x1100))


def test_with_and_without_a_chain_it_begins_alike() -> None:
    cause = Cause(kind=DeathKind.OVERFLOW, text="stack overflow", thread="main", chain=CHAIN)
    died = StepResult(
        step=STEP, ending=Ending.DIED, text=cause.text, seconds=0.1, during="mount", cause=cause
    )
    bare = replace(cause, chain=None, chain_missing="the program had not begun")
    heads = [chain_lines(explanation_of(replace(died, cause=c), "e.json")) for c in (cause, bare)]
    assert [lines[0] for lines in heads] == [
        "died during `mount`: stack 8,192 B: stack overflow"
    ] * 2
    assert heads[1][1] == "no call chain of `mount`: the program had not begun"
