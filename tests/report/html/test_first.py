"""The first screen tells a newcomer the truth, and is green only where nothing is in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivate.evidence import Check, Dimension, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger import DecisionDraft, Ledger, record_artifacts
from reactivate.report.html.report import Folders, render_report
from reactivate.report.html.sections import Stale
from tests.campaign.checklists import Part, checklist_of, started_with
from tests.report import hostile
from tests.report.html.test_report import Skeleton

CHECKLIST = checklist_of(
    Part(kind="baseline", gates={"baseline": ["stack.peak <= 1 MiB"]}),
    Part(
        kind="component", id="search",
        gates={check.value: ["stack.peak <= 1 MiB" if check is Check.BASELINE else source]
               for check, source in ((Check.BASELINE, ""), (Check.TRACE, "stack.recursion <= 9"),
                                     (Check.OVERFLOW, "overflow.crashes == 0"))},
    ),
)  # fmt: skip
SEEN_RED = ("watermark", "deepest", "smallest_stack")


class Campaign:
    """A campaign in a ledger, written event by event."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self.root, self.ledger = root, ledger
        self._say("campaign_started", started_with(CHECKLIST))

    def _say(self, kind: str, data: dict[str, object]) -> None:
        self.ledger.append(kind, "", data)

    def calibrated(self, *instruments: str) -> None:
        rows = [{"instrument": name, "trusted": True, "red": True} for name in instruments]
        self._say("calibrated", {"instruments": rows, "valid_for": {"kernel": "x"}})

    def activated(self, implementation: str) -> None:
        attempt = self.ledger.begin_attempt("search", "activate", {})
        data = {"configuration": {"search.implementation": implementation}}
        self.ledger.finish(attempt, "advanced", events=[("activated", data)])

    def checked(
        self, phase: str, check: Check, source: str, verdict: Verdict = Verdict.PASS,
        observed: float | NotMeasured = 900,
    ) -> int:  # fmt: skip
        attempt = self.ledger.begin_attempt(phase, check.value, {"kernel": "Linux"})
        folder = self.root / "results" / attempt.folder
        depth = 2_810_160 if verdict is Verdict.FAIL else 96
        frame, times = ("walk", 1_301) if verdict is Verdict.FAIL else ("loop", 1)
        hostile.write(
            folder / "deepest" / "deepest-search.json",
            {
                "operation": "search", "total_bytes": depth,
                "frames": [{"size_bytes": depth // times, "function": frame, "file": "a.c",
                            "line": 7}] * times,
            },
        )  # fmt: skip
        judged = Judgement(
            criterion=f"{phase}.{check.value}", source=source, check=check, verdict=verdict,
            observed=observed, limit=1 << 20, dimension=Dimension.BYTES, samples=3,
            operation="search", instrument="watermark", evidence="deepest/deepest-search.json",
        )  # fmt: skip
        self.ledger.finish(
            attempt,
            "refused" if verdict is Verdict.FAIL else "advanced",
            judgements=[judged],
            artifacts=record_artifacts(folder),
        )
        return attempt.id

    def decided(
        self, kind: str, phase: str = "search", attempt: int | None = None,
        criterion: str | None = None, unattended: bool = False,
    ) -> None:  # fmt: skip
        draft = DecisionDraft(
            kind=kind, phase=phase, reason="because", who="ann", attempt=attempt,
            criterion=criterion, unattended=unattended,
        )  # fmt: skip
        self.ledger.decide(draft)

    def baseline(self) -> None:
        self.checked("baseline", Check.BASELINE, "stack.peak <= 1 MiB")
        self.decided("advanced", "baseline")

    def refused(self) -> None:
        self.activated("recursive")
        attempt = self.checked(
            "search", Check.BASELINE, "stack.peak <= 1 MiB", Verdict.FAIL, 2_820_776
        )
        self.decided("refused", attempt=attempt)

    def passed(self, trace: Verdict = Verdict.PASS) -> None:
        self.checked("search", Check.BASELINE, "stack.peak <= 1 MiB")
        self.checked("search", Check.TRACE, "stack.recursion <= 9", trace)
        self.checked("search", Check.OVERFLOW, "overflow.crashes == 0")

    def complete(self, *instruments: str) -> None:
        """To its end; a refusal that was fixed by a setting is in it."""
        self.calibrated(*instruments)
        self.baseline()
        self.refused()
        self.decided("retried")
        self.activated("iterative")
        self.passed()
        self.decided("advanced")
        self.decided("completed")

    def page(self, stale: Stale | None = None, *only: str) -> tuple[str, str]:
        """The kind of the verdict, and the text of the first screen."""
        folders = Folders(
            ledger=self.root / "ledger.db",
            results=self.root / "results",
            decisions=self.root / "docs" / "decisions",
            page=self.root / "results" / "report" / "index.html",
        )
        found_stale = {} if stale is None else stale
        html = render_report(folders, components=only, stale=found_stale).html
        found = re.search(r'<div class="verdict (\w+)-side">(.*?)</div>', html, re.DOTALL)
        assert found is not None
        self.html = found[2]
        assert html.index(found[0]) < html.index("<nav"), "it is the first screen"
        return found[1], Skeleton(found[2]).text


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    with Ledger.open(tmp_path / "ledger.db", writer=True) as ledger:
        yield Campaign(tmp_path, ledger)


def test_a_whole_campaign_without_doubt_is_green_and_says_what_was_mended(
    campaign: Campaign,
) -> None:
    campaign.complete(*SEEN_RED)
    kind, text = campaign.page()
    assert kind == "good", text
    for said in (
        "UTC, and nothing is in doubt. 2 of 2 measured phases are active.",
        "search was refused (why, decision 2): stack.peak <= 1 MiB: 2.69 MiB (search) against "
        "1.00 MiB. Who used the stack: walk × 1,301 × 2,160 B, picture.",
        'Fixed by the setting search.implementation, "recursive" → "iterative": attempt 5 '
        "passed, 900 B (search) against 1.00 MiB.",
    ):
        assert said in text, (said, text)
    assert 'href="refused-0002-search.svg"' in campaign.html


def test_a_refusal_that_stands_is_red(campaign: Campaign) -> None:
    campaign.calibrated(*SEEN_RED)
    campaign.baseline()
    campaign.refused()
    kind, text = campaign.page()
    assert kind == "bad"
    assert "Refused at search. Not complete: 1 of 2 measured phases are active." in text
    assert "Not fixed: it was not measured again." in text


def test_half_way_is_for_a_person_to_look_at(campaign: Campaign) -> None:
    campaign.calibrated(*SEEN_RED)
    campaign.baseline()
    kind, text = campaign.page()
    assert kind == "look"
    assert "Not complete. 1 of 2 measured phases are active; open: search." in text
    assert "Nothing was refused." in text


def waived(campaign: Campaign) -> None:
    campaign.decided("waived", criterion="search.trace")
    campaign.checked("search", Check.TRACE, "stack.recursion <= 9", Verdict.FAIL)


def undecided(campaign: Campaign) -> None:
    nothing = NotMeasured(reason="too noisy")
    campaign.checked(
        "search", Check.TRACE, "stack.recursion <= 9", Verdict.INCONCLUSIVE, nothing
    )  # fmt: skip


def failing(campaign: Campaign) -> None:
    campaign.checked("search", Check.TRACE, "stack.recursion <= 9", Verdict.FAIL)


def interrupted(campaign: Campaign) -> None:
    campaign.ledger.begin_attempt("search", "trace", {})


def changed(campaign: Campaign) -> None:
    (campaign.root / "results/search/attempt-004/deepest/deepest-search.json").write_text("{}")


def unattended(campaign: Campaign) -> None:
    campaign.decided("confirmed", unattended=True)


def other_machine(campaign: Campaign) -> None:
    campaign._say("calibrated", {"instruments": [], "valid_for": {"kernel": "y"}})


def again(campaign: Campaign) -> None:
    campaign.refused()
    campaign.passed()
    campaign.decided("advanced")


@pytest.mark.parametrize(
    ("doubtful", "said"),
    [
        (waived, "waived: search.trace by ann: because (decision 6)"),
        (undecided, "undecided: stack.recursion <= 9 of search is inconclusive (attempt 8)"),
        (failing, "failing: stack.recursion <= 9 of search (attempt 8)"),
        (interrupted, "interrupted: attempt 8 of search, trace: running"),
        (changed, "evidence: search/attempt-004/deepest/deepest-search.json is changed"),
        (unattended, "unattended: 1 of the decisions"),
        (other_machine, "not seen red: watermark; deepest; smallest_stack"),
        (again, "passed with nothing changed: search"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_whatever_is_in_doubt_is_said_and_is_not_green(
    campaign: Campaign, doubtful: object, said: str
) -> None:
    campaign.complete(*SEEN_RED)
    assert callable(doubtful)
    doubtful(campaign)
    kind, text = campaign.page()
    assert kind == "look"
    assert "with doubts." in text
    assert said in text.partition("What is in doubt")[2], text


@pytest.mark.parametrize(
    ("stale", "said"),
    [
        ({"search": "the artifact changed"}, "stale: search: the artifact changed"),
        (NotMeasured(reason="no checklist"), "stale: cannot be told: no checklist"),
    ],
)
def test_what_is_stale_today_is_in_doubt(campaign: Campaign, stale: Stale, said: str) -> None:
    campaign.complete(*SEEN_RED)
    kind, text = campaign.page(stale)
    assert kind == "look"
    assert said in text


@pytest.mark.parametrize("seen", [("watermark",), ()])
def test_an_instrument_that_was_never_seen_red_is_in_doubt(
    campaign: Campaign, seen: tuple[str, ...]
) -> None:
    campaign.complete(*seen)
    kind, text = campaign.page()
    assert kind == "look"
    missing = "; ".join(name for name in SEEN_RED if name not in seen)
    assert f"not seen red: {missing}" in text


def test_a_part_of_a_campaign_is_not_called_complete(campaign: Campaign) -> None:
    campaign.complete(*SEEN_RED)
    campaign.checked("baseline", Check.BASELINE, "stack.peak <= 1 MiB", Verdict.FAIL)
    campaign.decided("refused", "baseline")
    kind, text = campaign.page({}, "search")
    assert kind == "good"
    assert "Active, and nothing is in doubt. 1 of 1 measured phase is active; of the other" in text
    assert "Complete" not in text
