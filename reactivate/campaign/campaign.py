"""A campaign in a workspace: each call does exactly one thing and puts it on record.

The machine is rebuilt from the ledger's events for every call; what a step did is written in one
transaction; a step that does not end leaves an attempt that the next call finds interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reactivate.campaign import calibrated, commands, measuring, recording, wording
from reactivate.campaign.advice import heading
from reactivate.campaign.criteria import (
    gate_criteria,
    left_out,
    require_passable,
)
from reactivate.campaign.deciding import (
    advance,
    configuration_now,
    gate_decision,
    refused_environment,
)
from reactivate.campaign.events import EventKind
from reactivate.campaign.machine import replay
from reactivate.campaign.measuring import Ground, Stage, stage_of
from reactivate.campaign.outcome import Command, Line, Outcome, StepReport
from reactivate.campaign.passage import Passage
from reactivate.campaign.states import Complete, Step, StepKind, Waiting
from reactivate.checklist.parse import load
from reactivate.errors import (
    ComponentNotEnabledError,
    LedgerError,
    MeasurementError,
    ReactivateError,
    UsageError,
)
from reactivate.evidence import Verdict
from reactivate.instrument.contract import Reporter
from reactivate.ledger.records import JSON, AttemptRecord, DecisionDraft
from reactivate.ledger.store import Ledger
from reactivate.report.logged import require_own_log
from reactivate.target.config import load_target, target_path
from reactivate.target.configuration import settings_of
from reactivate.target.reap import reap
from reactivate.trust import require_no_links
from reactivate.workspace import Workspace

_GONE = "the process that ran it ended before it was recorded"


@contextmanager
def opened(workspace: Workspace) -> Iterator[Campaign]:
    """Open the workspace's campaign for writing; removes what a killed call left behind.

    Raises:
        LedgerLockedError: another call is writing.
        ChecklistError, ConfigurationError: nothing was run.
        LedgerTamperedError: the decision log is not this ledger's; nothing was written.
    """
    with grounded(workspace) as (ground, recovered):
        yield Campaign(ground, recovered=recovered)


@contextmanager
def grounded(workspace: Workspace, *, decides: bool = True) -> Iterator[tuple[Ground, list[Line]]]:
    """What steps stand on, open for writing, and what a killed call had left; see `opened`.

    Args:
        workspace: of the campaign.
        decides: whether something may be decided. If not, a new ledger may begin beside a decision
            log that is there already, as in a fresh clone of a campaign: nothing is written to it.
    """
    require_no_links(workspace)
    settings = workspace.settings()
    checklist = load(settings.checklist)
    require_passable(checklist)
    spec = load_target(target_path(workspace, settings.target))
    # Whatever is wrong in there is told before anything is built; it reads the whole file.
    workspace.instrument_settings("watermark")
    _same_components(checklist.components, tuple(c.id for c in spec.components), spec.name)
    if decides or workspace.ledger.exists():
        require_own_log(workspace.ledger, workspace.decisions)
    with Ledger.open(workspace.ledger, writer=True) as ledger:
        removed = reap(workspace)
        interrupted = ledger.interrupt_open_attempts(_GONE)
        ground = Ground(workspace=workspace, checklist=checklist, spec=spec, ledger=ledger)
        edited = recording.follow_checklist(ground)
        recording.complete_log(ground)
        yield ground, [*wording.recovered(interrupted, removed), *edited]


def _same_components(asked: Sequence[str], known: Sequence[str], target: str) -> None:
    missing = [component for component in asked if component not in known]
    if missing:
        raise UsageError(
            f"The target {target} has no component {', '.join(missing)}",
            why=f"the checklist asks for it; the target has: {', '.join(known) or 'none'}",
            hint="correct the checklist, or name another target in configs/campaign.toml",
        )


class Campaign:
    """One passage through a checklist, open for writing."""

    def __init__(self, ground: Ground, *, recovered: Sequence[Line] = ()) -> None:
        self._ground = ground
        self._recovered = list(recovered)

    # What a person decides

    def confirm(self, items: Sequence[str], *, everything: bool, who: str) -> StepReport:
        """Confirm items that are for people.

        Raises:
            UsageError: none named, unknown, or not open now.
        """
        passage = self._passage()
        chosen = commands.items_to_confirm(passage, items, everything=everything)
        self._confirm(passage, chosen, who=who, unattended=False)
        count = "1 item" if len(chosen) == 1 else f"{len(chosen)} items"
        return self._recorded(passage, f"{count} confirmed by {who}.")

    def retry(self, *, who: str, reason: str = "") -> StepReport:
        """Begin a refused or rolled back component again, after a fix.

        Args:
            who: on whose behalf.
            reason: what was mended; "" records what is seen to have changed.
        """
        passage = self._passage()
        phase = commands.require_retry(passage)
        refused = refused_environment(self._ground, phase)
        seen = wording.seen_change(refused, configuration_now(self._ground, refused))
        self._decide(EventKind.RETRIED, phase, reason=reason.strip() or seen.reason, who=who)
        return self._recorded(
            passage,
            f"{phase} is built and proven again, then all of its checks run again.{seen.hint}",
        )

    def waive(self, criterion: str, *, reason: str, who: str) -> StepReport:
        """Take the risk of one failed criterion."""
        passage = self._passage()
        phase, identity = commands.require_waive(passage, criterion, reason)
        self._decide(EventKind.WAIVED, phase, reason=reason, who=who, criterion=identity)
        return self._recorded(passage, f"{identity} is waived by {who}: {reason}")

    def roll_back(self, *, reason: str, who: str) -> StepReport:
        """Switch a component off again."""
        passage = self._passage()
        phase = commands.require_rollback(passage, reason)
        self._decide(EventKind.ROLLED_BACK, phase, reason=reason, who=who)
        return self._recorded(passage, f"{phase} is off again: {reason}")

    # What the tool does by itself

    def announcement(self) -> tuple[str, str]:
        """Heading of the next step and what it will do; empty if that takes no time to see."""
        return wording.announcement(self._passage())

    def step(self, *, who: str, yes: bool, reporter: Reporter) -> StepReport:
        """Perform exactly one step.

        Args:
            who: on whose behalf, for the record.
            yes: confirm open items unattended, then perform the step they held up.

        Raises:
            ReactivateError: the step broke; that is on record, and the state did not move.
        """
        passage = self._passage()
        step = passage.next_step()
        confirmed: list[Line] = []
        if isinstance(step, Waiting) and step.items and yes:
            self._confirm(passage, [i.id for i in step.items], who=who, unattended=True)
            confirmed = [
                Line(label="confirm", text=i.text, result="unattended") for i in step.items
            ]
            passage = self._passage()
            step = passage.next_step()
        lines = [*self._take_recovered(), *confirmed]
        match step:
            case Waiting():
                return wording.waiting(self._ground.checklist, step, lines)
            case Complete():
                return wording.complete(self._ground.checklist, lines)
            case Step(kind=StepKind.PREPARE):
                return self._prepare(step, lines)
            case Step(kind=StepKind.ACTIVATE):
                return self._activate(step, lines)
            case Step(kind=StepKind.CHECK):
                return self._check(passage, step, lines, reporter)
            case Step(kind=StepKind.DOCUMENT):
                return self._document(passage, step, lines, who)
            case _:
                return self._complete(passage, lines, who)

    # One method per step

    def _prepare(self, step: Step, lines: list[Line]) -> StepReport:
        recording.append(self._ground, EventKind.PREPARED, step.phase, {})
        return self._advanced(step, lines, "Everything before it is confirmed.")

    def _activate(self, step: Step, lines: list[Line]) -> StepReport:
        ground, stage = self._ground, self._stage(step.phase)
        attempt = ground.ledger.begin_attempt(
            step.phase, "activate", measuring.environment_of(ground, stage.phase, None)
        )
        with self._on_record(attempt, "step", "activate"):
            done = measuring.enable(ground, stage)
        witness = "; ".join(done.witnesses.values())
        recording.finish(
            ground,
            attempt,
            Outcome.ADVANCED.value,
            events=[
                (
                    EventKind.ACTIVATED,
                    {
                        "artifact_sha256": done.build.artifact_sha256,
                        "configuration_sha256": done.build.configuration_sha256,
                        "configuration": settings_of(
                            ground.spec.configuration, done.build.components
                        ),
                        "components": list(done.build.components),
                        "build_facts": measuring.build_facts(done.build),
                        "witness": witness,
                        "witnesses": dict(done.witnesses),
                        "previous_artifact_sha256": (
                            "" if done.previous is None else done.previous.artifact_sha256
                        ),
                    },
                )
            ],
            environment=measuring.environment_of(ground, stage.phase, done.build),
        )
        lines += wording.activation_lines(done)
        lines += wording.same_build(refused_environment(ground, step.phase), done.build)
        return self._advanced(step, lines, wording.enabled(stage, done))

    def _check(
        self, passage: Passage, step: Step, lines: list[Line], reporter: Reporter
    ) -> StepReport:
        ground, stage = self._ground, self._stage(step.phase)
        assert step.check is not None
        criteria = gate_criteria(ground.checklist, stage.phase, step.check)
        waived = frozenset(passage.waivers)
        instruments = calibrated.leant_on(measuring.asked(criteria))
        unknown = calibrated.standing(ground.ledger).without(instruments)
        if ground.workspace.settings().calibration_required:
            calibrated.require(unknown)
        attempt = ground.ledger.begin_attempt(
            step.phase,
            step.check.value,
            measuring.environment_of(ground, stage.phase, None),
        )
        with self._on_record(attempt, "check", step.check.value):
            done = measuring.check(
                ground, stage, step.check, criteria, attempt, reporter, waived=waived
            )
        events, decisions, outcome = gate_decision(step, done, waived, uncalibrated=unknown)
        recording.finish(
            ground,
            attempt,
            outcome.value,
            events=events,
            measurements=done.run.measurements,
            judgements=done.judgements,
            decisions=decisions,
            environment=measuring.environment_of(ground, stage.phase, done.build),
        )
        lines += wording.check_lines(done)
        unjudged = left_out(ground.checklist, stage.phase, step.check)
        return StepReport(
            phase=step.phase,
            heading=heading(step),
            outcome=outcome,
            lines=tuple(lines),
            check=step.check,
            judgements=done.judgements,
            summary=wording.verdict(done, step, outcome, waived, unjudged, uncalibrated=unknown),
            commands=self._commands(),
            folder=f"results/{attempt.folder}/",
            explanation=done.explanation,
        )

    def _document(self, passage: Passage, step: Step, lines: list[Line], who: str) -> StepReport:
        recording.decide(self._ground, advance(self._ground, passage, step.phase, who))
        return self._advanced(step, lines, f"{step.phase} is active.")

    def _complete(self, passage: Passage, lines: list[Line], who: str) -> StepReport:
        recording.decide(
            self._ground,
            DecisionDraft(
                kind="completed",
                phase="",
                reason="every phase is active",
                who=who,
                context={"summary": wording.completion(passage)},
                event=(EventKind.CAMPAIGN_COMPLETED, {"who": who}),
            ),
        )
        return wording.complete(self._ground.checklist, lines)

    # Small things

    def _passage(self) -> Passage:
        return replay(self._ground.ledger.events(), now=self._ground.checklist)

    def _stage(self, phase_id: str) -> Stage:
        return stage_of(self._ground.checklist, phase_id)

    def _confirm(
        self, passage: Passage, items: Sequence[str], *, who: str, unattended: bool
    ) -> None:
        phase = passage.current
        texts = {item.id: item.text for item in passage.open_items}
        recording.decide(
            self._ground,
            DecisionDraft(
                kind="confirmed",
                phase=phase,
                reason="items of the checklist for people",
                who=who,
                unattended=unattended,
                context={"items": [texts[item] for item in items]},
                event=(
                    EventKind.ITEMS_CONFIRMED,
                    {"items": list(items), "who": who, "unattended": unattended},
                ),
            ),
        )

    def _decide(
        self, kind: EventKind, phase: str, *, reason: str, who: str, criterion: str | None = None
    ) -> None:
        data: dict[str, JSON] = {"who": who, "reason": reason}
        if criterion is not None:
            data["criterion"] = criterion
        refusals = self._ground.ledger.decisions(phase=phase, kind="refused")
        recording.decide(
            self._ground,
            DecisionDraft(
                kind=kind.value,
                phase=phase,
                reason=reason,
                who=who,
                criterion=criterion,
                attempt=refusals[-1].attempt if refusals else None,
                event=(kind, data),
            ),
        )

    @contextmanager
    def _on_record(self, attempt: AttemptRecord, key: str, name: str) -> Iterator[None]:
        """A step that breaks is recorded as such before its error goes on."""
        ledger = self._ground.ledger
        try:
            yield
        except LedgerError:
            raise
        except ReactivateError as error:
            verdict = _verdict_of(error)
            recording.finish(
                self._ground,
                attempt,
                verdict.value,
                events=[
                    (
                        EventKind.INCONCLUSIVE,
                        {
                            key: name,
                            "outcome": verdict.value,
                            "reason": f"{error.what}: {error.why}" if error.why else error.what,
                        },
                    )
                ],
            )
            raise
        except BaseException:
            ledger.interrupt_open_attempts("interrupted, or a bug ended it")
            raise

    def _advanced(self, step: Step, lines: Sequence[Line], summary: str) -> StepReport:
        return StepReport(
            phase=step.phase,
            heading=heading(step),
            outcome=Outcome.ADVANCED,
            lines=tuple(lines),
            summary=summary,
            commands=self._commands(),
        )

    def _recorded(self, before: Passage, summary: str) -> StepReport:
        return StepReport(
            phase=before.current,
            heading=f"{before.current} · on record",
            outcome=Outcome.RECORDED,
            lines=self._take_recovered(),
            summary=summary,
            commands=self._commands(),
        )

    def _commands(self) -> tuple[Command, ...]:
        return wording.commands(self._passage())

    def _take_recovered(self) -> tuple[Line, ...]:
        lines = tuple(self._recovered)
        self._recovered.clear()
        return lines


def _verdict_of(error: ReactivateError) -> Verdict:
    if isinstance(error, ComponentNotEnabledError):
        return Verdict.INVALID
    if isinstance(error, MeasurementError):
        return Verdict.INCONCLUSIVE
    return Verdict.ERROR
