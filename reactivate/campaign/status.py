"""Where a campaign stands, from ledger and checklist alone: no target, no build, no mount."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reactivate.campaign.states import Waiver
from reactivate.evidence import Measurement, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStatus:
    """One line of `status`.

    Attributes:
        state: the phase's state, `active`, `refused`, `pending`, …
        worst: the largest stack peak that was measured for it, None if none was.
        limit_bytes: the limit of the thread of `worst`, None if not measured.
        verdicts: how many criteria have which verdict in the latest run of each check.
        stale: why its evidence no longer describes what is there, "" if it does.
    """

    id: str
    kind: str
    state: str
    worst: Measurement | None
    limit_bytes: int | None
    verdicts: Mapping[Verdict, int]
    waived: int
    stale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStatus:
    """All that `status` shows.

    Attributes:
        open_items: items for people that are open now, as (id, text).
        failed: failed criteria of the current refusal.
        waivers: every risk that is taken now, in the order of taking.
        calibrated: what the latest calibration is worth now, in one line.
        verified: how the newest verification ended, in one line; "" if there was none.
        evidence: folder of the latest attempt, relative to the workspace, "" if none.
        head: digest of the ledger's chain up to now, "" if nothing is on record. It is what the
            ledger says; only `ledger verify` recomputes it.
    """

    title: str
    target: str
    state: str
    current: str
    since: str
    done: int
    total: int
    phases: tuple[PhaseStatus, ...]
    open_items: tuple[tuple[str, str], ...]
    failed: tuple[str, ...]
    waivers: tuple[Waiver, ...]
    interrupted: int
    calibrated: str
    verified: str
    evidence: str
    events: int
    measurements: int
    head: str
    next_command: str
