"""Switched by a value of the daemon's file: `setting = { key = "vectors.enabled", on = true }`.

The user's file is never changed: the daemon gets a copy of the tool's own, comments kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from reactivate.target.switches.contract import Effect, Setting, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingSwitch:
    """Gives a key one value while the component is on and another while it is off.

    Attributes:
        key: `SECTION.KEY`, or `KEY`; the file must have it.
        on: the value with the component.
        off: the value without it.
    """

    key: str
    on: Setting
    off: Setting

    @property
    def way(self) -> Way:
        """See `Switch`."""
        return Way.CONFIGURATION

    def effect(self, *, on: bool) -> Effect:
        """See `Switch`."""
        return Effect(settings={self.key: self.on if on else self.off})

    def shown(self) -> str:
        """See `Switch`."""
        return f"{self.key} = {self.on!r} / {self.off!r}"
