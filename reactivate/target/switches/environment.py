"""Switched by variables of the daemon: `environment = { VECTORS = "1" }`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reactivate.target.switches.contract import Effect, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSwitch:
    """Sets variables while the component is on; they are not there while it is off."""

    variables: Mapping[str, str]

    @property
    def way(self) -> Way:
        """See `Switch`."""
        return Way.ENVIRONMENT

    def effect(self, *, on: bool) -> Effect:
        """See `Switch`."""
        return Effect(environment=dict(self.variables) if on else {})

    def shown(self) -> str:
        """See `Switch`."""
        return " ".join(f"{name}={value}" for name, value in self.variables.items())
