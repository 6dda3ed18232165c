"""Reports of a verification: whatever is in it, the XML is XML and the Markdown says it."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reactivate.errors import ExitCode
from reactivate.evidence import Check, Dimension, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.report.junit import junit
from reactivate.report.summary import MOST_CHARACTERS, headline, summary
from reactivate.report.verified import Ending, Gate, Verified

FAILED = Judgement(
    criterion="search.baseline.stack.peak",
    source="stack.peak <= 25% of stack.limit",
    check=Check.BASELINE,
    verdict=Verdict.FAIL,
    observed=2_819_240,
    limit=2_097_152,
    dimension=Dimension.BYTES,
    samples=25,
    operation="search",
    thread="main",
    reason="2 of 17 compared fail",
)
OPEN = replace(
    FAILED,
    criterion="search.baseline.rss.peak",
    source="rss.peak <= 1 MiB",
    verdict=Verdict.ERROR,
    observed=NotMeasured(reason="nobody looked"),
    reason="rss.peak was not measured",
)
PASSED = replace(FAILED, criterion="x", source="stack.idle <= 1 MiB", verdict=Verdict.PASS)
REFUSED = Gate(
    phase="search",
    check="baseline",
    ending=Ending.REFUSED,
    seconds=2.5,
    judgements=(PASSED, FAILED, OPEN),
    before={FAILED.criterion: "11.6 KiB (attempt 4)"},
    chain=("depth size", "2,818,344 8 next_open"),
    culprit="walk × 1,301: 2,810,160 bytes",
    folder="results/search/attempt-005/",
)
PROVEN = Gate(phase="search", check="activation", ending=Ending.VERIFIED, seconds=0.5)
BROKEN = Gate(
    phase="late", check="activation", ending=Ending.BROKEN, seconds=0.1, trouble="cc is missing"
)
FOUND = Verified(
    number=1,
    target="model",
    commit="0123456789abcdef+",
    at="2026-01-02 03:04:05",
    environment={"kernel": "Linux 6", "cpu": "one"},
    seconds=3.2,
    gates=(PROVEN, REFUSED, BROKEN),
)


def ended(*endings: Ending) -> Verified:
    return replace(FOUND, gates=tuple(replace(PROVEN, ending=ending) for ending in endings))


def test_what_weighs_most_is_the_exit_code() -> None:
    assert FOUND.exit_code == ExitCode.REFUSED
    assert ended(Ending.INCONCLUSIVE, Ending.BROKEN).exit_code == ExitCode.ENVIRONMENT
    assert ended(Ending.VERIFIED, Ending.INCONCLUSIVE).exit_code == ExitCode.INCONCLUSIVE
    assert ended(Ending.VERIFIED).exit_code == ExitCode.DONE
    # Nothing measured, and nobody says why: that proves nothing.
    assert ended().exit_code == ExitCode.INCONCLUSIVE
    assert replace(ended(), unchanged="as before").exit_code == ExitCode.DONE


def test_junit_counts_what_it_holds() -> None:
    root = ElementTree.fromstring(junit(FOUND))
    assert root.attrib == {
        "name": "reactivate verify: model", "time": "3.200",
        "tests": "5", "failures": "1", "errors": "2", "skipped": "0",
    }  # fmt: skip
    search, late = root.findall("testsuite")
    assert search.get("timestamp") == "2026-01-02T03:04:05"
    (failure,) = search.iter("failure")
    assert failure.get("message") == "2 of 17 compared fail"
    assert failure.text is not None
    for words in ("before: 11.6 KiB", "walk × 1,301", "attempt-005/"):
        assert words in failure.text
    (error,) = late.iter("error")
    assert error.get("message") == "cc is missing"


def test_a_waived_failure_is_skipped_with_its_reason() -> None:
    waived = replace(REFUSED, waived={FAILED.criterion: "ann: known", OPEN.criterion: "ann: no"})
    root = ElementTree.fromstring(junit(replace(FOUND, gates=(waived,))))
    (skipped,) = root.iter("skipped")
    assert str(skipped.get("message")).startswith("waived by ann: known")
    # What was not measured cannot be waived.
    assert root.get("errors") == "1"
    assert root.get("failures") == "0"


def test_the_summary_names_operation_bytes_and_function() -> None:
    text = summary(FOUND)
    assert "## Refused by the baseline gate of search; 1 of 3 gates verified" in text
    assert "commit `0123456789ab+`" in text
    assert "operation `search`, thread `main`: 2.69 MiB against 2.00 MiB" in text
    assert "before: 11.6 KiB (attempt 4)" in text
    assert "Most bytes: `walk × 1,301: 2,810,160 bytes`" in text
    assert "rss.peak was not measured" in text
    assert "cc is missing" in text
    assert headline(replace(FOUND, gates=(PROVEN,))) == "1 of 1 gates verified."


def test_a_summary_is_never_too_long_for_a_comment() -> None:
    long = replace(REFUSED, chain=("x" * 1000,) * 100)
    text = summary(replace(FOUND, gates=(long,)))
    assert len(text) <= MOST_CHARACTERS
    assert "`search`" in text
    assert text.count("```") % 2 == 0


@given(st.text(st.characters(codec=None, categories=None), max_size=40))
def test_hostile_text_is_shown_and_not_obeyed(text: str) -> None:
    hostile = replace(
        REFUSED,
        phase=text, trouble=text, culprit=text, folder=text, chain=(text, text),
        before={FAILED.criterion: text}, waived={OPEN.criterion: text},
        judgements=(replace(FAILED, source=text, operation=text, reason=text), OPEN),
    )  # fmt: skip
    found = replace(FOUND, target=text, commit=text, gates=(hostile,))
    xml = junit(found).encode("utf-8")
    root = ElementTree.fromstring(xml)
    assert len(root.findall("testsuite/testcase")) == 2
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(summary(found))
    assert "<script" not in html


def test_what_is_told_names_also_what_is_merely_open() -> None:
    assert list(FOUND.told()) == [
        "search: baseline: stack.peak <= 25% of stack.limit",
        "late: activation: cc is missing",
        "search: baseline: rss.peak <= 1 MiB is ERROR",
    ]
    unsure = replace(FAILED, verdict=Verdict.INCONCLUSIVE)
    gate = replace(REFUSED, ending=Ending.INCONCLUSIVE, judgements=(unsure,))
    assert list(replace(FOUND, gates=(gate,)).told()) == [
        "search: baseline: stack.peak <= 25% of stack.limit is INCONCLUSIVE"
    ]
    waived = replace(gate, waived={unsure.criterion: "me: known"})
    assert list(replace(FOUND, gates=(waived,)).told()) == []
