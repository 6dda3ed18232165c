"""Overflow scenarios and smallest stacks: of overflow checks, and of runs by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reactivate.evidence import Check, NotMeasured
from reactivate.ledger.origin import by_hand
from reactivate.ledger.provoked import provoked_notes
from reactivate.ledger.records import AttemptRecord, AttemptStatus
from reactivate.places import format_place
from reactivate.report.analysis.evidence import Evidence

_FOLDER = "scenarios"
_SMALLEST = "smallest_stack"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFacts:
    """One scenario of one attempt.

    Attributes:
        attempt: the overflow check that ran it, or the run by hand.
        newest: whether that is the newest finished overflow check of its phase; by hand, the newest
            run of this scenario with the same components.
        path: the evidence file, relative to the attempt's folder.
        content: the document, or why it cannot be believed; by hand, what the ledger says, which
            stands whatever became of the file.
    """

    attempt: AttemptRecord
    newest: bool
    path: str
    content: Mapping[str, Any] | NotMeasured

    @property
    def by_hand(self) -> bool:
        """Whether somebody ran it by hand, so that it counts for no gate."""
        return by_hand(self.attempt.phase)

    @property
    def name(self) -> str:
        """The scenario's name."""
        if isinstance(self.content, NotMeasured):
            return self.path.removeprefix(f"{_FOLDER}/").removesuffix(".json")
        return str(self.content.get("scenario", self.path))

    @property
    def components(self) -> tuple[str, ...]:
        """What was on."""
        return () if isinstance(self.content, NotMeasured) else _names(self.content, "components")

    @property
    def steps(self) -> tuple[Mapping[str, Any], ...]:
        """Its steps, as the document has them."""
        return () if isinstance(self.content, NotMeasured) else tables(self.content, "steps")

    @property
    def laws(self) -> tuple[Mapping[str, Any], ...]:
        """How the stack grew with the swept value, for each stack limit."""
        return () if isinstance(self.content, NotMeasured) else tables(self.content, "growth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One death of the daemon that is on record.

    Attributes:
        attempt: the check in which it died.
        path: the evidence file, relative to the attempt's folder.
        where: the scenario and step, or the limit that was tried.
        provoked: whether it was asked for: the search for the smallest stack, or a scenario
            that expects it.
        kind: of the death, as the autopsy says.
        text: what it died of.
        cause: the class of the cause, "" where the chain proves none.
        place: where in the source the class points to, or "".
        bytes: that the class is about; 0 where there is none.
        proof: by what the class is proven.
        chain: the folded call chain as text; only of a run by hand.
        newest: see `ScenarioFacts`.
        components: what was on, () where the evidence does not say.
    """

    attempt: AttemptRecord
    path: str
    where: str
    provoked: bool
    kind: str
    text: str
    cause: str = ""
    place: str = ""
    bytes: int = 0
    proof: str = ""
    chain: tuple[str, ...] = ()
    newest: bool = True
    components: tuple[str, ...] = ()

    @property
    def by_hand(self) -> bool:
        """Whether somebody provoked it by hand."""
        return by_hand(self.attempt.phase)


def overflow_attempts(evidence: Evidence) -> tuple[AttemptRecord, ...]:
    """Every finished overflow check, oldest first."""
    return tuple(
        attempt
        for attempt in evidence.reader.attempts(status=AttemptStatus.FINISHED)
        if attempt.step == Check.OVERFLOW.value
    )


def read_scenarios(evidence: Evidence) -> tuple[ScenarioFacts, ...]:
    """All scenarios of all overflow checks, oldest first."""
    attempts = overflow_attempts(evidence)
    newest = {attempt.phase: attempt.id for attempt in attempts}
    return tuple(
        ScenarioFacts(
            attempt=attempt,
            newest=newest[attempt.phase] == attempt.id,
            path=path,
            content=evidence.document(attempt, path),
        )
        for attempt in attempts
        for path in evidence.paths(attempt, _FOLDER)
    )


def read_by_hand(evidence: Evidence) -> tuple[ScenarioFacts, ...]:
    """All scenarios that were run by hand, oldest first, as the ledger has them."""
    found: list[ScenarioFacts] = []
    newest: dict[tuple[str, str, tuple[str, ...]], int] = {}
    for event in provoked_notes(evidence.reader):
        if event.attempt is None or not by_hand(event.phase):
            continue
        attempt = evidence.reader.attempt(event.attempt)
        path = str(event.data.get("evidence", ""))
        each = ScenarioFacts(
            attempt=attempt,
            newest=True,
            path=path if path in evidence.checks(attempt) else "",
            content=event.data,
        )
        found.append(each)
        newest[attempt.phase, each.name, each.components] = attempt.id
    return tuple(
        replace(
            each, newest=newest[each.attempt.phase, each.name, each.components] == each.attempt.id
        )
        for each in found
    )


def read_deaths(evidence: Evidence, scenarios: Sequence[ScenarioFacts]) -> tuple[Death, ...]:
    """All deaths on record, those of scenarios first."""
    found = [*scenario_deaths(scenarios)]
    for attempt in overflow_attempts(evidence):
        for path in evidence.paths(attempt, _SMALLEST):
            document = evidence.document(attempt, path)
            if not isinstance(document, NotMeasured):
                found += _search_deaths(attempt, path, document)
    return tuple(found)


def scenario_deaths(scenarios: Sequence[ScenarioFacts]) -> tuple[Death, ...]:
    """The deaths in the steps of scenarios."""
    return tuple(death for each in scenarios for death in _scenario_deaths(each))


def _scenario_deaths(scenario: ScenarioFacts) -> Iterator[Death]:
    expected = (
        not isinstance(scenario.content, NotMeasured)
        and scenario.content.get("expect") != "survives"
    )
    for step in scenario.steps:
        death = step.get("death")
        if not isinstance(death, Mapping):
            continue
        chain = death.get("chain")
        found = step.get("classification")
        known: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        yield Death(
            attempt=scenario.attempt,
            path=scenario.path,
            where=f"{scenario.name}: {step.get('label', '')}",
            provoked=expected,
            kind=str(death.get("kind", "")),
            text=str(death.get("text", "")),
            cause=str(known.get("kind", "")),
            place=format_place(str(known.get("place", ""))),
            bytes=whole(known.get("bytes")) or 0,
            proof=str(known.get("evidence", "")),
            chain=tuple(str(line) for line in chain) if isinstance(chain, list) else (),
            newest=scenario.newest,
            components=scenario.components,
        )


def _search_deaths(
    attempt: AttemptRecord, path: str, document: Mapping[str, Any]
) -> Iterator[Death]:
    least = whole(document.get("least_surviving_bytes"))
    for run in tables(document, "runs"):
        death = run.get("death")
        limit = whole(run.get("limit_bytes"))
        if isinstance(death, Mapping):
            yield Death(
                attempt=attempt,
                path=path,
                where="smallest stack: unknown limit"
                if limit is None
                else f"smallest stack: {limit:,} bytes",
                # Below the smallest stack dying is what is looked for; above it, it is not.
                provoked=limit is not None and (least is None or limit < least),
                kind=str(death.get("kind", "")),
                text=str(death.get("text", "")),
            )


def tables(document: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], ...]:
    """The tables of a list in a document; nothing for anything else."""
    value = document.get(key)
    return tuple(x for x in value if isinstance(x, Mapping)) if isinstance(value, list) else ()


def whole(value: object) -> int | None:
    """A whole number of a document, zero or more, or None."""
    return value if type(value) is int and value >= 0 else None


def _names(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = document.get(key)
    return tuple(str(each) for each in value) if isinstance(value, list) else ()
