"""Risks taken on record, each for one criterion as it read when the risk was taken."""

from __future__ import annotations

from collections.abc import Collection

from reactivate.campaign.states import Waiver
from reactivate.checklist.model import Checklist

_Key = tuple[str, str]
"""A criterion's id and source."""


class Waivers:
    """The waivers of a campaign.

    Attributes:
        in_force: by criterion. The same table for the whole of a campaign.
    """

    def __init__(self, checklist: Checklist) -> None:
        self.in_force: dict[str, Waiver] = {}
        self._given: dict[_Key, Waiver] = {}
        self._sources = _sources(checklist)

    def give(self, waiver: Waiver) -> None:
        """A risk is taken for a criterion of the checklist."""
        self.in_force[waiver.criterion] = waiver
        self._given[waiver.criterion, self._sources[waiver.criterion]] = waiver

    def forget(self, phases: Collection[str]) -> None:
        """Whatever was waived in these phases is not any more."""
        self._keep({k: w for k, w in self._given.items() if w.phase not in phases})

    def follow(self, checklist: Checklist, phases: Collection[str]) -> None:
        """Another edition: in force is what was given for a criterion that reads as it does now.

        Args:
            phases: the phases that go on from the edition before.
        """
        self._sources = _sources(checklist)
        self._keep(
            {
                key: waiver
                for key, waiver in self._given.items()
                if waiver.phase in phases and _phase_of(waiver.criterion) in phases
            }
        )

    def _keep(self, given: dict[_Key, Waiver]) -> None:
        self._given = given
        self.in_force.clear()
        self.in_force.update(
            (name, waiver)
            for (name, source), waiver in given.items()
            if self._sources.get(name) == source
        )


def _sources(checklist: Checklist) -> dict[str, str]:
    return {c.id: c.source for phase in checklist.phases for c in phase.criteria}


def _phase_of(criterion: str) -> str:
    return criterion.partition(".")[0]
