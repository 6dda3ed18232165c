"""Switched by what the build is told: `feature = "vectors"`, for `{features}`."""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.target.switches.contract import Effect, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSwitch:
    """Names a feature of the build while the component is on."""

    feature: str

    @property
    def way(self) -> Way:
        """See `Switch`."""
        return Way.BUILD

    def effect(self, *, on: bool) -> Effect:
        """See `Switch`."""
        return Effect(features=(self.feature,) if on else ())

    def shown(self) -> str:
        """See `Switch`."""
        return self.feature
