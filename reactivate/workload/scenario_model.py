"""What a scenario is, and the steps that it stands for. Data only; nothing is read or mounted."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from reactivate.errors import UsageError
from reactivate.target.model import BackingFault
from reactivate.units import format_bytes
from reactivate.workload.exercises.contract import Exercise, Value, Values

Setting = str | int | float | bool
"""A value of the target's configuration, or one of a sweep."""

PLACEHOLDER = "{value}"
"""Stands for the swept value, as the whole of a text."""


class Category(StrEnum):
    """Why a scenario exists."""

    LARGE_VECTORS = "large_vectors"
    DEEP_GRAPH_TRAVERSAL = "deep_graph_traversal"
    INITIALISATION = "initialisation"
    STRESS = "stress"
    BASELINE = "baseline"


class Expectation(StrEnum):
    """What every step must do; the opposite is the failure."""

    SURVIVES = "survives"
    OVERFLOWS = "overflows"


class Restart(StrEnum):
    """What happens after the exercises."""

    NONE = "none"
    KILL = "kill"
    """SIGKILL, a mount on the same backing folder, and a look at what was acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackLimit:
    """A limit as written; exactly one of the two numbers is set.

    Attributes:
        text: as in the file.
        size_bytes: an absolute limit.
        share: a part of the limit that this process has.
    """

    text: str
    size_bytes: int | None = None
    share: float | None = None

    def resolve(self, inherited_bytes: int | None) -> int:
        """The limit in bytes.

        Raises:
            UsageError: a share of a limit that does not exist.
        """
        if self.size_bytes is not None:
            return self.size_bytes
        if inherited_bytes is None:
            raise UsageError(
                f"a stack limit of {self.text} means nothing here",
                why="this process has no stack limit to take a part of",
                hint="set one first: ulimit -s 8192",
            )
        return int(inherited_bytes * (self.share or 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a scenario may use; None is as inherited.

    Attributes:
        stack: each step runs under each of them.
        memory_bytes: of the daemon and its children together.
        processes: at most so many at a time.
        file_size_bytes: of any one file that the daemon writes.
        seconds: for one step, mounts included.
    """

    stack: tuple[StackLimit, ...]
    memory_bytes: int | None = None
    processes: int | None = None
    file_size_bytes: int | None = None
    seconds: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One exercise with its parameters; a text `{value}` stands for the swept value."""

    exercise: Exercise
    values: Values

    @property
    def needs(self) -> tuple[str, ...]:
        """Components that must be on for it."""
        return self.exercise.needs(self.values)

    def filled(self, value: Setting | None) -> Call:
        """With the swept value in its places."""
        return Call(exercise=self.exercise, values=_filled_values(self.values, value))

    def described(self) -> str:
        """`search(vectors=1300, ef=800)`: only what differs from the defaults."""
        known = self.exercise.parameters
        chosen = [f"{k}={_shown(v)}" for k, v in self.values.items() if v != known[k].default]
        return f"{self.exercise.name}({', '.join(chosen)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One parameter, step by step.

    Attributes:
        parameter: its name in tables and charts.
        values: all of them, in order.
        reduced: those of the reduced set; some of `values`, in their order.
    """

    parameter: str
    values: tuple[Setting, ...]
    reduced: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong on purpose.

    Attributes:
        backing: with the folder below the filesystem; None: nothing.
        after_bytes: how much can be written there before it begins.
        configuration: settings of the first mount only; it must refuse them in order (end by
            itself, with a status other than 0, by no signal).
        recovers: mounted with the fault first, where it may refuse in order; then without, on
            the same backing folder, and the exercises are done there. Without this the
            exercises are done under the fault.
    """

    backing: BackingFault | None = None
    after_bytes: int | str = 0
    configuration: Mapping[str, Setting] = field(default_factory=dict)
    recovers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One mount, or one series of mounts, under one stack limit. Everything is filled in.

    Attributes:
        number: from 1, over all steps of the run.
        parameter: name of what is swept; "" without a sweep.
        value: the swept value; None without a sweep.
        stack_limit_bytes: RLIMIT_STACK of the daemon.
        order: components in the order in which they are to be started; () is the target's.
        calls: the exercises, in order.
        configuration: settings of the target that differ, by `SECTION.KEY`.
        cycles: how many times it is mounted, exercised and unmounted.
        restart: what happens after the exercises of the last cycle.
        faults: what is wrong; None: nothing.
    """

    number: int
    parameter: str
    value: Setting | None
    stack_limit_bytes: int
    order: tuple[str, ...]
    calls: tuple[Call, ...]
    configuration: Mapping[str, Setting]
    cycles: int
    restart: Restart
    faults: Faults | None

    @property
    def label(self) -> str:
        """`ef 800, stack 8.00 MiB`: what tells it from its neighbours."""
        parts = [f"{self.parameter} {_shown(self.value)}"] if self.value is not None else []
        if self.order:
            parts.append(" → ".join(self.order))
        return ", ".join((*parts, f"stack {format_bytes(self.stack_limit_bytes)}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """configs/scenarios/NAME.toml, validated.

    Attributes:
        name: the file's name without `.toml`.
        path: the file.
        sha256: of the file's bytes: what evidence is bound to.
        title: one line for people.
        category: why it exists.
        components: what must be on; () means that it works on the minimal build too.
        expect: what every step must do.
        calls: the exercises, in order.
        sweep: None for one step.
        limits: of every step.
        configuration: settings of the target; `{value}` stands for the swept value.
        cycles: mounts per step, or `{value}`.
        restart: what happens after the exercises.
        orders: orders in which components are started; () is the target's only.
        faults: what is wrong; None: nothing.
    """

    name: str
    path: Path
    sha256: str
    title: str
    category: Category
    components: tuple[str, ...]
    expect: Expectation
    calls: tuple[Call, ...]
    sweep: Sweep | None
    limits: Limits
    configuration: Mapping[str, Setting]
    cycles: int | str
    restart: Restart
    orders: tuple[tuple[str, ...], ...]
    faults: Faults | None

    def runs_with(self, enabled: frozenset[str] | set[str]) -> bool:
        """Whether everything it needs is on."""
        return set(self.components) <= enabled

    def steps(
        self, reduced: bool = False, *, inherited_stack_bytes: int | None = None
    ) -> tuple[Step, ...]:
        """Every combination of stack limit, order and swept value, the value changing fastest.

        Args:
            reduced: only the values of the reduced set.
            inherited_stack_bytes: what shares are parts of; this process's soft limit if None.

        Raises:
            UsageError: a share of a limit that does not exist.
        """
        whole = inherited_stack_bytes or _own_stack_limit_bytes()
        swept: tuple[Setting | None, ...] = (None,)
        if self.sweep is not None:
            swept = self.sweep.reduced if reduced else self.sweep.values
        combinations = [
            (limit.resolve(whole), order, value)
            for limit in self.limits.stack
            for order in self.orders or ((),)
            for value in swept
        ]
        return tuple(
            self._step(number, limit, order, value)
            for number, (limit, order, value) in enumerate(combinations, 1)
        )

    def _step(
        self, number: int, limit_bytes: int, order: tuple[str, ...], value: Setting | None
    ) -> Step:
        return Step(
            number=number,
            parameter=self.sweep.parameter if self.sweep else "",
            value=value,
            stack_limit_bytes=limit_bytes,
            order=order,
            calls=tuple(call.filled(value) for call in self.calls),
            configuration=_filled_settings(self.configuration, value),
            cycles=_whole(self.cycles, value),
            restart=self.restart,
            faults=self._faults(value),
        )

    def _faults(self, value: Setting | None) -> Faults | None:
        if self.faults is None:
            return None
        return Faults(
            backing=self.faults.backing,
            after_bytes=_whole(self.faults.after_bytes, value),
            configuration=_filled_settings(self.faults.configuration, value),
            recovers=self.faults.recovers,
        )


def _filled_values(values: Values, value: Setting | None) -> Values:
    filled: dict[str, Value] = {}
    for name, present in values.items():
        filled[name] = value if present == PLACEHOLDER and value is not None else present
    return filled


def _filled_settings(
    settings: Mapping[str, Setting], value: Setting | None
) -> Mapping[str, Setting]:
    return {
        name: value if present == PLACEHOLDER and value is not None else present
        for name, present in settings.items()
    }


def _whole(number: int | str, value: Setting | None) -> int:
    # The loader has made sure that a swept value in this place is a whole number.
    return int(value if number == PLACEHOLDER and value is not None else number)


def _own_stack_limit_bytes() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return None if soft == resource.RLIM_INFINITY else soft


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"{value}"
