"""The contract of all instruments: what one gets, what it says of itself, what it returns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from reactivate.evidence import Bound, Measurement, Role
from reactivate.target.model import Launcher
from reactivate.workload.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether an instrument can work here.

    Attributes:
        ready: True only if a measurement would succeed now.
        detail: "ready (bpftrace 0.17.0)" or the precise reason why not.
        hint: the command that mends it, "" if ready or if nothing does.
    """

    ready: bool
    detail: str
    hint: str = ""


class Reporter(Protocol):
    """Where an instrument says how far it is; silent when nobody watches."""

    def advance(self, done: int, total: int, doing: str) -> None:
        """`done` of `total` steps are finished; `doing` names the present one."""

    def alert(self, text: str) -> None:
        """A person should see this now, not at the end. May be called from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What an instrument works on.

    Attributes:
        subject: mounts the build under test.
        references: mounts other builds, for instruments that compare builds in one run.
        operations: what to drive, in order.
        folder: existing folder for evidence files of this instrument.
        evidence_prefix: what to put before a file's name in `Measurement.evidence`
            so that it is relative to the attempt's folder, e.g. "watermark/".
        settings: the instrument's table of configs/instruments.toml.
        reporter: progress.
        times: how many times as often as usual each operation is repeated; the integration of
            all components runs for longer.
        metrics: those that somebody asks for; None: all. What costs a run of its own and is
            not among them may be `NotMeasured`, with that as the reason.
    """

    subject: Launcher
    operations: Sequence[Operation]
    folder: Path
    reporter: Reporter
    evidence_prefix: str = ""
    references: Mapping[Role, Launcher] = field(default_factory=dict)
    settings: Mapping[str, float | int | str] = field(default_factory=dict)
    times: int = 1
    metrics: Collection[str] | None = None


@runtime_checkable
class Configurable(Protocol):
    """An instrument with a settings file of its own, beside configs/instruments.toml."""

    def configure(self, configs: Path) -> None:
        """Read and check the file; called before anything of the check is started.

        Args:
            configs: the workspace's folder of that name. No file means the defaults.

        Raises:
            ConfigurationError: with file and line of every fault.
            MissingToolError: the tool whose options are checked does not run.
        """


class Instrument(Protocol):
    """One way to measure."""

    name: ClassVar[str]
    """As in `Measurement.instrument`."""
    measures: ClassVar[tuple[str, ...]]
    """The metrics it produces."""
    bound: ClassVar[Bound]
    """Which bound its main number gives."""
    needs: ClassVar[tuple[str, ...]]
    """What it needs, in words for `doctor`: "ptrace access to the daemon"."""
    cost: ClassVar[str]
    """What it costs the measured operation, in words."""

    def availability(self) -> Availability:
        """Probe this machine; never raises, changes nothing that stays."""

    async def measure(self, bench: Bench) -> tuple[Measurement, ...]:
        """Mount what it needs, drive the operations, and return what was measured.

        Every metric of `measures` is in the result for every operation it applies to, as a
        value or as `NotMeasured` with the reason. At least one evidence file is written.

        Raises:
            ReactivateError: the target or the machine broke; nothing of it is a PASS.
        """
