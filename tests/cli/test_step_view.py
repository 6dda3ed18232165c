"""The verdict table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reactivate.cli.step_view import judgement_json, show_verdicts
from reactivate.evidence import Check, Dimension, NotMeasured, Verdict
from reactivate.gate.judgement import Judgement


def judgement(phase: str, verdict: Verdict = Verdict.PASS, observed: float = 8_384) -> Judgement:
    return Judgement(
        criterion=f"{phase}.baseline.stack.peak",
        source="stack.peak <= 25% of stack.limit",
        check=Check.BASELINE,
        verdict=verdict,
        observed=observed,
        limit=2_097_152,
        dimension=Dimension.BYTES,
        samples=25,
        operation="create",
        reason="" if verdict is Verdict.PASS else "too deep",
    )


def test_what_phases_ask_alike_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_verdicts(
        (
            judgement("a"),
            judgement("b"),
            judgement("c", Verdict.FAIL, 2_841_728),
            judgement("d", Verdict.FAIL, 2_841_728),
        )
    )
    assert capsys.readouterr().out.splitlines() == [
        "  criterion                          observed            limit       n   verdict",
        "  stack.peak <= 25% of stack.limit   8,384 B (create)    2.00 MiB   25   PASS      in 2 phases",  # noqa: E501
        "  stack.peak <= 25% of stack.limit   2.71 MiB (create)   2.00 MiB   25   FAIL      in 2 phases",  # noqa: E501
        "  c.baseline.stack.peak: too deep",
        "  d.baseline.stack.peak: too deep",
    ]


def test_what_was_not_measured_is_no_number_in_either_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = Judgement(
        criterion="a.baseline.rss.peak",
        source="rss.peak <= 1 GiB",
        check=Check.BASELINE,
        verdict=Verdict.ERROR,
        observed=NotMeasured(reason="perf is missing"),
        limit=1 << 30,
        dimension=Dimension.BYTES,
        samples=0,
        reason="perf is missing",
    )
    show_verdicts((missing,))
    out = capsys.readouterr().out
    assert "not measured" in out
    assert "a.baseline.rss.peak: perf is missing" in out
    shown = json.loads(json.dumps(judgement_json(missing)))
    assert shown["observed"] == {"not_measured": "perf is missing"}
    assert shown["limit"] == 1 << 30


def test_what_intervals_assume_is_said_once_where_no_reason_says_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    passed = replace(judgement("a"), dimension=Dimension.RATIO, interval=(1.0, 1.1))
    show_verdicts((passed, passed, judgement("b")))
    assert capsys.readouterr().out.count("assumes that two mounts of one build differ by") == 1
    show_verdicts((judgement("b"), replace(passed, verdict=Verdict.FAIL, reason="slower")))
    assert "assumes" not in capsys.readouterr().out
