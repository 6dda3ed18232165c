"""What `measure` and `trace` have in common: which daemon, which operations, who must be absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reactivate.errors import UsageError

if TYPE_CHECKING:
    from reactivate.run.attach import AttachedLauncher
    from reactivate.run.foreign import ForeignLauncher
    from reactivate.workload.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """The options that name a daemon.

    Attributes:
        command: what stands behind `--`.
        pid: of one that runs.
        mount: where it is, or will be, mounted.
    """

    command: tuple[str, ...]
    pid: int | None
    mount: Path | None

    @property
    def attached(self) -> bool:
        """Whether one that runs already is meant."""
        return not self.command and (self.pid is not None or self.mount is not None)

    def launcher(self) -> ForeignLauncher | AttachedLauncher:
        """What mounts it, or finds it.

        Raises:
            UsageError: the options contradict each other.
        """
        if self.command and self.pid is not None:
            raise UsageError(
                "A command line and --pid exclude each other",
                why="either the daemon is started here, or it runs already",
                hint="leave one of them out",
            )
        if self.command:
            from reactivate.run.foreign import ForeignLauncher

            return ForeignLauncher(self.command, mountpoint=self.mount)
        from reactivate.run.attach import attach

        return attach(self.pid, self.mount)

    def again(self) -> str:
        """The same daemon as the end of a command line."""
        import shlex

        mount = "" if self.mount is None else f" --mount {shlex.quote(str(self.mount))}"
        pid = "" if self.pid is None else f" --pid {self.pid}"
        command = f" -- {shlex.join(self.command)}" if self.command else ""
        return f"{pid}{mount}{command}"


def workload_again(suites: Sequence[str], script: Path | None) -> str:
    """The same operations as options of a command line."""
    import shlex

    named = "".join(f" --suite {shlex.quote(suite)}" for suite in suites)
    return named if script is None else f"{named} --workload {shlex.quote(str(script))}"


def chosen_operations(
    suites: Sequence[str], script: Path | None, *, default: Sequence[str], deadline_seconds: float
) -> tuple[Operation, ...]:
    """The operations of the suites, or a script as the only one.

    Raises:
        UsageError: both, an unknown suite, or a script that cannot be run.
    """
    if script is not None:
        if suites:
            raise UsageError(
                "--suite and --workload exclude each other",
                why="a script is a workload of its own",
                hint="leave one of them out",
            )
        from reactivate.run.script import script_operation

        return (script_operation(script, deadline_seconds=deadline_seconds),)
    from reactivate.tomlfile import nearest
    from reactivate.workload.suites import SUITES, operations

    for suite in suites:
        if suite not in SUITES:
            raise UsageError(
                f"there is no suite `{suite}`{nearest(suite, list(SUITES))}",
                why=f"suites: {', '.join(SUITES)}",
                hint="`posix` works on every filesystem.",
            )
    return operations(suites or default)


def positive(value: float, option: str) -> None:
    """Refuse zero, negative numbers and what is no number.

    Raises:
        UsageError: it is not more than 0.
    """
    if not value > 0:
        raise UsageError(f"{option} must be more than 0, not {value:g}")
