"""Switched by a change of the source: `patch = "configs/patches/vectors.patch"`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reactivate.target.switches.contract import Effect, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSwitch:
    """Applies a patch to the tool's own copy of the source while the component is on."""

    path: Path

    @property
    def way(self) -> Way:
        """See `Switch`."""
        return Way.PATCH

    def effect(self, *, on: bool) -> Effect:
        """See `Switch`."""
        return Effect(patches=(self.path,) if on else ())

    def shown(self) -> str:
        """See `Switch`."""
        return self.path.name
