"""Switched by arguments of the daemon: `arguments = ["--vectors"]`."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.target.switches.contract import Effect, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsSwitch:
    """Appends arguments while the component is on."""

    arguments: tuple[str, ...]

    @property
    def way(self) -> Way:
        """See `Switch`."""
        return Way.ARGUMENTS

    def effect(self, *, on: bool) -> Effect:
        """See `Switch`."""
        return Effect(arguments=self.arguments if on else ())

    def shown(self) -> str:
        """See `Switch`."""
        return " ".join(self.arguments)
