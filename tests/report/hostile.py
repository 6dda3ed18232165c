"""A ledger whose every text tries to be something other than text, with its evidence files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reactivate.evidence import Bound, Check, Dimension, Measurement, NotMeasured, Role, Verdict
from reactivate.gate.judgement import Judgement
from reactivate.ledger import DecisionDraft, Ledger, record_artifacts
from reactivate.ledger.provoked import ProvokedLedger

HOSTILE = (
    "<script>alert(1)</script>&lt;b&gt; [x](javascript:alert(1)) ![y](http://z) *b* _e_ `c` ``d "
    "| cell | \\| \x1b[31mred\x07 \u202edrawkcab \u200b # no\n\n# heading\n- item\n\t$m$ ~~s~~ ;"
)
CHAIN = (("main", 100, "main.c"), (HOSTILE, 3000, HOSTILE), ("leaf;semi", 40, ""))


def chain(extra: int) -> dict[str, object]:
    """What the deepest point's evidence holds; innermost frame first."""
    frames = [
        {"size_bytes": size + (extra if index == 1 else 0), "function": name, "file": file,
         "line": 3, "module": "lib.so", "offset": 16, "inlined": False, "depth_bytes": 0}
        for index, (name, size, file) in reversed(list(enumerate(CHAIN)))
    ]  # fmt: skip
    folded = [
        {"depth_bytes": 0, "size_bytes": f["size_bytes"], "location": f["function"], "place": "",
         "count": 1}
        for f in frames
    ]  # fmt: skip
    total = 3140 + extra
    return {"operation": HOSTILE, "thread": "main", "total_bytes": total, "frames": frames,
            "folded": folded}  # fmt: skip


def scenario(ending: str) -> dict[str, object]:
    """Evidence of an overflow scenario with one step."""
    died = ending == "died"
    death = {
        "kind": "overflow", "text": HOSTILE, "signal": "SIGSEGV",
        "chain": {"folded": [{"location": "walk", "size_bytes": 512}], "left_out_rows": 0},
    }  # fmt: skip
    return {
        "scenario": HOSTILE, "components": [HOSTILE], "expect": "survives", "set": HOSTILE,
        "passed": not died, "complete": True,
        "steps": [{
            "label": HOSTILE, "ending": ending, "stack_limit_bytes": 8192, "depth_bytes": 4096,
            "death": death if died else None,
            "classification": {"kind": "recursion", "place": HOSTILE, "bytes": 512}
            if died else None,
        }],
        "growth": [{"stack_limit_bytes": 8192, "kind": "linear", "formula": HOSTILE, "n": 3,
                    "reaches_limit_at": 12.5}],
    }  # fmt: skip


def provoked() -> dict[str, object]:
    """What the ledger says of a scenario run by hand."""
    document = scenario("died")
    (step,) = document["steps"]  # type: ignore[misc]
    step |= {"number": HOSTILE, "parameter": HOSTILE, "value": HOSTILE}
    step["death"] = {"kind": "overflow", "text": HOSTILE, "chain": HOSTILE.splitlines()}
    step["classification"]["evidence"] = HOSTILE
    least = {"survived_bytes": 4096, "died_bytes": 2048, "gap": HOSTILE}
    return {**document, "schema": 1, "evidence": "by hand.json", "least": least}


def build(
    root: Path, phases: tuple[tuple[str, int], ...] = (("baseline", 0), ("search", 900))
) -> Path:
    """Lay out `ledger.db` and `results/` below a folder; returns the ledger.

    Args:
        phases: their names, and by how many bytes each is deeper than the first; the last is
            refused.
    """
    moments = (datetime(2026, 1, 2, 3, tzinfo=UTC) + timedelta(seconds=n) for n in range(1000))
    results = root / "results"
    path = root / "ledger.db"
    root.mkdir(parents=True, exist_ok=True)
    last = phases[-1][0]
    with Ledger.open(path, writer=True, clock=lambda: next(moments)) as ledger:
        for phase, extra in phases:
            for check in Check:
                _attempt(ledger, results, phase, check, extra, last=phase == last)
        ledger.decide(
            DecisionDraft(
                kind="retried", phase=last, reason=HOSTILE, who=HOSTILE, criterion=HOSTILE
            )
        )
        ledger.decide(
            DecisionDraft(
                kind="advanced", phase=last, reason=HOSTILE, who=HOSTILE, supersedes=1,
                context={"remaining_risk": [HOSTILE]},
            )
        )  # fmt: skip
    with ProvokedLedger.open(path, writer=True, clock=lambda: next(moments)) as hand:
        folder = results / "overflow" / "by hand"
        write(folder / "by hand.json", scenario("died"))
        hand.provoked(
            provoked(),
            outcome=HOSTILE,
            environment={"artifact_sha256": HOSTILE, "commit": HOSTILE},
            folder="overflow/by hand",
            artifacts=record_artifacts(folder),
            started=next(moments),
        )
    return path


def _attempt(
    ledger: Ledger, results: Path, phase: str, check: Check, extra: int, *, last: bool
) -> None:
    attempt = ledger.begin_attempt(phase, check.value, {"kernel": HOSTILE, "extra": extra})
    folder = results / attempt.folder
    _evidence(folder, check, extra, last=last)
    refused = last and check is Check.BASELINE
    failed = DecisionDraft(
        kind="refused", phase=phase, reason=HOSTILE, who="gate",
        context={"failed": [HOSTILE], "chain": [HOSTILE]},
    )  # fmt: skip
    ledger.finish(
        attempt,
        "refused" if refused else "advanced",
        measurements=_measurements(check, extra),
        judgements=[_judgement(check, refused)],
        artifacts=record_artifacts(folder),
        decisions=[failed] if refused else [],
    )


def _evidence(folder: Path, check: Check, extra: int, *, last: bool) -> None:
    if check is Check.BASELINE:
        write(folder / "watermark" / "water mark.json", {})
    elif check is Check.TRACE:
        write(folder / "deepest" / "deepest-op.json", chain(extra))
        opcodes = [{"opcode": HOSTILE, "sent": 3, "failed": 1, "longest_ns": 5}]
        write(folder / "lifecycle" / "lifecycle.json", {"opcodes": opcodes})
    else:
        ending = "died" if last else "survived"
        write(folder / "scenarios" / "one.json", scenario(ending))


def write(path: Path, content: object) -> None:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _measurements(check: Check, extra: int) -> list[Measurement]:
    if check is Check.BASELINE:
        common = {"operation": HOSTILE, "thread": HOSTILE, "evidence": "watermark/water mark.json"}
        return [
            Measurement(metric="stack.peak", value=5000 + extra, instrument="w", samples=(1, 2),
                        **common),
            Measurement(metric="stack.operation", value=3000 + extra, instrument="w", **common),
            Measurement(metric="stack.limit", value=1 << 20, instrument="w", thread=HOSTILE),
            Measurement(metric="latency.p50", value=1500, instrument="l", operation=HOSTILE),
            Measurement(metric="latency.p50", value=1000, instrument="l", operation=HOSTILE,
                        role=Role.PREVIOUS),
            Measurement(metric="rss.peak", value=NotMeasured(reason=HOSTILE), instrument="m"),
        ]  # fmt: skip
    if check is Check.TRACE:
        return [
            Measurement(metric="requests.total", value=3, instrument="lifecycle",
                        evidence="lifecycle/lifecycle.json"),
            Measurement(metric="stack.disagreement", value=0, instrument="c", operation=HOSTILE,
                        bound=Bound.UPPER, note=HOSTILE),
        ]  # fmt: skip
    return [Measurement(metric="stack.margin", value=0.5, instrument="s", operation=HOSTILE)]


def _judgement(check: Check, refused: bool) -> Judgement:
    return Judgement(
        criterion=f"search.{check.value}.{HOSTILE}",
        source=f"stack.peak <= {HOSTILE}",
        check=check,
        verdict=Verdict.FAIL if refused else Verdict.PASS,
        observed=NotMeasured(reason=HOSTILE) if check is Check.TRACE else 5000,
        limit=4096,
        dimension=Dimension.BYTES,
        samples=2,
        operation=HOSTILE,
        instrument=HOSTILE,
        evidence="watermark/water mark.json" if check is Check.BASELINE else "",
        reason=HOSTILE,
    )
