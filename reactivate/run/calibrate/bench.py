"""One instrument on the obedient daemon, by the contract that every check uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from reactivate.documents import read_json
from reactivate.evidence import Measurement
from reactivate.instrument.contract import Bench, Configurable, Instrument
from reactivate.run.calibrate.programs import Obedient, Programs
from reactivate.workload.operation import Operation


class Listener:
    """A reporter that only hears alerts: a part of a calibration is too short to be told about."""

    def __init__(self) -> None:
        self.alerts: list[str] = []

    def advance(self, done: int, total: int, doing: str) -> None:
        """Ignore."""

    def alert(self, text: str) -> None:
        """Remember."""
        self.alerts.append(text)


class Turns:
    """Runs that may be beside each other, and runs that want the machine for themselves."""

    def __init__(self) -> None:
        self._changed = trio.Condition()
        self._beside = 0
        self._alone = False

    @asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait until it may begin; the body is the run."""
        async with self._changed:
            while self._alone or (alone and self._beside):
                await self._changed.wait()
            self._alone, self._beside = alone, self._beside + (not alone)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                async with self._changed:
                    self._alone, self._beside = False, self._beside - (not alone)
                    self._changed.notify_all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What calibrating an instrument needs.

    Attributes:
        programs: compiled.
        mounts: folder for mount points while a daemon runs.
        evidence: existing folder for the evidence of all instruments.
        configs: settings files of the workspace.
        twin: folder of a mounted daemon that no instrument looks at.
        turns: who runs when.
    """

    programs: Programs
    mounts: Path
    evidence: Path
    configs: Path
    twin: Path
    turns: Turns = field(default_factory=Turns)

    async def measure(
        self,
        instrument: Instrument,
        operations: Sequence[Operation],
        run: str,
        *,
        optimised: str = "O2",
        thread: bool = False,
        listener: Listener | None = None,
        metrics: Collection[str] | None = None,
        timed: bool = False,
        **settings: float | int | str,
    ) -> tuple[Measurement, ...]:
        """Let an instrument measure these operations.

        Args:
            instrument: as made by the registry.
            operations: what to drive.
            run: name of this run, for the folder of its evidence.
            optimised: how the daemon was compiled.
            thread: it serves on a second thread.
            listener: hears its alerts.
            metrics: see `Bench.metrics`.
            timed: the overhead is told from this run; nothing of ours runs beside it.
            settings: in place of the instrument's table of configs/instruments.toml.
        """
        if isinstance(instrument, Configurable):
            instrument.configure(self.configs)
        folder = self.folder(instrument.name, run)
        folder.mkdir(parents=True)
        daemon = Obedient(
            self.programs.path("obedient", optimised), self.mounts, thread=thread
        )  # fmt: skip
        async with self.turns.turn(alone=timed):
            return await instrument.measure(
                Bench(
                    subject=daemon,
                    operations=operations,
                    folder=folder,
                    reporter=listener or Listener(),
                    evidence_prefix=f"{instrument.name}/{run}/",
                    settings=settings,
                    metrics=metrics,
                )
            )

    def folder(self, instrument: str, run: str) -> Path:
        """Where the evidence of a run lies."""
        return self.evidence / instrument / run

    def read(self, instrument: str, run: str, file: str) -> Any:
        """An evidence file, parsed."""
        return read_json(self.folder(instrument, run) / file)
